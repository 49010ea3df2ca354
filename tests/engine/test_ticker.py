from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from watchdog.core.errors import StoreError
from watchdog.core.events import Ticked
from watchdog.core.message import Message, MessageKind, Outgoing
from watchdog.core.rule import Severity
from watchdog.engine.ticker import COUNT_EVERY, Ticker
from watchdog.leader.single import SingleLeadership
from watchdog.store.interface import Standing
from watchdog.telemetry.metrics import Metrics
from watchdog.testing.clock import BASE, LoopClock
from watchdog.testing.store import MemoryStore

pytestmark = pytest.mark.virtual_time


class Setback(LoopClock):
    """A clock whose time of day can be set back."""

    back = timedelta()

    def now(self) -> datetime:
        return super().now() - self.back


class CountingStore(MemoryStore):
    """Says how many messages wait, or why it cannot."""

    pending = 3
    fault: StoreError | None = None

    async def outbox_standing(self) -> Standing:
        if self.fault is not None:
            raise self.fault
        message = Message(
            key="m1",
            kind=MessageKind.INCIDENT_OPENED,
            severity=Severity.HIGH,
            headline="trips is bad",
            created_at=BASE,
        )
        oldest = Outgoing(key="m1@ops", channel="ops", message=message, due_at=BASE)
        return Standing(pending={"ops": self.pending - 1, "mail": 1}, dead={"ops": 2}, oldest=oldest)


class Rig:
    def __init__(self) -> None:
        self.pause = ""
        self.ticks: list[Ticked] = []
        self.taken: int | None = None
        """How many ticks the reactor took in; `None`: all."""
        self.leadership = SingleLeadership()
        self.store = CountingStore()
        self.metrics = Metrics(lambda: None)
        self.clock = Setback()
        ticker = Ticker(
            paused=self._paused,
            leadership=self.leadership,
            epoch=4,
            deliver=self.ticks.append,
            taken=lambda: len(self.ticks) if self.taken is None else self.taken,
            store=self.store,
            metrics=self.metrics,
            clock=self.clock,
        )
        self.task = asyncio.create_task(ticker.run())

    async def _paused(self) -> str:
        return self.pause

    def metric(self, name: str) -> float:
        for line in self.metrics.render().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    one = Rig()
    yield one
    one.task.cancel()
    await asyncio.gather(one.task, return_exceptions=True)


async def test_it_ticks_once_a_second_with_what_only_looking_can_tell(rig: Rig) -> None:
    await asyncio.sleep(5.5)
    assert len(rig.ticks) == 6
    await rig.leadership.acquire()
    rig.pause = "the pause file exists"
    await asyncio.sleep(1)
    assert rig.ticks[-1] == Ticked(paused_by_file="the pause file exists", leader=True, epoch=4)
    assert not rig.ticks[0].leader


async def test_a_tick_is_not_sent_while_the_one_before_it_waits(rig: Rig) -> None:
    rig.taken = 0
    await asyncio.sleep(30)
    assert len(rig.ticks) == 1
    rig.taken = 1
    await asyncio.sleep(1)
    assert len(rig.ticks) == 2


async def test_a_clock_that_is_set_back_stops_no_ticks(rig: Rig) -> None:
    await asyncio.sleep(3.5)
    rig.clock.back = timedelta(hours=3)
    await asyncio.sleep(10)
    assert len(rig.ticks) == 14


async def test_a_change_of_the_pause_file_is_logged_once(rig: Rig) -> None:
    with capture_logs() as logs:
        await asyncio.sleep(3)
        rig.pause = "the pause file exists"
        await asyncio.sleep(5)
        rig.pause = ""
        await asyncio.sleep(5)
    assert [log["event"] for log in logs] == ["paused_by_file", "pause_file_gone"]


async def test_the_outbox_is_counted_now_and_then(rig: Rig) -> None:
    await rig.store.open()
    await asyncio.sleep(COUNT_EVERY + 0.5)
    assert rig.metric("watchdog_outbox_pending") == 3
    assert rig.metric("watchdog_outbox_dead") == 2
    assert rig.metric("watchdog_outbox_oldest_seconds") == COUNT_EVERY


async def test_a_store_that_fails_stops_no_ticks(rig: Rig) -> None:
    rig.store.fault = StoreError("the disk is full")
    await asyncio.sleep(3 * COUNT_EVERY)
    assert len(rig.ticks) >= 3 * COUNT_EVERY


async def test_a_loop_on_time_has_no_lag(rig: Rig) -> None:
    await asyncio.sleep(3)
    assert rig.metric("watchdog_loop_lag_seconds") == 0.0


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_clock_that_was_set_by_more_than_a_correction_is_for_the_reactor(
    rig: Rig, hours: int
) -> None:
    by = timedelta(hours=hours)
    await asyncio.sleep(3.5)
    before = rig.clock.now()
    rig.clock.jump(by)
    await asyncio.sleep(2)
    assert [tick.stepped for tick in rig.ticks[-3:]] == [timedelta(), by, by], "until somebody follows"
    assert rig.clock.now() - before == timedelta(seconds=2)
    rig.clock.follow(by)
    await asyncio.sleep(1)
    assert rig.ticks[-1].stepped == timedelta()


async def test_a_correction_is_followed_at_once(rig: Rig) -> None:
    await asyncio.sleep(3.5)
    before = rig.clock.now()
    rig.clock.jump(timedelta(seconds=-4))
    await asyncio.sleep(1)
    assert rig.ticks[-1].stepped == timedelta()
    assert rig.clock.now() - before == timedelta(seconds=-3)


async def test_a_clock_that_was_set_back_and_forth_is_not_followed_twice(rig: Rig) -> None:
    await asyncio.sleep(3.5)
    rig.clock.jump(timedelta(hours=1))
    rig.clock.jump(timedelta(hours=-1))
    await asyncio.sleep(2)
    assert {tick.stepped for tick in rig.ticks} == {timedelta()}
