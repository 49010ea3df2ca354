"""The poll that every other test waits with."""

from __future__ import annotations

import asyncio

import pytest

from tests.eventually import Eventually

pytestmark = pytest.mark.virtual_time


async def test_it_answers_the_first_truthy_value(eventually: Eventually) -> None:
    answers = iter([0, None, "there"])
    assert await eventually(lambda: next(answers)) == "there"


async def test_it_awaits_an_async_condition(eventually: Eventually) -> None:
    async def condition() -> int:
        return 3

    assert await eventually(condition) == 3


async def test_it_lets_assertions_fail_meanwhile(eventually: Eventually) -> None:
    values = iter(range(3))

    def condition() -> bool:
        value = next(values)
        assert value == 2
        return True

    assert await eventually(condition)


async def test_it_says_what_was_awaited_and_seen_last(eventually: Eventually) -> None:
    with pytest.raises(AssertionError, match=r"not within 2 s: the switch; last seen: \[\]"):
        await eventually(list[int], within=2, what="the switch")


async def test_a_condition_that_hangs_ends_at_the_deadline(eventually: Eventually) -> None:
    async def hang() -> bool:
        return await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="hang; last seen: no answer yet"):
        await eventually(hang, within=2)


async def test_other_exceptions_come_through(eventually: Eventually) -> None:
    with pytest.raises(ZeroDivisionError):
        await eventually(lambda: 1 / 0)
