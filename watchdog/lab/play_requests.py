"""Requests of a script: what people ask for, with the incident or the silence that they mean. Never answers one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from watchdog.core.asking import about_incident
from watchdog.core.incident import Incident, IncidentKind
from watchdog.core.request import Request, RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.roster import everyone
from watchdog.core.rule import rank
from watchdog.core.units import parse_duration
from watchdog.core.world import World
from watchdog.lab.script import Deployed, Wanted

#: Of a silence, what says neither why nor how long is what it is about.
_OF_SILENCES = frozenset({"reason", "for", "for_seconds"})
_NOTHING = "nothing"


def announced(deployed: Deployed, *, number: int, now: datetime) -> Request:
    """What a pipeline says of a deployment."""
    body = {
        "version": deployed.version,
        "variant": deployed.variant,
        "rollback": "allowed" if deployed.rollback_allowed else "forbidden",
    }
    return Request(
        id=f"req-{number}", kind=RequestKind.DEPLOYMENT, target=deployed.service, by="ci", at=now, body=body
    )


def request_of(wanted: Wanted, world: World, *, number: int, now: datetime) -> Request:
    """A person's wish. Who names no incident means the one that matters most now."""
    asked = Request(
        id=f"req-{number}", kind=wanted.kind, target=wanted.service, by=wanted.by, at=now, body=_body(wanted)
    )
    return replace(asked, target=_target(wanted, asked, world))


def _target(wanted: Wanted, asked: Request, world: World) -> str:
    if wanted.kind is RequestKind.SILENCE:
        return ""
    if wanted.kind is RequestKind.EXPIRE:
        silences = world.silences.values()
        return max(silences, key=lambda one: one.created_at).id if silences else _NOTHING
    if not about_incident(asked):
        return wanted.service
    named = wanted.arguments.get("incident")
    if named:
        return named
    waiting = _waiting(wanted, world)
    if waiting is not None:
        return waiting
    found = [one for one in everyone(world) if _means(wanted, one)]
    return max(found, key=_weight).id if found else _NOTHING


def _waiting(wanted: Wanted, world: World) -> str | None:
    """The incident whose rollback waits for approval, for who approves or rejects."""
    if wanted.kind not in (RequestKind.APPROVE, RequestKind.REJECT):
        return None
    service = world.services.get(wanted.service)
    rollbacks = service.rollbacks.values() if service is not None else ()
    return next((one.incident for one in rollbacks if one.state is RollbackState.AWAITING_APPROVAL), None)


def _means(wanted: Wanted, incident: Incident) -> bool:
    """An incident of that service, or of anything where no service is named."""
    kind = wanted.arguments.get("kind")
    return (
        not wanted.service or incident.subject == wanted.service or wanted.service in incident.subjects
    ) and (kind is None or kind == incident.kind)


def _weight(incident: Incident) -> tuple[bool, int, datetime]:
    return incident.kind is IncidentKind.BREACH, rank(incident.level), incident.opened_at


def _body(wanted: Wanted) -> dict[str, Any]:
    arguments = dict(wanted.arguments)
    lasts = arguments.pop("for", None)
    body: dict[str, Any] = dict(arguments)
    if "for_seconds" in arguments:
        body["for_seconds"] = float(arguments["for_seconds"])
    if lasts is not None:
        body["for_seconds"] = parse_duration(lasts).total_seconds()
    return body if wanted.kind is not RequestKind.SILENCE else _silence(wanted, body)


def _silence(wanted: Wanted, body: Mapping[str, Any]) -> dict[str, Any]:
    matchers = {name: value for name, value in body.items() if name not in _OF_SILENCES}
    if wanted.service:
        matchers = {"service": wanted.service, **matchers}
    said = {name: value for name, value in body.items() if name in _OF_SILENCES}
    return {"reason": "a rule test", **said, "matchers": matchers}
