"""A person's word on a rollback: do it, and where one waits for it, yes. Works on a draft.

A person skips what only protects from automation; never a kill switch, never a target that is not known good and ready.
This module must never take traffic away from the version that a person names.
"""

from __future__ import annotations

from msgspec.structs import replace

from watchdog.core.deciding import INTENT_FOR, RETRIED, begin, end, intend, unanswered
from watchdog.core.deployment import Deployment
from watchdog.core.draft import Draft, identity, plain
from watchdog.core.facts import gather
from watchdog.core.guards import GuardFacts, ask
from watchdog.core.incident import Incident, IncidentKind
from watchdog.core.request import Reply, Request
from watchdog.core.rollback import VERIFYING, Rollback, RollbackEvent, RollbackState
from watchdog.core.service import Mode
from watchdog.core.world import ServiceWorld


def approve(draft: Draft, request: Request, rollback: Rollback) -> Reply:
    """A person approved in time: the guards are asked once more, with the approval."""
    if unanswered(draft, rollback):
        detail = f"the time to approve is over since {rollback.expires_at}: nobody approved in time"
        return Reply(request=request.id, status=409, detail=detail)
    facts = _with_approval(draft, rollback)
    vetoes = ask(facts)
    if vetoes:
        draft.note("approval_vetoed", rollback=rollback.id, by=request.by, vetoes=vetoes, facts=facts)
        return Reply(request=request.id, status=409, detail="; ".join(veto.detail for veto in vetoes))
    approved = replace(rollback, requested_by=f"watchdog, approved by {request.by}")
    moved = intend(draft, approved, facts, {"approved_by": request.by})
    return Reply(request=request.id, status=202, body=plain(moved))


def _with_approval(draft: Draft, rollback: Rollback) -> GuardFacts:
    """What is asked of the guards now, because of the rule that accuses the version best: one is enough."""
    bad = draft.service.deployments.get(rollback.deployment)
    asked = [
        gather(
            draft.world,
            draft.service,
            now=draft.now,
            automatic=True,
            bad=bad,
            rule=rule,
            wanted=rollback.to_version,
            target_variant=rollback.to_variant,
            approved=draft.service.service.mode is Mode.APPROVE,
            own=rollback,
        )
        for rule in rollback.rules or (None,)
    ]
    return next((facts for facts in asked if not ask(facts)), asked[0])


def requested(draft: Draft, request: Request) -> Reply:
    """A person's rollback. Skips what only protects from automation; never the rest.

    One that comes so late (the watchdog did not run, or could write nothing) is refused: what is live now may be
    another version, and nobody waits for the answer any more. So is one that says what it is about (`from`, a button on
    an old message) when another version is live by now.
    """
    if abs(draft.now - request.at) > INTENT_FOR:
        draft.note("rollback_request_too_late", request=request)
        detail = f"asked at {request.at.isoformat()}, which is not now; ask again if it is still wanted"
        return Reply(request=request.id, status=409, detail=detail)
    wanted = str(request.body["to"]) if request.body.get("to") else None
    bad = _taken_from(draft.service, wanted)
    active = draft.service.active_rollback()
    if active is not None and not _gives_way(active, wanted):
        return Reply(
            request=request.id, status=409, detail=f"rollback {active.id} is under way ({active.state})"
        )
    if bad is None:
        return Reply(
            request=request.id,
            status=409,
            detail="nothing is known of what is live now; is the switch readable?",
        )
    seen = str(request.body["from"]) if request.body.get("from") else bad.version
    if bad.version != seen:
        draft.note("rollback_request_outdated", request=request, live=bad.version)
        detail = f"{bad.version} is live now, not {seen}; ask again if it is still wanted"
        return Reply(request=request.id, status=409, detail=detail)
    facts = gather(draft.world, draft.service, now=draft.now, automatic=False, bad=bad, wanted=wanted)
    vetoes = ask(facts)
    if vetoes:
        draft.note("rollback_request_refused", request=request, vetoes=vetoes, facts=facts)
        return Reply(
            request=request.id, status=409, detail="; ".join(f"{v.guard}: {v.detail}" for v in vetoes)
        )
    if active is not None:
        end(draft, active, RollbackEvent.OVERTAKEN, f"{request.by} rolls back by hand")
    incident = _incident_of(draft.service, bad)
    breached = [breach.rule for breach in incident.breaches.values() if not breach.over] if incident else []
    key = f"manual:{request.id}"
    rollback = replace(
        begin(draft, bad, facts, incident, str(request.body.get("reason", ""))),
        id=identity("rb", key),
        key=key,
        automatic=False,
        requested_by=request.by,
        rules=tuple(breached),
        observed_at=draft.now,
    )
    moved = intend(draft, rollback, facts, {"request": request.id})
    return Reply(request=request.id, status=202, body=plain(moved))


def _taken_from(service: ServiceWorld, wanted: str | None) -> Deployment | None:
    """What a person wants traffic to leave: of several live versions the newest, but never the one he names."""
    current = service.current()
    if current is None or wanted is None or current.version != wanted:
        return current
    live = [service.serving(variant) for variant in (service.traffic.live if service.traffic else ())]
    others = [one for one in live if one is not None and one.version != wanted]
    return max(others, key=lambda one: (one.started_at, one.recorded_at), default=current)


def _gives_way(active: Rollback, wanted: str | None) -> bool:
    """Whether a person's rollback may take the place of one that is not over.

    One that has switched only when he names another version than it went to: whoever asks a moment later for the same
    again must not be taken one version further back.
    """
    if active.state in VERIFYING:
        return wanted is not None and wanted != active.to_version
    return active.state in (*RETRIED, RollbackState.AWAITING_APPROVAL)


def _incident_of(service: ServiceWorld, bad: Deployment) -> Incident | None:
    """The incident of a deployment: its own, else the one that still waits for its version to be ok again."""
    own = service.incident_of(IncidentKind.BREACH, bad.id)
    if own is not None:
        return own
    return next(
        (
            incident
            for incident in service.incidents.values()
            if any(not breach.over and breach.version == bad.version for breach in incident.breaches.values())
        ),
        None,
    )
