"""A person lets go on what was suspended for a rollback (`gitops: pause`). Works on a draft.

Asked here, carried out by the engine, answered here again: the target's owner is outside. This module must never let it
go on while a rollback that needs it suspended is under way.
"""

from __future__ import annotations

from msgspec.structs import replace

from watchdog.core.deciding import INTENT_FOR
from watchdog.core.draft import Draft
from watchdog.core.events import Resumed
from watchdog.core.request import Reply, Request
from watchdog.core.rollback import VERIFYING, Rollback, RollbackState
from watchdog.core.suspension import suspension
from watchdog.core.traffic import Suspension
from watchdog.core.world import ServiceWorld, World

_UNDER_WAY = VERIFYING | {RollbackState.INTENDED}


def asked(draft: Draft, request: Request) -> Reply | None:
    """A person asks: `None` when it may go on, which the engine sees to; the reply comes with what became of it."""
    problem = _problem(draft, request)
    if problem:
        draft.looks.add(draft.service.name)
        return Reply(request=request.id, status=409, detail=problem)
    draft.note("gitops_resume_asked", by=request.by, suspended=suspension(draft.service), **request.body)
    return None


def _problem(draft: Draft, request: Request) -> str:
    if abs(draft.now - request.at) > INTENT_FOR:
        return f"asked at {request.at.isoformat()}, which is not now; ask again if it is still wanted"
    suspended = suspension(draft.service)
    if suspended is None:
        return f"nothing is suspended for {draft.service.name}, as far as its switch was seen"
    active = _needed_by(draft.world, draft.service, suspended)
    if active is not None:
        return (
            f"rollback {active.id} of {active.service} is under way ({active.state}) and needs {suspended.owner} "
            "suspended; ask again when it has ended"
        )
    return ""


def _needed_by(world: World, service: ServiceWorld, suspended: Suspension) -> Rollback | None:
    """A rollback under way of this service, or of another that the same owner keeps."""
    for one in (service, *world.services.values()):
        found = suspension(one)
        if one.name != service.name and (found is None or found.owner != suspended.owner):
            continue
        for rollback in one.rollbacks.values():
            if rollback.state in _UNDER_WAY:
                return rollback
    return None


def resumed(draft: Draft, event: Resumed) -> None:
    """What became of it: recorded, and answered to whoever asked."""
    request, traffic = event.request, draft.service.traffic
    draft.looks.add(draft.service.name)
    if not event.done:
        draft.note("gitops_resume_failed", by=request.by, why=event.detail, **request.body)
        draft.replies.append(Reply(request=request.id, status=409, detail=event.detail))
        return
    if traffic is not None and traffic.suspended is not None:
        draft.change_service(traffic=replace(traffic, suspended=None))
    draft.note("gitops_resumed", by=request.by, resumed=event.detail, **request.body)
    body = {"service": draft.service.name, "resumed": event.detail, "warning": _warning(draft.service)}
    draft.replies.append(Reply(request=request.id, status=200, body=body))


def _warning(service: ServiceWorld) -> str:
    switched = [one for one in service.rollbacks.values() if one.switched]
    newest = max(switched, key=lambda one: one.decided_at, default=None)
    bad = newest.from_version if newest is not None else "the version that was rolled back"
    return f"its source decides from here on: if that still holds {bad}, traffic goes there again"
