"""After the switch: is it in place, did traffic move, does anybody undo it, did it help? (design §7)

Works on a draft. Never moves traffic again: whatever is found, the end is recorded and told.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from watchdog.core import telling
from watchdog.core.check import CheckId, CheckState
from watchdog.core.deployment import DeploymentEvent, DeploymentState
from watchdog.core.draft import Draft
from watchdog.core.events import Outcome, OutcomeKind
from watchdog.core.rollback import (
    VERIFYING,
    Rollback,
    RollbackEvent,
    RollbackState,
)
from watchdog.core.rule import Level, Rule, rank
from watchdog.core.sightings import forget_dead_checks, switched
from watchdog.core.traffic import TrafficState
from watchdog.core.turn import Taint
from watchdog.core.world import ServiceWorld

#: The bad version may still get this share of requests (connections that were open before) and count as left.
LEFTOVER = 0.05

_REFUSALS = {
    OutcomeKind.OVERTAKEN: RollbackEvent.OVERTAKEN,
    OutcomeKind.REFUSED: RollbackEvent.REFUSED,
    OutcomeKind.HALF_DONE: RollbackEvent.HALF_DONE,
    OutcomeKind.LAPSED: RollbackEvent.LAPSED,
}


def outcome(draft: Draft, event: Outcome) -> None:
    """Take in what became of an intent."""
    rollback = draft.service.rollbacks.get(event.rollback)
    if rollback is None or rollback.state is not RollbackState.INTENDED:
        return
    rollback = replace(rollback, attempts=rollback.attempts + event.attempts)
    match event.kind:
        case OutcomeKind.APPLIED | OutcomeKind.FOUND_DONE:
            _applied(draft, rollback, event)
        case OutcomeKind.VETOED:
            _vetoed(draft, rollback, event)
        case _:
            moved = draft.move_rollback(rollback, _REFUSALS[event.kind], event.detail)
            draft.note(f"rollback_{moved.state}", rollback=moved.id, detail=event.detail, state=event.state)
            draft.tell(telling.rollback_ended(draft.service.service, moved, now=draft.now))
            draft.looks.add(draft.service.name)


def _vetoed(draft: Draft, rollback: Rollback, event: Outcome) -> None:
    """A guard said no right before the write. A person's request ends there; an automatic one waits."""
    why = event.vetoes[0].detail if event.vetoes else "a guard said no"
    moved = draft.move_rollback(
        rollback, RollbackEvent.VETOED, why, vetoes=event.vetoes, intended_at=None, change=None
    )
    draft.note("rollback_blocked", rollback=moved.id, vetoes=event.vetoes, when="before the write")
    if not moved.automatic:
        moved = draft.move_rollback(moved, RollbackEvent.LAPSED, why)
    draft.tell(telling.rollback_blocked(draft.service.service, moved, now=draft.now))


def _applied(draft: Draft, rollback: Rollback, event: Outcome) -> None:
    """The switch acknowledged: record it, taint the bad version, bind the breached rules to the target."""
    policy = draft.service.service.rollback
    found = event.kind is OutcomeKind.FOUND_DONE
    baseline = event.state or event.before
    moved = draft.move_rollback(
        rollback,
        RollbackEvent.APPLIED,
        "found in place after a restart" if found else "the switch acknowledged",
        applied_at=event.at,
        contest_until=event.at + policy.stabilise + policy.contest_for,
        verify_until=event.at
        + policy.stabilise
        + verify_for(rollback, policy.verify, recheck=draft.world.recheck),
        requests_at_switch=_counters(baseline),
    )
    draft.note(
        "rollback_applied",
        rollback=moved.id,
        change=moved.change,
        before=event.before,
        after=event.state,
        found=found,
        attempts=moved.attempts,
    )
    bad = draft.service.deployments.get(rollback.deployment)
    if bad is not None:
        draft.move_deployment(bad, DeploymentEvent.ROLLED_BACK, f"rolled back by {rollback.requested_by}")
        taint = Taint(version=bad.version, at=draft.now, reason=f"rolled back: {rollback.reason}")
        draft.change_service(taints=draft.service.taints | {bad.version: taint})
    if event.state is not None:
        draft.change_service(traffic=event.state)
    switched(draft, version=rollback.to_version, variant=rollback.to_variant, at=event.at)
    _begin_proof(draft, moved)
    draft.tell(telling.rollback_switched(draft.service.service, moved, now=draft.now))
    draft.looks.add(draft.service.name)


