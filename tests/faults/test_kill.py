"""kill -9 at every instant around the switch: after a restart the end is right, and traffic was moved once."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.faults.fake_prometheus import FakePrometheus
from tests.faults.fleet import Fleet
from tests.faults.socket_proxy import Deed, Moment, enters, leaves

pytestmark = pytest.mark.timeout(180)

Die = Callable[[Fleet, str], Awaitable[None]]
SEED = 20261121


async def frozen_before_it_reads(fleet: Fleet, version: str) -> None:
    """HAProxy stands still, so the executor waits for its read; then it goes on."""
    fleet.haproxy.freeze()
    fleet.turn_bad(version)
    await fleet.intended()
    fleet.daemon.kill()
    fleet.haproxy.thaw()


async def frozen_until_it_runs_again(fleet: Fleet, version: str) -> None:
    """The same, and HAProxy goes on only when the next daemon runs."""
    fleet.haproxy.freeze()
    fleet.turn_bad(version)
    await fleet.intended()
    fleet.daemon.kill()
    await fleet.daemon.begin()
    fleet.haproxy.thaw()


async def reading(fleet: Fleet, version: str) -> None:
    """Its read was on its way."""
    fleet.proxy.judge = lambda _: Deed.HOLD
    fleet.turn_bad(version)
    await fleet.intended()
    await eventually(lambda: fleet.proxy.held, what="a read that is held")
    fleet.daemon.kill()
    fleet.proxy.drop()


async def write_lost(fleet: Fleet, version: str) -> None:
    """Its write was on its way, and never arrived."""
    await held(fleet, version, enters)
    fleet.daemon.kill()
    fleet.proxy.drop()


async def write_late(fleet: Fleet, version: str) -> None:
    """Its write was on its way, and arrived after its death."""
    await held(fleet, version, enters)
    fleet.daemon.kill()
    fleet.proxy.release()
    await eventually(lambda: fleet.live() == {"blue", "green"}, what="a late write")


async def write_in_the_queue_of_a_frozen_one(fleet: Fleet, version: str) -> None:
    """Its write lay in the buffer of a frozen HAProxy, which obeys it when the next daemon runs already."""
    await held(fleet, version, enters)
    fleet.haproxy.freeze()
    fleet.proxy.release()
    fleet.daemon.kill()
    await fleet.daemon.begin()
    fleet.haproxy.thaw()


async def held(fleet: Fleet, version: str, half: Callable[[str], bool]) -> None:
    """The intent is on disk, and that half of the change waits in the proxy."""
    fleet.proxy.judge = lambda line: Deed.HOLD if half(line) else Deed.PASS
    fleet.turn_bad(version)
    await fleet.intended()
    await eventually(lambda: fleet.proxy.held, what="a write that is held")


async def after_entering(fleet: Fleet, version: str) -> None:
    """The target was in, its answer not given."""
    await muted(fleet, version, enters)


async def before_leaving(fleet: Fleet, version: str) -> None:
    """The target was in and known to be; the bad version was about to leave."""
    await held(fleet, version, leaves)
    fleet.daemon.kill()
    fleet.proxy.drop()


async def after_leaving(fleet: Fleet, version: str) -> None:
    """All was done, the last answer not given."""
    await muted(fleet, version, leaves)


async def before_reading_back(fleet: Fleet, version: str) -> None:
    """All was done and acknowledged; the read-back was on its way."""
    left: list[str] = []

    def judge(line: str) -> Deed:
        if leaves(line):
            left.append(line)
        return Deed.HOLD if left and "show servers state" in line and not leaves(line) else Deed.PASS

    fleet.proxy.judge = judge
    fleet.turn_bad(version)
    await eventually(lambda: fleet.proxy.held, within=10, what="the read-back")
    fleet.daemon.kill()
    fleet.proxy.drop()


async def while_reading_back(fleet: Fleet, version: str) -> None:
    """All was done and read back; killed when that answer left HAProxy, so before or after it was recorded."""
    left: list[str] = []

    def at(moment: Moment, line: str) -> None:
        if leaves(line):
            left.append(line)
        elif left and moment is Moment.ANSWERED:
            fleet.daemon.send(signal.SIGKILL)

    fleet.proxy.at = at
    fleet.turn_bad(version)
    await fleet.daemon.ends()
    fleet.proxy.at = nothing


async def muted(fleet: Fleet, version: str, what: Callable[[str], bool]) -> None:
    fleet.proxy.judge = lambda line: Deed.MUTE if what(line) else Deed.PASS
    fleet.turn_bad(version)
    await eventually(lambda: fleet.proxy.held, within=10, what="a write that was obeyed and not answered")
    fleet.daemon.kill()
    fleet.proxy.drop()


BETWEEN_INTENT_AND_SWITCH: list[Die] = [
    frozen_before_it_reads,
    frozen_until_it_runs_again,
    reading,
    write_lost,
    write_late,
    write_in_the_queue_of_a_frozen_one,
]
BETWEEN_SWITCH_AND_RECORD: list[Die] = [
    after_entering,
    before_leaving,
    after_leaving,
    before_reading_back,
    while_reading_back,
]
#: Deaths after which everything is in place: the next daemon has nothing left to write.
IN_PLACE = {after_leaving, before_reading_back, while_reading_back}
#: Of these, deaths that nobody can have recorded anything before.
FOUND = {after_leaving, before_reading_back}


@pytest.fixture
async def twins(tmp_path: Path, stack: AsyncExitStack) -> tuple[Fleet, Fleet]:
    """Two fleets side by side, because starting a daemon takes a second and there are many starts."""
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        found.append(Fleet(folder, stack, await stack.enter_async_context(FakePrometheus())))
    return found[0], found[1]


async def die_and_go_on(twins: tuple[Fleet, Fleet], deaths: list[Die]) -> None:
    """Every way to die, half of them in each fleet."""
    async with asyncio.TaskGroup() as group:
        for fleet, share in zip(twins, (deaths[::2], deaths[1::2]), strict=True):
            group.create_task(die_each_way(fleet, share))


async def die_each_way(fleet: Fleet, deaths: list[Die]) -> None:
    """One rollback for each way to die, all on one store."""
    fleet.add("trips")
    await fleet.launch(proxied=True)
    for number, die in enumerate(deaths, start=1):
        version = f"v{number + 1}"
        await fleet.watched(version)
        await die(fleet, version)
        written = len(fleet.proxy.writes)
        if fleet.daemon.exit_code is not None:
            await fleet.daemon.begin()
        done = await fleet.moved_once(version, number=number)
        if die in IN_PLACE:
            assert len(fleet.proxy.writes) == written, f"written again: {die.__doc__}"
        if die in FOUND:
            (applied,) = [one["why"] for one in done["history"] if one["state"] == "applied"]
            assert applied == "found in place after a restart"
    ids = [message["rollback"] for message in fleet.people.heard("rollback_switched")]
    assert len(ids) == len(set(ids)) == len(deaths)
    await fleet.audit_holds()


async def test_killed_between_intent_and_switch_it_moves_traffic_once(twins: tuple[Fleet, Fleet]) -> None:
    await die_and_go_on(twins, BETWEEN_INTENT_AND_SWITCH)


async def test_killed_between_switch_and_record_it_finds_its_work_in_place(
    twins: tuple[Fleet, Fleet],
) -> None:
    await die_and_go_on(twins, BETWEEN_SWITCH_AND_RECORD)


async def test_killed_at_twenty_random_instants_it_moves_traffic_once_each_time(
    twins: tuple[Fleet, Fleet],
) -> None:
    """At the nth thing that happens at HAProxy's socket from the breach on, and up to 15 ms later."""
    async with asyncio.TaskGroup() as group:
        for number, fleet in enumerate(twins):
            group.create_task(die_at_random(fleet, random.Random(SEED + number)))


async def die_at_random(fleet: Fleet, dice: random.Random) -> None:
    """Ten rollbacks, each with a death."""
    fleet.add("trips")
    await fleet.launch(proxied=True)
    for number in range(1, 11):
        version = f"v{number + 1}"
        await fleet.watched(version)
        fleet.turn_bad(version)
        fleet.proxy.at = executioner(fleet, left=dice.randint(1, 18), later=dice.uniform(0.0, 0.015))
        await fleet.daemon.ends()
        fleet.proxy.at = nothing
        await fleet.daemon.begin()
        await fleet.moved_once(version, number=number)
    await fleet.audit_holds()


def executioner(fleet: Fleet, *, left: int, later: float) -> Callable[[Moment, str], None]:
    """Kills the daemon `later` seconds after so many moments."""
    loop = asyncio.get_running_loop()
    countdown = iter(range(left - 1, -1, -1))

    def at(_moment: Moment, _line: str) -> None:
        if next(countdown, -1) == 0:
            loop.call_later(later, fleet.daemon.send, signal.SIGKILL)

    return at


def nothing(_moment: Moment, _line: str) -> None:
    """What happens at most moments."""
