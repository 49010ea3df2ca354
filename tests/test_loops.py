"""Virtual time is fast, exact and only where it was asked for."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.loops import VirtualTimeLoop


@pytest.mark.virtual_time
async def test_an_hour_passes_in_milliseconds() -> None:
    began = time.monotonic()
    await asyncio.sleep(3600)
    assert asyncio.get_running_loop().time() == pytest.approx(3600)
    assert time.monotonic() - began < 1


@pytest.mark.virtual_time
async def test_timers_fire_in_their_order() -> None:
    seen: list[str] = []

    async def note(word: str, after: float) -> None:
        await asyncio.sleep(after)
        seen.append(word)

    async with asyncio.TaskGroup() as group:
        group.create_task(note("late", 90))
        group.create_task(note("early", 30))
    assert seen == ["early", "late"]


@pytest.mark.virtual_time
async def test_a_timeout_ends_what_never_ends() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(600):
            await asyncio.Event().wait()
    assert asyncio.get_running_loop().time() == pytest.approx(600)


@pytest.mark.virtual_time
async def test_a_thread_is_awaited_when_no_timer_is_set() -> None:
    assert await asyncio.to_thread(lambda: 7) == 7


async def test_without_the_marker_the_loop_is_a_real_one() -> None:
    assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