def _counters(state: TrafficState | None) -> dict[str, int]:
    if state is None:
        return {}
    return {name: spot.requests for name, spot in state.variants.items() if spot.requests is not None}


def verify_for(rollback: Rollback, least: timedelta, *, recheck: timedelta) -> timedelta:
    """How long proof may take: at least `verify`, raised to the longest breached window, its clear samples at the
    pace they will be polled, and two scrape intervals (learnt ones are shorter than 30 s, so that is the bound)."""
    longest = least
    for rule in rollback.rules:
        pace = min(rule.interval, recheck)
        scrapes = timedelta() if rule.is_probe else 2 * min(rule.interval, timedelta(seconds=30))
        window = timedelta() if rule.is_probe else rule.window
        longest = max(longest, window + rule.clear * pace + scrapes)
    return longest


def _begin_proof(draft: Draft, rollback: Rollback) -> None:
    """Samples from before the switch prove nothing: the breached rules, bound to the target, count clear samples anew."""
    forget_dead_checks(draft)
    _rebind(draft, rollback)
    for check in _bound(draft.service, rollback):
        state = draft.service.checks.get(check)
        if state is not None:
            draft.set_check(check, replace(state, clears=0, streaks={}, held=Level.OK), store=True)


def _rebind(draft: Draft, rollback: Rollback) -> None:
    """The incident's breaches of the version that was taken away now wait for the target version."""
    incident = draft.service.incidents.get(rollback.incident or "")
    if incident is None:
        return
    breaches = {
        str(bound(draft.service.name, breach.rule, rollback))
        if breach.rule.per_version and not breach.over
        else key: breach
        for key, breach in incident.breaches.items()
    }
    draft.set_incident(replace(incident, breaches=breaches))


def _bound(service: ServiceWorld, rollback: Rollback) -> list[CheckId]:
    return [bound(service.name, rule, rollback) for rule in rollback.rules]


def bound(service: str, rule: Rule, rollback: Rollback) -> CheckId:
    """The check that proves one breached rule's recovery: the same rule on the target version."""
    if not rule.per_version:
        return CheckId(service=service, rule=rule.name)
    return CheckId(service=service, rule=rule.name, version=rollback.to_version, variant=rollback.to_variant)


def settling(service: ServiceWorld, now: datetime) -> bool:
    """Whether a switch was made so recently that samples still show the time before it."""
    return any(
        rollback.state in VERIFYING
        and rollback.applied_at is not None
        and now < rollback.applied_at + service.service.rollback.stabilise
        for rollback in service.rollbacks.values()
    )


def verifying(service: ServiceWorld) -> Rollback | None:
    """The rollback that waits for proof."""
    return next((one for one in service.rollbacks.values() if one.state in VERIFYING), None)


def traffic_seen(draft: Draft, state: TrafficState) -> None:
    """Compare what the switch shows with what was written: in place, undone, or overtaken."""
    rollback = verifying(draft.service)
    if rollback is None or rollback.applied_at is None or state.read_at < rollback.applied_at:
        return
    target, bad = state.variants.get(rollback.to_variant), state.variants.get(rollback.from_variant)
    if bad is not None and bad.live:
        _end(draft, rollback, RollbackEvent.UNDONE, _undone_why(rollback, target is not None and target.live))
    elif target is None or not target.live:
        _end(draft, rollback, RollbackEvent.OVERTAKEN, "traffic was moved to another variant")
    elif rollback.state is RollbackState.APPLIED:
        moved = draft.move_rollback(
            rollback, RollbackEvent.OBJECT_VERIFIED, f"the switch shows {rollback.to_variant}"
        )
        draft.note("rollback_verified_object", rollback=moved.id, state=state)


