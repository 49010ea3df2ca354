"""Announcements: what becomes of a posted deployment (`POST /api/v1/deployments`, `watchdog deploy`). Design §7.

Works on a draft. An announcement never moves traffic and never arms a version that was there before.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from watchdog.core.deployment import Deployment, DeploymentEvent, DeploymentState, Origin
from watchdog.core.draft import Draft, identity, plain
from watchdog.core.request import Reply, Request
from watchdog.core.sightings import NAMES_WITHIN, forget_dead_checks

_FUTURE = timedelta(seconds=5)


def announce(draft: Draft, request: Request) -> Reply:
    """Record a posted deployment; answers 201 with the record, 200 when it is known already, 4xx when it cannot be."""
    body = request.body
    variant, version = str(body["variant"]), str(body["version"])
    started = datetime.fromisoformat(str(body["started_at"])) if body.get("started_at") else draft.now
    problem = _problem(draft, variant, started)
    if problem:
        return Reply(request=request.id, status=422, detail=problem)
    draft.looks.add(draft.service.name)
    live = draft.service.traffic is not None and variant in draft.service.traffic.live
    occupant = draft.service.serving(variant) if live else _pending(draft, variant, version)
    if occupant is not None and occupant.version == version and occupant.named:
        record = _annotated(draft, occupant, body)
        return _answer(request, record, 200)
    if live and occupant is not None and _can_be_named(draft, occupant):
        return _answer(request, _name(draft, occupant, version, body), 200)
    return _answer(
        request, _add(draft, request, variant=variant, version=version, started=started, live=live), 201
    )


def _problem(draft: Draft, variant: str, started: datetime) -> str:
    if started.tzinfo is None:
        return "started_at needs a time zone, such as 2026-01-31T12:00:00Z"
    if started > draft.now + _FUTURE:
        return f"started_at lies in the future: {started.isoformat()}"
    known = draft.service.traffic.variants if draft.service.traffic else {}
    if known and variant not in known:
        return f"service {draft.service.name} has no variant {variant!r}; it has {', '.join(sorted(known))}"
    return ""


def _pending(draft: Draft, variant: str, version: str) -> Deployment | None:
    for one in draft.service.deployments.values():
        if one.variant == variant and one.version == version and one.state is DeploymentState.PENDING:
            return one
    return None


def _can_be_named(draft: Draft, occupant: Deployment) -> bool:
    """An adopted record whose version is unknown, or a change seen within the last 15 minutes and not announced."""
    if occupant.state is DeploymentState.ADOPTED or occupant.origin is Origin.ADOPTED:
        return not occupant.named
    recent = occupant.live_at is not None and draft.now - occupant.live_at <= NAMES_WITHIN
    return occupant.origin is Origin.SEEN and recent and not occupant.source


def _name(draft: Draft, occupant: Deployment, version: str, body: dict[str, Any]) -> Deployment:
    """Give a seen record its version. A return that turns out to be a new version is armed from when it was seen."""
    new_version = occupant.state is DeploymentState.RETURN and version != occupant.version
    named = replace(occupant, version=version, named=True)
    if new_version:
        named = replace(named, armed=True)
    draft.set_deployment(named)
    if new_version:
        named = draft.move_deployment(named, DeploymentEvent.NAMED_ANEW, "announced as a new version")
    named = _annotated(draft, named, body)
    draft.note("deployment_named", deployment=named, was=occupant.version)
    forget_dead_checks(draft)
    return named


def _annotated(draft: Draft, record: Deployment, body: dict[str, Any]) -> Deployment:
    """What an announcement says beside the version. `forbidden` sticks; an announcement never lifts it."""
    annotated = replace(
        record,
        source=str(body.get("source") or record.source or "api"),
        url=str(body.get("url") or record.url),
        labels=record.labels | dict(body.get("labels") or {}),
        rollback_allowed=record.rollback_allowed and body.get("rollback") != "forbidden",
    )
    if annotated != record:
        draft.set_deployment(annotated)
    return annotated


def _add(
    draft: Draft, request: Request, *, variant: str, version: str, started: datetime, live: bool
) -> Deployment:
    """A record of its own: pending until traffic comes, or watching at once when it was replaced in place."""
    for older in list(draft.service.deployments.values()):
        waiting = older.state is DeploymentState.PENDING
        if older.variant == variant and (waiting or (live and older.live_at is not None)):
            draft.move_deployment(older, DeploymentEvent.REPLACED, f"replaced by {version}")
    record = Deployment(
        id=identity("dep", draft.service.name, version, variant, request.id),
        service=draft.service.name,
        version=version,
        variant=variant,
        state=DeploymentState.WATCHING if live else DeploymentState.PENDING,
        origin=Origin.POSTED,
        started_at=started,
        recorded_at=draft.now,
        live_at=draft.now if live else None,
        armed=live,
    )
    draft.set_deployment(record)
    record = _annotated(draft, record, request.body)
    draft.note(f"deployment_{record.state}", deployment=record, by=request.by)
    if live:
        forget_dead_checks(draft)
    return record


def _answer(request: Request, record: Deployment, status: int) -> Reply:
    return Reply(request=request.id, status=status, body=plain(record))
