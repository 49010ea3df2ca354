"""The outbox in SQL: what is due, who has it in hand, what became of it. Each function runs inside a transaction.

What may be handed out, and in which order, is said here once for both databases: what is urgent first, then what has
been due for longest; of one conversation on one channel nothing before what was said earlier, unless that does not get
through for a while. Rows of channels that take nothing are passed over in an index: a hundred thousand of them are
neither read nor brought into memory.

This module must never begin or end a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, Select, and_, bindparam, case, delete, exists, func, or_, select, update

from watchdog.core.errors import StoreError
from watchdog.core.incident import IncidentState
from watchdog.core.message import Attempted, Outgoing, OutgoingState, Thread
from watchdog.core.turn import Resend
from watchdog.store import tables
from watchdog.store.codec import decode, stamp
from watchdog.store.interface import Standing, Wanted
from watchdog.store.rows import ORDINARY, URGENT, Row, outgoing_row

#: So long what is urgent waits at most for an earlier one of its conversation that does not get through. What is not
#: waits until that is sent or given up: an end that came before its beginning would leave that open for ever.
PATIENCE = timedelta(seconds=60)
#: So many messages of one group are one message at most; what is more leaves with the next.
LARGEST_GROUP = 1000

_OUTBOX = tables.outbox
_EARLIER = tables.outbox.alias("earlier")
_PENDING = OutgoingState.PENDING.value
_OVER = (OutgoingState.SENT.value, OutgoingState.DEAD.value)

#: What was said earlier in a conversation goes with what is urgent in it, and waits for no company any longer.
PROMOTE = (
    update(_OUTBOX)
    .where(
        _OUTBOX.c.channel == bindparam("on"),
        _OUTBOX.c.conversation == bindparam("of"),
        _OUTBOX.c.number < bindparam("before"),
        _OUTBOX.c.state == _PENDING,
        or_(_OUTBOX.c.rank != URGENT, and_(_OUTBOX.c.gathering != "", _OUTBOX.c.due_at > bindparam("at"))),
    )
    .values(
        rank=URGENT,
        due_at=case(
            (and_(_OUTBOX.c.gathering != "", _OUTBOX.c.due_at > bindparam("at")), bindparam("at")),
            else_=_OUTBOX.c.due_at,
        ),
    )
)
_SETTLE = (
    update(_OUTBOX)
    .where(_OUTBOX.c.key == bindparam("of"))
    .values({name: bindparam(f"new_{name}") for name in ("state", "due_at", "reference", "doc")})
    .values(holder=0, held_until=0)
)


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Whose rows are left alone: those of others than `epoch` until their time, in milliseconds, is over at `now`."""

    epoch: int
    now: int
    until: int


def read_due(connection: Connection, wanted: Wanted, hold: Hold | None) -> tuple[Outgoing, ...]:
    """What may be handed out now, in the order in which it should go, with threads and whole groups."""
    found: dict[str, Outgoing] = {}
    for rank, full in ((URGENT, wanted.full_for_urgent), (ORDINARY, wanted.full)):
        left = wanted.limit - len(found)
        if left > 0:
            query = _due(wanted, hold, rank=rank, full=full).limit(left)
            found |= {
                row.key: replace(row, hastened=rank == URGENT and not row.message.urgent)
                for row in _values(connection, query)
            }
    return _threaded(connection, _whole_groups(connection, wanted, hold, found))


def _whole_groups(
    connection: Connection, wanted: Wanted, hold: Hold | None, found: dict[str, Outgoing]
) -> tuple[Outgoing, ...]:
    """With everything that leaves together with what was found; a group for which there is no room comes next time."""
    room, left_out = LARGEST_GROUP, set[tuple[str, str]]()
    for channel, group in {(row.channel, row.group): None for row in found.values() if row.group}:
        if room <= 0:
            left_out.add((channel, group))
            continue
        query = _due(wanted, hold).where(_OUTBOX.c.channel == channel, _OUTBOX.c.gathering == group)
        rows = _values(connection, query.limit(LARGEST_GROUP))
        found = {row.key: row for row in rows} | found
        room -= len(rows)
    return tuple(row for row in found.values() if (row.channel, row.group) not in left_out)


