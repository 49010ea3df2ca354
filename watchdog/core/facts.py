"""Gathers what the guards may look at, from the world and a traffic state just read. Pure.

This module must never judge; `watchdog.core.guards` does.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from watchdog.core.arming import unproven
from watchdog.core.census import Census, automatic_since, census_of
from watchdog.core.check import CheckId, CheckState
from watchdog.core.checks import check_on
from watchdog.core.deployment import Deployment
from watchdog.core.guards import BASELINE_WITHIN, GuardFacts
from watchdog.core.known import known_of, newest_before
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.rule import Against, Level, Rule, rank
from watchdog.core.targets import choose
from watchdog.core.traffic import TrafficState, VariantState
from watchdog.core.world import ServiceWorld, World

DAY = timedelta(hours=24)

#: What a baseline can compare with that says nothing of the time right before a deployment.
_LONG_AGO = frozenset({Against.EARLIER, Against.USUAL})


def gather(  # noqa: PLR0913 - the one question that everybody asks, each with what he knows
    world: World,
    service: ServiceWorld,
    *,
    now: datetime,
    automatic: bool,
    bad: Deployment | None,
    rule: Rule | None = None,
    wanted: str | None = None,
    target_variant: str | None = None,
    approved: bool = False,
    own: Rollback | None = None,
    census: Census | None = None,
) -> GuardFacts:
    """Facts for the rollback of `bad` because of `rule`. `own` is the rollback itself, which does not count against it.

    `target_variant` binds the question to the target that was decided on; otherwise the best one is chosen.
    A rule that does not name the version says nothing about which of several live ones is bad.
    """
    if census is None:
        census = census_of(world, now=now, own=own, changed=service)
    state = service.traffic
    target = choose(service, bad, wanted=wanted)
    found = target.deployment
    problem, detail = target.problem, target.detail
    if found is not None and target_variant is not None and found.variant != target_variant:
        problem, detail = (
            "target_changed",
            f"the decision was for {target_variant}, now {found.variant} is better",
        )
    known = _known_before(service, bad, rule) if bad is not None and rule is not None else None
    spot = state.variants.get(found.variant) if state and found else None
    no_proof, why = _unproven(service, bad, rule, own, now)
    return GuardFacts(
        now=now,
        automatic=automatic,
        policy=service.service.rollback,
        mode=service.service.mode,
        approved=approved,
        paused=_paused(world, service),
        leader=world.leader,
        from_version=bad.version if bad else "",
        from_variant=bad.variant if bad else "",
        from_live=_is_live(service, bad),
        live=tuple(_name(service, variant) for variant in (state.live if state else ())),
        attributable=rule is None or rule.per_version or state is None or len(state.live) <= 1,
        deployment_state=bad.state if bad else None,
        armed=bad.armed if bad else False,
        started_at=bad.started_at if bad else None,
        forbidden=bad is not None and not bad.rollback_allowed,
        target_version=found.version if found else "",
        target_variant=found.variant if found else "",
        target_problem=problem,
        target_detail=detail,
        target_ready=spot.ready if spot else None,
        target_note=spot.note if spot else "",
        live_capacity=capacity(state, found.variant if found else ""),
        rule=rule.name if rule else "",
        known_before=known[0] if known else None,
        known_before_at=known[1] if known else None,
        previous_bad=_equally_bad(service, bad, rule) if bad and rule else "",
        switched_at=_last_switch(service, own),
        rollbacks_today=automatic_since(service.rollbacks.values(), now - DAY, own),
        recent_rollbacks=census.recent_rollbacks,
        max_rollbacks=world.limits.max_rollbacks,
        max_rollbacks_per=world.limits.per,
        breaching=census.breaching,
        services=len(world.services),
        max_share=world.limits.max_share,
        max_share_at_least=world.limits.at_least,
        confirming=_confirming(service, bad, now),
        managed_by=state.managed_by if state else None,
        gitops=service.service.gitops,
        unproven=no_proof,
        unproven_detail=why,
    )


def facts_before_write(
    world: World, rollback: Rollback, state: TrafficState, *, now: datetime, paused_by_file: str
) -> GuardFacts:
    """The facts once more, on a state just read and a pause file just looked at.

    A target that takes traffic only because half of this very change is in place need not stand in for itself, and
    takes no part in the question which of several live versions is bad.
    """
    service = world.services[rollback.service]
    seen = replace(service, traffic=state)
    fresh = replace(world, paused_by_file=paused_by_file)
    bad = seen.deployments.get(rollback.deployment)
    facts = gather(
        fresh,
        seen,
        now=now,
        automatic=rollback.automatic,
        bad=bad,
        wanted=rollback.to_version,
        target_variant=rollback.to_variant,
        approved=_approved(rollback),
        own=rollback,
    )
    beside = rollback.change is not None and rollback.change.beside
    suspects = [name for name in state.live if beside or name != rollback.to_variant]
    named = not rollback.rules or any(rule.per_version for rule in rollback.rules)
    facts = replace(facts, attributable=not rollback.automatic or named or len(suspects) <= 1)
    if beside or rollback.to_variant not in state.live:
        return facts
    return replace(facts, live_capacity=_stood_in_for(state, rollback.to_variant))


def _approved(rollback: Rollback) -> bool:
    """Whether a person allowed this very intent: it came straight from waiting for that."""
    states = [passage.state for passage in rollback.history]
    return states[-2:] == [RollbackState.AWAITING_APPROVAL, RollbackState.INTENDED]


def _known_before(service: ServiceWorld, bad: Deployment, rule: Rule) -> tuple[Level, datetime] | None:
    """The rule's newest known verdict before the deployment, and when.

    A rule that compares with what was there before it, and nothing else is known of, was as good as itself then: its
    verdict on the deployment is the proof that it had a value. What was long ago, or is usual, proves nothing of then.
    """
    found = newest_before(known_of(service.known, rule), bad.started_at, within=BASELINE_WITHIN)
    if found is None and rule.baseline is not None and rule.baseline.against not in _LONG_AGO:
        return Level.OK, bad.started_at
    return found


def _paused(world: World, service: ServiceWorld) -> str:
    """Every kill switch that is set: the file, the one by API, the mark on the target itself."""
    found = [world.paused_by_file] if world.paused_by_file else []
    if service.paused is not None:
        why = f": {service.paused.reason}" if service.paused.reason else ""
        found.append(f"paused by {service.paused.by}{why}")
    if service.traffic is not None and service.traffic.paused:
        found.append(f"paused by a mark on the target: {service.traffic.paused}")
    return "; ".join(found)


def _is_live(service: ServiceWorld, bad: Deployment | None) -> bool:
    """Whether this deployment takes traffic: its variant is live and still carries it."""
    if bad is None or service.traffic is None:
        return False
    spot = service.traffic.variants.get(bad.variant)
    if spot is None or not spot.live:
        return False
    serving = service.serving(bad.variant)
    carried = serving is not None and serving.id == bad.id
    return carried and bad.fits(service.traffic.told(bad.variant))


def _name(service: ServiceWorld, variant: str) -> str:
    deployment = service.serving(variant)
    return deployment.version if deployment else variant


def capacity(state: TrafficState | None, target: str) -> int | None:
    """Capacity that the target must have, relative to what is live: that of all others, and what it carries itself."""
    if state is None:
        return None
    own = _size(state.variants[target]) if target in state.live else 0
    return max(own, _stood_in_for(state, target))


def _stood_in_for(state: TrafficState, target: str) -> int:
    """Capacity of everything live but the target: what it must stand in for."""
    return sum(_size(state.variants[name]) for name in state.live if name != target)


def _size(spot: VariantState) -> int:
    return spot.total or spot.ready or 1


def _equally_bad(service: ServiceWorld, bad: Deployment, rule: Rule) -> str:
    """Another live version on which the same rule is critical or worse now."""
    for variant in service.traffic.live if service.traffic else ():
        other = service.serving(variant)
        if other is None or variant == bad.variant:
            continue
        check = check_on(rule, service.name, version=other.version, variant=variant)
        state = service.checks.get(check, CheckState())
        if state.known is not None and rank(state.known.level) >= rank(Level.CRITICAL):
            return other.version
    return ""


def _unproven(
    service: ServiceWorld, bad: Deployment | None, rule: Rule | None, own: Rollback | None, now: datetime
) -> tuple[str, str]:
    """Why `rule` may not decide by itself; nothing where another that asks for the same now may."""
    proofs = service.service.proofs
    if rule is None or proofs is None:
        return "", ""
    why = unproven(proofs, rule, now=now)
    if not why[0] or bad is None:
        return why
    others = [one for one in own.rules if one.name != rule.name] if own is not None else []
    if any(not unproven(proofs, one, now=now)[0] and _asks(service, bad, one, now) for one in others):
        return "", ""
    return why


def _asks(service: ServiceWorld, bad: Deployment, rule: Rule, now: datetime) -> bool:
    """Whether a rule asks for a rollback of `bad` itself, by an answer that is still worth something."""
    check = CheckId(service=service.name, rule=rule.name)
    if rule.per_version:
        check = check_on(rule, service.name, version=bad.version, variant=bad.variant)
    state = service.checks.get(check, CheckState())
    if state.held is not Level.ROLLBACK or state.verdict is None:
        return False
    return state.verdict.level is Level.ROLLBACK and now - state.verdict.at <= _fresh_for(rule)


def _fresh_for(rule: Rule) -> timedelta:
    return max(rule.window, 3 * rule.interval)


def _last_switch(service: ServiceWorld, own: Rollback | None) -> datetime | None:
    """When traffic was last moved, or may have been: half a switch is one, too."""
    moments = [
        moment
        for rollback in service.rollbacks.values()
        if (moment := _moved_at(rollback)) is not None and (own is None or rollback.id != own.id)
    ]
    return max(moments, default=None)


def _moved_at(rollback: Rollback) -> datetime | None:
    if rollback.applied_at is None and rollback.state is RollbackState.PARTIAL:
        return rollback.ended_at
    return rollback.applied_at


def _confirming(service: ServiceWorld, bad: Deployment | None, now: datetime) -> dict[str, Level]:
    """The newest level of every confirming rule; unknown when it is older than its window and three intervals.

    Another version's trouble confirms nothing about this one.
    """
    levels: dict[str, Level] = {}
    for check, state in service.checks.items():
        rule = service.rules.get(check.rule)
        if rule is None or check.rule not in service.service.rollback.confirm or state.verdict is None:
            continue
        if check.variant and (bad is None or check.variant != bad.variant):
            continue
        level = state.verdict.level if now - state.verdict.at <= _fresh_for(rule) else Level.UNKNOWN
        levels[check.rule] = max(levels.get(check.rule, Level.UNKNOWN), level, key=rank)
    return levels
