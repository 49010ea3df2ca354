"""Which reference a check of a rule with a baseline needs now: one that is known, one to ask for, or none.

A reference that lies in the past is asked for until it is settled, and then known. After a rollback the target is
compared with what the breach was found by: the version that was bad must have no say in it, and a version without
traffic has none. This module must never ask anything itself, and never answer with a reference of another kind
where the right one is missing.
"""

from __future__ import annotations

import math
import zlib
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from watchdog.core.baseline import (
    MEDIAN_OVER,
    SAMPLED_OVER,
    SETTLED_AFTER,
    USUAL_OVER,
    USUAL_QUANTILE,
    Earlier,
    counts_good,
    unusable,
    usual_least,
    usual_spread,
    usual_step,
)
from watchdog.core.check import CheckId, CheckState, Reason
from watchdog.core.checks import away, check_on, filled_form, values_for
from watchdog.core.clockstep import ahead
from watchdog.core.deployment import Deployment, DeploymentState, Origin
from watchdog.core.observation import Answer, Failed, NoData, NoDataReason, Reference, Value
from watchdog.core.observe import observe
from watchdog.core.recent import newest, span, two_sample_of
from watchdog.core.rollback import Rollback
from watchdog.core.rule import Against, Direction, Form, Level, MetricForm, ProbeForm, Rule
from watchdog.core.widening import widened
from watchdog.core.world import ServiceWorld

