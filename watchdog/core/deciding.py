"""The decision to roll back: from a held rollback verdict, or a person's word, to an intent or a list of vetoes.

Works on a draft. Nothing is written outside here; an intent only says what the executor may do.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from watchdog.core import telling
from watchdog.core.deployment import Deployment
from watchdog.core.draft import Draft, identity, plain
from watchdog.core.facts import gather
from watchdog.core.guards import GuardFacts, ask
from watchdog.core.incident import Incident
from watchdog.core.judged import Judged
from watchdog.core.request import Reply, Request
from watchdog.core.rollback import Passage, Rollback, RollbackEvent, RollbackState, Veto
from watchdog.core.rule import Level, Rule
from watchdog.core.service import Mode
from watchdog.core.traffic import Change

#: An intent that could not be carried out for so long is given up: the world has moved on.
INTENT_FOR = timedelta(minutes=5)
_RETRIED = (RollbackState.DECIDED, RollbackState.BLOCKED)


def consider(draft: Draft, judged: Judged, incident: Incident | None) -> None:
    """A rollback verdict has held: decide, unless this deployment was decided on before or something is under way."""
    bad, rule = judged.deployment, judged.rule
    if bad is None:
        return
    rollback = _known(draft, bad)
    if rollback is not None and rollback.state not in _RETRIED:
        _also_breached(draft, rollback, rule)
        return
    active = draft.service.active_rollback()
    if active is not None and (rollback is None or active.id != rollback.id) and active.state not in _RETRIED:
        return
    facts = gather(
        draft.world,
        draft.service,
        now=draft.now,
        automatic=True,
        bad=bad,
        rule=rule,
        attributable=rule.per_version or len(facts_live(draft)) == 1,
        own=rollback,
    )
    started = rollback or _begin(draft, bad, facts, incident, judged.verdict.explanation)
    started = replace(
        started,
        rules=_with_rule(started.rules, rule),
        incident=incident.id if incident else started.incident,
        to_variant=facts.target_variant,
        to_version=facts.target_version,
        observed_at=judged.event.arrived_at,
        breached_since=judged.result.state.breached_at,
        reason=judged.verdict.explanation or f"{rule.name} is beyond its rollback threshold",
    )
    _decide(draft, started, facts, judged.inputs, new=rollback is None)


def facts_live(draft: Draft) -> tuple[str, ...]:
    """The variants that are live now."""
    return draft.service.traffic.live if draft.service.traffic else ()


def _known(draft: Draft, bad: Deployment) -> Rollback | None:
    key = f"auto:{draft.service.name}:{bad.id}"
    return next((one for one in draft.service.rollbacks.values() if one.key == key), None)


def _with_rule(rules: tuple[Rule, ...], rule: Rule) -> tuple[Rule, ...]:
    return rules if any(one.name == rule.name for one in rules) else (*rules, rule)


def _also_breached(draft: Draft, rollback: Rollback, rule: Rule) -> None:
    """Another rule says the same before the switch: its recovery will be part of the proof."""
    if rollback.state is RollbackState.INTENDED and all(one.name != rule.name for one in rollback.rules):
        draft.set_rollback(replace(rollback, rules=_with_rule(rollback.rules, rule)))


def _begin(
    draft: Draft, bad: Deployment, facts: GuardFacts, incident: Incident | None, reason: str
) -> Rollback:
    key = f"auto:{draft.service.name}:{bad.id}"
    return Rollback(
        id=identity("rb", key),
        key=key,
        service=draft.service.name,
        deployment=bad.id,
        incident=incident.id if incident else None,
        state=RollbackState.DECIDED,
        automatic=True,
        requested_by="watchdog",
        reason=reason,
        from_variant=bad.variant,
        from_version=bad.version,
        to_variant=facts.target_variant,
        to_version=facts.target_version,
        decided_at=draft.now,
        history=(Passage(state=RollbackState.DECIDED, at=draft.now, why=reason),),
    )


def _decide(
    draft: Draft, rollback: Rollback, facts: GuardFacts, replay: dict[str, object], *, new: bool
) -> None:
    vetoes = ask(facts)
    only_approval = len(vetoes) == 1 and vetoes[0].reason == "not_approved"
    if only_approval:
        _ask_approval(draft, rollback, facts, replay)
    elif vetoes:
        _block(draft, rollback, facts, vetoes, replay, new=new)
    else:
        intend(draft, rollback, facts, replay)


def _block(
    draft: Draft,
    rollback: Rollback,
    facts: GuardFacts,
    vetoes: tuple[Veto, ...],
    replay: dict[str, object],
    *,
    new: bool,
) -> None:
    """A guard said no. Told and recorded when it is new or other guards than before say no."""
    known = {(veto.guard, veto.reason) for veto in rollback.vetoes}
    if not new and known == {(veto.guard, veto.reason) for veto in vetoes}:
        return
    moved = draft.move_rollback(rollback, RollbackEvent.VETOED, vetoes[0].detail, vetoes=vetoes)
    draft.note("rollback_blocked", rollback=moved.id, vetoes=vetoes, facts=facts, **replay)
    _tell_blocked(draft, moved)


def _tell_blocked(draft: Draft, rollback: Rollback) -> None:
    if any(veto.guard == "breaker" for veto in rollback.vetoes):
        return  # one aggregated message for all services; see watchdog.core.step
    draft.tell(telling.rollback_blocked(draft.service.service, rollback, now=draft.now))


def _ask_approval(draft: Draft, rollback: Rollback, facts: GuardFacts, replay: dict[str, object]) -> None:
    expires = draft.now + draft.service.service.rollback.approve_within
    moved = draft.move_rollback(
        rollback, RollbackEvent.APPROVAL_ASKED, "waits for approval", expires_at=expires, vetoes=()
    )
    draft.note("approval_asked", rollback=moved.id, facts=facts, **replay)
    draft.tell(telling.approval_wanted(draft.service.service, moved, now=draft.now))


def intend(draft: Draft, rollback: Rollback, facts: GuardFacts, replay: dict[str, object]) -> Rollback:
    """Write the intent: from here on the executor may switch."""
    state = draft.service.traffic
    change = Change(
        target=rollback.to_variant,
        away=(rollback.from_variant,),
        expect=state.revision if state else "",
        mark=rollback.id,
        epoch=draft.world.epoch,
    )
    moved = draft.move_rollback(
        rollback,
        RollbackEvent.INTENDED,
        f"all guards allow it; {rollback.from_variant} → {rollback.to_variant}",
        change=change,
        vetoes=(),
        intended_at=draft.now,
        expires_at=draft.now + INTENT_FOR,
        requests_at_switch={},
    )
    draft.note("rollback_intended", rollback=moved.id, change=change, facts=facts, **replay)
    return moved


def approve(draft: Draft, request: Request, rollback: Rollback) -> Reply:
    """A person approved: the guards are asked once more, with the approval."""
    bad = draft.service.deployments.get(rollback.deployment)
    rule = rollback.rules[0] if rollback.rules else None
    facts = gather(
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
    vetoes = ask(facts)
    if vetoes:
        draft.note("approval_vetoed", rollback=rollback.id, by=request.by, vetoes=vetoes, facts=facts)
        return Reply(request=request.id, status=409, detail="; ".join(veto.detail for veto in vetoes))
    approved = replace(rollback, requested_by=f"watchdog, approved by {request.by}")
    moved = intend(draft, approved, facts, {"approved_by": request.by})
    return Reply(request=request.id, status=202, body=plain(moved))


def requested(draft: Draft, request: Request) -> Reply:
    """A person's rollback. Skips what only protects from automation; never the rest."""
    bad = draft.service.current()
    active = draft.service.active_rollback()
    if active is not None and active.state not in (*_RETRIED, RollbackState.AWAITING_APPROVAL):
        return Reply(
            request=request.id, status=409, detail=f"rollback {active.id} is under way ({active.state})"
        )
    if bad is None:
        return Reply(
            request=request.id,
            status=409,
            detail="nothing is known of what is live now; is the switch readable?",
        )
    wanted = str(request.body["to"]) if request.body.get("to") else None
    facts = gather(draft.world, draft.service, now=draft.now, automatic=False, bad=bad, wanted=wanted)
    vetoes = ask(facts)
    if vetoes:
        draft.note("rollback_request_refused", request=request, vetoes=vetoes, facts=facts)
        return Reply(
            request=request.id, status=409, detail="; ".join(f"{v.guard}: {v.detail}" for v in vetoes)
        )
    if active is not None:
        draft.move_rollback(active, RollbackEvent.OVERTAKEN, f"{request.by} rolls back by hand")
    incident = next((one for one in draft.service.incidents.values() if one.deployment == bad.id), None)
    breached = [breach.rule for breach in incident.breaches.values() if not breach.over] if incident else []
    key = f"manual:{request.id}"
    rollback = replace(
        _begin(draft, bad, facts, incident, str(request.body.get("reason", ""))),
        id=identity("rb", key),
        key=key,
        automatic=False,
        requested_by=request.by,
        rules=tuple(breached),
        observed_at=draft.now,
    )
    moved = intend(draft, rollback, facts, {"request": request.id})
    return Reply(request=request.id, status=202, body=plain(moved))


