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

from watchdog.core.audit import AuditRecord, ChainHead, verify
from watchdog.core.deployment import ENDED, Deployment
from watchdog.core.errors import StoreError
from watchdog.core.incident import Incident
from watchdog.core.request import Reply, Request
from watchdog.core.rollback import ENDS, Rollback
from watchdog.core.silence import Silence
from watchdog.core.turn import CheckRecord, ServiceRecord, Turn
from watchdog.store.announcer import Announcer
from watchdog.store.codec import decode, stamp
from watchdog.store.cursor import read_number_cursor, read_time_cursor, write_cursor
from watchdog.store.hearing import Hearing
from watchdog.store.interface import Page, Saved
from watchdog.store.rows import Row, TurnRows, request_row, turn_rows
from watchdog.testing.messages import MemoryData, MemoryMessages, require_limit, values

__all__ = ["MemoryData", "MemoryStore"]

T = TypeVar("T")
_NEWEST = 50
_RECENT_FOR = timedelta(hours=24)
_CHECK_KEY = ("service", "rule", "version", "variant")


class MemoryStore(MemoryMessages):
    """The store's twin. `data` of an earlier one stands for a restart on the same disk.

    `shared`: as a database that several processes use, with leases; else as a file that one process has for itself.
    `commits` are the turns stored so far.
    """

    def __init__(self, data: MemoryData | None = None, *, shared: bool = False) -> None:
        super().__init__(data or MemoryData(), shared=shared)
        self.commits: list[Turn] = []
        self._announcer = Announcer()
        self._hearing = Hearing(self._announcer.requested)
        self._end = ChainHead()

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
            services=values(ServiceRecord, (row for _, row in sorted(data.services.items()))),
            deployments=values(Deployment, _oldest_first(_wanted(data.deployments.values()))),
            incidents=values(
                Incident, _oldest_first(row for row in data.incidents.values() if row["state"] != "closed")
            ),
            silences=values(
                Silence, _oldest_first(row for row in data.silences.values() if row["state"] == "active")
            ),
            rollbacks=values(Rollback, _oldest_first(rollbacks)),
            checks=values(CheckRecord, (row for _, row in sorted(data.checks.items()))),
            requests=values(Request, unanswered),
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
        require_limit(limit)
        before = self._head().seq + 1 if cursor is None else read_number_cursor("audit", cursor)
        rows = [
            row
            for row in reversed(self.data.audit)
            if row["seq"] < before and subject in {None, row["subject"]}
        ]
        more = write_cursor("audit", rows[limit - 1]["seq"]) if len(rows) > limit else None
        return Page(items=values(AuditRecord, rows[:limit]), next=more)

    async def chain(self) -> AsyncIterator[AuditRecord]:
        self._require_open()
        for row in self.data.audit:
            yield decode(row["doc"], AuditRecord)

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
        self._outbox.add(rows.outbox, rows.followed)
        self._outbox.resend(rows.resent)
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

    def _one(self, shape: type[T], records: dict[str, Row], identity: str) -> T | None:
        self._require_open()
        row = records.get(identity)
        return None if row is None else decode(row["doc"], shape)

    def _page(
        self, shape: type[T], listing: str, rows: list[Row], *, cursor: str | None, limit: int
    ) -> Page[T]:
        self._require_open()
        require_limit(limit)
        rows = _oldest_first(rows)[::-1]
        if cursor is not None:
            before = read_time_cursor(listing, cursor)
            rows = [row for row in rows if (row["at"], row["id"]) < before]
        more = (
            write_cursor(listing, rows[limit - 1]["at"], rows[limit - 1]["id"]) if len(rows) > limit else None
        )
        return Page(items=values(shape, rows[:limit]), next=more)


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
