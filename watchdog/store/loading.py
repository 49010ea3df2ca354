"""What a daemon reads from its store: everything to go on after a restart, and what others ask for.

This module must never write.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, func, literal, or_, select

from watchdog.core.deployment import ENDED, Deployment
from watchdog.core.incident import Incident, IncidentState
from watchdog.core.request import Reply, Request
from watchdog.core.rollback import ENDS, Rollback
from watchdog.core.silence import Silence
from watchdog.core.turn import CheckRecord, ServiceRecord
from watchdog.store import tables
from watchdog.store.codec import decode, stamp
from watchdog.store.interface import Saved
from watchdog.store.statements import read_head

T = TypeVar("T")
#: So many deployments of a service are loaded whatever became of them.
NEWEST = 50
#: For so long ended rollbacks are loaded: guards count the day's.
RECENT_FOR = timedelta(hours=24)


def read_saved(connection: Connection, now: datetime) -> Saved:
    """Everything that is needed to go on, oldest first."""
    services, checks = tables.services, tables.checks
    return Saved(
        services=_values(connection, ServiceRecord, select(services.c.doc).order_by(services.c.name)),
        deployments=_values(connection, Deployment, _deployments()),
        incidents=_values(connection, Incident, _incidents()),
        silences=_values(connection, Silence, _silences()),
        rollbacks=_values(connection, Rollback, _rollbacks(now)),
        checks=_values(connection, CheckRecord, select(checks.c.doc).order_by(*checks.primary_key)),
        requests=read_unanswered(connection),
        head=read_head(connection),
    )


def read_unanswered(connection: Connection) -> tuple[Request, ...]:
    """Requests that nobody answered yet, in the order in which they were stored."""
    table = tables.requests
    # Two processes may have stored theirs at the same moment, under the same number.
    query = (
        select(table.c.doc).where(table.c.state == "open").order_by(table.c.number, table.c.at, table.c.id)
    )
    return _values(connection, Request, query)


def read_reply(connection: Connection, request: str) -> Reply | None:
    """The reply to a request, if it has one."""
    query = select(tables.requests.c.reply).where(tables.requests.c.id == request)
    doc = connection.execute(query).scalar_one_or_none()
    return None if doc is None else decode(doc, Reply)


def _deployments() -> Select[Any]:
    table = tables.deployments
    newest_first = (table.c.at.desc(), table.c.id.desc())
    place = func.row_number().over(partition_by=table.c.service, order_by=newest_first).label("place")
    placed = select(table, place).subquery()
    wanted = or_(placed.c.state.not_in([state.value for state in ENDED]), placed.c.place <= NEWEST)
    return select(placed.c.doc).where(wanted).order_by(placed.c.at, placed.c.id)


def _incidents() -> Select[Any]:
    table = tables.incidents
    is_open = table.c.state != IncidentState.CLOSED.value
    return select(table.c.doc).where(is_open).order_by(table.c.at, table.c.id)


def _silences() -> Select[Any]:
    table = tables.silences
    return select(table.c.doc).where(table.c.state == "active").order_by(table.c.at, table.c.id)


def _rollbacks(now: datetime) -> Select[Any]:
    table = tables.rollbacks
    running = table.c.state.not_in([state.value for state in ENDS])
    recent = table.c.at >= stamp(now - RECENT_FOR)
    lasting = tables.deployments
    key = literal("auto:") + lasting.c.service + literal(":") + lasting.c.id
    lives = select(key).where(lasting.c.state.not_in([state.value for state in ENDED]))
    wanted = or_(running, recent, table.c.key.in_(lives))
    return select(table.c.doc).where(wanted).order_by(table.c.at, table.c.id)


def _values(connection: Connection, shape: type[T], query: Select[Any]) -> tuple[T, ...]:
    return tuple(decode(doc, shape) for doc in connection.execute(query).scalars())
