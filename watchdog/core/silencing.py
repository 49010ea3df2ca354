"""Silences and mute windows at work: what is held back, what becomes of a silence, what is told afterwards. Pure.

What is held back is counted at its incident and at its silence. An incident that people heard of is always told to
be over, silenced or not; one that nobody heard of ends as quietly as it began. A notice that is muted is dropped:
nobody needs it later. This module must never hold back what is told of rollbacks, and never drop an incident that is
still open when its silence ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from watchdog.core import telling
from watchdog.core.addressing import labels_of
from watchdog.core.audit import AuditDraft
from watchdog.core.census import follow
from watchdog.core.draft import identity, plain
from watchdog.core.incident import Incident, IncidentKind
from watchdog.core.message import NOTICES, Message, MessageKind
from watchdog.core.mute import MuteWindow, muted
from watchdog.core.readiness import unready
from watchdog.core.request import Reply, Request, RequestKind
from watchdog.core.rollback import Rollback
from watchdog.core.routing import channels_for, route_for
from watchdog.core.service import Service
from watchdog.core.silence import LABEL, SILENCED, Silence, covering, problem
from watchdog.core.world import World

#: News of what is wrong; the other messages that can be silenced only follow one of these.
_NEWS = frozenset({MessageKind.INCIDENT_OPENED, MessageKind.INCIDENT_WORSENED})
#: What can be held back at all.
_QUIET = SILENCED | NOTICES
#: How a mute window stands among the silences of an incident, before its name.
MUTE = "mute:"

#: What is told of an incident of a service, where it is not that nobody watches.
_TOLD = {IncidentKind.BREACH: telling.incident_opened, IncidentKind.UNREADY: unready}


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: the next world, and what must be written and told."""

    world: World
    silences: tuple[Silence, ...] = ()
    incidents: tuple[Incident, ...] = ()
    rollbacks: tuple[Rollback, ...] = ()
    audit: tuple[AuditDraft, ...] = ()
    messages: tuple[Message, ...] = ()
    replies: tuple[Reply, ...] = ()


def answer(world: World, request: Request, now: datetime) -> Changed:
    """Make a silence, or end one early."""
    if request.kind is RequestKind.EXPIRE:
        return _expire(world, request, now)
    body = request.body
    matchers = {str(name): str(value) for name, value in dict(body.get("matchers") or {}).items()}
    ends_at = _end(body.get("ends_at"), body.get("for_seconds"), now)
    wrong = problem(matchers, reason=str(body.get("reason") or ""), ends_at=ends_at, now=now)
    if wrong is not None or ends_at is None:
        detail = " ".join(wrong or ("ends_at", "is required"))
        return Changed(world=world, replies=(Reply(request=request.id, status=422, detail=detail),))
    made = Silence(
        id=identity("sil", request.id),
        matchers=matchers,
        by=request.by,
        created_at=now,
        ends_at=ends_at,
        reason=str(body["reason"]),
    )
    return Changed(
        world=replace(world, silences={**world.silences, made.id: made}),
        silences=(made,),
        audit=(_note("silence_made", made, now),),
        replies=(Reply(request=request.id, status=201, body=plain(made)),),
    )


def _end(ends_at: object, for_seconds: object, now: datetime) -> datetime | None:
    """When it ends, of whatever was given."""
    if isinstance(for_seconds, int | float):
        return now + timedelta(seconds=for_seconds)
    return datetime.fromisoformat(str(ends_at)) if ends_at else None


def _expire(world: World, request: Request, now: datetime) -> Changed:
    silence = world.silences.get(request.target)
    if silence is None:
        detail = f"there is no silence {request.target!r} in force"
        return Changed(world=world, replies=(Reply(request=request.id, status=404, detail=detail),))
    ended = replace(silence, ended_at=now, ended_by=request.by)
    why = f"ended by {request.by}" + (f": {request.body['reason']}" if request.body.get("reason") else "")
    return Changed(
        world=_without(world, ended.id),
        silences=(ended,),
        audit=(_note("silence_ended", ended, now, why=why),),
        replies=(Reply(request=request.id, status=200, body=plain(ended)),),
    )


