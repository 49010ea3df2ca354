"""Reading a SQL store: lists, single records, the chain. What SQLite and PostgreSQL have in common.

Reads have a connection of their own: they never wait for a writer, and a writer never waits for them. This module must
never write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Row, Select, Table, func, select, tuple_

from watchdog.core.audit import AuditRecord
from watchdog.core.deployment import Deployment
from watchdog.core.errors import StoreError
from watchdog.core.incident import Incident, IncidentState
from watchdog.core.message import Outgoing, OutgoingState
from watchdog.core.rollback import Rollback
from watchdog.core.silence import Silence
from watchdog.store import tables
from watchdog.store.codec import decode, stamp
from watchdog.store.cursor import read_number_cursor, read_time_cursor, write_cursor
from watchdog.store.interface import Page, Standing
from watchdog.store.lane import Works
from watchdog.store.outbox import read_standing

T = TypeVar("T")
R = TypeVar("R")
#: Links of the chain read at once: no read transaction lasts longer than one batch.
BATCH = 500


class SqlReader:
    """The lists of the store at `place`, read by works that run on `reads`."""

    def __init__(self, place: str, reads: Works) -> None:
        self.place = place
        self._reads = reads

    async def deployments(
        self, *, service: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Deployment]:
        query = _of_service(tables.deployments, service)
        return await self._page(Deployment, tables.deployments, query, cursor=cursor, limit=limit)

    async def incidents(
        self,
        *,
        service: str | None = None,
        open_only: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Incident]:
        query = _of_service(tables.incidents, service)
        if open_only:
            query = query.where(tables.incidents.c.state != IncidentState.CLOSED.value)
        return await self._page(Incident, tables.incidents, query, cursor=cursor, limit=limit)

    async def rollbacks(
        self, *, service: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Rollback]:
        query = _of_service(tables.rollbacks, service)
        return await self._page(Rollback, tables.rollbacks, query, cursor=cursor, limit=limit)

    async def silences(
        self, *, active_only: bool = False, cursor: str | None = None, limit: int = 50
    ) -> Page[Silence]:
        table = tables.silences
        query = select(table.c.at, table.c.id, table.c.doc)
        if active_only:
            query = query.where(table.c.state == "active")
        return await self._page(Silence, table, query, cursor=cursor, limit=limit)

    async def deployment(self, identity: str) -> Deployment | None:
        return await self._one(Deployment, tables.deployments, identity)

    async def incident(self, identity: str) -> Incident | None:
        return await self._one(Incident, tables.incidents, identity)

    async def rollback(self, identity: str) -> Rollback | None:
        return await self._one(Rollback, tables.rollbacks, identity)

    async def silence(self, identity: str) -> Silence | None:
        return await self._one(Silence, tables.silences, identity)

    async def audit(
        self, *, subject: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[AuditRecord]:
        table = tables.audit
        query = select(table).order_by(table.c.seq.desc()).limit(check_limit(limit) + 1)
        if subject is not None:
            query = query.where(table.c.subject == subject)
        if cursor is not None:
            query = query.where(table.c.seq < read_number_cursor(table.name, cursor))
        rows = await self._read(lambda connection: connection.execute(query).all())
        items = tuple(audit_record(row) for row in rows[:limit])
        more = write_cursor(table.name, rows[limit - 1].seq) if len(rows) > limit else None
        return Page(items=items, next=more)

    async def chain(self) -> AsyncIterator[AuditRecord]:
        """The whole chain. A link changed from outside comes as it is now, with a hash that cannot hold."""
        after: int | None = None
        while True:
            rows = await self._read(partial(_links, after=after))
            for row in rows:
                yield audit_record(row)
            if len(rows) < BATCH:
                return
            after = rows[-1].seq

    async def outbox(
        self,
        *,
        state: OutgoingState | None = None,
        channel: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Outgoing]:
        table = tables.outbox
        # Which ones is found in an index alone: of many that wait only a page is read.
        listed = select(table.c.number).order_by(table.c.number.desc())
        if state is not None:
            listed = listed.where(table.c.state == state.value)
        if channel is not None:
            listed = listed.where(table.c.channel == channel)
        if cursor is not None:
            listed = listed.where(table.c.number < read_number_cursor(table.name, cursor))
        wanted = table.c.number.in_(listed.limit(check_limit(limit) + 1).correlate(None))
        query = select(table.c.number, table.c.doc).where(wanted).order_by(table.c.number.desc())
        rows = await self._read(lambda connection: connection.execute(query).all())
        items = tuple(decode(row.doc, Outgoing) for row in rows[:limit])
        more = write_cursor(table.name, rows[limit - 1].number) if len(rows) > limit else None
        return Page(items=items, next=more)

    async def outgoing(self, key: str) -> Outgoing | None:
        query = select(tables.outbox.c.doc).where(tables.outbox.c.key == key)
        doc = await self._read(lambda connection: connection.execute(query).scalar_one_or_none())
        return None if doc is None else decode(doc, Outgoing)

    async def outbox_standing(self) -> Standing:
        return await self._read(read_standing)

    async def outbox_pending(self) -> int:
        query = (
            select(func.count())
            .select_from(tables.outbox)
            .where(tables.outbox.c.state == OutgoingState.PENDING.value)
        )
        return await self._read(lambda connection: connection.execute(query).scalar_one())

    async def aclose(self) -> None:
        await self._reads.aclose()

    async def _read(self, work: Callable[[Connection], R]) -> R:
        return await self._reads.run(work)

    async def _one(self, shape: type[T], table: Table, identity: str) -> T | None:
        query = select(table.c.doc).where(table.c.id == identity)
        doc = await self._read(lambda connection: connection.execute(query).scalar_one_or_none())
        return None if doc is None else decode(doc, shape)

    async def _page(
        self, shape: type[T], table: Table, query: Select[Any], *, cursor: str | None, limit: int
    ) -> Page[T]:
        query = query.order_by(table.c.at.desc(), table.c.id.desc()).limit(check_limit(limit) + 1)
        if cursor is not None:
            query = query.where(tuple_(table.c.at, table.c.id) < read_time_cursor(table.name, cursor))
        rows = await self._read(lambda connection: connection.execute(query).all())
        items = tuple(decode(row.doc, shape) for row in rows[:limit])
        more = write_cursor(table.name, rows[limit - 1].at, rows[limit - 1].id) if len(rows) > limit else None
        return Page(items=items, next=more)


def check_limit(limit: int) -> int:
    """A page holds at least one record. Raises `ValueError`."""
    if limit < 1:
        raise ValueError(f"a page of {limit} records is none; ask for at least 1")
    return limit


def audit_record(row: Row[Any]) -> AuditRecord:
    """A link as it was stored. One that was changed from outside keeps its place, with a hash that cannot hold."""
    columns = {
        "seq": row.seq,
        "kind": row.kind,
        "subject": row.subject,
        "previous": row.previous,
        "hash": row.hash,
    }
    try:
        record = decode(row.doc, AuditRecord)
        at = stamp(record.at)
    except StoreError:
        return msgspec.convert(
            {**columns, "at": "1970-01-01T00:00:00Z", "body": {}, "hash": "unreadable"},
            AuditRecord,
            strict=False,
        )
    if at != row.at or any(getattr(record, name) != value for name, value in columns.items()):
        return msgspec.structs.replace(record, seq=row.seq, previous=row.previous, hash="changed")
    return record


def _links(connection: Connection, *, after: int | None) -> Sequence[Row[Any]]:
    table = tables.audit
    query = select(table).order_by(table.c.seq).limit(BATCH)
    return connection.execute(query if after is None else query.where(table.c.seq > after)).all()


def _of_service(table: Table, service: str | None) -> Select[Any]:
    query = select(table.c.at, table.c.id, table.c.doc)
    return query if service is None else query.where(table.c.service == service)