def unbreached(draft: Draft) -> None:
    """Decisions that wait lapse when nothing asks for them any more or their time is over."""
    for rollback in list(draft.service.rollbacks.values()):
        if (
            rollback.state is RollbackState.AWAITING_APPROVAL
            and rollback.expires_at
            and draft.now >= rollback.expires_at
        ):
            _lapse(draft, rollback, "nobody approved in time")
        elif rollback.state in (RollbackState.BLOCKED, RollbackState.AWAITING_APPROVAL):
            _drop_if_moot(draft, rollback)


def _drop_if_moot(draft: Draft, rollback: Rollback) -> None:
    bad = draft.service.deployments.get(rollback.deployment)
    serving = draft.service.serving(rollback.from_variant)
    live = rollback.from_variant in facts_live(draft)
    if draft.service.traffic is not None and not (live and bad and serving and serving.id == bad.id):
        moved = draft.move_rollback(rollback, RollbackEvent.OVERTAKEN, "traffic was moved by somebody else")
        draft.note("rollback_superseded", rollback=moved.id)
        return
    held = any(state.latched is not Level.OK for state in draft.service.checks.values())
    incident = draft.service.incidents.get(rollback.incident or "")
    if incident is None and not held:
        moved = draft.move_rollback(rollback, RollbackEvent.LAPSED, "every check is ok again")
        draft.note("rollback_expired", rollback=moved.id)


def _lapse(draft: Draft, rollback: Rollback, why: str) -> None:
    moved = draft.move_rollback(rollback, RollbackEvent.LAPSED, why)
    draft.note("rollback_expired", rollback=moved.id, why=why)
    draft.tell(telling.rollback_ended(draft.service.service, moved, now=draft.now))
