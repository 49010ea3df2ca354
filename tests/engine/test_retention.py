"""What nobody needs any more is forgotten a little at a time, and a broken store is nobody's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from tests.engine.test_dispatcher import DISK_FULL, outgoing
from watchdog.core.message import Attempted, OutgoingState
from watchdog.core.turn import Turn
from watchdog.engine.retention import BATCH, KEPT_FOR, ROUND, Retention
from watchdog.testing.clock import BASE, LoopClock
from watchdog.testing.store import MemoryStore

pytestmark = pytest.mark.virtual_time


class Counting(MemoryStore):
    """Notes how much was forgotten at once."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    async def prune(self, *, before: datetime, limit: int = 200) -> int:
        self.batches.append(await super().prune(before=before, limit=limit))
        return self.batches[-1]


@pytest.fixture
async def store() -> AsyncIterator[Counting]:
    store = Counting()
    await store.open()
    await store.claim(now=BASE)
    rows = tuple(outgoing(f"m{number}") for number in range(BATCH + 50))
    await store.commit(Turn(outbox=(*rows, outgoing("waits"))))
    await store.settle_many(
        [Attempted(key=row.key, state=OutgoingState.SENT, due_at=BASE + timedelta(minutes=1)) for row in rows]
    )
    task = asyncio.create_task(Retention(store, clock=LoopClock()).run())
    yield store
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_was_sent_is_kept_for_thirty_days_and_then_forgotten_in_batches(store: Counting) -> None:
    await asyncio.sleep(KEPT_FOR.total_seconds())
    assert set(store.batches) == {0}
    store.batches.clear()
    await asyncio.sleep(2 * ROUND)
    assert [count for count in store.batches if count] == [BATCH, 50]
    assert [row.key for row in (await store.outbox()).items] == ["waits@ops"]


async def test_a_store_that_fails_is_asked_again_in_the_next_round(store: Counting) -> None:
    store.fail_always(DISK_FULL)
    await asyncio.sleep(KEPT_FOR.total_seconds() + 2 * ROUND)
    assert store.batches == []
    store.heal()
    await asyncio.sleep(ROUND + 10)
    assert sum(store.batches) == BATCH + 50