def end_over(world: World, now: datetime) -> Changed:
    """End the silences whose time is over."""
    over = [replace(one, ended_at=now) for one in world.silences.values() if not one.holds(now)]
    if not over:
        return Changed(world=world)
    return Changed(
        world=_without(world, *(one.id for one in over)),
        silences=tuple(over),
        audit=tuple(_note("silence_ended", one, now, why="its time is over") for one in over),
    )


def hold_back(
    before: World, world: World, messages: Iterable[Message], stored: Iterable[Incident], now: datetime
) -> Changed:
    """Take out of a step's messages what is silenced or muted. `stored` are the incidents that the step wrote."""
    messages, written = tuple(messages), {one.id: one for one in stored}
    if not any(message.kind in _QUIET for message in messages):
        return Changed(world=world, messages=messages)
    names = {message.service for message in messages}
    known = {one.id: one for one in _open(world, names)} | written
    heard = {one.id for one in _open(before, names)}
    kept: list[Message] = []
    changed: dict[str, Incident] = {}
    silences: dict[str, Silence] = {}
    notes: list[AuditDraft] = []
    for message in messages:
        incident = known.get(message.incident or "") if message.kind in SILENCED else None
        if incident is None:
            if message.kind not in NOTICES or _window(world, message, now) is None:
                kept.append(message)
            continue
        by, window = _held(world, message, incident, now), _window(world, message, now)
        if message.kind not in _NEWS:
            if incident.told or incident.heard_by:
                kept.append(message)
            continue
        if by or window is not None:
            incident = replace(
                incident,
                silenced_by=(*(one.id for one in by), *((f"{MUTE}{window.name}",) if window else ())),
                silenced_messages=incident.silenced_messages + 1,
                told=incident.told and incident.id in heard,
            )
            silences |= {one.id: _counted(silences.get(one.id, one)) for one in by}
            notes.append(_held_note(message, incident, now))
        else:
            kept.append(message)
            incident = _heard(world, message, incident)
        if incident != known[incident.id]:
            changed[incident.id] = known[incident.id] = incident
    world = _with(world, changed.values()) if changed else world
    return Changed(
        world=replace(world, silences=world.silences | silences) if silences else world,
        silences=tuple(silences.values()),
        incidents=tuple(changed.values()),
        audit=tuple(notes),
        messages=tuple(kept),
    )


def speak_up(world: World, now: datetime) -> Changed:
    """Tell the incidents that are still open and that no silence and no mute window covers any more."""
    told: list[Incident] = []
    messages: list[Message] = []
    for incident in _open(world, world.services):
        if not incident.silenced_by:
            continue
        message = _again(world, incident, now)
        if not _held(world, message, incident, now) and _window(world, message, now) is None:
            told.append(_heard(world, message, incident))
            messages.append(message)
    if not told:
        return Changed(world=world)
    notes = tuple(
        AuditDraft(at=now, kind="incident_told", subject=one.subject, body={"incident": one.id})
        for one in told
    )
    return Changed(world=_with(world, told), incidents=tuple(told), messages=tuple(messages), audit=notes)


def _heard(world: World, message: Message, incident: Incident) -> Incident:
    """The incident of which people hear now, and on which channels: they must hear of its end, too."""
    channels = channels_for(labels_of(message), world.routes)
    heard_by = tuple(dict.fromkeys((*incident.heard_by, *channels)))
    return replace(incident, silenced_by=(), told=True, heard_by=heard_by)


def held(world: World, message: Message, incident: Incident, now: datetime) -> bool:
    """Whether anything keeps people from hearing of an incident now: its next step waits then.

    What is about a rollback, too, waits for no mute window.
    """
    if _held(world, message, incident, now):
        return True
    return not _rolls_back(world, incident) and _window(world, message, now) is not None


