"""A store in memory that keeps every promise of the real one but durability.

For tests: no threads, no clock, fails on command. It passes the contract suite of the SQL store. Records are kept as
text, as on a disk, so that nobody changes a stored one through a value he still holds. This module must never forgive
what the real store refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from watchdog.core.audit import AuditRecord, ChainHead, verify
from watchdog.core.deployment import ENDED, Deployment
from watchdog.core.errors import StoreAhead, StoreError
from watchdog.core.incident import Incident
from watchdog.core.message import Outgoing, OutgoingState
from watchdog.core.request import Reply, Request
from watchdog.core.rollback import ENDS, Rollback
from watchdog.core.silence import Silence
from watchdog.core.turn import CheckRecord, ServiceRecord, Turn
from watchdog.store.announcer import Announcer
from watchdog.store.codec import decode, stamp
from watchdog.store.cursor import read_number_cursor, read_time_cursor, write_cursor
from watchdog.store.hearing import Hearing
from watchdog.store.interface import Page, Saved
from watchdog.store.rows import Row, TurnRows, outgoing_row, request_row, turn_rows

T = TypeVar("T")
_NEWEST = 50
_RECENT_FOR = timedelta(hours=24)
_CHECK_KEY = ("service", "rule", "version", "variant")


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


class MemoryStore:
    """The store's twin. `data` of an earlier one stands for a restart on the same disk.

    `fail_next` and `fail_always` make writes (`claim`, `commit`, `submit`, `settle`) fail, `heal` ends it; `commits`
    are the turns stored so far.
    """

    def __init__(self, data: MemoryData | None = None) -> None:
        self.data = data or MemoryData()
        self.commits: list[Turn] = []
        self._announcer = Announcer()
        self._hearing = Hearing(self._announcer.requested)
        self._end = ChainHead()
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

    async def open(self) -> None:
        self._opened = True

    async def claim(self, *, now: datetime) -> int:
        self._require_open()
        self._require_writable()
        self._epoch = self.data.epoch = max(self.data.epoch + 1, int(now.timestamp()))
        self._end = self._head()
        self._hearing.stop()
        return self._epoch

    async def load(self, *, now: datetime) -> Saved:
        self._require_open()
        data = self.data
        day = stamp(now - _RECENT_FOR)
        lives = {
            f"auto:{row['service']}:{key}"
            for key, row in data.deployments.items()
            if row["state"] not in ENDED
        }
        rollbacks = [
            row
            for row in data.rollbacks.values()
            if row["state"] not in ENDS or row["at"] >= day or row["key"] in lives
        ]
        unanswered = [row for row in data.requests.values() if row["state"] == "open"]
        saved = Saved(
            services=_values(ServiceRecord, (row for _, row in sorted(data.services.items()))),
            deployments=_values(Deployment, _oldest_first(_wanted(data.deployments.values()))),
            incidents=_values(
                Incident, _oldest_first(row for row in data.incidents.values() if row["state"] != "closed")
            ),
            silences=_values(
                Silence, _oldest_first(row for row in data.silences.values() if row["state"] == "active")
            ),
            rollbacks=_values(Rollback, _oldest_first(rollbacks)),
            checks=_values(CheckRecord, (row for _, row in sorted(data.checks.items()))),
            requests=_values(Request, unanswered),
            head=self._head(),
        )
        if self._epoch is not None:
            self._hearing.start(saved.requests)
        return saved

    async def commit(self, turn: Turn) -> None:
        self._require_open()
        if turn.empty:
            return
        self._require_claimed()
        rows = turn_rows(turn, self.data.number)
        self._require_writable()
        self._require_writer()
        self._require_unique_keys(rows.rollbacks)
        if self._head() != self._end:
            raise StoreError(
                "the audit chain ends elsewhere than this process left it: another one wrote too"
            )
        end, fault = verify(rows.links, start=self._end)
        if fault is not None:
            raise StoreError(f"audit record {fault.seq} does not follow the stored chain: {fault.why}")
        self._apply(rows)
        self._end = end
        self.commits.append(turn)
        self._announcer.committed(turn)
        await asyncio.sleep(0)

    async def submit(self, request: Request) -> None:
        self._require_open()
        row = {**request_row(request), "number": self.data.number()}
        self._require_writable()
        if request.id not in self.data.requests:
            self.data.requests[request.id] = row
            self._hearing.stored(request)
            await asyncio.sleep(0)

    def on_request(self, listener: Callable[[Request], None]) -> None:
        self._announcer.on_request(listener)

    async def reply(self, request: str) -> Reply:
        self._require_open()
        row = self.data.requests.get(request)
        if row is not None and row["reply"] is not None:
            return decode(row["reply"], Reply)
        future = self._announcer.expect(request)
        try:
            return await future
        finally:
            self._announcer.forget(request, future)

    def on_commit(self, listener: Callable[[Turn], None]) -> None:
        self._announcer.on_commit(listener)

    async def due(self, *, now: datetime, limit: int = 100) -> tuple[Outgoing, ...]:
        self._require_open()
        pending = [row for row in self._pending() if row["due_at"] <= stamp(now)]
        pending.sort(key=lambda row: (row["due_at"], row["number"]))
        return _values(Outgoing, pending[:limit])

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
        self._require_claimed()
        self._require_writable()
        self._require_writer()
        row = self.data.outbox.get(key)
        if row is None:
            raise StoreError(f"there is no message {key!r} in the outbox")
        message = decode(row["doc"], Outgoing)
        settled = msgspec.structs.replace(
            message,
            state=state,
            attempts=message.attempts + 1,
            due_at=due_at,
            last_error=last_error,
            sent_at=sent_at,
        )
        self.data.outbox[key] = {**row, **outgoing_row(settled)}

    async def deployments(
        self, *, service: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Deployment]:
        rows = _of_service(self.data.deployments.values(), service)
        return self._page(Deployment, "deployments", rows, cursor=cursor, limit=limit)

    async def incidents(
        self,
        *,
        service: str | None = None,
        open_only: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Incident]:
        rows = _of_service(self.data.incidents.values(), service)
        if open_only:
            rows = [row for row in rows if row["state"] != "closed"]
        return self._page(Incident, "incidents", rows, cursor=cursor, limit=limit)

    async def rollbacks(
        self, *, service: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Rollback]:
        rows = _of_service(self.data.rollbacks.values(), service)
        return self._page(Rollback, "rollbacks", rows, cursor=cursor, limit=limit)

    async def silences(
        self, *, active_only: bool = False, cursor: str | None = None, limit: int = 50
    ) -> Page[Silence]:
        rows = [row for row in self.data.silences.values() if row["state"] == "active" or not active_only]
        return self._page(Silence, "silences", rows, cursor=cursor, limit=limit)

    async def deployment(self, identity: str) -> Deployment | None:
        return self._one(Deployment, self.data.deployments, identity)

    async def incident(self, identity: str) -> Incident | None:
        return self._one(Incident, self.data.incidents, identity)

    async def rollback(self, identity: str) -> Rollback | None:
        return self._one(Rollback, self.data.rollbacks, identity)

    async def silence(self, identity: str) -> Silence | None:
        return self._one(Silence, self.data.silences, identity)

    async def audit(
        self, *, subject: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[AuditRecord]:
        self._require_open()
        _require_limit(limit)
        before = self._head().seq + 1 if cursor is None else read_number_cursor("audit", cursor)
        rows = [
            row
            for row in reversed(self.data.audit)
            if row["seq"] < before and subject in {None, row["subject"]}
        ]
        more = write_cursor("audit", rows[limit - 1]["seq"]) if len(rows) > limit else None
        return Page(items=_values(AuditRecord, rows[:limit]), next=more)

    async def chain(self) -> AsyncIterator[AuditRecord]:
        self._require_open()
        for row in self.data.audit:
            yield decode(row["doc"], AuditRecord)

    async def outbox_pending(self) -> int:
        self._require_open()
        return len(self._pending())

    async def aclose(self) -> None:
        self._opened = False
        self._announcer.close()

    def _apply(self, rows: TurnRows) -> None:
        data = self.data
        for row in rows.forgotten:
            data.checks.pop(_check_key(row), None)
        data.services.update({row["name"]: row for row in rows.services})
        data.deployments.update({row["id"]: row for row in rows.deployments})
        data.incidents.update({row["id"]: row for row in rows.incidents})
        data.silences.update({row["id"]: row for row in rows.silences})
        data.rollbacks.update({row["id"]: row for row in rows.rollbacks})
        data.checks.update({_check_key(row): row for row in rows.checks})
        for row in rows.outbox:
            data.outbox.setdefault(row["key"], row)
        for row in rows.replies:
            asked = data.requests.get(row["of"])
            if asked is not None:
                data.requests[row["of"]] = {**asked, "state": "answered", "reply": row["answer"]}
        data.audit.extend(rows.audit)

    def _require_unique_keys(self, records: list[Row]) -> None:
        owners = {row["key"]: row["id"] for row in self.data.rollbacks.values()}
        for row in records:
            if owners.setdefault(row["key"], row["id"]) != row["id"]:
                raise StoreError(f"a rollback with the key {row['key']} exists already, under another id")

    def _head(self) -> ChainHead:
        if not self.data.audit:
            return ChainHead()
        last = self.data.audit[-1]
        return ChainHead(seq=last["seq"], hash=last["hash"])

    def _pending(self) -> list[Row]:
        return [row for row in self.data.outbox.values() if row["state"] == OutgoingState.PENDING]

    def _one(self, shape: type[T], records: dict[str, Row], identity: str) -> T | None:
        self._require_open()
        row = records.get(identity)
        return None if row is None else decode(row["doc"], shape)

    def _page(
        self, shape: type[T], listing: str, rows: list[Row], *, cursor: str | None, limit: int
    ) -> Page[T]:
        self._require_open()
        _require_limit(limit)
        rows = _oldest_first(rows)[::-1]
        if cursor is not None:
            before = read_time_cursor(listing, cursor)
            rows = [row for row in rows if (row["at"], row["id"]) < before]
        more = (
            write_cursor(listing, rows[limit - 1]["at"], rows[limit - 1]["id"]) if len(rows) > limit else None
        )
        return Page(items=_values(shape, rows[:limit]), next=more)

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

    def _require_writable(self) -> None:
        if self._failures:
            raise self._failures.pop(0)
        if self._failing is not None:
            raise self._failing


def _values(shape: type[T], rows: Iterable[Row]) -> tuple[T, ...]:
    return tuple(decode(row["doc"], shape) for row in rows)


def _oldest_first(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["at"], row["id"]))


def _of_service(rows: Iterable[Row], service: str | None) -> list[Row]:
    return [row for row in rows if service in {None, row["service"]}]


def _wanted(rows: Iterable[Row]) -> list[Row]:
    places: dict[str, int] = {}
    kept = []
    for row in reversed(_oldest_first(rows)):
        places[row["service"]] = places.get(row["service"], 0) + 1
        if row["state"] not in ENDED or places[row["service"]] <= _NEWEST:
            kept.append(row)
    return kept


def _check_key(row: Row) -> tuple[str, ...]:
    return tuple(row[part] for part in _CHECK_KEY)


def _require_limit(limit: int) -> None:
    if limit < 1:
        raise ValueError(f"a page of {limit} records is none; ask for at least 1")