def write_holds(connection: Connection, rows: Iterable[Outgoing], wanted: Wanted, hold: Hold) -> None:
    """Nobody else is to send these, and what the caller has in hand, for a while.

    What is held for longer than half of that is left as it is: nothing is written where nothing changes.
    """
    keys = {row.key for row in rows} | wanted.in_hand
    if not keys:
        return
    statement = update(_OUTBOX).where(
        _OUTBOX.c.key.in_(sorted(keys)),
        _OUTBOX.c.state == _PENDING,
        or_(_OUTBOX.c.holder != hold.epoch, _OUTBOX.c.held_until < (hold.now + hold.until) // 2),
    )
    connection.execute(statement.values(holder=hold.epoch, held_until=hold.until))


def write_settled(connection: Connection, attempts: Sequence[Attempted]) -> frozenset[str]:
    """Record attempts, and count them. Answers the keys that are not in the outbox."""
    keys = [one.key for one in attempts]
    # In one order, so that nobody waits for anybody else in a circle.
    query = select(_OUTBOX.c.doc).where(_OUTBOX.c.key.in_(keys)).order_by(_OUTBOX.c.key).with_for_update()
    # Not by the key's column, which may hold a part of a long key.
    stored = {row.key: row for row in _values(connection, query)}
    rows = [
        outgoing_row(settled(stored[attempt.key], attempt)) for attempt in attempts if attempt.key in stored
    ]
    if rows:
        connection.execute(_SETTLE, [_settling(row) for row in rows])
    return frozenset(keys) - stored.keys()


def settled(row: Outgoing, attempt: Attempted) -> Outgoing:
    """The message after one more attempt."""
    return replace(
        row,
        state=attempt.state,
        attempts=row.attempts + 1,
        due_at=attempt.due_at,
        last_error=attempt.last_error,
        sent_at=attempt.sent_at,
        reference=attempt.reference or row.reference,
    )


def write_resent(connection: Connection, again: Resend) -> None:
    """Let a message that was given up be tried again; one that was not is left as it is."""
    query = (
        select(_OUTBOX.c.doc)
        .where(_OUTBOX.c.key == again.key, _OUTBOX.c.state == OutgoingState.DEAD.value)
        .with_for_update()
    )
    for row in _values(connection, query):
        connection.execute(_SETTLE, [_settling(outgoing_row(resent(row, again)))])


def resent(row: Outgoing, again: Resend) -> Outgoing:
    """A message that was given up, as if it were new; its last error says why it was."""
    return replace(row, state=OutgoingState.PENDING, attempts=0, due_at=again.at)


def read_standing(connection: Connection) -> Standing:
    """How things stand."""
    counted = (
        select(_OUTBOX.c.state, _OUTBOX.c.channel, func.count())
        .where(_OUTBOX.c.state.in_([_PENDING, OutgoingState.DEAD.value]))
        .group_by(_OUTBOX.c.state, _OUTBOX.c.channel)
    )
    counts: dict[str, dict[str, int]] = {}
    for state, channel, count in connection.execute(counted):
        counts.setdefault(state, {})[channel] = count
    oldest = select(func.min(_OUTBOX.c.number)).where(_OUTBOX.c.state == _PENDING)
    needed = oldest.where(_OUTBOX.c.rank == URGENT)
    overdue = [
        row
        for rank in (URGENT, ORDINARY)
        for row in _values(connection, _pending(rank).order_by(_OUTBOX.c.due_at, _OUTBOX.c.number).limit(1))
    ]
    return Standing(
        pending=counts.get(_PENDING, {}),
        dead=counts.get(OutgoingState.DEAD.value, {}),
        oldest=_at(connection, oldest),
        needed=_at(connection, needed),
        overdue=min(overdue, key=lambda row: row.due_at, default=None),
    )


def prune(connection: Connection, before: datetime, limit: int) -> int:
    """Forget messages that were sent or given up, and requests that were answered, before a time; how many.

    What was said in a conversation is kept whole while anything in it is younger or waits, or its incident is open.
    """
    old, other, incidents = _OUTBOX.alias("old"), _OUTBOX.alias("other"), tables.incidents
    open_incident = exists().where(
        incidents.c.id == old.c.conversation, incidents.c.state != IncidentState.CLOSED.value
    )
    goes_on = exists().where(
        other.c.channel == old.c.channel,
        other.c.conversation == old.c.conversation,
        or_(other.c.state == _PENDING, other.c.due_at >= stamp(before)),
    )
    forgotten = 0
    for state in _OVER:
        for rank in (URGENT, ORDINARY):
            keys = (
                select(old.c.key)
                .where(old.c.state == state, old.c.rank == rank, old.c.due_at < stamp(before))
                .where(or_(old.c.conversation == "", and_(~open_incident, ~goes_on)))
                .order_by(old.c.due_at)
                .limit(limit - forgotten)
            )
            forgotten += connection.execute(delete(_OUTBOX).where(_OUTBOX.c.key.in_(keys))).rowcount
    requests, asked = tables.requests, tables.requests.alias("asked")
    answered = (
        select(asked.c.id)
        .where(asked.c.state == "answered", asked.c.at < stamp(before))
        .limit(limit - forgotten)
    )
    return forgotten + connection.execute(delete(requests).where(requests.c.id.in_(answered))).rowcount


def _due(
    wanted: Wanted, hold: Hold | None, *, rank: int | None = None, full: Iterable[str] = ()
) -> Select[Any]:
    query = select(_OUTBOX.c.doc).where(_OUTBOX.c.state == _PENDING)
    if rank is not None:
        query = query.where(_OUTBOX.c.rank == rank)
    if not wanted.whatever:
        query = query.where(_OUTBOX.c.due_at <= stamp(wanted.now))
    if full:
        query = query.where(_OUTBOX.c.channel.not_in(sorted(full)))
    if wanted.in_hand:
        query = query.where(_OUTBOX.c.key.not_in(sorted(wanted.in_hand)))
    if hold is not None:
        query = query.where(or_(_OUTBOX.c.holder == hold.epoch, _OUTBOX.c.held_until <= hold.now))
    # What leaves together with it does not go before it.
    together = and_(_OUTBOX.c.gathering != "", _EARLIER.c.gathering == _OUTBOX.c.gathering)
    said_before = exists().where(
        _EARLIER.c.channel == _OUTBOX.c.channel,
        _EARLIER.c.conversation == _OUTBOX.c.conversation,
        _EARLIER.c.number < _OUTBOX.c.number,
        _EARLIER.c.state == _PENDING,
        ~together,
    )
    waited = and_(_OUTBOX.c.rank == URGENT, _OUTBOX.c.due_at <= stamp(wanted.now - PATIENCE))
    free = or_(_OUTBOX.c.conversation == "", waited, ~said_before)
    return query.where(free).order_by(_OUTBOX.c.due_at, _OUTBOX.c.number)


def _threaded(connection: Connection, rows: tuple[Outgoing, ...]) -> tuple[Outgoing, ...]:
    """With how the conversation of each began on its channel, where it has."""
    began: dict[tuple[str, str], Thread | None] = {}
    for channel, conversation in {(row.channel, row.conversation) for row in rows if row.conversation}:
        query = (
            select(_OUTBOX.c.doc)
            .where(
                _OUTBOX.c.channel == channel,
                _OUTBOX.c.conversation == conversation,
                _OUTBOX.c.state == OutgoingState.SENT.value,
                _OUTBOX.c.reference != "",
            )
            .order_by(_OUTBOX.c.number)
            .limit(1)
        )
        first = next(iter(_values(connection, query)), None)
        began[channel, conversation] = (
            None if first is None else Thread(reference=first.reference, message=first.message)
        )
    return tuple(
        replace(row, thread=thread) if (thread := began.get((row.channel, row.conversation))) else row
        for row in rows
    )


def _pending(rank: int) -> Select[Any]:
    return select(_OUTBOX.c.doc).where(_OUTBOX.c.state == _PENDING, _OUTBOX.c.rank == rank)


def _at(connection: Connection, number: Select[Any]) -> Outgoing | None:
    place = connection.execute(number).scalar_one()
    if place is None:
        return None
    query = select(_OUTBOX.c.doc).where(_OUTBOX.c.number == place, _OUTBOX.c.state == _PENDING).limit(1)
    return next(iter(_values(connection, query)), None)


def _settling(row: Row) -> Row:
    return {
        "of": row["key"],
        **{f"new_{name}": row[name] for name in ("state", "due_at", "reference", "doc")},
    }


def _values(connection: Connection, query: Select[Any]) -> list[Outgoing]:
    return [decode(doc, Outgoing) for doc in connection.execute(query).scalars()]


def require_all(unknown: frozenset[str]) -> None:
    """Raises `StoreError` for messages that are not in the outbox."""
    if unknown:
        raise StoreError(f"there is no message {', '.join(map(repr, sorted(unknown)))} in the outbox")
