"""One connection, one thread, one work after the other, whatever becomes of the caller."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from watchdog.core.errors import StoreError
from watchdog.store.lane import Lane


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    lane = Lane(
        "test",
        lambda: create_engine("sqlite://", poolclass=NullPool).connect(),
        lambda error: StoreError(f"explained: {error}"),
    )
    await lane.run(lambda connection: connection.execute(text("CREATE TABLE seen (n INTEGER UNIQUE)")))
    yield lane
    async with asyncio.timeout(5):
        await lane.aclose()


def note(number: int) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.execute(text(f"INSERT INTO seen VALUES ({number})"))  # noqa: S608

    return work


def read(connection: Connection) -> list[int]:
    return list(connection.execute(text("SELECT n FROM seen ORDER BY n")).scalars())


class Blocked:
    """A work that waits for a word before it goes on."""

    def __init__(self, work: Callable[[Connection], None]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self.begun = asyncio.Event()
        self.go = threading.Event()

    def __call__(self, connection: Connection) -> None:
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.go.wait(5)
        self._work(connection)


async def test_all_works_run_on_one_thread_that_is_not_the_loops(lane: Lane) -> None:
    threads = await asyncio.gather(*(lane.run(lambda _: threading.get_ident()) for _ in range(5)))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_a_work_cancelled_while_it_runs_is_done_whole_and_announced(lane: Lane) -> None:
    work = Blocked(note(1))
    heard: list[None] = []
    task = asyncio.create_task(lane.run(work, heard.append))
    await work.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    work.go.set()
    assert await lane.run(read) == [1]
    assert heard == [None]


async def test_a_work_cancelled_while_it_waits_is_never_done(lane: Lane) -> None:
    work = Blocked(note(1))
    running = asyncio.create_task(lane.run(work))
    await work.begun.wait()
    waiting = asyncio.create_task(lane.run(note(2)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    work.go.set()
    await running
    assert await lane.run(read) == [1]


async def test_a_work_that_fails_after_its_caller_is_gone_complains_to_nobody(lane: Lane) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    await lane.run(note(1))
    work = Blocked(note(1))
    task = asyncio.create_task(lane.run(work))
    await work.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    work.go.set()
    assert await lane.run(read) == [1]
    assert complaints == []


async def test_a_work_that_fails_is_undone_explained_and_chained(lane: Lane) -> None:
    def work(connection: Connection) -> None:
        note(1)(connection)
        note(1)(connection)

    heard: list[None] = []
    with pytest.raises(StoreError, match=r"explained: .*UNIQUE") as caught:
        await lane.run(work, heard.append)
    assert caught.value.__cause__ is not None
    assert heard == []
    assert await lane.run(read) == []


async def test_closing_waits_for_the_running_work_and_can_be_repeated(lane: Lane) -> None:
    work = Blocked(note(1))
    running = asyncio.create_task(lane.run(work))
    await work.begun.wait()
    closing = asyncio.create_task(lane.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    work.go.set()
    await asyncio.gather(running, closing)
    await lane.aclose()
    with pytest.raises(StoreError, match="closed"):
        await lane.run(read)


async def test_a_connection_that_fails_to_open_is_tried_again_by_the_next_work() -> None:
    answers: list[Exception] = [sqlite3.OperationalError("not yet"), OSError("not yet either")]

    def connect() -> Connection:
        if answers:
            raise answers.pop(0)
        return create_engine("sqlite://", poolclass=NullPool).connect()

    lane = Lane("test", connect, lambda error: StoreError(str(error)))
    for words in ("not yet", "not yet either"):
        with pytest.raises(StoreError, match=words):
            await lane.run(lambda connection: None)
    assert await lane.run(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1
    await lane.aclose()
