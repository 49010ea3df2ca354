"""The store in a SQL database: one writer, one transaction a turn, on the disk before `commit` returns.

Every write looks in its own transaction whether this process is still the one that claimed the store last.

This module must never decide what is written, nor retry: after a `StoreError` nothing of that call is stored, and it
is the caller who may do nothing more until a write works again. A commit can report an error and be on the disk all
the same: the last link of its chain tells.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection

from watchdog.aio.faultpoint import ANNOUNCE, OPENING, REQUEST, SETTLING, TURN, Transaction
from watchdog.core.audit import ChainHead
from watchdog.core.errors import StoreAhead, StoreError
from watchdog.core.message import Outgoing, OutgoingState
from watchdog.core.request import Reply, Request
from watchdog.core.turn import Turn
from watchdog.store.announcer import Announcer
from watchdog.store.interface import Saved
from watchdog.store.lane import Lane
from watchdog.store.loading import read_due, read_reply, read_saved
from watchdog.store.lock import HostLock
from watchdog.store.migrate import migrate
from watchdog.store.reader import SqlReader
from watchdog.store.rows import request_row, turn_rows
from watchdog.store.sqlite import connect_writer
from watchdog.store.statements import (
    read_head,
    read_next_number,
    require_writer,
    write_claim,
    write_request,
    write_settled,
    write_turn,
)

R = TypeVar("R")


class SqlStore(SqlReader):
    """A store in the SQLite file that `url` names. Raises `ConfigError` for an address that names none."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._lock = HostLock(self.path)
        self._writes = Lane("store-writer", self._connect_writer, self._explain)
        self._announcer = Announcer()
        self._head = ChainHead()
        self._doubt: ChainHead | None = None
        self._epoch: int | None = None
        self._numbers = itertools.count(1)
        self._inode: tuple[int, int] | None = None
        self._opened = False

    async def open(self) -> None:
        try:
            self._numbers = itertools.count(await self._writes.run(self._prepare, during=OPENING))
        except BaseException:
            await self.aclose()
            raise
        self._opened = True

    async def claim(self, *, now: datetime) -> int:
        def work(connection: Connection) -> tuple[int, ChainHead, int]:
            return write_claim(connection, now), read_head(connection), read_next_number(connection)

        def then(found: tuple[int, ChainHead, int]) -> None:
            self._epoch, self._head, first = found
            self._numbers = itertools.count(first)
            self._doubt = None

        epoch, _, _ = await self._write(work, then, during=OPENING)
        return epoch

    async def load(self, *, now: datetime) -> Saved:
        # On the writer's lane: whoever was cancelled in a commit reads here what became of it.
        return await self._write(lambda connection: read_saved(connection, now), during=OPENING)

    async def commit(self, turn: Turn) -> None:
        self._require_open()
        if turn.empty:
            return
        epoch = self._claimed()
        rows = turn_rows(turn, lambda: next(self._numbers))

        def work(connection: Connection) -> ChainHead:
            require_writer(connection, epoch)
            return write_turn(connection, rows, self._head)

        def then(head: ChainHead) -> None:
            with ANNOUNCE:
                self._head = head
                self._announcer.committed(turn)

        await self._know_the_last()
        try:
            await self._write(work, then, during=TURN)
        except StoreError:
            end = _end_of(turn)
            if end is None or end == self._head:  # nothing to tell it by, or offered a second time
                raise
            self._doubt = end
            if not await self._is_stored(end):
                raise
            self._doubt = None
            then(end)

    async def _know_the_last(self) -> None:
        """Nothing is written while it is not known whether the last turn was."""
        if self._doubt is not None and await self._read(read_head) == self._doubt:
            raise StoreAhead(
                f"store {self.path}: a turn is stored that could not be written, as it seemed; starting afresh from it"
            )
        self._doubt = None

    async def _is_stored(self, end: ChainHead) -> bool:
        """Whether the chain ends so. False when it cannot be read: then the next turn asks again."""
        try:
            return await self._read(read_head) == end
        except StoreError:
            return False

    async def submit(self, request: Request) -> None:
        self._require_open()
        row = request_row(request, next(self._numbers))

        def then(is_new: bool) -> None:  # noqa: FBT001  the lane hands over what the work answered
            if is_new:
                self._announcer.requested(request)

        await self._write(lambda connection: write_request(connection, row), then, during=REQUEST)

    def on_request(self, listener: Callable[[Request], None]) -> None:
        self._announcer.on_request(listener)

    async def reply(self, request: str) -> Reply:
        future = self._announcer.expect(request)
        try:
            answered = await self._read(lambda connection: read_reply(connection, request))
            return answered if answered is not None else await future
        finally:
            self._announcer.forget(request, future)

    def on_commit(self, listener: Callable[[Turn], None]) -> None:
        self._announcer.on_commit(listener)

    async def due(self, *, now: datetime, limit: int = 100) -> tuple[Outgoing, ...]:
        return await self._read(lambda connection: read_due(connection, now, limit))

    async def settle(
        self,
        key: str,
        *,
        state: OutgoingState,
        due_at: datetime,
        last_error: str = "",
        sent_at: datetime | None = None,
    ) -> None:
        self._require_open()
        epoch = self._claimed()

        def work(connection: Connection) -> None:
            require_writer(connection, epoch)
            write_settled(connection, key, state=state, due_at=due_at, last_error=last_error, sent_at=sent_at)

        await self._write(work, during=SETTLING)

    async def aclose(self) -> None:
        self._opened = False
        await self._reads.aclose()
        await self._writes.aclose()
        self._announcer.close()
        self._lock.release()

    async def _read(self, work: Callable[[Connection], R]) -> R:
        self._require_open()
        return await super()._read(work)

    async def _write(
        self,
        work: Callable[[Connection], R],
        then: Callable[[R], None] | None = None,
        *,
        during: Transaction,
    ) -> R:
        self._require_open()

        def in_place(connection: Connection) -> R:
            self._require_same_file()
            return work(connection)

        return await self._writes.run(in_place, then, during=during)

    def _prepare(self, connection: Connection) -> int:
        migrate(connection, self.path)
        return read_next_number(connection)

    def _connect_writer(self) -> Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        connection = connect_writer(self.path)
        status = self.path.stat()
        self._inode = (status.st_dev, status.st_ino)
        return connection

    def _require_open(self) -> None:
        if not self._opened:
            raise StoreError("the store is not open")

    def _claimed(self) -> int:
        if self._epoch is None:
            raise StoreError("the store was not claimed: this process is not its writer")
        return self._epoch

    def _require_same_file(self) -> None:
        # SQLite goes on writing into a file that was removed; what it writes there is lost at the next start.
        try:
            status = self.path.stat()
        except FileNotFoundError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != self._inode:
            raise StoreError(
                f"store {self.path}: the file was removed or replaced while the watchdog was using it",
                advice="put the file back, or restart the watchdog to go on with what is there now",
            )


def _end_of(turn: Turn) -> ChainHead | None:
    """Where the chain ends once a turn is stored; `None` for one that adds nothing to it."""
    return ChainHead(seq=turn.audit[-1].seq, hash=turn.audit[-1].hash) if turn.audit else None
