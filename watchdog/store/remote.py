"""A remote lane: one connection to a PostgreSQL server, and the works that run on it one after the other.

The same works as those of a `Lane`, run by SQLAlchemy on the loop. Whatever hangs, a work ends within the address's
time: the connection is given up then, and the next work opens another. What a server did of a transaction whose end it
did not confirm is not known here. This module must never know a table, and never retry.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from watchdog.aio.faultpoint import Transaction, passing
from watchdog.core.errors import StoreError, WatchdogError
from watchdog.core.units import format_duration
from watchdog.postgres.address import PostgresAddress
from watchdog.postgres.connecting import connect
from watchdog.postgres.faults import DRIVER, Deadline, Unfit

R = TypeVar("R")
_FAULTS = (SQLAlchemyError, OSError, Unfit, *DRIVER)


class RemoteLane:
    """Runs works on a connection to `address`, which the first work opens, and the next one after it was lost.

    `writing`: on a server that takes writes. `isolation` of every transaction. `explain` makes a `StoreError` of
    whatever went wrong.
    """

    def __init__(
        self,
        address: PostgresAddress,
        explain: Callable[[Exception], StoreError],
        *,
        name: str,
        writing: bool,
        isolation: str,
    ) -> None:
        self._address = address
        self._explain = explain
        self._name = name
        self._writing = writing
        self._isolation = isolation
        self._turnstile = asyncio.Lock()
        self._engine: AsyncEngine | None = None
        self._connection: AsyncConnection | None = None
        self._wire: asyncpg.Connection | None = None
        self._late = False
        self._closed = False

    async def run(
        self,
        work: Callable[[Connection], R],
        then: Callable[[R], None] | None = None,
        *,
        during: Transaction | None = None,
    ) -> R:
        """As `Works` promises; the address's `timeout` for the connection, and for the transaction."""
        await self._turnstile.acquire()
        try:
            if self._closed:
                raise StoreError("the store is closed")
            task = asyncio.create_task(self._transact(work, during), name=self._name)
        except BaseException:
            self._turnstile.release()
            raise

        def finished(done: asyncio.Task[R]) -> None:
            self._turnstile.release()
            if not done.cancelled() and done.exception() is None and then is not None:
                then(done.result())

        task.add_done_callback(finished)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Wait for the running work, then close. Idempotent, never raises."""
        async with self._turnstile:
            if self._closed:
                return
            self._closed = True
            wire = self._wire
            if wire is not None and not wire.is_closed():
                with contextlib.suppress(*_FAULTS), self._within_time():
                    await wire.close()  # says good-bye: the server's log has no broken connections of ours
            await self._give_up()

    async def _transact(self, work: Callable[[Connection], R], during: Transaction | None) -> R:
        try:
            connection = await self._connected()
            with self._within_time():
                transaction = await connection.begin()
                if during is not None:
                    passing(during.begun)
                answer = await connection.run_sync(work)
                if during is not None:
                    passing(during.written)
                await transaction.commit()
            if during is not None:
                passing(during.committed)
        except BaseException as error:
            late = self._late
            await self._recover(error)
            if late:
                allowed = format_duration(self._address.timeout)
                raise self._explain(Deadline(f"it did not answer within {allowed}")) from error
            if isinstance(error, _FAULTS):
                raise self._explain(error) from error
            raise
        return answer

    @contextlib.contextmanager
    def _within_time(self) -> Iterator[None]:
        """Give the connection up when it is not done in time: whatever waits for the server fails then, at once."""
        self._late = False
        timer = asyncio.get_running_loop().call_later(self._address.timeout.total_seconds(), self._cut)
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        self._late = True
        if self._wire is not None:
            self._wire.terminate()

    async def _connected(self) -> AsyncConnection:
        if self._connection is not None and self._wire is not None and not self._wire.is_closed():
            return self._connection
        await self._give_up()
        self._late = False
        self._wire = await connect(self._address, name=self._name, writing=self._writing)
        if self._engine is None:
            self._engine = create_async_engine(
                "postgresql+asyncpg://",
                async_creator=self._hand_over,
                poolclass=NullPool,
                isolation_level=self._isolation,
                # Parameters are records: they must not appear in the text of an exception.
                hide_parameters=True,
            )
        with self._within_time():
            self._connection = await self._engine.connect()
        return self._connection

    async def _hand_over(self) -> asyncpg.Connection:
        """The connection that was just opened: SQLAlchemy knows nothing of hosts and limits."""
        return self._wire

    async def _recover(self, error: BaseException) -> None:
        """After a failure: a connection on which the next work can begin, or none.

        Kept is one on which nothing failed but what we refused, or the database refused to hold twice.
        """
        connection, wire = self._connection, self._wire
        kept = isinstance(error, WatchdogError | IntegrityError)
        if kept and connection is not None and wire is not None and not wire.is_closed():
            with contextlib.suppress(*_FAULTS), self._within_time():
                await connection.rollback()
                return
        await self._give_up()

    async def _give_up(self) -> None:
        """Let go of the connection without a word to the server."""
        connection, wire = self._connection, self._wire
        self._connection = self._wire = None
        if wire is not None:
            wire.terminate()
        if connection is not None:
            with contextlib.suppress(*_FAULTS):
                await connection.invalidate()
            with contextlib.suppress(*_FAULTS):
                await connection.close()
