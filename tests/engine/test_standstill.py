from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from watchdog.engine.standstill import BEAT, STOOD, Standstill
from watchdog.testing.clock import BASE, LoopClock

pytestmark = pytest.mark.virtual_time

NAP = timedelta(minutes=10)


class Rig:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.standstill = Standstill(self.clock)
        self.standstill.begin()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    one = Rig()
    yield one
    one.standstill.end()


async def test_a_loop_that_runs_did_not_stand_still(rig: Rig) -> None:
    for _ in range(50):
        await asyncio.sleep(7.3)
        assert rig.standstill.noticed() is None


async def test_a_sleep_is_noticed_at_once_and_told_once(rig: Rig) -> None:
    await asyncio.sleep(10.5)
    rig.clock.suspend(NAP)
    since = rig.standstill.noticed()
    assert since == BASE + timedelta(seconds=10), "the last mark"
    assert rig.standstill.noticed() is None


async def test_a_sleep_that_nobody_asked_about_at_once_is_kept(rig: Rig) -> None:
    await asyncio.sleep(10.5)
    rig.clock.suspend(NAP)
    await asyncio.sleep(30)
    since = rig.standstill.noticed()
    assert since is not None
    assert abs(since - (BASE + timedelta(seconds=10))) < timedelta(milliseconds=1)


async def test_of_two_the_first_one_is_its_beginning(rig: Rig) -> None:
    await asyncio.sleep(10.5)
    rig.clock.suspend(NAP)
    await asyncio.sleep(5)
    rig.clock.suspend(NAP)
    await asyncio.sleep(5)
    since = rig.standstill.noticed()
    assert since is not None
    assert abs(since - (BASE + timedelta(seconds=10))) < timedelta(milliseconds=1)
    assert rig.standstill.noticed() is None


async def test_a_clock_that_is_set_meanwhile_is_no_standstill_and_moves_its_beginning(rig: Rig) -> None:
    await asyncio.sleep(10.5)
    rig.clock.follow(timedelta(hours=1))
    assert rig.standstill.noticed() is None
    rig.clock.suspend(NAP)
    since = rig.standstill.noticed()
    assert since == BASE + timedelta(hours=1, seconds=10)


async def test_a_loop_that_is_late_by_little_is_busy_and_no_more(rig: Rig) -> None:
    await asyncio.sleep(10.5)
    rig.clock.suspend(timedelta(seconds=STOOD - BEAT))
    assert rig.standstill.noticed() is None


async def test_before_the_beginning_and_after_the_end_nothing_is_noticed() -> None:
    clock = LoopClock()
    standstill = Standstill(clock)
    clock.suspend(NAP)
    assert standstill.noticed() is None
    standstill.begin()
    clock.suspend(NAP)
    standstill.end()
    standstill.end()
    assert standstill.noticed() is None
    standstill.begin()
    assert standstill.noticed() is None
    standstill.end()
