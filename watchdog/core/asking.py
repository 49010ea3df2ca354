"""Requests from people, CI and webhooks: each one answered, with a status and a sentence. Works on a draft."""

from __future__ import annotations

from msgspec.structs import replace

from watchdog.core import resuming, telling
from watchdog.core.announce import announce
from watchdog.core.by_hand import approve, requested
from watchdog.core.census import follow
from watchdog.core.deciding import end
from watchdog.core.draft import Draft, plain
from watchdog.core.incident import Incident, IncidentEvent, IncidentKind
from watchdog.core.judging import close
from watchdog.core.request import Reply, Request, RequestKind
from watchdog.core.rollback import Rollback, RollbackEvent, RollbackState
from watchdog.core.rule import Level
from watchdog.core.taking import take
from watchdog.core.turn import Pause
from watchdog.core.vouching import mark_good, taint, untaint

_ABOUT_INCIDENTS = frozenset(
    {
        RequestKind.ACKNOWLEDGE,
        RequestKind.UNACKNOWLEDGE,
        RequestKind.APPROVE,
        RequestKind.REJECT,
        RequestKind.CLOSE,
    }
)
_ABOUT_SILENCES = frozenset({RequestKind.SILENCE, RequestKind.EXPIRE})
_VOUCHING = {RequestKind.TAINT: taint, RequestKind.UNTAINT: untaint, RequestKind.MARK_GOOD: mark_good}


def about_silence(request: Request) -> bool:
    """Whether the request is about a silence, which belongs to no service (`watchdog.core.silencing`)."""
    return request.kind in _ABOUT_SILENCES


def about_incident(request: Request) -> bool:
    """Whether the request's target is an incident rather than a service."""
    return request.kind in _ABOUT_INCIDENTS


def answer(draft: Draft, request: Request) -> Reply | None:
    """Carry out a request about one service or one of its incidents; `None` where the reply comes later."""
    match request.kind:
        case RequestKind.DEPLOYMENT:
            return announce(draft, request)
        case RequestKind.ROLLBACK:
            return requested(draft, request)
        case RequestKind.PAUSE | RequestKind.RESUME:
            return _pause(draft, request, paused=request.kind is RequestKind.PAUSE)
        case RequestKind.ACKNOWLEDGE | RequestKind.UNACKNOWLEDGE | RequestKind.CLOSE:
            return _take(draft, request)
        case RequestKind.APPROVE | RequestKind.REJECT:
            return _settle(draft, request)
        case RequestKind.TAINT | RequestKind.UNTAINT | RequestKind.MARK_GOOD:
            return _VOUCHING[request.kind](draft, request)
        case RequestKind.ALERT:
            return _heard(draft, request)
        case RequestKind.GITOPS_RESUME:
            return resuming.asked(draft, request)
        case RequestKind.SILENCE | RequestKind.EXPIRE | RequestKind.RESEND:
            raise ValueError(f"{request.kind} is not about a service")


def _pause(draft: Draft, request: Request, *, paused: bool) -> Reply:
    """The kill switch by API; setting it twice keeps the first."""
    reason = str(request.body.get("reason") or "")
    before = draft.service.paused
    changed = paused is not (before is not None)
    if changed:
        pause = Pause(by=request.by, at=draft.now, reason=reason) if paused else None
        draft.change_service(paused=pause)
        draft.note("paused" if paused else "resumed", by=request.by, reason=reason)
        draft.tell(
            telling.pause_changed(
                draft.service.service,
                by=request.by,
                reason=reason,
                paused=paused,
                now=draft.now,
                since=before.at if before is not None else None,
            )
        )
    body = {"service": draft.service.name, "paused": plain(draft.service.paused)}
    return Reply(request=request.id, status=200, body=body)


def _heard(draft: Draft, request: Request) -> Reply:
    """An alert is a hint, never a verdict: it is recorded, and the engine asks this service's checks at once."""
    draft.note("alert_heard", by=request.by, **request.body)
    return Reply(request=request.id, status=200, body={"service": draft.service.name})


def _take(draft: Draft, request: Request) -> Reply:
    """Acknowledge an incident, give it back, or close it."""
    incident = draft.service.incidents[request.target]
    if request.kind is RequestKind.CLOSE:
        return _close(draft, request, incident)
    taken = take(follow(draft.world, draft.service), incident, request, draft.now)
    if taken.incident != incident:
        draft.set_incident(taken.incident)
    draft.audit.extend(taken.audit)
    draft.messages.extend(taken.messages)
    return Reply(request=request.id, status=200, body=plain(taken.incident))


def _close(draft: Draft, request: Request, incident: Incident) -> Reply:
    """Close for a person. What is still wrong must last as long as the first time before it is told again."""
    why = f"closed by {request.by}" + (f": {request.body['reason']}" if request.body.get("reason") else "")
    closed = close(draft, incident, IncidentEvent.CLOSED_BY_PERSON, why)
    if incident.kind is IncidentKind.SWITCH:
        draft.service = replace(draft.service, traffic_failures=0, idle_since=None)
    for check, state in list(draft.service.checks.items()):
        breach = incident.breaches.get(str(check))
        if breach is not None and not breach.over:
            anew = replace(
                state,
                streaks={},
                held=Level.OK,
                latched=Level.OK,
                clears=0,
                probe_failures=0,
                breached_at=None,
            )
            draft.set_check(check, anew, store=True)
        elif check.rule in incident.checks and state.blind_since is not None:
            draft.set_check(check, replace(state, blind_since=draft.now), store=True)
        elif check.rule in incident.checks and state.unknown_since is not None:
            draft.set_check(check, replace(state, unknown_since=draft.now), store=True)
    return Reply(request=request.id, status=200, body=plain(closed))


def _settle(draft: Draft, request: Request) -> Reply:
    """Approve or reject the rollback that waits for it."""
    waiting = _waiting(draft, request.target)
    if waiting is None:
        return Reply(
            request=request.id, status=409, detail=f"no rollback of {request.target} waits for approval"
        )
    if request.kind is RequestKind.APPROVE:
        return approve(draft, request, waiting)
    why = f"rejected by {request.by}" + (f": {request.body['reason']}" if request.body.get("reason") else "")
    moved = end(draft, waiting, RollbackEvent.LAPSED, why, {"rejected_by": request.by}, by_person=True)
    return Reply(request=request.id, status=200, body=plain(moved))


def _waiting(draft: Draft, incident: str) -> Rollback | None:
    for rollback in draft.service.rollbacks.values():
        if rollback.incident == incident and rollback.state is RollbackState.AWAITING_APPROVAL:
            return rollback
    return None
