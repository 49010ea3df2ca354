"""What is written, statement by statement. Each function runs inside the transaction of its caller.

SQLite and PostgreSQL say "insert or update" in the same way, each through a function of its own dialect. This module
must never begin or end a transaction.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

from sqlalchemy import Connection, Insert, Table, bindparam, case, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from watchdog.core.audit import ChainHead, verify
from watchdog.core.errors import StoreAhead, StoreError
from watchdog.store import tables
from watchdog.store.outbox import PROMOTE, write_resent
from watchdog.store.rows import Row, TurnRows


class _Inserts(NamedTuple):
    """What is inserted unless it is there already, in the words of one dialect."""

    services: Insert
    deployments: Insert
    incidents: Insert
    silences: Insert
    rollbacks: Insert
    checks: Insert
    enqueue: Insert
    ask: Insert
    claim: Insert


@cache
def _inserts(dialect: str) -> _Inserts:
    insert_or: Any = import_module(f"sqlalchemy.dialects.{dialect}").insert

    def upsert(table: Table) -> Any:
        statement = insert_or(table)
        keys = [column.name for column in table.primary_key]
        values = {
            column.name: statement.excluded[column.name] for column in table.c if column.name not in keys
        }
        return statement.on_conflict_do_update(index_elements=keys, set_=values)

    claim, stored = insert_or(tables.writer), tables.writer.c.epoch
    asked = claim.excluded["epoch"]
    higher = case((asked > stored, asked), else_=stored + 1)
    place = select(func.coalesce(func.max(tables.requests.c.number), 0) + 1).scalar_subquery()
    return _Inserts(
        services=upsert(tables.services),
        deployments=upsert(tables.deployments),
        incidents=upsert(tables.incidents),
        silences=upsert(tables.silences),
        rollbacks=upsert(tables.rollbacks),
        checks=upsert(tables.checks),
        enqueue=insert_or(tables.outbox).on_conflict_do_nothing(index_elements=["key"]),
        ask=insert_or(tables.requests).values(number=place).on_conflict_do_nothing(index_elements=["id"]),
        claim=claim.on_conflict_do_update(index_elements=["id"], set_={"epoch": higher}),
    )


_FORGET = delete(tables.checks).where(
    *(column == bindparam(column.name) for column in tables.checks.primary_key)
)
_LINK = insert(tables.audit)
_HEAD = select(tables.audit.c.seq, tables.audit.c.hash).order_by(tables.audit.c.seq.desc()).limit(1)
_ANSWER = (
    update(tables.requests)
    .where(tables.requests.c.id == bindparam("of"))
    .values(state="answered", reply=bindparam("answer"))
)
#: The row is locked until the end of the transaction: a claim waits for commits under way, and they for a claim.
_WRITER = select(tables.writer.c.epoch).where(tables.writer.c.id == 1).with_for_update(read=True)


def write_claim(connection: Connection, now: datetime) -> int:
    """Become the writer; answers the epoch: the seconds since 1970, or one more than the one before."""
    connection.execute(_inserts(connection.dialect.name).claim, {"id": 1, "epoch": int(now.timestamp())})
    return int(connection.execute(_WRITER).scalar_one())


def require_writer(connection: Connection, epoch: int) -> None:
    """Raises `StoreAhead` when another process claimed the store after `epoch`."""
    stored = connection.execute(_WRITER).scalar_one_or_none()
    if stored == epoch:
        return
    if stored is None or stored < epoch:
        raise StoreAhead(
            f"the store is older than what this watchdog wrote (epoch {stored or 0}, not {epoch}): starting afresh"
        )
    raise StoreAhead(
        f"another watchdog became the writer of the store (epoch {stored} after {epoch}): starting afresh"
    )


def read_head_for_sure(connection: Connection) -> ChainHead:
    """Where the chain ends, once no transaction of any writer can come to an end any more: waits for all of them."""
    connection.execute(_WRITER.with_for_update())
    return read_head(connection)


def write_turn(connection: Connection, rows: TurnRows, head: ChainHead) -> ChainHead:
    """Write one turn; `head` is where this process believes the chain ends. Answers where it ends now.

    Where it ends elsewhere, another process wrote, and what this one knows is old: nothing of it is written, not even
    what checks remember.
    """
    _require_end(connection, head)
    inserts = _inserts(connection.dialect.name)
    for statement, records in (
        (_FORGET, rows.forgotten),
        (inserts.services, rows.services),
        (inserts.deployments, rows.deployments),
        (inserts.incidents, rows.incidents),
        (inserts.silences, rows.silences),
        (inserts.checks, rows.checks),
        (inserts.enqueue, rows.outbox),
        (PROMOTE, rows.followed),
        (_ANSWER, rows.replies),
    ):
        if records:
            connection.execute(statement, records)
    for again in rows.resent:
        write_resent(connection, again)
    if rows.rollbacks:
        _write_rollbacks(connection, rows.rollbacks)
    return _write_links(connection, rows, head) if rows.links else head


def read_head(connection: Connection) -> ChainHead:
    """Where the stored chain ends."""
    row = connection.execute(_HEAD).first()
    return ChainHead() if row is None else ChainHead(seq=row.seq, hash=row.hash)


def write_request(connection: Connection, row: Row) -> bool:
    """Store a request; answers whether it is new."""
    return connection.execute(_inserts(connection.dialect.name).ask, row).rowcount == 1


def read_next_number(connection: Connection) -> int:
    """The first free place in the order of messages."""
    return (
        int(connection.execute(select(func.coalesce(func.max(tables.outbox.c.number), 0))).scalar_one()) + 1
    )


def follow(rows: TurnRows, head: ChainHead) -> ChainHead:
    """Where the chain ends after the links of a turn. Raises `StoreError` when one does not follow."""
    after, fault = verify(rows.links, start=head)
    if fault is not None:
        raise StoreError(f"audit record {fault.seq} does not follow the stored chain: {fault.why}")
    return after


def _write_rollbacks(connection: Connection, records: list[Row]) -> None:
    try:
        connection.execute(_inserts(connection.dialect.name).rollbacks, records)
    except IntegrityError as error:
        keys = ", ".join(sorted(record["key"] for record in records))
        raise StoreError(f"a rollback with the key {keys} exists already, under another id") from error


def _require_end(connection: Connection, head: ChainHead) -> None:
    stored = read_head(connection)
    if stored != head:
        raise StoreError(
            f"the audit chain ends at {stored.seq}, but this process wrote it up to {head.seq}: another one wrote too",
            advice="only one watchdog may use a store, and a failover may lose nothing; stop the others, then restart "
            "this one",
        )


def _write_links(connection: Connection, rows: TurnRows, head: ChainHead) -> ChainHead:
    after = follow(rows, head)
    connection.execute(_LINK, rows.audit)
    return after
