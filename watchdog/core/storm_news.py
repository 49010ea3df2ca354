"""What people are told of a storm, word for word: one message for all services that turned bad at once.

This module must never name more services than a page has room for: a thousand names are no news.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from msgspec.structs import replace

from watchdog.core import rollback_news
from watchdog.core.incident import Incident
from watchdog.core.message import Message, MessageKind
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.rule import Level, Severity, rank
from watchdog.core.service import Service
from watchdog.core.units import elapsed

#: So many services are named; the others are counted.
NAMED = 10
_SUSPECT = "Suspect what the services share (network, database, this watchdog's sources) before any version."


def opened(
    storm: Incident,
    members: Sequence[Incident],
    *,
    services: int,
    rollbacks: Sequence[Rollback],
    stopped: str,
    grown: bool,
    now: datetime,
) -> Message:
    """Many turned bad at once, or more of them did (`grown`). `stopped`: why no rollback is made anywhere, or empty.

    `rollbacks` are those that guards stop, or that wait for approval, without anybody having heard of each.
    """
    kind = MessageKind.INCIDENT_WORSENED if grown else MessageKind.INCIDENT_OPENED
    names = sorted({one.subject for one in members})
    headline = f"{len(names)} of {services} services are in trouble at once: {named(names)}"
    if stopped:
        kind, headline = MessageKind.BREAKER_OPEN, f"no automatic rollback anywhere: {stopped}; {headline}"
    return Message(
        key=f"{kind}:{storm.id}:{now.isoformat()}" if grown else f"{kind}:{storm.id}",
        kind=kind,
        severity=Severity.CRITICAL if stopped else storm.severity,
        headline=headline,
        created_at=now,
        environment=storm.environment,
        incident=storm.id,
        also_to=storm.heard_by,
        facts=(
            ("services", named(names)),
            ("how bad", _levels(members)),
            ("rules", _rules(members)),
            *_rollbacks(rollbacks),
            *_each(members),
        ),
        next_step=f"{_SUSPECT} See all of them: watchdog incidents. Take it: watchdog ack {storm.id}",
        needs_human=True,
    )


def named(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _levels(members: Sequence[Incident]) -> str:
    worst: dict[str, Level] = {}
    for one in members:
        worst[one.subject] = max(worst.get(one.subject, Level.UNKNOWN), one.level, key=rank)
    found = Counter(worst.values())
    return ", ".join(f"{found[level]} {level}" for level in sorted(found, key=rank, reverse=True))


def _rules(members: Sequence[Incident]) -> str:
    """The rules that are breached most often, or without data."""
    found = Counter(
        rule
        for one in members
        for rule in {*(each.rule.name for each in one.breaches.values() if not each.over), *one.checks}
    )
    return ", ".join(f"{rule} on {count}" for rule, count in found.most_common(3)) or "none"


def _rollbacks(rollbacks: Sequence[Rollback]) -> tuple[tuple[str, str], ...]:
    """What people would have been asked or told for each of them."""
    waiting = sorted(
        f"{one.service} ({one.incident})" for one in rollbacks if one.state is RollbackState.AWAITING_APPROVAL
    )
    late = sorted(one.service for one in rollbacks if unanswered(one))
    stopped = [one for one in rollbacks if one.state is RollbackState.BLOCKED]
    guards = Counter(veto.guard for one in stopped for veto in one.vetoes)
    said = ", ".join(f"{guard} on {count}" for guard, count in guards.most_common(3))
    lines = (
        ("wait for approval", named(waiting)),
        ("nobody approved in time", named(late)),
        ("stopped by guards", said),
    )
    return tuple((name, text) for name, text in lines if text)


def unanswered(rollback: Rollback) -> bool:
    """Whether it ended because nobody approved in time."""
    asked = any(one.state is RollbackState.AWAITING_APPROVAL for one in rollback.history)
    ended, due = rollback.ended_at, rollback.expires_at
    in_vain = asked and rollback.intended_at is None and rollback.state is RollbackState.EXPIRED
    return in_vain and ended is not None and due is not None and ended >= due


def asked_on_their_own(
    service: Service, rollbacks: Iterable[Rollback], *, now: datetime
) -> Iterator[Message]:
    """What people are asked of a service whose storm is over: so far they read it in a line of that one."""
    for one in rollbacks:
        if one.state is RollbackState.AWAITING_APPROVAL:
            yield rollback_news.approval_wanted(service, one, now=now)
        elif one.state is RollbackState.BLOCKED and all(veto.guard != "breaker" for veto in one.vetoes):
            yield rollback_news.rollback_blocked(service, one, now=now)


def _each(members: Sequence[Incident]) -> tuple[tuple[str, str], ...]:
    """While they fit on a page, each with its own line."""
    if len(members) > NAMED:
        return ()
    return tuple((one.subject, f"{one.level}: {one.summary} ({one.id})") for one in members)


def closed(storm: Incident, *, now: datetime) -> Message:
    """It is over: told wherever the beginning was."""
    return Message(
        key=f"{MessageKind.INCIDENT_CLOSED}:{storm.id}",
        kind=MessageKind.INCIDENT_CLOSED,
        severity=storm.severity,
        headline=f"{storm.subject}: closed: {storm.closed_because}",
        created_at=now,
        environment=storm.environment,
        incident=storm.id,
        also_to=storm.heard_by,
        facts=(
            ("services", named(storm.subjects)),
            ("lasted", elapsed(storm.opened_at, now)),
        ),
    )


def acknowledged(storm: Incident, *, now: datetime) -> Message:
    """Somebody took it."""
    return Message(
        key=f"{MessageKind.INCIDENT_ACKNOWLEDGED}:{storm.id}:{storm.acknowledged_by}",
        kind=MessageKind.INCIDENT_ACKNOWLEDGED,
        severity=Severity.LOW,
        headline=f"{storm.subject}: acknowledged by {storm.acknowledged_by}",
        created_at=now,
        environment=storm.environment,
        incident=storm.id,
        also_to=storm.heard_by,
    )


def on_its_own(message: Message, storm: Incident) -> Message:
    """The news of one service that is still bad when its storm is over."""
    note = ("until now", f"told with {len(storm.subjects)} services that turned bad at once ({storm.id})")
    return replace(message, key=f"{message.key}:after:{storm.id}", facts=(*message.facts, note))