def _undone_why(rollback: Rollback, target_live: bool) -> str:
    beside = "beside" if target_live else "instead of"
    return f"{rollback.from_variant} takes traffic again {beside} {rollback.to_variant}: somebody undid the switch"


def progress(draft: Draft) -> None:
    """Everything after the switch that time, traffic counters and checks decide. Called after every event."""
    rollback = verifying(draft.service)
    if rollback is None:
        return
    if _newer_deployment(draft, rollback):
        _end(draft, rollback, RollbackEvent.OVERTAKEN, "a newer deployment takes traffic")
        return
    if rollback.state is RollbackState.VERIFIED_OBJECT:
        rollback = _prove_traffic(draft, rollback)
    if (
        rollback.state is RollbackState.VERIFIED_TRAFFIC
        and rollback.contest_until
        and draft.now >= rollback.contest_until
    ):
        rollback = draft.move_rollback(rollback, RollbackEvent.UNCONTESTED, "nobody undid it")
        draft.note("rollback_uncontested", rollback=rollback.id)
    if rollback.state in VERIFYING and rollback.recovered_at is None and _recovered(draft.service, rollback):
        rollback = replace(rollback, recovered_at=draft.now)
        draft.set_rollback(rollback)
        draft.note("rollback_recovery_seen", rollback=rollback.id)
    if rollback.state is RollbackState.UNCONTESTED and rollback.recovered_at is not None:
        _complete(draft, rollback)
    elif rollback.state in VERIFYING:
        _deadline(draft, rollback)


def _newer_deployment(draft: Draft, rollback: Rollback) -> bool:
    """A deployment armed after the switch that takes traffic."""
    return any(
        one.armed
        and one.id != rollback.deployment
        and one.live_at is not None
        and rollback.applied_at is not None
        and one.live_at > rollback.applied_at
        and one.state in (DeploymentState.WATCHING, DeploymentState.STABLE)
        for one in draft.service.deployments.values()
    )


def _prove_traffic(draft: Draft, rollback: Rollback) -> Rollback:
    """Requests were seen to move: by the switch's own counters, else by `total` of the target version."""
    policy = draft.service.service.rollback
    start = (rollback.applied_at or draft.now) + policy.stabilise
    if draft.now < start:
        return rollback
    proof = _counter_proof(draft.service, rollback)
    if proof == "" and _events_on_target(draft.service, rollback):
        proof = "the target's own request counts"
    if proof:
        moved = draft.move_rollback(rollback, RollbackEvent.TRAFFIC_VERIFIED, proof, traffic_proof=proof)
        draft.note("rollback_verified_traffic", rollback=moved.id, proof=proof)
        return moved
    if rollback.contest_until is None or draft.now < rollback.contest_until:
        return rollback
    left = _left_on_bad(draft.service, rollback)
    if left > LEFTOVER:
        why = f"{left:.0%} of the requests since the switch still went to {rollback.from_variant}"
        return _end(draft, rollback, RollbackEvent.STILL_BAD, f"traffic did not move: {why}")
    moved = draft.move_rollback(
        rollback,
        RollbackEvent.NOT_MEASURABLE,
        "not measurable: no requests were seen",
        traffic_proof="not_measurable",
    )
    draft.note("rollback_verified_traffic", rollback=moved.id, proof="not_measurable")
    return moved


def _since_switch(service: ServiceWorld, rollback: Rollback, variant: str) -> int | None:
    """Requests a variant got since the switch; `None` without counters or when they started over."""
    spot = service.traffic.variants.get(variant) if service.traffic else None
    start = rollback.requests_at_switch.get(variant)
    if spot is None or spot.requests is None or start is None or spot.requests < start:
        return None
    return spot.requests - start


def _left_on_bad(service: ServiceWorld, rollback: Rollback) -> float:
    """Share of the requests since the switch that still went to the bad variant; 0 when it cannot be said."""
    bad = _since_switch(service, rollback, rollback.from_variant)
    good = _since_switch(service, rollback, rollback.to_variant)
    if bad is None or good is None or bad + good == 0:
        return 0.0
    return bad / (bad + good)


