"""The store in a SQL database: one writer, one transaction a turn, durable before `commit` returns.

Every write looks in its own transaction whether this process is still the one that claimed the store last. This module
must never decide what is written, nor retry: after a `StoreError` nothing of that call is stored, and it is the caller
who may do nothing more until a write works again. A commit can report an error and be stored all the same: the last
link of its chain tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection

from watchdog.aio.crew import Crew
from watchdog.aio.faultpoint import ANNOUNCE, OPENING, PRUNING, REQUEST, SETTLING, TURN, Transaction
from watchdog.core.audit import ChainHead
from watchdog.core.errors import StoreAhead, StoreError
from watchdog.core.message import Attempted, Outgoing, OutgoingState
from watchdog.core.request import Reply, Request
from watchdog.core.turn import Turn
from watchdog.store.announcer import Announcer
from watchdog.store.hearing import Hearing
from watchdog.store.interface import Saved, Wanted
from watchdog.store.lane import Works
from watchdog.store.loading import read_reply, read_saved, read_unanswered
from watchdog.store.migrate import migrate
from watchdog.store.outbox import prune, read_due, require_all, write_settled
from watchdog.store.reader import SqlReader
from watchdog.store.rows import request_row, turn_rows
from watchdog.store.statements import (
    read_head,
    read_next_number,
    require_writer,
    write_claim,
    write_request,
    write_turn,
)

R = TypeVar("R")


class SqlStore(SqlReader):
    """What both databases have in common. `look_every`: seconds after which to look for what other processes stored.

    `None` where there are no others.
    """

    def __init__(self, place: str, *, reads: Works, writes: Works, look_every: float | None = None) -> None:
        super().__init__(place, reads)
        self._writes = writes
        self._look_every = look_every
        self._announcer = Announcer()
        self._hearing = Hearing(self._announcer.requested)
        self._crew = Crew("store")
        self._head = ChainHead()
        self._doubt: ChainHead | None = None
        self._epoch: int | None = None
        self._numbers = itertools.count(1)
        self._opened = False

    async def open(self) -> None:
        try:
            await self._writes.run(self._prepare, during=OPENING)
        except BaseException:
            await self.aclose()
            raise
        self._opened = True

    async def claim(self, *, now: datetime) -> int:
        self._require_open()
        await self._stop_listening()

        def work(connection: Connection) -> tuple[int, ChainHead, int]:
            return write_claim(connection, now), read_head(connection), read_next_number(connection)

        def then(found: tuple[int, ChainHead, int]) -> None:
            self._epoch, self._head, first = found
            self._numbers = itertools.count(first)
            self._doubt = None

        epoch, _, _ = await self._write(work, then, during=OPENING)
        return epoch

    async def load(self, *, now: datetime) -> Saved:
        def work(connection: Connection) -> Saved:
            self._at_one_moment(connection)
            return read_saved(connection, now)

        def then(saved: Saved) -> None:
            if self._epoch is not None:
                self._hearing.start(saved.requests)

        # On the writer's lane: whoever was cancelled in a commit reads here what became of it.
        saved = await self._write(work, then, during=OPENING)
        if self._epoch is not None and self._look_every is not None and not self._crew.busy("requests"):
            self._crew.start("requests", self._listen(self._look_every))
        return saved

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
        if self._doubt is not None and await self._head_for_sure() == self._doubt:
            raise StoreAhead(
                f"store {self.place}: a turn is stored that could not be written, as it seemed; starting afresh from it"
            )
        self._doubt = None

    async def _is_stored(self, end: ChainHead) -> bool:
        """Whether the chain ends so. False when it cannot be read: then the next turn asks again."""
        try:
            return await self._head_for_sure() == end
        except StoreError:
            return False

    async def submit(self, request: Request) -> None:
        self._require_open()
        row = request_row(request)

        def then(is_new: bool) -> None:  # noqa: FBT001  the lane hands over what the work answered
            if is_new:
                self._hearing.stored(request)

        await self._write(lambda connection: write_request(connection, row), then, during=REQUEST)

    def on_request(self, listener: Callable[[Request], None]) -> None:
        self._announcer.on_request(listener)

    async def reply(self, request: str) -> Reply:
        self._require_open()
        future = self._announcer.expect(request)
        try:
            while (answered := await self._answered(request)) is None:
                done, _ = await asyncio.wait([future], timeout=self._look_every)
                if done:
                    return future.result()
            return answered
        finally:
            self._announcer.forget(request, future)

    async def _answered(self, request: str) -> Reply | None:
        """The reply, if it is there. Where it is looked for again, a look that fails is no reason to give up."""
        try:
            return await self._read(lambda connection: read_reply(connection, request))
        except StoreError:
            if self._look_every is None:
                raise
            return None

    def on_commit(self, listener: Callable[[Turn], None]) -> None:
        self._announcer.on_commit(listener)

    async def due(self, *, now: datetime, limit: int = 100) -> tuple[Outgoing, ...]:
        return await self._read(lambda connection: read_due(connection, Wanted(now=now, limit=limit), None))

    async def take(self, wanted: Wanted) -> tuple[Outgoing, ...]:
        """Where only one process can have the store nothing is written: see the interface."""
        return await self._read(lambda connection: read_due(connection, wanted, None))

    async def settle(
        self,
        key: str,
        *,
        state: OutgoingState,
        due_at: datetime,
        last_error: str = "",
        sent_at: datetime | None = None,
        reference: str = "",
    ) -> None:
        attempt = Attempted(
            key=key,
            state=state,
            due_at=due_at,
            last_error=last_error,
            sent_at=sent_at,
            reference=reference,
        )
        require_all(await self.settle_many((attempt,)))

    async def settle_many(self, attempts: Sequence[Attempted]) -> frozenset[str]:
        self._require_open()
        epoch = self._claimed()

        def work(connection: Connection) -> frozenset[str]:
            require_writer(connection, epoch)
            return write_settled(connection, attempts)

        return await self._write(work, during=SETTLING)

    async def prune(self, *, before: datetime, limit: int = 200) -> int:
        self._require_open()
        epoch = self._claimed()

        def work(connection: Connection) -> int:
            require_writer(connection, epoch)
            return prune(connection, before, limit)

        return await self._write(work, during=PRUNING)

    async def aclose(self) -> None:
        self._opened = False
        await self._stop_listening()
        await self._reads.aclose()
        await self._writes.aclose()
        self._announcer.close()

    async def _listen(self, every: float) -> None:
        """Find the requests that other processes store, until cancelled."""
        while True:
            look = self._hearing.look()
            with contextlib.suppress(StoreError):  # the reactor tells about a store that does not work
                self._hearing.looked(look, await self._read(read_unanswered))
            await asyncio.sleep(every)

    async def _stop_listening(self) -> None:
        self._hearing.stop()
        await self._crew.stop()

    async def _head_for_sure(self) -> ChainHead:
        """Where the chain ends, with no transaction under way that could still change it."""
        return await self._read(read_head)

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
        return await self._writes.run(work, then, during=during)

    def _prepare(self, connection: Connection) -> None:
        migrate(connection, self.place)

    def _at_one_moment(self, connection: Connection) -> None:
        """Let all statements of the transaction that begins see the same."""

    def _require_open(self) -> None:
        if not self._opened:
            raise StoreError("the store is not open")

    def _claimed(self) -> int:
        if self._epoch is None:
            raise StoreError("the store was not claimed: this process is not its writer")
        return self._epoch


def _end_of(turn: Turn) -> ChainHead | None:
    """Where the chain ends once a turn is stored; `None` for one that adds nothing to it."""
    return ChainHead(seq=turn.audit[-1].seq, hash=turn.audit[-1].hash) if turn.audit else None
