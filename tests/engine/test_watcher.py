from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from tests.engine.worlds import variants
from watchdog.core.errors import SwitchUnreachable
from watchdog.core.events import TrafficSeen, TrafficUnseen
from watchdog.core.traffic import TrafficState
from watchdog.engine.watcher import LIMIT, Watcher
from watchdog.testing.clock import LoopClock
from watchdog.testing.traffic import FakeSwitch

pytestmark = pytest.mark.virtual_time


class Odd(FakeSwitch):
    """A provider that breaks its promise: raises what it must not, or never answers."""

    odd: Exception | None = None
    hangs = False

    async def read(self) -> TrafficState:
        if self.hangs:
            await asyncio.Event().wait()
        if self.odd is not None:
            raise self.odd
        return await super().read()


class Rig:
    def __init__(self) -> None:
        self.switch = Odd(variants(), clock=LoopClock().now)
        self.seen: list[TrafficSeen | TrafficUnseen] = []
        self.watcher = Watcher(switches={"trips": self.switch}, deliver=self.seen.append, clock=LoopClock())


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_what_the_switch_shows_is_delivered(rig: Rig) -> None:
    await rig.watcher.look("trips")
    assert rig.seen == [TrafficSeen(service="trips", state=rig.switch.state)]


async def test_a_slow_read_is_of_when_it_began(rig: Rig) -> None:
    gate = asyncio.Event()
    rig.switch.hold_read(gate)
    began = LoopClock().now()
    look = asyncio.create_task(rig.watcher.look("trips"))
    await asyncio.sleep(3)
    gate.set()
    await look
    (seen,) = rig.seen
    assert isinstance(seen, TrafficSeen)
    assert seen.state.read_at == began


async def test_a_switch_that_cannot_be_read_is_told_each_time_and_logged_once(rig: Rig) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            rig.switch.fail_read(SwitchUnreachable("refused"))
            await rig.watcher.look("trips")
        await rig.watcher.look("trips")
        await rig.watcher.look("trips")
    assert rig.seen[:3] == [TrafficUnseen(service="trips", error="refused")] * 3
    assert [log["event"] for log in logs] == ["switch_unreadable", "switch_readable_again"]


async def test_a_provider_that_breaks_is_a_switch_that_cannot_be_read(rig: Rig) -> None:
    rig.switch.odd = ZeroDivisionError("a secret of its own")
    await rig.watcher.look("trips")
    assert rig.seen == [TrafficUnseen(service="trips", error="ZeroDivisionError in the provider")]


async def test_a_provider_that_never_answers_is_a_switch_that_cannot_be_read(rig: Rig) -> None:
    rig.switch.hangs = True
    await rig.watcher.look("trips")
    assert asyncio.get_running_loop().time() == pytest.approx(LIMIT.total_seconds())
    assert rig.seen == [TrafficUnseen(service="trips", error="no answer in time")]


async def test_a_cancelled_look_delivers_nothing(rig: Rig) -> None:
    rig.switch.hold_read(asyncio.Event())
    look = asyncio.create_task(rig.watcher.look("trips"))
    await asyncio.sleep(0.1)
    look.cancel()
    with pytest.raises(asyncio.CancelledError):
        await look
    assert rig.seen == []


async def test_watching_never_writes(rig: Rig) -> None:
    for _ in range(5):
        await rig.watcher.look("trips")
    assert {call.kind for call in rig.switch.calls} == {"read"}


class Told(FakeSwitch):
    """A switch that is told of changes, and counts how it is looked at."""

    glances = 0

    async def watch(self, changed: Callable[[], None]) -> None:
        changed()

    async def glance(self) -> TrafficState:
        self.glances += 1
        return self.state


async def test_a_switch_that_is_told_of_changes_is_only_glanced_at() -> None:
    switch = Told(variants(), clock=LoopClock().now)
    seen: list[TrafficSeen | TrafficUnseen] = []
    watcher = Watcher(switches={"trips": switch}, deliver=seen.append, clock=LoopClock())
    await watcher.look("trips")
    assert seen == [TrafficSeen(service="trips", state=switch.state)]
    assert switch.glances == 1
    assert switch.calls == []


async def test_a_service_that_is_being_switched_is_read() -> None:
    switch = Told(variants(), clock=LoopClock().now)
    watcher = Watcher(
        switches={"trips": switch},
        deliver=lambda _: None,
        clock=LoopClock(),
        closely=lambda service: service == "trips",
    )
    await watcher.look("trips")
    assert switch.glances == 0
    assert switch.calls != []
