"""Announcements: what becomes of a posted deployment (`POST /api/v1/deployments`, `watchdog deploy`). Design §7.

Works on a draft. An announcement never moves traffic and never arms a version that was there before.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from watchdog.core.deployment import ENDED, Deployment, DeploymentEvent, DeploymentState, Origin
from watchdog.core.draft import Draft, identity, plain
from watchdog.core.naming import rename
from watchdog.core.request import Reply, Request
from watchdog.core.sightings import NAMES_WITHIN, forget_dead_checks, start_over

_FUTURE = timedelta(seconds=5)


def announce(draft: Draft, request: Request) -> Reply:
    """Record a posted deployment; answers 201 with the record, 200 when it is known already, 422 when it cannot be."""
    body = request.body
    variant, version = str(body["variant"]), str(body["version"])
    started, problem = _started(draft, body)
    problem = problem or _problem(draft, variant)
    if problem:
        return Reply(request=request.id, status=422, detail=problem)
    draft.looks.add(draft.service.name)
    known = _known(draft, variant, version)
    if known is not None:
        return _answer(request, _annotated(draft, known, body), 200)
    nameless = _nameless(draft, variant)
    if nameless is not None:
        return _answer(request, _name(draft, nameless, version, body), 200)
    return _answer(request, _add(draft, request, variant=variant, version=version, started=started), 201)


def _started(draft: Draft, body: dict[str, Any]) -> tuple[datetime, str]:
    """When it started, or why that cannot be."""
    given = body.get("started_at")
    if not given:
        return draft.now, ""
    try:
        started = datetime.fromisoformat(str(given))
    except ValueError:
        return draft.now, f"started_at is not a time: {given!r}"
    if started.tzinfo is None:
        return draft.now, "started_at needs a time zone, such as 2026-01-31T12:00:00Z"
    if started > draft.now + _FUTURE:
        return draft.now, f"started_at lies in the future: {started.isoformat()}"
    return min(started, draft.now), ""


def _problem(draft: Draft, variant: str) -> str:
    known = draft.service.traffic.variants if draft.service.traffic else {}
    if known and variant not in known:
        return f"service {draft.service.name} has no variant {variant!r}; it has {', '.join(sorted(known))}"
    return ""


def _live(draft: Draft, variant: str) -> bool:
    return draft.service.traffic is not None and variant in draft.service.traffic.live


def _told(draft: Draft, variant: str) -> str | None:
    return draft.service.traffic.told(variant) if draft.service.traffic else None


def _known(draft: Draft, variant: str, version: str) -> Deployment | None:
    """The record that says the same already: what is live under that name, or an announcement that waits."""
    for one in draft.service.deployments.values():
        if one.variant == variant and one.version == version and one.state is DeploymentState.PENDING:
            return one
    serving = draft.service.serving(variant) if _live(draft, variant) else None
    if serving is None or not serving.named:
        return None
    return serving if version in (serving.version, serving.reported) else None


def _nameless(draft: Draft, variant: str) -> Deployment | None:
    """The record that this announcement names: adopted without a version, or a change seen a moment ago.

    That change may be over already: rolled back or undone before anybody said what it was.
    """
    serving = draft.service.serving(variant)
    if serving is None or draft.service.on_variant(variant) is not serving:
        return None
    live = _live(draft, variant)
    if live and not serving.named and serving.origin in (Origin.ADOPTED, Origin.SWITCHED):
        return serving
    recent = serving.live_at is not None and draft.now - serving.live_at <= NAMES_WITHIN
    unannounced = serving.origin is Origin.SEEN and not serving.source
    there = live or (serving.state in ENDED and not serving.named)
    return serving if recent and unannounced and there else None


def _name(draft: Draft, occupant: Deployment, version: str, body: dict[str, Any]) -> Deployment:
    """Give a seen record its version. A return that turns out to be a new version is armed from when it was seen."""
    returned = occupant.state is DeploymentState.RETURN and occupant.origin is Origin.SEEN
    new_version = returned and version != occupant.version
    named = rename(draft, occupant, version)
    if new_version:
        draft.set_deployment(replace(named, armed=True))
        named = draft.move_deployment(
            draft.service.deployments[named.id], DeploymentEvent.NAMED_ANEW, "announced as a new version"
        )
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


def _add(draft: Draft, request: Request, *, variant: str, version: str, started: datetime) -> Deployment:
    """A record of its own: pending until traffic comes, or watching at once when it was replaced in place.

    In place, back to a version that the variant carried before is a return: never armed.
    A switch that tells versions will tell this one too when it is there; until then the earlier one is.
    """
    in_place = _live(draft, variant) and _told(draft, variant) is None
    back = in_place and any(one.version == version for one in draft.service.served(variant))
    for older in list(draft.service.deployments.values()):
        waiting = older.state is DeploymentState.PENDING
        if older.variant == variant and (waiting or (in_place and older.live_at is not None)):
            draft.move_deployment(older, DeploymentEvent.REPLACED, f"replaced by {version}")
    record = Deployment(
        id=identity("dep", draft.service.name, version, variant, request.id),
        service=draft.service.name,
        version=version,
        variant=variant,
        state=_begins_as(in_place=in_place, back=back),
        origin=Origin.POSTED,
        started_at=started,
        recorded_at=draft.now,
        live_at=draft.now if in_place else None,
        armed=in_place and not back,
    )
    draft.set_deployment(record)
    record = _annotated(draft, record, request.body)
    draft.note(f"deployment_{record.state}", deployment=record, by=request.by)
    if record.armed:
        start_over(draft)
    if in_place:
        forget_dead_checks(draft)
    return record


def _begins_as(*, in_place: bool, back: bool) -> DeploymentState:
    if back:
        return DeploymentState.RETURN
    return DeploymentState.WATCHING if in_place else DeploymentState.PENDING


def _answer(request: Request, record: Deployment, status: int) -> Reply:
    return Reply(request=request.id, status=status, body=plain(record))
