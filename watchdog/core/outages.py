"""The incidents of sources: opened, widened and closed by time, taken and closed by people. Pure.

This module must never judge whether a source answers; `watchdog.core.blindness` does.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from watchdog.core import blindness, telling
from watchdog.core.audit import AuditDraft
from watchdog.core.draft import plain
from watchdog.core.incident import INCIDENT, Incident, IncidentEvent
from watchdog.core.message import Message
from watchdog.core.request import Reply, Request, RequestKind
from watchdog.core.silencing import Changed
from watchdog.core.taking import Taken, note, take
from watchdog.core.world import SourceWorld, World

_TAKING = frozenset({RequestKind.ACKNOWLEDGE, RequestKind.UNACKNOWLEDGE})


def look(world: World, now: datetime) -> Changed:
    """Open, widen or close the incidents of sources."""
    incidents: list[Incident] = []
    audit: list[AuditDraft] = []
    messages: list[Message] = []
    for source in list(world.sources.values()):
        affected, why = blindness.blind_services(world, source, now)
        incident = blindness.source_incident(source, affected, why, now=now)
        if incident is source.incident or incident is None:
            continue
        world = _with(world, source, incident)
        new = source.incident is None
        kind = "source_down" if new else "source_changed" if incident.open else "source_back"
        audit.append(AuditDraft(at=now, kind=kind, subject=source.name, body=plain({"incident": incident})))
        incidents.append(incident)
        if not incident.open:
            messages.append(telling.incident_closed(incident, now=now))
        elif new:
            messages.append(telling.source_down(incident, now=now))
    return Changed(world=world, incidents=tuple(incidents), audit=tuple(audit), messages=tuple(messages))


def answer(world: World, request: Request, now: datetime) -> Changed:
    """A person takes, gives back or closes the incident of a source; or there is no such incident."""
    for source in world.sources.values():
        if source.incident is None or source.incident.id != request.target:
            continue
        if request.kind in _TAKING:
            return _changed(world, source, request, take(world, source.incident, request, now))
        if request.kind is RequestKind.CLOSE:
            closed = _closed(source.incident, request, now)
            changed = _changed(world, source, request, closed)
            return replace(changed, world=blindness.start_over(changed.world, source.name, now))
    detail = f"there is no open incident {request.target}"
    return Changed(world=world, replies=(Reply(request=request.id, status=404, detail=detail),))


def _closed(incident: Incident, request: Request, now: datetime) -> Taken:
    why = f"closed by {request.by}" + (f": {request.body['reason']}" if request.body.get("reason") else "")
    state = INCIDENT.step(incident.state, IncidentEvent.CLOSED_BY_PERSON)
    moved = replace(incident, state=state, closed_at=now, closed_because=why)
    record = note("incident_closed_by_person", moved, now, by=request.by)
    return Taken(incident=moved, audit=(record,), messages=(telling.incident_closed(moved, now=now),))


def _changed(world: World, source: SourceWorld, request: Request, taken: Taken) -> Changed:
    moved = taken.incident
    return Changed(
        world=_with(world, source, moved),
        incidents=(moved,) if moved != source.incident else (),
        audit=taken.audit,
        messages=taken.messages,
        replies=(Reply(request=request.id, status=200, body=plain(moved)),),
    )


def _with(world: World, source: SourceWorld, incident: Incident) -> World:
    kept = replace(source, incident=incident if incident.open else None)
    return replace(world, sources=world.sources | {source.name: kept})
