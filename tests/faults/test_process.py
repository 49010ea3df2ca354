"""Processes that stand still (SIGSTOP) and files that vanish, at the worst moments: nothing is written on what was."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress

import pytest

from tests.eventually import eventually
from tests.faults.fleet import Fleet
from tests.faults.socket_proxy import Deed, enters, is_write

pytestmark = pytest.mark.timeout(120)


async def passes(seconds: float) -> None:
    """Real time goes by, which is all that a frozen process needs."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    await eventually(lambda: loop.time() >= until, within=seconds + 30, what="time")


async def test_a_daemon_that_stood_still_between_read_and_write_looks_again_before_it_writes(
    fleet: Fleet,
) -> None:
    """Its read is answered while it stands still; then a person switches, and a new version is deployed there."""
    fleet.add("trips")
    await fleet.launch(proxied=True)
    await fleet.watched("v2")
    fleet.proxy.always(Deed.HOLD)
    fleet.turn_bad("v2")
    await fleet.intended()
    await eventually(lambda: fleet.proxy.held, within=30, what="a read that is held")
    fleet.daemon.freeze()
    fleet.proxy.release()
    await passes(0.3)
    fleet.move("blue")
    await passes(6)  # longer than any call, and than anything may be old that is acted on
    fleet.daemon.thaw()
    done = await fleet.rollback(within=40)
    assert done["state"] == "superseded", done
    assert fleet.proxy.writes == []
    assert fleet.live() == {"blue"}


async def test_a_daemon_that_stood_still_while_it_wrote_reads_before_it_writes_again(fleet: Fleet) -> None:
    """Its first write is obeyed while it stands still; a person then ends what it began."""
    fleet.add("trips")
    await fleet.launch(proxied=True)
    await fleet.watched("v2")
    fleet.proxy.judge = lambda line: Deed.HOLD if enters(line) else Deed.PASS
    fleet.turn_bad("v2")
    await eventually(lambda: fleet.proxy.held, within=30, what="a write that is held")
    fleet.daemon.freeze()
    fleet.proxy.release()
    await eventually(lambda: fleet.live() == {"blue", "green"}, within=30, what="the half of the change")
    await passes(6)
    before = len(fleet.proxy.lines)
    fleet.daemon.thaw()
    await fleet.moved_once("v2")
    after = fleet.proxy.lines[before:]
    first_write = next(number for number, line in enumerate(after) if is_write(line))
    assert any(not is_write(line) for line in after[:first_write]), "it was read again first"


async def test_a_store_that_is_deleted_in_the_middle_of_a_rollback_moves_nothing_twice(fleet: Fleet) -> None:
    fleet.add("trips")
    await fleet.launch(proxied=True)
    await fleet.watched("v2")
    fleet.proxy.judge = lambda line: Deed.HOLD if is_write(line) else Deed.PASS
    fleet.turn_bad("v2")
    await eventually(lambda: fleet.proxy.held, within=30, what="a write that is held")
    fleet.daemon.kill()
    fleet.proxy.release()
    await eventually(
        lambda: fleet.live() == {"blue", "green"}, within=30, what="the write that was on its way"
    )
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            fleet.daemon.store.with_name(fleet.daemon.store.name + suffix).unlink()
    written = len(fleet.proxy.writes)
    await fleet.daemon.begin(within=40)
    fleet.fake.asked.clear()
    await eventually(lambda: fleet.fake.asked["trips"] >= 5, within=40, what="bad answers")
    assert len(fleet.proxy.writes) == written == 1, "what is found is adopted, and never armed"
    assert fleet.live() == {"blue", "green"}
    states = {one["state"] for one in await fleet.daemon.get("deployments")}
    assert states <= {"adopted", "stable"}, states


async def test_half_a_store_is_refused_or_read_and_never_acted_on(fleet: Fleet) -> None:
    fleet.add("trips")
    await fleet.launch(proxied=True)
    await fleet.watched("v2")
    fleet.daemon.kill()
    store = fleet.daemon.store
    with closing(sqlite3.connect(store)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = store.read_bytes()
    store.write_bytes(kept[: len(kept) // 2])
    fleet.turn_bad("v2")
    fleet.daemon.write()
    fleet.daemon.start()
    assert await fleet.daemon.ends(within=40) == 1
    said = fleet.daemon.output()
    assert "put a backup in its place" in said
    assert "Traceback" not in said
    assert fleet.proxy.writes == []
    assert fleet.live() == {"green"}
