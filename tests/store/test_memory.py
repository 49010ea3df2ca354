"""The store in memory fails when it is told to, and lives in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from tests.store import samples
from watchdog.core.errors import StoreError
from watchdog.core.message import OutgoingState
from watchdog.core.request import Reply
from watchdog.core.turn import Turn
from watchdog.testing.store import MemoryStore

pytestmark = pytest.mark.virtual_time
FULL = StoreError("the disk is full", advice="free space")


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await store.open()
    await store.claim(now=samples.DAY)
    await store.commit(Turn(outbox=(samples.outgoing(1),)))
    return store


async def failures(store: MemoryStore) -> int:
    """How many of the three ways to write fail."""
    count = 0
    for write in (
        store.commit(Turn(incidents=(samples.incident(1),))),
        store.submit(samples.request(1)),
        store.settle("m0001:ops", state=OutgoingState.PENDING, due_at=samples.at(1)),
    ):
        try:
            await write
        except StoreError as error:
            assert error is FULL  # noqa: PT017  the other writes go on
            count += 1
    return count


async def test_it_fails_as_often_as_it_is_told(store: MemoryStore) -> None:
    store.fail_next(FULL)
    assert await failures(store) == 1
    store.fail_next(FULL, times=2)
    assert await failures(store) == 2
    assert await failures(store) == 0


async def test_it_fails_until_it_is_healed_and_writes_nothing(store: MemoryStore) -> None:
    heard: list[object] = []
    store.on_commit(heard.append)
    store.on_request(heard.append)
    store.fail_always(FULL)
    assert await failures(store) == 3
    assert await store.incident("i0001") is None
    assert (await store.due(now=samples.at(9)))[0].attempts == 0
    assert heard == []
    store.heal()
    assert await failures(store) == 0
    assert len(store.commits) == 2


async def test_a_reply_is_awaited_in_virtual_time(store: MemoryStore) -> None:
    async def answer() -> None:
        await asyncio.sleep(3600)
        await store.commit(Turn(replies=(Reply(request="q0001", status=200),)))

    async with asyncio.TaskGroup() as group:
        group.create_task(answer())
        assert (await store.reply("q0001")).status == 200
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await store.reply("q0002")
