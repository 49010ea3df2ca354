"""The machine's clock and the loop's: one interface."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from watchdog.aio.clock import Clock, SteadyClock, SystemClock
from watchdog.testing.clock import BASE, LoopClock


async def test_the_machines_clock_is_aware_and_goes_on() -> None:
    clock: Clock = SystemClock()
    before, tick = clock.now(), clock.monotonic()
    assert before.tzinfo is UTC
    assert abs(datetime.now(UTC) - before) < timedelta(seconds=5)
    await clock.sleep(0.01)
    await clock.sleep(-1)
    assert clock.now() > before
    assert clock.monotonic() >= tick + 0.009


@pytest.mark.virtual_time
async def test_the_loops_clock_brings_virtual_days() -> None:
    clock: Clock = LoopClock()
    assert clock.now() == BASE
    await clock.sleep(86400)
    await clock.sleep(-1)
    assert clock.now() == BASE + timedelta(days=1)
    assert clock.monotonic() == asyncio.get_running_loop().time() == 86400


@pytest.mark.virtual_time
async def test_the_loops_clock_may_begin_anywhere() -> None:
    base = datetime(2030, 1, 1, tzinfo=UTC)
    assert LoopClock(base).now() == base


class Hands:
    """The machine's clocks, set by hand. `between` is what happens while both are read."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000.0
        self.boot = 1000.0
        self.between: list[float] = []

    def clock(self) -> SystemClock:
        return SystemClock(wall=self._look, boot=lambda: self.boot)

    def _look(self) -> float:
        now = self.wall
        if self.between:
            stopped = self.between.pop(0)
            self.boot += stopped
            self.wall += stopped
        return now

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds


def test_a_time_of_day_that_is_set_moves_nothing_until_it_is_followed() -> None:
    hands = Hands()
    clock: SteadyClock = hands.clock()
    before = clock.now()
    assert before == datetime.fromtimestamp(hands.wall, UTC)
    hands.passes(60)
    hands.wall -= 3600
    assert clock.now() - before == timedelta(minutes=1)
    assert clock.stepped() == timedelta(hours=-1)
    clock.follow(clock.stepped())
    assert clock.stepped() == timedelta()
    assert clock.now() == datetime.fromtimestamp(hands.wall, UTC)


def test_a_sleep_is_time_that_passes_and_no_step() -> None:
    hands = Hands()
    clock = hands.clock()
    before, booted = clock.now(), clock.boottime()
    hands.passes(600)
    assert clock.now() - before == timedelta(minutes=10)
    assert clock.boottime() - booted == 600
    assert clock.stepped() == timedelta()


@pytest.mark.parametrize("often", [1, 5, 1000])
def test_whoever_is_stopped_between_two_clocks_takes_it_for_no_step(often: int) -> None:
    hands = Hands()
    clock = hands.clock()
    hands.between = [30.0] * often
    assert clock.stepped() == timedelta()


def test_the_machines_own_clocks_agree() -> None:
    clock = SystemClock()
    assert abs(clock.stepped()) < timedelta(seconds=1)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=1)
