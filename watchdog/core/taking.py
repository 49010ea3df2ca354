"""An incident in somebody's hands: taken, kept for longer, given back. The same for services, sources and storms. Pure.

This module must never decide what time does to it; `watchdog.core.escalation` does.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from watchdog.core import climbing, escalation_news, storm_news, telling
from watchdog.core.addressing import addressees, policy_for
from watchdog.core.audit import AuditDraft
from watchdog.core.draft import plain
from watchdog.core.incident import INCIDENT, Incident, IncidentEvent, IncidentKind, IncidentState
from watchdog.core.ladder import Climb
from watchdog.core.message import Message
from watchdog.core.request import Request, RequestKind
from watchdog.core.world import World


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What a person's word came to: the incident after it, and what must be recorded and told."""

    incident: Incident
    audit: tuple[AuditDraft, ...] = ()
    messages: tuple[Message, ...] = ()


def take(world: World, incident: Incident, request: Request, now: datetime) -> Taken:
    """A person takes an open incident, keeps it for longer, or gives it back."""
    if request.kind is RequestKind.UNACKNOWLEDGE:
        return _given_back(world, incident, request, now)
    seconds = request.body.get("for_seconds")
    climb = incident.climb or begun(world, incident, now)
    lasts = timedelta(seconds=float(seconds)) if seconds else None
    moved = replace(
        incident,
        state=INCIDENT.step(incident.state, IncidentEvent.ACKNOWLEDGED),
        acknowledged_by=incident.acknowledged_by or request.by,
        acknowledged_at=incident.acknowledged_at or now,
        climb=climbing.taken(climb, now, lasts=lasts) if climb is not None else None,
    )
    if moved == incident:
        return Taken(incident=incident)
    until = moved.climb.acknowledged_until if moved.climb is not None else None
    ends = {"until": until} if until is not None else {}
    why = f"by {request.by}" + (f", until {escalation_news.clock(until)}" if until is not None else "")
    record = note("incident_acknowledged", moved, now, by=request.by, why=why, **ends)
    known = incident.state is IncidentState.ACKNOWLEDGED or not incident.told
    return Taken(incident=moved, audit=(record,), messages=() if known else (_taken_news(world, moved, now),))


def _taken_news(world: World, incident: Incident, now: datetime) -> Message:
    if incident.kind is IncidentKind.STORM:
        message = storm_news.acknowledged(incident, now=now)
    else:
        service = world.services[incident.subject].service if incident.of_service else None
        message = telling.acknowledged(incident, now=now, service=service)
    return replace(message, key=f"{message.key}:{now.isoformat()}")  # it may be given back, and taken again


def _given_back(world: World, incident: Incident, request: Request, now: datetime) -> Taken:
    if incident.state is not IncidentState.ACKNOWLEDGED:
        return Taken(incident=incident)
    climb = incident.climb or begun(world, incident, now)
    reason = str(request.body.get("reason") or "")
    moved = alone_again(incident, climbing.let_go(climb, now) if climb is not None else None)
    why = f"given back by {request.by}" + (f": {reason}" if reason else "")
    record = note("incident_unacknowledged", moved, now, by=request.by, why=why)
    if moved.climb is None or not (incident.told or incident.heard_by):
        return Taken(incident=moved, audit=(record,))
    base = escalation_news.now_of(world, moved, now=now)
    message = escalation_news.unacknowledged(
        base,
        incident,
        moved.climb,
        to=beginners(world, moved, base, moved.climb),
        by=request.by,
        reason=reason,
        now=now,
    )
    return Taken(incident=moved, audit=(record,), messages=(message,))


def alone_again(incident: Incident, climb: Climb | None) -> Incident:
    """Nobody has it any more."""
    state = INCIDENT.step(incident.state, IncidentEvent.UNACKNOWLEDGED)
    return replace(incident, state=state, acknowledged_by=None, acknowledged_at=None, climb=climb)


def beginners(world: World, incident: Incident, base: Message, climb: Climb) -> tuple[str, ...]:
    """Who is told that a ladder begins again: its first step, and whoever heard of it."""
    asked = replace(base, severity=climb.severity, only_to=(), also_to=incident.heard_by)
    return addressees(asked, world.routes, incident)


def begun(world: World, incident: Incident, now: datetime) -> Climb | None:
    """A climb that begins now without anybody being told: of what was taken before people heard of it, for example."""
    asked = replace(escalation_news.now_of(world, incident, now=now), severity=incident.severity)
    policy = policy_for(asked, world.routes)
    return climbing.begin(policy, incident.severity, now) if policy is not None else None


def note(kind: str, incident: Incident, now: datetime, **body: object) -> AuditDraft:
    """A record about an incident."""
    subject = "" if incident.kind is IncidentKind.STORM else incident.subject
    return AuditDraft(at=now, kind=kind, subject=subject, body=plain({"incident": incident.id, **body}))
