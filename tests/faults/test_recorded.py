"""The judge of the crash tests must see what it is there to see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.faults.recorded import Recorded, RecordedSettings, RecordedSwitch
from watchdog.core.errors import SwitchConflict
from watchdog.core.traffic import Change, Tier

VERSIONS = {"blue": "v1", "green": "v2"}


@pytest.fixture
async def recorded() -> AsyncIterator[Recorded]:
    async with Recorded() as made:
        for tier in Tier:
            made.add(tier.value, tier=tier, live="green", versions=VERSIONS)
        yield made


def switch(recorded: Recorded, tier: Tier) -> RecordedSwitch:
    settings = RecordedSettings(socket=recorded.socket, object=tier.value, tier=tier)
    return RecordedSwitch(settings, name="trips")


def back(expect: str) -> Change:
    return Change(target="blue", away=("green",), expect=expect, mark="rb-1", epoch=3)


async def as_executor(work: object) -> None:
    assert asyncio.iscoroutine(work)
    await asyncio.create_task(work, name="executor:rb-1")


@pytest.mark.parametrize("tier", list(Tier))
async def test_a_write_of_what_was_just_read_is_no_fault(recorded: Recorded, tier: Tier) -> None:
    async def work() -> None:
        one = switch(recorded, tier)
        await one.apply(back((await one.read()).revision))

    await as_executor(work())
    assert recorded.faults() == []
    assert [entry.after for entry in recorded.moves(tier.value)] == [("blue",)]
    assert recorded.mark(tier.value) == ("rb-1" if tier is Tier.A else None)


async def test_a_write_that_nobody_read_for_is_refused_on_tier_a_and_a_fault_on_both(
    recorded: Recorded,
) -> None:
    async def blind(tier: Tier) -> None:
        await switch(recorded, tier).apply(back("r1"))

    with pytest.raises(SwitchConflict, match="unread"):
        await as_executor(blind(Tier.A))
    await as_executor(blind(Tier.B))
    assert [len(recorded.moves(tier.value)) for tier in Tier] == [0, 1]
    assert len(recorded.faults()) == 2


@pytest.mark.parametrize("tier", list(Tier))
async def test_a_write_with_a_revision_from_before_somebody_else_is_refused(
    recorded: Recorded, tier: Tier
) -> None:
    async def late() -> None:
        one = switch(recorded, tier)
        before = await one.read()
        recorded.move(tier.value, "blue")
        recorded.move(tier.value, "green", version="v3")
        await one.apply(back(before.revision))

    with pytest.raises(SwitchConflict):
        await as_executor(late())
    assert recorded.live(tier.value) == ("green",)


async def test_two_writes_after_one_read_and_a_write_of_another_task_are_faults(recorded: Recorded) -> None:
    one = switch(recorded, Tier.A)

    async def twice() -> None:
        state = await one.apply(back((await one.read()).revision))
        await one.apply(back(state.revision))

    await as_executor(twice())
    (fault,) = recorded.faults()
    assert "without having read" in fault
    since = len(recorded.log)
    await one.apply(back((await one.read()).revision))
    (fault,) = recorded.faults(since=since)
    assert "written by" in fault
