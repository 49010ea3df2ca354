"""News that can wait leaves together: which rows of the outbox are one group, when it leaves, and the message it makes.

Only what a silence could hold back, and notices, and never what is critical: nobody waits for company with a page. When
each group last left is remembered in the world only; after a restart a group begins anew. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from watchdog.core.addressing import labels_of
from watchdog.core.draft import identity
from watchdog.core.message import NOTICES, Message, MessageKind, Outgoing
from watchdog.core.routing import Route
from watchdog.core.rule import Severity
from watchdog.core.silence import SILENCED
from watchdog.core.world import Gathered, World

#: So many services, and headlines, are named; the others are counted.
NAMED = 10
_WAITS = SILENCED | NOTICES
_LOUDEST = tuple(reversed(Severity))
_WORDS = {
    MessageKind.INCIDENT_OPENED: "opened",
    MessageKind.INCIDENT_WORSENED: "worse",
    MessageKind.INCIDENT_ACKNOWLEDGED: "taken",
    MessageKind.INCIDENT_CLOSED: "over",
    MessageKind.DEPLOYMENT_WATCHED: "watched",
    MessageKind.DEPLOYMENT_STABLE: "stable",
}


def gather(rows: Iterable[Outgoing], world: World, now: datetime) -> tuple[tuple[Outgoing, ...], World]:
    """The rows with their group and the time at which it leaves, and the world that remembers it.

    The first of a group waits for the route's `wait`, and others join it; the next leaves `interval` after it at the
    earliest.
    """
    rows = tuple(rows)
    if not rows or not any(route.gather is not None for route in world.routes):
        return rows, world
    known = {group: one for group, one in world.gathered.items() if one.counts(now)}
    found: list[Outgoing] = []
    for row in rows:
        index, route = _route(row.message, world.routes)
        how = route.gather if route is not None else None
        if how is None or row.channel in how.apart or not can_wait(row.message):
            found.append(row)
            continue
        group = _group(row.message, index, how.by)
        waits = known.get(group)
        if waits is None or waits.due_at <= now:
            wait, interval = how.wait, how.interval
            due_at = now + wait if waits is None else max(waits.due_at + interval, now)
            waits = known[group] = Gathered(due_at=due_at, interval=interval, longest=max(wait, interval))
        found.append(replace(row, group=group, due_at=waits.due_at))
    return tuple(found), world if known == world.gathered else replace(world, gathered=known)


def can_wait(message: Message) -> bool:
    """Whether it is news that may wait for others."""
    return message.kind in _WAITS and message.severity is not Severity.CRITICAL


def _route(message: Message, routes: tuple[Route, ...]) -> tuple[int, Route | None]:
    labels = labels_of(message)
    for index, route in enumerate(routes):
        if all(labels.get(name) == wanted for name, wanted in route.match.items()):
            return index, route
    return len(routes), None


def _group(message: Message, index: int, by: tuple[str, ...]) -> str:
    """The same for the same values of the labels, on every channel."""
    labels = labels_of(message)
    return identity("grp", index, *(f"{name}={labels.get(name, '')}" for name in by))


def gathered(messages: Sequence[Message]) -> Message:
    """One message of several, in their order; of a single one, that very message. Raises `ValueError` for none.

    It is as loud as the loudest, needs somebody if one of them does, and counts what it does not name.
    """
    if not messages:
        raise ValueError("a group of no messages")
    if len(messages) == 1:
        return messages[0]
    loudest = min(messages, key=lambda one: (_LOUDEST.index(one.severity), not one.needs_human))
    needed = [one for one in messages if one.needs_human]
    services = list(dict.fromkeys(one.service or one.labels.get("source", "") for one in messages))
    names = [name for name in services if name]
    kinds = Counter(_WORDS.get(one.kind, one.kind.replace("_", " ")) for one in messages)
    severities = Counter(one.severity for one in messages)
    what = ", ".join(f"{count} {word}" for word, count in kinds.items())
    who = f": {_named(names, most=3)}" if names else ""
    listed = [(one.service or str(one.kind), one.headline) for one in messages[:NAMED]]
    rest = len(messages) - len(listed)
    return Message(
        key=identity("grouped", *(one.key for one in messages)),
        kind=MessageKind.GROUPED,
        severity=loudest.severity,
        headline=f"{len(messages)} news together ({what}){who}",
        created_at=max(one.created_at for one in messages),
        environment=_shared(one.environment for one in messages),
        labels=_shared_labels(messages),
        facts=(
            ("severities", ", ".join(f"{severities[one]} {one}" for one in _LOUDEST if severities[one])),
            *((("services", _named(names, most=NAMED)),) if names else ()),
            *listed,
            *((("more", f"and {rest} more"),) if rest else ()),
        ),
        next_step=(needed[0] if loudest not in needed and needed else loudest).next_step,
        needs_human=bool(needed),
        runbook=_shared(one.runbook or "" for one in messages) or None,
        audit_head=messages[-1].audit_head,
        dashboard=_shared(one.dashboard or "" for one in messages) or None,
    )


def _named(names: Sequence[str], *, most: int) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _shared(values: Iterable[str]) -> str:
    """The value that all have; nothing where they differ."""
    found = set(values)
    return found.pop() if len(found) == 1 else ""


def _shared_labels(messages: Sequence[Message]) -> dict[str, str]:
    first, *others = messages
    return {
        name: value
        for name, value in first.labels.items()
        if all(one.labels.get(name) == value for one in others)
    }