def _counter_proof(service: ServiceWorld, rollback: Rollback) -> str:
    good = _since_switch(service, rollback, rollback.to_variant)
    bad = _since_switch(service, rollback, rollback.from_variant)
    if not good or bad is None or _left_on_bad(service, rollback) > LEFTOVER:
        return ""
    return f"{good} requests to {rollback.to_variant}, {bad} to {rollback.from_variant} since the switch"


def _events_on_target(service: ServiceWorld, rollback: Rollback) -> bool:
    """Whether a rule that names the version has counted events on the target since the switch."""
    for rule in rollback.rules:
        state = service.checks.get(bound(service.name, rule, rollback))
        if rule.per_version and state is not None and state.verdict is not None:
            fresh = rollback.applied_at is not None and state.verdict.at > rollback.applied_at
            if fresh and (state.verdict.events or 0) > 0:
                return True
    return False


def _recovered(service: ServiceWorld, rollback: Rollback) -> bool:
    """Every breached rule has its clear samples on the target."""
    if not rollback.rules:
        return True
    states = [
        (rule, service.checks.get(bound(service.name, rule, rollback), CheckState()))
        for rule in rollback.rules
    ]
    return all(state.clears >= rule.clear for rule, state in states)


def _complete(draft: Draft, rollback: Rollback) -> None:
    recovered = draft.move_rollback(
        rollback, RollbackEvent.RECOVERED, "the breached rules are ok on the target"
    )
    done = draft.move_rollback(
        recovered, RollbackEvent.COMPLETED, "proved: traffic moved and the rules recovered"
    )
    draft.note(
        "rollback_completed", rollback=done.id, recovered_at=done.recovered_at, traffic=done.traffic_proof
    )
    _settle_incident(draft, done)
    draft.tell(telling.rollback_ended(draft.service.service, done, now=draft.now))


def _settle_incident(draft: Draft, rollback: Rollback) -> None:
    """The breaches of the version that was taken away are retired: it takes no traffic."""
    incident = draft.service.incidents.get(rollback.incident or "")
    if incident is None:
        return
    names = {rule.name for rule in rollback.rules}
    settled = {
        key: breach if breach.over or breach.rule.name not in names else replace(breach, cleared_at=draft.now)
        for key, breach in incident.breaches.items()
    }
    draft.set_incident(replace(incident, breaches=settled))


def _deadline(draft: Draft, rollback: Rollback) -> None:
    """At the deadline: measured bad is ineffective, not measured is unverified."""
    if rollback.verify_until is None or draft.now < rollback.verify_until:
        return
    if rollback.recovered_at is not None and rollback.state is not RollbackState.APPLIED:
        return
    bad, unknown = _standing(draft.service, rollback)
    if rollback.state is RollbackState.APPLIED:
        _end(draft, rollback, RollbackEvent.STILL_UNKNOWN, "the switch could not be read again")
    elif bad:
        _end(
            draft, rollback, RollbackEvent.STILL_BAD, f"still bad on {rollback.to_version}: {', '.join(bad)}"
        )
    else:
        shown = ", ".join(unknown) or "too few clear samples"
        _end(draft, rollback, RollbackEvent.STILL_UNKNOWN, f"recovery could not be measured: {shown}")


def _standing(service: ServiceWorld, rollback: Rollback) -> tuple[list[str], list[str]]:
    bad, unknown = [], []
    for rule in rollback.rules:
        state = service.checks.get(bound(service.name, rule, rollback), CheckState())
        level = state.verdict.level if state.verdict else Level.UNKNOWN
        if level is Level.UNKNOWN:
            unknown.append(rule.name)
        elif rank(level) > rank(Level.OK):
            bad.append(rule.name)
    return bad, unknown


def _end(draft: Draft, rollback: Rollback, event: RollbackEvent, why: str) -> Rollback:
    moved = draft.move_rollback(rollback, event, why)
    draft.note(f"rollback_{moved.state}", rollback=moved.id, why=why, traffic=draft.service.traffic)
    draft.tell(telling.rollback_ended(draft.service.service, moved, now=draft.now))
    return moved
