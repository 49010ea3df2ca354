"""What every way to lead promises, on the real thing: a Lease of an API server, a lock of a PostgreSQL server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from tests.contracts.leadership_rigs import Freezing, LeaseRig, PostgresRig, Rig, SingleRig
from tests.eventually import Eventually
from watchdog.leader.interface import Leadership

#: A machine under load takes its time.
PATIENCE = 30.0

SEVERAL = [pytest.param("kubernetes-lease", marks=pytest.mark.kubernetes), "postgres"]
pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Rig:
    match request.param:
        case "single":
            return SingleRig()
        case "kubernetes-lease":
            return LeaseRig(request.getfixturevalue("kubernetes"))
        case _:
            return PostgresRig(request.getfixturevalue("postgres"))


class Process:
    """One that leads whenever it may, as the daemon does; `times` counts how often it came to lead."""

    def __init__(self, leadership: Leadership, clock: Freezing) -> None:
        self.leadership = leadership
        self.clock = clock
        self.times = 0
        self.task = asyncio.create_task(self._live(), name=leadership.identity)

    @property
    def leads(self) -> bool:
        return self.leadership.is_leader

    async def _live(self) -> None:
        while True:
            await self.leadership.acquire()
            self.times += 1
            await self.leadership.lost()
            await self.clock.sleep(0)  # who stands still gives nothing up
            await self.leadership.release()

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.leadership.aclose()


Begin = Callable[[str], Process]


@pytest.fixture
async def begin(rig: Rig) -> AsyncIterator[Begin]:
    async with contextlib.AsyncExitStack() as stack:

        def start(name: str) -> Process:
            process = Process(*rig.make(name))
            stack.push_async_callback(process.end)
            return process

        yield start


async def one_of(eventually: Eventually, *processes: Process) -> Process:
    """The one that leads, once one does; never two on the way there."""

    def leading() -> Process | None:
        found = [one for one in processes if one.leads]
        assert len(found) <= 1, "two lead at once"
        return found[0] if found else None

    found = await eventually(leading, within=PATIENCE, every=0.01, what="somebody who leads")
    assert found is not None
    return found


@pytest.mark.parametrize("rig", ["single", *SEVERAL], indirect=True)
async def test_it_leads_until_it_gives_up(rig: Rig) -> None:
    leadership, _ = rig.make("one")
    assert (leadership.is_leader, leadership.holder) == (False, "")
    await asyncio.wait_for(leadership.acquire(), PATIENCE)
    assert [leadership.is_leader] == [True]
    assert leadership.holder == leadership.identity != ""
    lost = asyncio.create_task(leadership.lost())
    await asyncio.sleep(0)
    assert not lost.done()
    await leadership.release()
    assert (leadership.is_leader, leadership.holder) == (False, "")
    await leadership.release()
    await asyncio.wait_for(leadership.acquire(), PATIENCE)
    assert leadership.is_leader, "it may lead again"
    await leadership.aclose()
    await leadership.aclose()
    assert [leadership.is_leader] == [False]
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)


@pytest.mark.parametrize("rig", SEVERAL, indirect=True)
async def test_one_of_three_leads_and_the_others_know_who(begin: Begin, eventually: Eventually) -> None:
    processes = [begin(name) for name in "abc"]
    leader = await one_of(eventually, *processes)
    others = [one for one in processes if one is not leader]
    await eventually(
        lambda: {one.leadership.holder for one in others} == {leader.leadership.identity},
        within=PATIENCE,
        what="the others know",
    )
    await leader.end()
    following = await one_of(eventually, *others)
    assert following.times == 1
    assert not leader.leads


@pytest.mark.parametrize("rig", SEVERAL, indirect=True)
async def test_who_reaches_nobody_stops_and_another_goes_on(
    rig: Rig, begin: Begin, eventually: Eventually
) -> None:
    a = begin("a")
    await one_of(eventually, a)
    b = begin("b")
    await rig.cut(a.leadership)
    assert await one_of(eventually, a, b) in {a, b}
    await eventually(lambda: b.leads, within=PATIENCE, what="the other one leads")
    assert not a.leads
    await rig.heal(a.leadership)
    await eventually(lambda: a.leadership.holder == b.leadership.identity, within=PATIENCE, what="it follows")
    assert (a.leads, b.leads) == (False, True)


@pytest.mark.parametrize("rig", SEVERAL, indirect=True)
async def test_who_stands_still_has_lost_the_lead_before_another_has_it(
    begin: Begin, eventually: Eventually
) -> None:
    a = begin("a")
    await one_of(eventually, a)
    b = begin("b")
    a.clock.freeze()
    assert [a.leads] == [True], "for now"
    await eventually(
        lambda: _not_both(a, b) and b.leads, within=PATIENCE, every=0.01, what="the other one leads"
    )
    assert not a.leads
    a.clock.thaw()
    await eventually(lambda: a.leadership.holder == b.leadership.identity, within=PATIENCE, what="it follows")
    assert (a.leads, b.leads, b.times) == (False, True, 1)


@pytest.mark.parametrize("rig", SEVERAL, indirect=True)
async def test_nobody_leads_while_nobody_reaches_the_server_and_then_one_does(
    rig: Rig, begin: Begin, eventually: Eventually
) -> None:
    processes = [begin(name) for name in "ab"]
    await one_of(eventually, *processes)
    for one in processes:
        await rig.cut(one.leadership)
    await eventually(lambda: not any(one.leads for one in processes), within=PATIENCE, what="nobody leads")
    for one in processes:
        await rig.heal(one.leadership)
    await one_of(eventually, *processes)


def _not_both(a: Process, b: Process) -> bool:
    assert not (a.leads and b.leads), "two lead at once"
    return True