#: What is usual is asked for again no more often than this.
_MOST_OFTEN = timedelta(minutes=1)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What a check's next value is compared with: `known`, or what was `asked` for, or nothing (`missing` says why).

    `told_after` is how long it may stay without a usable reference before that is worth telling; `None`: it may.
    `sample` are the newest values of the other version, for a rule that tests them.
    """

    known: Reference | None = None
    asked: Earlier | None = None
    missing: str = ""
    told_after: timedelta | None = None
    sample: tuple[float, ...] = ()


def comparison(service: ServiceWorld, check: CheckId, rule: Rule, *, now: datetime) -> Comparison | None:
    """What the next value of the check is compared with; `None` for a rule without a baseline."""
    if rule.baseline is None:
        return None
    by = _switched_by(service, check)
    if by is not None and rule.name in by.references:
        return Comparison(known=by.references[rule.name])
    match rule.baseline.against:
        case Against.BEFORE_DEPLOYMENT:
            return _before_deployment(service, check, rule, by, now)
        case Against.PREVIOUS_VERSION:
            return _previous_version(service, check, rule, now)
        case Against.EARLIER:
            return _earlier(service, check, rule, rule.baseline.ago or timedelta(), now)
        case Against.USUAL:
            return _usual(service, check, rule, rule.baseline.over or USUAL_OVER, now)


def compared(
    rule: Rule, answer: Answer | Failed, needed: Comparison | None, *, now: datetime
) -> Value | NoData | Failed:
    """What the answer says about the rule (`watchdog.core.observe`), with what its value is compared with.

    A value without a usable reference is no data. Whatever is wrong with a reference alone says nothing of the value.
    """
    if needed is None or isinstance(answer, Failed):
        return observe(rule, answer, now=now)
    parts = {part: series for part, series in answer.parts.items() if part not in _PARTS}
    seen = observe(rule, replace(answer, parts=parts), now=now)
    if not isinstance(seen, Value):
        return seen
    reference = needed.known or _reference(rule, answer, needed.asked, now)
    if isinstance(reference, Reference):
        why = unusable(rule, reference)
        if not why or _remembered(rule, reference):
            tested = reference if not needed.sample else replace(reference, sample=needed.sample)
            return replace(seen, reference=tested)
    else:
        why = needed.missing or reference
    if two_sample_of(rule) is not None:
        return replace(seen, uncompared=why)  # the other version may be compared with it
    return NoData(reason=NoDataReason.NO_REFERENCE, detail=why, asked=answer.asked, answered=answer.answered)


def _remembered(rule: Rule, reference: Reference) -> bool:
    """Whether an unusable reference goes with the value, for evaluation to say so and keep it (it was dear)."""
    usual = rule.baseline is not None and rule.baseline.against is Against.USUAL
    return usual and math.isfinite(reference.value)


_PARTS = ("reference", "reference_samples", "reference_points", "reference_outer")


def _reference(rule: Rule, answer: Answer, asked: Earlier | None, now: datetime) -> Reference | str:
    """The reference in an answer, or why there is none; NaN for none. The fewest of what it is made of counts."""
    if asked is None:
        return ""
    values = answer.parts.get("reference", ())
    if len(values) > 1:
        return f"{len(values)} values where one was asked for"
    counts = [answer.parts[part] for part in _PARTS[1:3] if part in answer.parts]
    outer = answer.parts.get("reference_outer", ())
    spread = usual_spread(values[0], outer[0], good=counts_good(rule)) if values and outer else None
    samples = min((max(filter(math.isfinite, count), default=0.0) for count in counts), default=0.0)
    nothing = 0.0 if asked.outer is not None and samples else math.nan  # all values but a few were 0
    return Reference(
        value=values[0] if values else nothing,
        samples=samples,
        at=asked.at or answer.evaluated_at - asked.ago,
        learnt_at=min(answer.evaluated_at, now),
        version=asked.version,
        spread=spread if spread is not None and math.isfinite(spread) else None,
    )


def references_of(service: ServiceWorld, rollback: Rollback) -> dict[str, Reference]:
    """What the rules that found a version bad compared it with, by rule."""
    found = dict(rollback.references)
    for rule in rollback.rules:
        check = away(rule, rollback) if rule.per_version else CheckId(service=service.name, rule=rule.name)
        state = service.checks.get(check)
        known = state.reference if state is not None else None
        if rule.baseline is not None and known is not None and not unusable(rule, known):
            found[rule.name] = known
    return found


def uncompared(
    service: ServiceWorld, check: CheckId, rule: Rule, state: CheckState, *, now: datetime
) -> bool:
    """Whether a check has lacked a reference for so long that people should hear of it (nobody is paged for it).

    Never while there need not be one: a version that was there at first sight, or takes traffic alone.
    """
    if (
        state.verdict is None
        or state.verdict.reason is not Reason.NO_REFERENCE
        or state.unknown_since is None
    ):
        return False
    needed = comparison(service, check, rule, now=now)
    if needed is None or needed.told_after is None:
        return False
    return now - state.unknown_since >= rule.blind_after + needed.told_after


def _switched_by(service: ServiceWorld, check: CheckId) -> Rollback | None:
    """The rollback that moved traffic to what the check judges."""
    deployment = service.deployment_of(check)
    if deployment is None or deployment.origin is not Origin.SWITCHED:
        return None
    for rollback in service.rollbacks.values():
        if rollback.to_variant == deployment.variant and rollback.applied_at == deployment.live_at:
            return rollback
    return None


def _before_deployment(
    service: ServiceWorld, check: CheckId, rule: Rule, by: Rollback | None, now: datetime
) -> Comparison:
    deployment = service.deployment_of(check)
    if deployment is None:
        return Comparison(missing="which deployment takes traffic is not known")
    if not _watched(service, check, deployment, now):
        why = f"{deployment.version} is stable, and what was before it says no more about now"
        return Comparison(missing=why)
    if by is not None:
        deployment = service.deployments.get(by.deployment, deployment)
    before = _replaced(service, deployment) or deployment
    at = _until(deployment)
    asked = Earlier(
        form=_form(service, check, rule, before),
        at=at,
        median_over=MEDIAN_OVER,
        version=before.version if rule.per_version else "",
    )
    known = service.checks.get(check, CheckState()).reference
    if known is not None and known.learnt_at >= at + SETTLED_AFTER:
        same = (known.at, known.version) == (at, asked.version)
        if same:
            return Comparison(known=known)
    return Comparison(asked=asked, told_after=timedelta() if deployment.armed else None)


def _until(deployment: Deployment) -> datetime:
    """When the time before a deployment ends.

    At first sight that is the begun minute: no deployment happened then, and services that are seen first within
    the same minute can be asked for together.
    """
    if deployment.origin is Origin.ADOPTED:
        return deployment.started_at.replace(second=0, microsecond=0)
    return deployment.started_at


def _watched(service: ServiceWorld, check: CheckId, deployment: Deployment, now: datetime) -> bool:
    """Whether a deployment is young enough to be compared with before, or what it breached is not over."""
    young = now <= deployment.started_at + service.service.rollback.armed_for
    state = service.checks.get(check, CheckState())
    return young or deployment.state is not DeploymentState.STABLE or state.latched is not Level.OK


def _replaced(service: ServiceWorld, deployment: Deployment) -> Deployment | None:
    """The deployment that took traffic last before this one; `None` when it was there at first sight."""
    live_at = deployment.live_at
    if deployment.origin is Origin.ADOPTED or live_at is None:
        return None
    earlier = [
        (one.live_at, one.recorded_at, one)
        for one in service.deployments.values()
        if one.id != deployment.id and one.live_at is not None and one.live_at < live_at
        if one.ended_at is None or one.ended_at >= deployment.started_at
    ]
    return max(earlier, key=lambda entry: entry[:2], default=(None, None, None))[2]


def _previous_version(service: ServiceWorld, check: CheckId, rule: Rule, now: datetime) -> Comparison:
    """Only the earlier one is a reference: the older version is not bad because the newer one is better."""
    own_since = _first_live(service, check.version)
    earlier: list[tuple[datetime, str, Deployment]] = []
    for variant in service.traffic.live if service.traffic else ():
        other = service.serving(variant)
        if other is None or other.version == check.version:
            continue
        since = _first_live(service, other.version)
        if since is not None and own_since is not None and since < own_since:
            earlier.append((since, variant, other))
    if not earlier:
        return Comparison(missing="no earlier version takes traffic beside it")
    _, variant, previous = max(earlier, key=lambda entry: entry[0])
    asked = Earlier(form=_form(service, check, rule, previous), version=previous.version)
    test = two_sample_of(rule)
    if test is None:
        return Comparison(asked=asked, told_after=SAMPLED_OVER)
    beside = service.checks.get(check_on(rule, service.name, version=previous.version, variant=variant))
    sample = newest(rule, beside.recent, now=now) if beside is not None else ()
    return Comparison(asked=asked, told_after=max(SAMPLED_OVER, 2 * span(rule, test)), sample=sample)


def _first_live(service: ServiceWorld, version: str) -> datetime | None:
    """When a version was first seen to take traffic, on whatever variant."""
    moments = [
        one.live_at
        for one in service.deployments.values()
        if one.version == version and one.live_at is not None
    ]
    return min(moments, default=None)


def _earlier(service: ServiceWorld, check: CheckId, rule: Rule, ago: timedelta, now: datetime) -> Comparison:
    """A rule that names the version is compared with the version that took traffic then, as far as is known."""
    then = [
        (one.live_at, one.recorded_at, one)
        for one in service.deployments.values()
        if one.live_at is not None and one.live_at <= now - ago
        if one.ended_at is None or one.ended_at > now - ago
    ]
    serving = max(then, key=lambda entry: entry[:2], default=(None, None, None))[2]
    serving = serving or service.deployment_of(check)
    version = serving.version if serving is not None and rule.per_version else ""
    asked = Earlier(form=_form(service, check, rule, serving), ago=ago, version=version)
    return Comparison(asked=asked, told_after=ago + SAMPLED_OVER)


def _usual(service: ServiceWorld, check: CheckId, rule: Rule, over: timedelta, now: datetime) -> Comparison:
    """What is usual of whatever versions there were. No value of that is made of a sample that the value now has.

    It changes slowly and is dear to ask for: what is known is good for as long as one of its values stands for.
    """
    state = service.checks.get(check, CheckState())
    step = usual_step(over)
    known = state.reference
    if known is not None and not ahead(known.learnt_at, now):
        # A question that was too dear to be answered must not blind the check: what is known is good for longer then.
        lasts = over / 4 if state.failures else max(_MOST_OFTEN, step) * _share_of_patience(check, rule)
        if now - known.learnt_at < lasts:
            return Comparison(known=known, told_after=_usual_after(rule, known, over))
    if state.failures:
        # Whether the source answers at all must be seen without the part that may be too dear for it.
        why = "the last question did not succeed, and nothing was known of what is usual"
        return Comparison(missing=why, told_after=_usual_after(rule, known, over))
    form = filled_form(replace(rule, form=_anybody(rule)), values_for(service, check))
    if isinstance(form, ProbeForm):
        raise TypeError(f"rule {rule.name!r} is a probe and has nothing to compare with")
    asked = Earlier(
        form=form,
        ago=rule.window,
        median_over=over,
        step=max(step, rule.window),
        outer=USUAL_QUANTILE if rule.direction is Direction.ABOVE else round(1 - USUAL_QUANTILE, 9),
    )
    return Comparison(asked=asked, told_after=_usual_after(rule, known, over))


def _anybody(rule: Rule) -> Form:
    return rule.form if isinstance(rule.form, ProbeForm) else widened(rule.form)


def _share_of_patience(check: CheckId, rule: Rule) -> float:
    """From 0.75 to 1, always the same for one check: a thousand checks that learnt at a start must not ask at once.

    Services that are asked for together stay together.
    """
    key = rule.name if rule.match is not None else str(check)
    return 0.75 + 0.25 * (zlib.crc32(key.encode()) % 256) / 255


def _usual_after(rule: Rule, known: Reference | None, over: timedelta) -> timedelta:
    """A new service needs its time until anything is usual; a number that never moves will never have a scale."""
    if known is not None and known.samples >= usual_least(over, rule.window):
        return timedelta()
    return over / 4 + max(_MOST_OFTEN, usual_step(over))


def _form(service: ServiceWorld, check: CheckId, rule: Rule, deployment: Deployment | None) -> MetricForm:
    """The rule's form as it is asked of another deployment."""
    values = values_for(service, check)
    if deployment is not None:
        place = {"version": deployment.version, "variant": deployment.variant, "deployment": deployment.id}
        values = values | place
    form = filled_form(rule, values)
    if isinstance(form, ProbeForm):
        raise TypeError(f"rule {rule.name!r} is a probe and has nothing to compare with")
    return form
