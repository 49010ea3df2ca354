"""After the switch: is it in place, did traffic move, does anybody undo it, did it help (design §7).

Works on a draft. Never moves traffic again: whatever is found, the end is recorded and told.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from watchdog.core import deciding, meanwhile, proof, rebinding, rollback_news
from watchdog.core.checks import bound
from watchdog.core.clockstep import ahead
from watchdog.core.deployment import DeploymentEvent, DeploymentState
from watchdog.core.draft import Draft
from watchdog.core.events import Outcome, OutcomeKind
from watchdog.core.rollback import VERIFYING, Rollback, RollbackEvent, RollbackState
from watchdog.core.rule import Level
from watchdog.core.sightings import forget_dead_checks, retire, switched
from watchdog.core.suspension import suspension, with_suspension
from watchdog.core.traffic import Suspension, TrafficState, read_before
from watchdog.core.turn import Taint
from watchdog.core.world import ServiceWorld

#: A switch that should show the end of a rollback must have been readable for so long after it was due.
READ_WITHIN = timedelta(minutes=1)

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
            record: dict[str, object] = {"state": event.state}
            ending, suspended = _REFUSALS[event.kind], _suspended(event)
            deciding.end(draft, rollback, ending, event.detail, record, suspended=suspended)
    draft.looks.add(draft.service.name)


def _suspended(event: Outcome) -> Suspension | None:
    """What was suspended before a write that did not come: it stays so, and nobody else tells."""
    return event.state.suspended if event.state is not None else None


def _vetoed(draft: Draft, rollback: Rollback, event: Outcome) -> None:
    """A guard said no right before the write. A person's request ends there; an automatic one waits.

    Unless the bad version has just lost its traffic: then there is nothing left to wait for.
    """
    why = event.vetoes[0].detail if event.vetoes else "a guard said no"
    record: dict[str, object] = {"vetoes": event.vetoes, "when": "before the write", "facts": event.facts}
    if any(veto.reason == "not_live" for veto in event.vetoes):
        deciding.end(draft, rollback, RollbackEvent.OVERTAKEN, why, record, suspended=_suspended(event))
        return
    moved = draft.move_rollback(
        rollback,
        RollbackEvent.VETOED,
        why,
        vetoes=event.vetoes,
        intended_at=None,
        expires_at=None,
        change=None,
        record=record,
    )
    if moved.automatic:
        deciding.tell_blocked(draft, moved, suspended=_suspended(event))
    else:
        deciding.end(draft, moved, RollbackEvent.LAPSED, why, suspended=_suspended(event))


def _applied(draft: Draft, rollback: Rollback, event: Outcome) -> None:
    """The switch acknowledged: record it, taint the bad version, bind the breached rules to the target."""
    found = event.kind is OutcomeKind.FOUND_DONE
    incident = draft.service.incidents.get(
        rollback.incident or ""
    )  # as it was before it waits for the target
    baseline = event.state or event.before
    # The store may have been away: nothing was looked at meanwhile.
    contest_until, verify_until = _deadlines(draft, rollback, max(event.at, draft.now))
    moved = draft.move_rollback(
        rollback,
        RollbackEvent.APPLIED,
        "found in place after a restart" if found else "the switch acknowledged",
        applied_at=event.at,
        contest_until=contest_until,
        verify_until=verify_until,
        requests_at_switch=proof.counters(baseline),
        record={
            "change": rollback.change,
            "before": event.before,
            "after": event.state,
            "found": found,
            "attempts": rollback.attempts,
            "facts": event.facts,
        },
    )
    bad = draft.service.deployments.get(rollback.deployment)
    if bad is not None:
        draft.move_deployment(bad, DeploymentEvent.ROLLED_BACK, f"rolled back by {rollback.requested_by}")
        if bad.version != rollback.to_version:  # else it is only this variant of it that is bad
            taint = Taint(version=bad.version, at=draft.now, reason=f"rolled back: {rollback.reason}")
            draft.change_service(taints=draft.service.taints | {bad.version: taint})
    seen = draft.service.traffic
    if event.state is not None:
        draft.change_service(traffic=event.state)
    meanwhile.take_back(draft, rollback)
    switched(draft, version=rollback.to_version, variant=rollback.to_variant, at=event.at)
    meanwhile.arrive(draft, rollback, seen)
    if event.state is not None:
        retire(draft, event.state)
    _begin_proof(draft, moved)
    told = rollback_news.rollback_switched(draft.service.service, moved, now=draft.now, incident=incident)
    draft.tell(with_suspension(told, draft.service, _suspended(event)))


def _deadlines(draft: Draft, rollback: Rollback, start: datetime) -> tuple[datetime, datetime]:
    """When the contest window and the proof end that begin at `start`."""
    policy, scrapes = draft.service.service.rollback, proof.scrapes_of(draft.service, rollback)
    verify_for = proof.verify_for(rollback.rules, policy.verify, scrapes, draft.world.recheck)
    settled_at = start + policy.stabilise
    return settled_at + policy.contest_for, settled_at + verify_for


def _begin_proof(draft: Draft, rollback: Rollback) -> None:
    """Samples from before the switch prove nothing: the breached rules count clear samples anew, on the target."""
    rebinding.to_target(draft, rollback)
    forget_dead_checks(draft)
    for rule in rollback.rules:
        check = bound(rule, rollback)
        state = draft.service.checks.get(check)
        if state is not None:
            anew = replace(state, clears=0, streaks={}, held=Level.OK, probe_failures=0)
            draft.set_check(check, anew, store=True)


def settling(service: ServiceWorld, sampled_at: datetime, *, now: datetime) -> bool:
    """Whether a sample is from before a switch that waits for proof, or from so soon after it that it may be."""
    return any(
        rollback.state in VERIFYING
        and rollback.applied_at is not None
        and not ahead(rollback.applied_at, now)
        and sampled_at < rollback.applied_at + service.service.rollback.stabilise
        for rollback in service.rollbacks.values()
    )


def verifying(service: ServiceWorld) -> Rollback | None:
    """The rollback that waits for proof."""
    return next((one for one in service.rollbacks.values() if one.state in VERIFYING), None)


def traffic_seen(draft: Draft, state: TrafficState) -> None:
    """Compare what the switch shows with what was written: in place, undone, or overtaken.

    Nothing live at all says nothing about anybody's intent; the deadline will tell.
    """
    rollback = verifying(draft.service)
    if rollback is None or rollback.applied_at is None:
        return
    if read_before(state, rollback.applied_at) or not state.live:
        return
    record = {"traffic": state}
    if rollback.from_variant in state.live:
        if carries_other(draft.service, rollback, state):
            _end(draft, rollback, RollbackEvent.OVERTAKEN, "a newer deployment takes traffic", record)
        else:
            _end(draft, rollback, RollbackEvent.UNDONE, _undone_why(rollback, state), record)
            rebinding.back(draft, rollback)
    elif rollback.to_variant not in state.live:
        _end(draft, rollback, RollbackEvent.OVERTAKEN, "traffic was moved to another variant", record)
    elif rollback.state is RollbackState.APPLIED:
        why = f"the switch shows {rollback.to_variant}"
        draft.move_rollback(rollback, RollbackEvent.OBJECT_VERIFIED, why, record={"state": state})


def carries_other(service: ServiceWorld, rollback: Rollback, state: TrafficState) -> bool:
    """Whether the variant that was bad carries something else now, as far as anybody can tell."""
    bad, newest = service.deployments.get(rollback.deployment), service.on_variant(rollback.from_variant)
    told = state.told(rollback.from_variant)
    if bad is not None and not bad.fits(told):
        return True
    announced = newest is not None and newest.state is DeploymentState.PENDING
    return announced and newest is not None and newest.version != rollback.from_version


def _undone_why(rollback: Rollback, state: TrafficState) -> str:
    beside = "beside" if rollback.to_variant in state.live else "instead of"
    who = state.written_by or "somebody"
    return (
        f"{rollback.from_variant} takes traffic again {beside} {rollback.to_variant}: {who} undid the switch"
    )


def progress(draft: Draft) -> None:
    """Everything after the switch that time, traffic counters and checks decide. Called after every event."""
    rollback = verifying(draft.service)
    if rollback is None:
        return
    if _newer_deployment(draft, rollback):
        _end(draft, rollback, RollbackEvent.OVERTAKEN, "a newer deployment takes traffic")
        return
    rollback = _not_ahead(draft, rollback)
    if rollback.state is RollbackState.VERIFIED_OBJECT:
        rollback = _prove_traffic(draft, rollback)
    if rollback.state is RollbackState.VERIFIED_TRAFFIC and _read_after_contest(draft, rollback):
        rollback = draft.move_rollback(rollback, RollbackEvent.UNCONTESTED, "nobody undid it")
    if rollback.state not in VERIFYING:
        return
    rollback = _follow_recovery(draft, rollback)
    if rollback.state is RollbackState.UNCONTESTED and rollback.recovered_at is not None:
        _complete(draft, rollback)
    else:
        _deadline(draft, rollback)


def _not_ahead(draft: Draft, rollback: Rollback) -> Rollback:
    """The rollback with its deadlines no further away than they ever were: the clock was set back since."""
    if not ahead(rollback.applied_at, draft.now):
        return rollback
    contest, verify = _deadlines(draft, rollback, draft.now)
    clamped = replace(
        rollback,
        contest_until=min(contest, rollback.contest_until or contest),
        verify_until=min(verify, rollback.verify_until or verify),
    )
    if clamped == rollback:
        return rollback
    draft.set_rollback(clamped)
    draft.note("rollback_deadlines_moved", rollback=rollback.id, why="the clock was set back")
    return clamped


def _read_after_contest(draft: Draft, rollback: Rollback) -> bool:
    """Whether the switch was read when the contest window was over; asks for a read when it was not."""
    until = rollback.contest_until
    if until is None or draft.now < until:
        return False
    read_at = draft.service.traffic.read_at if draft.service.traffic is not None else None
    if read_at is not None and read_at >= until and not ahead(read_at, draft.now):
        return True
    draft.looks.add(draft.service.name)
    return False


def _follow_recovery(draft: Draft, rollback: Rollback) -> Rollback:
    """Note when every breached rule has its clear samples on the target, and when one is known worse again."""
    recovered = proof.recovered(draft.service, rollback)
    if recovered is (rollback.recovered_at is not None):
        return rollback
    followed = replace(rollback, recovered_at=draft.now if recovered else None)
    draft.set_rollback(followed)
    draft.note("rollback_recovery_seen" if recovered else "rollback_recovery_lost", rollback=rollback.id)
    return followed


def _newer_deployment(draft: Draft, rollback: Rollback) -> bool:
    """A deployment armed after the switch that takes traffic."""
    return any(
        one.armed
        and one.id != rollback.deployment
        and one.live_at is not None
        and rollback.applied_at is not None
        and one.live_at >= rollback.applied_at
        and one.state in (DeploymentState.WATCHING, DeploymentState.STABLE)
        for one in draft.service.deployments.values()
    )


def _prove_traffic(draft: Draft, rollback: Rollback) -> Rollback:
    """Requests were seen to move: by the switch's own counters where it has them, else by `total` of the target."""
    start = (rollback.applied_at or draft.now) + draft.service.service.rollback.stabilise
    if draft.now < start and not ahead(rollback.applied_at, draft.now):
        return rollback
    counted = proof.counted(draft.service, rollback)
    if counted is not None:
        found = proof.counter_proof(rollback, *counted)
    else:
        found = proof.events_proof(draft.service, rollback)
    if found:
        return draft.move_rollback(
            rollback, RollbackEvent.TRAFFIC_VERIFIED, found, traffic_proof=found, record={"proof": found}
        )
    if not _read_after_contest(draft, rollback):
        return rollback
    good, bad = counted or (0, 0)
    if bad:
        share = bad / (bad + good)
        why = f"{share:.0%} of the requests since the switch still went to {rollback.from_variant}"
        return _end(draft, rollback, RollbackEvent.STILL_BAD, f"traffic did not move: {why}")
    return draft.move_rollback(
        rollback,
        RollbackEvent.NOT_MEASURABLE,
        "not measurable: no requests were seen",
        traffic_proof=proof.NOT_MEASURABLE,
        record={"proof": proof.NOT_MEASURABLE},
    )


