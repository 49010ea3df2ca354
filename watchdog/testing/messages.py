"""The half of the store in memory that the dispatcher works with; and who may write, and whether it works.

This module must never forgive what the real store refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from watchdog.core.errors import StoreAhead, StoreError
from watchdog.core.message import Attempted, Outgoing, OutgoingState
from watchdog.store.codec import decode, stamp
from watchdog.store.cursor import read_number_cursor, write_cursor
from watchdog.store.interface import Page, Standing, Wanted
from watchdog.store.outbox import Hold, require_all
from watchdog.store.rows import Row
from watchdog.testing.outbox import MemoryOutbox

T = TypeVar("T")


class MemoryData:
    """What a store holds. Outlives the store that wrote it, as a disk does."""

    def __init__(self) -> None:
        self.services: dict[str, Row] = {}
        self.deployments: dict[str, Row] = {}
        self.incidents: dict[str, Row] = {}
        self.silences: dict[str, Row] = {}
        self.rollbacks: dict[str, Row] = {}
        self.checks: dict[tuple[str, ...], Row] = {}
        self.outbox: dict[str, Row] = {}
        self.audit: list[Row] = []
        self.requests: dict[str, Row] = {}
        self.next_number = 1
        self.epoch = 0

    def number(self) -> int:
        """The next place in the order of messages and requests."""
        self.next_number += 1
        return self.next_number - 1


class MemoryMessages:
    """The outbox of a store in memory.

    `fail_next` and `fail_always` make writes (`claim`, `commit`, `submit`, `settle`, `settle_many`, `prune`, and `take`
    where it leases) fail, `heal` ends it.
    """

    def __init__(self, data: MemoryData, *, shared: bool) -> None:
        self.data = data
        self._shared = shared
        self._outbox = MemoryOutbox(self.data.outbox)
        self._epoch: int | None = None
        self._opened = False
        self._failures: list[StoreError] = []
        self._failing: StoreError | None = None

    def fail_next(self, error: StoreError, *, times: int = 1) -> None:
        """The next `times` writes raise `error` and write nothing."""
        self._failures.extend([error] * times)

    def fail_always(self, error: StoreError) -> None:
        """Every write raises `error` and writes nothing, until `heal`."""
        self._failing = error

    def heal(self) -> None:
        """Writes work again."""
        self._failing = None
        self._failures.clear()

    async def due(self, *, now: datetime, limit: int = 100) -> tuple[Outgoing, ...]:
        self._require_open()
        return self._outbox.take(Wanted(now=now, limit=limit), None)

    async def take(self, wanted: Wanted) -> tuple[Outgoing, ...]:
        self._require_open()
        if not self._shared or not wanted.lease:
            return self._outbox.take(wanted, None)
        self._require_written()
        now = int(asyncio.get_running_loop().time() * 1000)
        until = now + wanted.lease // timedelta(milliseconds=1)
        return self._outbox.take(wanted, Hold(epoch=self.data.epoch, now=now, until=until))

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
        self._require_written()
        return self._outbox.settle(attempts)

    async def prune(self, *, before: datetime, limit: int = 200) -> int:
        self._require_open()
        self._require_written()
        incidents, requests = self.data.incidents, self.data.requests
        forgotten = self._outbox.prune(
            before,
            limit,
            is_open=lambda key: key in incidents and incidents[key]["state"] != "closed",
        )
        old = [
            key for key, row in requests.items() if row["state"] == "answered" and row["at"] < stamp(before)
        ]
        for key in old[: limit - forgotten]:
            del requests[key]
        return forgotten + len(old[: limit - forgotten])

    async def outbox(
        self,
        *,
        state: OutgoingState | None = None,
        channel: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Outgoing]:
        self._require_open()
        require_limit(limit)
        rows = self._outbox.listed(state, channel)
        if cursor is not None:
            before = read_number_cursor("outbox", cursor)
            rows = [row for row in rows if row["number"] < before]
        more = write_cursor("outbox", rows[limit - 1]["number"]) if len(rows) > limit else None
        return Page(items=values(Outgoing, rows[:limit]), next=more)

    async def outgoing(self, key: str) -> Outgoing | None:
        self._require_open()
        row = self.data.outbox.get(key)
        return None if row is None else decode(row["doc"], Outgoing)

    async def outbox_pending(self) -> int:
        self._require_open()
        return len(self._outbox.pending())

    async def outbox_standing(self) -> Standing:
        self._require_open()
        return self._outbox.standing()

    def _require_open(self) -> None:
        if not self._opened:
            raise StoreError("the store is not open")

    def _require_claimed(self) -> None:
        if self._epoch is None:
            raise StoreError("the store was not claimed: this process is not its writer")

    def _require_writer(self) -> None:
        if self._epoch != self.data.epoch:
            raise StoreAhead(
                f"another watchdog became the writer of the store (epoch {self.data.epoch}; this one had {self._epoch})"
            )

    def _require_written(self) -> None:
        """That what was claimed may be written."""
        self._require_claimed()
        self._require_writable()
        self._require_writer()

    def _require_writable(self) -> None:
        if self._failures:
            raise self._failures.pop(0)
        if self._failing is not None:
            raise self._failing


def values(shape: type[T], rows: Iterable[Row]) -> tuple[T, ...]:
    """The records of rows."""
    return tuple(decode(row["doc"], shape) for row in rows)


def require_limit(limit: int) -> None:
    """A page holds at least one record."""
    if limit < 1:
        raise ValueError(f"a page of {limit} records is none; ask for at least 1")
