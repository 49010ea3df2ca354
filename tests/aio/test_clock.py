"""The machine's clock and the loop's: one interface."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from watchdog.aio.clock import Clock, SystemClock
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
