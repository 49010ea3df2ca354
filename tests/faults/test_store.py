"""A store that cannot be written: nothing is switched, people are told past it, and the work goes on afterwards."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.faults.disk import Disk, disk
from tests.faults.fleet import Fleet

pytestmark = pytest.mark.timeout(60)


def use(fleet: Fleet, store: Path) -> None:
    """Keep the store there."""
    fleet.daemon.store = store
    fleet.daemon.settings["store"] = {"url": f"sqlite:///{store}"}


@contextmanager
def full(fleet: Fleet) -> Iterator[None]:
    with_disk = Disk(fleet.daemon.store.parent)
    with_disk.fill()
    yield
    with_disk.free()


@contextmanager
def taken_away(fleet: Fleet) -> Iterator[None]:
    aside = fleet.daemon.store.with_suffix(".aside")
    fleet.daemon.store.rename(aside)
    yield
    aside.rename(fleet.daemon.store)


@contextmanager
def held_by_another_program(fleet: Fleet) -> Iterator[None]:
    with closing(sqlite3.connect(fleet.daemon.store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


Trouble = Callable[[Fleet], AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("trouble", "what", "advice"),
    [
        (full, "the disk is full", "free space on the filesystem that holds"),
        (taken_away, "the file was removed or replaced", "put the file back"),
        (held_by_another_program, "another program holds it", "fuser"),
    ],
    ids=["full", "taken-away", "held"],
)
async def test_with_a_store_that_is_lost_while_it_runs_nothing_is_switched_until_it_is_back(
    fleet: Fleet, stack: AsyncExitStack, tmp_path: Path, trouble: Trouble, what: str, advice: str
) -> None:
    if trouble is full:
        use(fleet, stack.enter_context(disk(tmp_path / "disk")).folder / "watchdog.db")
    fleet.add("trips")
    await fleet.launch(proxied=True)
    await fleet.watched("v2")
    with trouble(fleet):
        fleet.turn_bad("v2")
        (message,) = await fleet.told("store_failed")
        assert what in message["headline"]
        assert advice in message["next_step"]
        status, problem = await fleet.daemon.page("/readyz")
        assert status == 503
        assert what in problem
        assert (await fleet.daemon.page("/healthz"))[0] == 200, "no restart would help"
        fleet.fake.asked.clear()
        await eventually(lambda: fleet.fake.asked["trips"] >= 5, within=15, what="more bad answers")
        assert fleet.live() == {"green"}
        assert fleet.proxy.writes == []
    await fleet.moved_once("v2")
    await eventually(lambda: _ready(fleet), what="a daemon that is ready again")
    assert len(fleet.people.heard("store_failed")) == 1
    await fleet.audit_holds()


async def _ready(fleet: Fleet) -> bool:
    return (await fleet.daemon.page("/readyz"))[0] == 200


async def test_a_clean_stop_is_possible_on_a_full_disk(
    fleet: Fleet, stack: AsyncExitStack, tmp_path: Path
) -> None:
    use(fleet, stack.enter_context(disk(tmp_path / "disk")).folder / "watchdog.db")
    fleet.add("trips")
    await fleet.launch()
    await fleet.watched("v2")
    with full(fleet):
        fleet.turn_bad("v2")
        await fleet.told("store_failed")
        began = time.monotonic()
        fleet.daemon.send(signal.SIGTERM)
        assert await fleet.daemon.ends(within=15) == 0
        assert time.monotonic() - began < 10
    await fleet.daemon.begin()
    await fleet.rollback("completed")
    await fleet.audit_holds()


async def refuses_to_start(fleet: Fleet, what: str, advice: str) -> None:
    """It ends with 1, says what is wrong and what to do, and tells people, too."""
    before = len(fleet.people.heard("store_failed"))
    written = fleet.daemon.output()
    fleet.daemon.write()
    fleet.daemon.start()
    assert await fleet.daemon.ends() == 1
    said = fleet.daemon.output().removeprefix(written)
    assert what in said
    assert advice in said
    assert "Traceback" not in said
    heard = fleet.people.heard("store_failed")
    assert len(heard) == before + 1, "nobody was told"
    assert what in heard[-1]["headline"]
    assert advice in heard[-1]["next_step"]
    assert fleet.live() == {"green"}


async def test_a_store_that_is_damaged_at_the_start_is_left_alone_and_told(fleet: Fleet) -> None:
    fleet.add("trips")
    await fleet.launch()
    await fleet.watched("v2")
    fleet.daemon.kill()
    kept = fleet.daemon.store.read_bytes()
    log = fleet.daemon.store.with_name(fleet.daemon.store.name + "-wal")
    damaged = os.urandom(4096) + kept[4096:]
    fleet.daemon.store.write_bytes(damaged)
    fleet.turn_bad("v2")
    log.unlink(missing_ok=True)
    await refuses_to_start(fleet, "the file is not a database", "put a backup in its place")
    assert fleet.daemon.store.read_bytes() == damaged
    # The advice works: with no file at all, what runs is adopted, and nothing is moved.
    fleet.daemon.store.rename(fleet.daemon.store.with_suffix(".damaged"))
    await fleet.daemon.begin()
    (adopted,) = await eventually(lambda: fleet.daemon.get("deployments"))
    assert (adopted["origin"], adopted["variant"]) == ("adopted", "green")
    assert fleet.live() == {"green"}


async def test_a_store_that_is_read_only_at_the_start_is_told(
    fleet: Fleet, stack: AsyncExitStack, tmp_path: Path
) -> None:
    small = stack.enter_context(disk(tmp_path / "disk"))
    use(fleet, small.folder / "watchdog.db")
    fleet.add("trips")
    await fleet.launch()
    await fleet.watched("v2")
    fleet.daemon.stop()
    small.remount("ro")
    fleet.turn_bad("v2")
    await refuses_to_start(fleet, "read-only", "writable for the user the watchdog runs as")
    small.remount("rw")
    await fleet.daemon.begin()
    await fleet.rollback("completed")