def _rolls_back(world: World, incident: Incident) -> bool:
    service = world.services.get(incident.subject) if incident.of_service else None
    return service is not None and any(one.incident == incident.id for one in service.rollbacks.values())


def _window(world: World, message: Message, now: datetime) -> MuteWindow | None:
    """The mute window that holds this message back."""
    if not any(route.mutes for route in world.routes):
        return None
    route = route_for(labels_of(message), world.routes)
    return muted(route.mutes, now) if route is not None else None


def _held(world: World, message: Message, incident: Incident, now: datetime) -> tuple[Silence, ...]:
    """The silences that hold this message back."""
    if not world.silences:
        return ()
    labels = {f"{LABEL}{name}": value for name, value in message.labels.items()} | {
        "service": message.service,
        "environment": message.environment,
        "severity": str(message.severity),
        "version": message.version,
        "incident": incident.id,
        "source": incident.subject if incident.kind is IncidentKind.SOURCE else "",
    }
    return covering(world.silences.values(), labels, _rules(incident), now=now)


def _rules(incident: Incident) -> frozenset[str]:
    """The rules an incident is about now."""
    if incident.kind is IncidentKind.BREACH:
        return frozenset(breach.rule.name for breach in incident.breaches.values() if not breach.over)
    return frozenset(incident.checks)


def _again(world: World, incident: Incident, now: datetime) -> Message:
    """What is told of an incident whose silence is over."""
    if incident.kind is IncidentKind.SOURCE:
        message = telling.source_down(incident, now=now)
    else:
        message = news_of(world.services[incident.subject].service, incident, now=now)
    count = incident.silenced_messages
    how = "muted" if all(one.startswith(MUTE) for one in incident.silenced_by) else "silenced"
    return replace(
        message,
        key=f"{message.key}:unsilenced:{now.isoformat()}",
        facts=(*message.facts, (how, f"until now; {count} message{'s'[: count != 1]} held back")),
    )


def news_of(service: Service, incident: Incident, *, now: datetime) -> Message:
    """What is told of an incident of a service, as if it began now."""
    return _TOLD.get(incident.kind, telling.blind)(service, incident, now=now)


def _open(world: World, names: Iterable[str]) -> Iterator[Incident]:
    """The open incidents of these services, and of every source."""
    for name in names:
        if name in world.services:
            yield from world.services[name].incidents.values()
    for source in world.sources.values():
        if source.incident is not None:
            yield source.incident


def _with(world: World, incidents: Iterable[Incident]) -> World:
    """The world with these incidents in it; closed ones have left it."""
    for incident in incidents:
        if not incident.open:
            continue
        if incident.kind is IncidentKind.SOURCE:
            source = replace(world.sources[incident.subject], incident=incident)
            world = replace(world, sources={**world.sources, source.name: source})
        else:
            service = world.services[incident.subject]
            own = {**service.incidents, incident.id: incident}
            world = follow(world, replace(service, incidents=own))
    return world


def _without(world: World, *identities: str) -> World:
    return replace(
        world, silences={name: one for name, one in world.silences.items() if name not in identities}
    )


def _counted(silence: Silence) -> Silence:
    return replace(silence, held_back=silence.held_back + 1)


def _note(kind: str, silence: Silence, now: datetime, *, why: str = "") -> AuditDraft:
    body = {"silence": plain(silence), **({"why": why} if why else {})}
    return AuditDraft(at=now, kind=kind, subject=silence.id, body=body)


def _held_note(message: Message, incident: Incident, now: datetime) -> AuditDraft:
    body = {
        "incident": incident.id,
        "message": message.key,
        "headline": message.headline,
        "silences": list(incident.silenced_by),
    }
    return AuditDraft(at=now, kind="message_silenced", subject=incident.subject, body=body)
