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
from watchdog.core.rule import Against, Baseline, Direction, MetricForm, Rule, Thresholds, Unit
from watchdog.core.units import format_duration

#: `before-deployment` is the median over so long (design §5).
MEDIAN_OVER = timedelta(minutes=30)
#: The samples of any reference lie in so long a time up to its own.
SAMPLED_OVER = timedelta(minutes=30)
#: A reference from fewer samples is no data (design §5).
LEAST_SAMPLES = 10
#: `usual` looks back so far unless the rule says otherwise: two of every weekday.
USUAL_OVER = timedelta(days=14)
#: What is usual is made of so many values, evenly spread over its time, and renewed as often as one of them is new.
#: It is that of the values other than 0 (`LEAST_SAMPLES` of them at least): a service that had nothing to do says
#: nothing of how long things usually take, and one that hardly ever fails nothing of how much it fails when it does
#: (docs/score-card.md has the figures).
USUAL_POINTS = 336
#: How far values usually lie from their median: up to this quantile on the bad side, written as normal deviations …
USUAL_QUANTILE = 0.75
#: … and never less than this share of the median: what never moved may still move a little.
USUAL_FLOOR = 0.4
#: A reference in the past changes no more after this: samples from before it are scraped and ingested by then.
SETTLED_AFTER = timedelta(minutes=1)
#: How much later than `SETTLED_AFTER` a source with a memory of its own can still be asked.
_LATE = timedelta(minutes=5)


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """A reference to ask for, with all variables filled in.

    Its time is `at`, else `ago` before the evaluation. `median_over` makes it the median over so long up to then, of
    values `step` apart (that of `watchdog.core.referring.step_of` where there is none); `outer` asks for that quantile
    of the same values, too, and leaves out those that are 0. `version` is the one it is measured on, where the rule
    names any.
    """

    form: MetricForm
    at: datetime | None = None
    ago: timedelta = timedelta()
    median_over: timedelta | None = None
    step: timedelta | None = None
    outer: float | None = None
    version: str = ""


def resolved(rule: Rule, value: Value) -> Rule | None:
    """The rule with the limits that count for this value; `None` when there is nothing to compare it with."""
    if rule.baseline is None:
        return rule
    reference = value.reference
    if reference is None or unusable(rule, reference):
        return None
    return replace(
        rule, thresholds=limits_of(rule.baseline, rule.direction, reference.value, spread=reference.spread)
    )


def limits_of(
    baseline: Baseline, direction: Direction, reference: float, *, spread: float | None = None
) -> Thresholds:
    """The margins as limits on the bad side: shares of a reference above 0, or deviations from what is usual.

    One deviation is the `spread`, which only `usual` has.
    """
    sign = 1 if direction is Direction.ABOVE else -1

    def limit(margin: float | None) -> float | None:
        if margin is None:
            return None
        if baseline.against is Against.USUAL:
            return reference + sign * margin * (spread or 0.0)
        return reference * (1 + sign * margin)

    margins = baseline.margins
    return Thresholds(
        warning=limit(margins.warning), critical=limit(margins.critical), rollback=limit(margins.rollback)
    )


def usual_spread(median: float, outer: float, *, good: bool = False) -> float:
    """One deviation of what is usual: `outer` is the quantile of `USUAL_QUANTILE` on the bad side of the median.

    For normally distributed values it is their standard deviation. `good` says that values are shares of what went
    well: then the floor is one of the bad share, which is what there can be more of. 0 only where that is 0, too.
    """
    deviations = abs(outer - median) / NormalDist().inv_cdf(USUAL_QUANTILE)
    return max(deviations, USUAL_FLOOR * abs(1 - median if good else median))


def counts_good(rule: Rule) -> bool:
    """Whether the rule's values are shares of what went well."""
    return rule.unit is Unit.RATIO and rule.direction is Direction.BELOW


def usual_step(over: timedelta) -> timedelta:
    """How far apart the values are that the usual is made of, and how often it is renewed."""
    return over / USUAL_POINTS


def usual_least(over: timedelta, window: timedelta) -> int:
    """How many values, 0 or not, it takes to say what is usual: a quarter of those that the time `over` has."""
    return max(LEAST_SAMPLES, math.ceil(over / max(usual_step(over), window) / 4))


def unusable(rule: Rule, reference: Reference) -> str:
    """Why nothing can be compared with this reference, in words; empty when it can."""
    what = described(rule, reference)
    usual = rule.baseline is not None and rule.baseline.against is Against.USUAL
    least, of = LEAST_SAMPLES, "samples"
    if rule.baseline is not None and usual:
        least, of = usual_least(rule.baseline.over or timedelta(), rule.window), "values"
    if not reference.samples >= least:
        return f"{what} has {format_count(reference.samples)} {of} of the {least} it takes"
    if math.isnan(reference.value):
        return f"{what} does not exist"
    if math.isinf(reference.value):
        return f"{what} is infinite"
    if usual:
        return _without_scale(rule, reference, what)
    if reference.value <= 0:
        return f"{what} is {format_quantity(reference.value, rule.unit)}, of which no share is worse"
    return ""


def _without_scale(rule: Rule, reference: Reference, what: str) -> str:
    """Why there is no telling how far from what is usual is far."""
    spread = reference.spread
    if spread is not None and math.isfinite(spread) and spread > 0:
        return ""
    usual = format_quantity(reference.value, rule.unit)
    return f"{what} is {usual} and hardly ever worse, so that nothing says how much worse would be much"


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
            return f"the usual value{of} (the median of {format_duration(rule.baseline.over or timedelta())})"


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
            return (baseline.over or timedelta()) + 2 * window