def _complete(draft: Draft, rollback: Rollback) -> None:
    """The end that everybody wants."""
    why = "the breached rules are ok on the target" if rollback.rules else "no rule was breached"
    recovered = draft.move_rollback(rollback, RollbackEvent.RECOVERED, why)
    done = draft.move_rollback(
        recovered,
        RollbackEvent.COMPLETED,
        proof.summary(recovered),
        record={"recovered_at": recovered.recovered_at, "traffic": recovered.traffic_proof},
    )
    _settle_incident(draft, done)
    _tell_end(draft, done)


def _settle_incident(draft: Draft, rollback: Rollback) -> None:
    """What the rollback was decided on is over: its rules are proved to be ok again."""
    incident = draft.service.incidents.get(rollback.incident or "")
    if incident is None:
        return
    names = {rule.name for rule in rollback.rules}
    # What long windows of an objective remember is over, but not forgotten: it ends when they forget.
    latched = {str(check) for check, state in draft.service.checks.items() if state.latched is not Level.OK}
    settled = {
        key: breach
        if breach.over or breach.rule.name not in names or key in latched
        else replace(breach, cleared_at=draft.now)
        for key, breach in incident.breaches.items()
    }
    draft.set_incident(replace(incident, breaches=settled))


def _deadline(draft: Draft, rollback: Rollback) -> None:
    """At the deadline: measured bad is ineffective, not measured is unverified."""
    if rollback.verify_until is None or draft.now < rollback.verify_until:
        return
    if rollback.state is RollbackState.APPLIED:
        _end(draft, rollback, RollbackEvent.STILL_UNKNOWN, "the switch could not be read again")
        return
    if rollback.recovered_at is not None:
        until = max(rollback.verify_until, rollback.contest_until or rollback.verify_until)
        if draft.now >= until + READ_WITHIN:
            why = "the rules recovered, but the switch could not be read to see whether it stayed"
            _end(draft, rollback, RollbackEvent.STILL_UNKNOWN, why)
        return
    bad, unknown = proof.standing(draft.service, rollback)
    if bad:
        why = f"still bad on {rollback.to_version}: {', '.join(bad)}"
        _end(draft, rollback, RollbackEvent.STILL_BAD, why)
    else:
        shown = ", ".join(unknown) or "too few clear samples"
        _end(draft, rollback, RollbackEvent.STILL_UNKNOWN, f"recovery could not be measured: {shown}")


def _end(
    draft: Draft,
    rollback: Rollback,
    event: RollbackEvent,
    why: str,
    record: dict[str, TrafficState] | None = None,
) -> Rollback:
    moved = draft.move_rollback(rollback, event, why, record=record or {"traffic": draft.service.traffic})
    _tell_end(draft, moved)
    return moved


def _tell_end(draft: Draft, rollback: Rollback) -> None:
    incident = draft.service.incidents.get(rollback.incident or "")
    told = rollback_news.rollback_ended(draft.service.service, rollback, now=draft.now, incident=incident)
    draft.tell(with_suspension(told, draft.service, suspension(draft.service)))
