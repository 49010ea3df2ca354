"""A parcel: what leaves through one channel at once, which is one message, or several that were gathered.

Messages that were tried together are tried together again, under the same key, and nothing is added to them: a receiver
that had them after all knows the key, and would drop what is new with what it knows. This module must never decide what
may be gathered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

import msgspec
from msgspec.structs import replace

from watchdog.channels.interface import Channel
from watchdog.core.gathering import gathered
from watchdog.core.message import Message, Outgoing


class Parcel(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`rows` are the messages as they are stored, with these `keys`; `message` is what leaves, under `key`.

    `urgent`: it goes before whatever is not. `conversations` are those that it says something in.
    """

    key: str
    rows: tuple[Outgoing, ...]
    keys: frozenset[str]
    message: Message
    urgent: bool
    conversations: frozenset[str]

    @property
    def first(self) -> Outgoing:
        """The message that was stored first; of a parcel of one the only one."""
        return self.rows[0]

    @property
    def attempts(self) -> int:
        """How often it was tried."""
        return self.first.attempts

    def as_row(self) -> Outgoing:
        """What leaves, as one message of the outbox."""
        return replace(self.first, key=self.key, message=self.message)


class Way(Protocol):
    """What is asked of `watchdog.engine.lane.Lane`."""

    channel: Channel


def parcels(rows: Iterable[Outgoing], ways: Mapping[str, Way] = MappingProxyType({})) -> list[Parcel]:
    """What leaves together as one, in the order of the first of each. `ways` are the channels by name."""
    together: dict[tuple[object, ...], list[Outgoing]] = {}
    for row in rows:
        way = ways.get(row.channel)
        singly = way is not None and getattr(type(way.channel), "SINGLY", False)
        together.setdefault((row.key,) if singly else _mark(row), []).append(row)
    return [_parcel(tuple(found)) for found in together.values()]


def _mark(row: Outgoing) -> tuple[object, ...]:
    """The same for what leaves together. What was tried together is due again at one moment."""
    if not row.group:
        return (row.key,)
    return (row.channel, row.group, row.attempts, row.due_at if row.attempts else None)


def _parcel(rows: tuple[Outgoing, ...]) -> Parcel:
    key, message = rows[0].key, rows[0].message
    if len(rows) > 1:
        message = gathered([row.message for row in rows])
        key = f"{message.key}@{rows[0].channel}"
    return Parcel(
        key=key,
        rows=rows,
        keys=frozenset(row.key for row in rows),
        message=message,
        urgent=message.urgent or any(row.hastened for row in rows),
        conversations=frozenset(row.conversation for row in rows if row.conversation),
    )
