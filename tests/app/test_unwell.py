"""A follower's store that does not answer: told once it has lasted, and again only seldom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from watchdog.app.unwell import TELL_AFTER, TELL_AGAIN_AFTER, Unwell
from watchdog.core.errors import StoreError
from watchdog.testing.clock import LoopClock

pytestmark = pytest.mark.virtual_time
AWAY = StoreError("store postgresql://db/x: it did not answer in time", advice="see whether it runs")


class Rig:
    def __init__(self) -> None:
        self.told: list[StoreError] = []
        self.unwell = Unwell(self._tell, clock=LoopClock())

    async def _tell(self, error: StoreError) -> None:
        self.told.append(error)

    async def failing(self, seconds: float, *, what: str = "read") -> None:
        """It fails every three seconds for so long."""
        for _ in range(int(seconds // 3)):
            self.unwell.fails(what, AWAY)
            await asyncio.sleep(3)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.unwell.aclose()


async def test_what_passes_within_a_minute_is_nobodys_news(rig: Rig) -> None:
    with capture_logs() as logs:
        await rig.failing(TELL_AFTER.total_seconds() - 3)
        rig.unwell.works("read")
        await rig.failing(TELL_AFTER.total_seconds() - 3)
        rig.unwell.works("read")
    assert rig.told == []
    assert [one["event"] for one in logs] == ["store_failed", "store_recovered"] * 2


async def test_what_lasts_is_told_and_told_again_after_a_while(rig: Rig) -> None:
    await rig.failing(TELL_AFTER.total_seconds() + 6)
    assert rig.told == [AWAY]
    await rig.failing(TELL_AGAIN_AFTER.total_seconds() - 30)
    assert rig.told == [AWAY]
    await rig.failing(60)
    assert rig.told == [AWAY, AWAY]


async def test_two_things_that_fail_are_one_news(rig: Rig) -> None:
    for _ in range(40):
        rig.unwell.fails("read", AWAY)
        rig.unwell.fails("claim", AWAY)
        await asyncio.sleep(3)
    assert rig.told == [AWAY]
    rig.unwell.works("claim")
    await rig.failing(30)
    assert rig.told == [AWAY], "the other one still fails"
