"""Baselines: limits that follow from a reference, the rule's own value at another time or on another version.

`Rule.baseline` says how much worse than the reference is too much (design §5, `worse_by`); what a value was compared
with stands in the value, so that a verdict follows from its record alone. Which reference a check needs is
`watchdog.core.comparing`'s. This module must never make one up: without a reference there is no verdict.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from statistics import NormalDist

import msgspec
from msgspec.structs import replace

from watchdog.core.observation import Reference, Value
from watchdog.core.quantity import format_count, format_quantity
from watchdog.core.rule import Against, Baseline, Direction, MetricForm, Rule, Thresholds
from watchdog.core.units import format_duration

#: `before-deployment` is the median over so long (design §5).
MEDIAN_OVER = timedelta(minutes=30)
#: The samples of any reference lie in so long a time up to its own.
SAMPLED_OVER = timedelta(minutes=30)
#: A reference from fewer samples is no data (design §5).
LEAST_SAMPLES = 10
#: What is usual is made of so many values, evenly spread over its time, and renewed as often as one of them is new.
USUAL_POINTS = 336
#: How far values usually lie from their median: up to this quantile on the bad side, written as normal deviations …
USUAL_QUANTILE = 0.9
#: … and never less than this share of the median: what never moved may still move a little.
USUAL_FLOOR = 0.3
#: A reference in the past changes no more after this: samples from before it are scraped and ingested by then.
SETTLED_AFTER = timedelta(minutes=1)
#: How much later than `SETTLED_AFTER` a source with a memory of its own can still be asked.
_LATE = timedelta(minutes=5)


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """A reference to ask for, with all variables filled in.

    Its time is `at`, else `ago` before the evaluation. `median_over` makes it the median over so long up to then.
    `version` is the one it is measured on, where the rule names any.
    """

    form: MetricForm
    at: datetime | None = None
    ago: timedelta = timedelta()
    median_over: timedelta | None = None
    version: str = ""


def resolved(rule: Rule, value: Value) -> Rule | None:
    """The rule with the limits that count for this value; `None` when there is nothing to compare it with."""
    if rule.baseline is None:
        return rule
    reference = value.reference
    if reference is None or unusable(rule, reference):
        return None
    return replace(rule, thresholds=limits_of(rule.baseline, rule.direction, reference.value))


def limits_of(baseline: Baseline, direction: Direction, reference: float) -> Thresholds:
    """The margins as limits on the bad side of a reference above 0."""
    margins = baseline.margins
    return Thresholds(
        warning=_limit(margins.warning, direction, reference),
        critical=_limit(margins.critical, direction, reference),
        rollback=_limit(margins.rollback, direction, reference),
    )


def _limit(margin: float | None, direction: Direction, reference: float) -> float | None:
    if margin is None:
        return None
    return reference * (1 + margin if direction is Direction.ABOVE else 1 - margin)


def usual_spread(median: float, outer: float) -> float:
    """One deviation of what is usual: `outer` is the quantile of `USUAL_QUANTILE` on the bad side of the median.

    For normally distributed values it is their standard deviation; 0 only where the median is 0, too.
    """
    deviations = abs(outer - median) / NormalDist().inv_cdf(USUAL_QUANTILE)
    return max(deviations, USUAL_FLOOR * abs(median))


def usual_step(over: timedelta) -> timedelta:
    """How far apart the values are that the usual is made of, and how often it is renewed."""
    return over / USUAL_POINTS


def unusable(rule: Rule, reference: Reference) -> str:
    """Why nothing can be compared with this reference, in words; empty when it can."""
    what = described(rule, reference)
    if not reference.samples >= LEAST_SAMPLES:
        return f"{what} has {format_count(reference.samples)} samples of the {LEAST_SAMPLES} it takes"
    if math.isnan(reference.value):
        return f"{what} does not exist"
    if math.isinf(reference.value):
        return f"{what} is infinite"
    if reference.value <= 0:
        return f"{what} is {format_quantity(reference.value, rule.unit)}, of which no share is worse"
    return ""


def described(rule: Rule, reference: Reference) -> str:
    """What the reference is, in words that can follow its number."""
    if rule.baseline is None:
        return "the reference"
    of = f" of {reference.version}" if reference.version else ""
    match rule.baseline.against:
        case Against.BEFORE_DEPLOYMENT:
            return f"the median{of} in the {format_duration(MEDIAN_OVER)} before the deployment"
        case Against.PREVIOUS_VERSION:
            return f"the value{of} at {reference.at:%H:%M:%SZ}"
        case Against.EARLIER:
            ago = format_duration(rule.baseline.ago or timedelta())
            return f"the value{of} {ago} before"
        case Against.USUAL:
            return f"the usual value{of} of {format_duration(rule.baseline.over or timedelta())}"


def reach(rule: Rule) -> timedelta:
    """How far back a source must remember to give this rule its references; nothing without a baseline."""
    if rule.baseline is None:
        return timedelta()
    return reach_of(rule.baseline, rule.window)


def reach_of(baseline: Baseline, window: timedelta) -> timedelta:
    """The same for a baseline and a window."""
    match baseline.against:
        case Against.BEFORE_DEPLOYMENT:
            return MEDIAN_OVER + window + SETTLED_AFTER + _LATE
        case Against.PREVIOUS_VERSION:
            return max(SAMPLED_OVER, window)
        case Against.EARLIER:
            return (baseline.ago or timedelta()) + max(SAMPLED_OVER, window)
        case Against.USUAL:
            return (baseline.over or timedelta()) + window
