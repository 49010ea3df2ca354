"""A lane: one connection on one thread of its own, and the works that run on it one after the other.

A work is a plain function over a SQLAlchemy connection, run inside one transaction from its first to its last
statement: one hop to the thread and back, however many statements (through an async driver each statement hops several
times, which measured three to five times slower). This module must never know a table.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from watchdog.aio.faultpoint import Transaction, passing
from watchdog.core.errors import StoreError

R = TypeVar("R")


class Works(Protocol):
    """Runs works one after the other, each in one transaction: `Lane` on a thread, `RemoteLane` on the loop."""

    async def run(
        self,
        work: Callable[[Connection], R],
        then: Callable[[R], None] | None = None,
        *,
        during: Transaction | None = None,
    ) -> R:
        """Run `work` in one transaction; `then` hears of its success on the loop, even if the caller is gone.

        `during` are the fault points of one that writes.

        Cancelled while waiting for its turn, nothing is done. Cancelled later, the work still runs to its end, whole
        or not at all, before the next one starts. Raises `StoreError`.
        """
        ...

    async def aclose(self) -> None:
        """Wait for the running work, then close. Idempotent, never raises."""
        ...


class Lane:
    """Runs works on the connection that `connect` opens on the lane's thread when the first work comes.

    `explain` makes a `StoreError` of whatever the driver raises.
    """

    def __init__(
        self, name: str, connect: Callable[[], Connection], explain: Callable[[Exception], StoreError]
    ) -> None:
        self._connect = connect
        self._explain = explain
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._turnstile = asyncio.Lock()
        self._connection: Connection | None = None
        self._closed = False

    async def run(
        self,
        work: Callable[[Connection], R],
        then: Callable[[R], None] | None = None,
        *,
        during: Transaction | None = None,
    ) -> R:
        """Run `work` in one transaction; `then` hears of its success on the loop, even if the caller is gone.

        `during` are the fault points of one that writes.

        Cancelled while waiting for its turn, nothing is done. Cancelled later, the work still runs to its end, whole
        or not at all, before the next one starts. Raises `StoreError`.
        """
        await self._turnstile.acquire()
        try:
            if self._closed:
                raise StoreError("the store is closed")
            future = asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work, during)
        except BaseException:
            self._turnstile.release()
            raise

        def finished(done: asyncio.Future[R]) -> None:
            self._turnstile.release()
            if not done.cancelled() and done.exception() is None and then is not None:
                then(done.result())

        future.add_done_callback(finished)
        return await asyncio.shield(future)

    async def aclose(self) -> None:
        """Wait for the running work, then close. Idempotent, never raises."""
        async with self._turnstile:
            if self._closed:
                return
            self._closed = True
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect))
            self._thread.shutdown(wait=False)

    def _transact(self, work: Callable[[Connection], R], during: Transaction | None) -> R:
        try:
            if self._connection is None:
                self._connection = self._connect()
            with self._connection.begin():
                if during is None:
                    return work(self._connection)
                passing(during.begun)
                answer = work(self._connection)
                passing(during.written)
            passing(during.committed)
            return answer
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise self._explain(error) from error

    def _disconnect(self) -> None:
        if self._connection is not None:
            # A last checkpoint may find the disk full. What was committed is in the -wal file all the same.
            with contextlib.suppress(SQLAlchemyError, sqlite3.Error, OSError):
                self._connection.close()
            self._connection = None
