"""Evidence: whether there is enough behind a value to believe that it is beyond a threshold (design §5).

For ratios three questions are asked on the bad side (with `direction: below` the selector counts good
events): the Wilson lower bound of the bad share beyond the threshold; for rollback also enough bad events,
and enough excess: (ratio − critical) integrated over the last 15 windows. This module must never look at
holds, and must never see a number that is not finite: `watchdog.core.evaluate` turns those away.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from functools import lru_cache
from statistics import NormalDist

from watchdog.core.burning import Burn, Slo
from watchdog.core.observation import Value
from watchdog.core.quantity import format_count, format_quantity
from watchdog.core.rule import Direction, Evidence, Level, Rule, Unit

#: Seconds of excess by sample time, oldest first.
Excess = tuple[tuple[datetime, float], ...]

#: How far back excess is integrated, in windows.
EXCESS_WINDOWS = 15


@lru_cache(maxsize=64)
def deviations(confidence: float) -> float:
    """The one-sided standard normal quantile: 0.99 is 2.326. Raises `StatisticsError` unless 0 < it < 1."""
    return NormalDist().inv_cdf(confidence)


def lower_bound(bad: float, events: float, confidence: float) -> float:
    """The lowest true share that `bad` of `events` leave plausible: one side of Wilson's interval.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    Written with counts instead of shares, so that neither tiny nor huge counts overflow. No events leave
    all plausible.
    """
    if events <= 0:
        return 0.0
    z = deviations(confidence)
    spread = z * math.sqrt(bad * ((events - bad) / events) + z * z / 4)
    return max(0.0, (bad + z * z / 2 - spread) / (events + z * z))


def integrated(rule: Rule) -> bool:
    """Whether this rule keeps an excess at all: a ratio with evidence that can roll back.

    The windows of an `slo` say themselves for how long it was bad.
    """
    judged_by_it = rule.evidence is not None and rule.evidence.bound and rule.slo is None
    return judged_by_it and rule.thresholds.rollback is not None


def with_excess_of(
    rule: Rule, excess: Excess, value: Value, *, previous: datetime | None, interval: timedelta
) -> Excess:
    """The excess with one more counted sample: (ratio − critical) times the time the sample stands for.

    That time is the gap to the `previous` counted sample, for the first one the poll `interval`, and never
    more than a window, because a sample speaks for no more. Healthy samples count negative: it is an
    integral, not a sum of breaches. Without a critical threshold the rollback threshold takes its place.
    """
    thresholds = rule.thresholds
    limit = thresholds.critical if thresholds.critical is not None else thresholds.rollback
    if not integrated(rule) or limit is None:
        return ()
    stands_for = min(interval if previous is None else value.at - previous, rule.window)
    over = value.value - limit if rule.direction is Direction.ABOVE else limit - value.value
    # A sample stands for the time before it: one that is 15 windows old stands for time that is older still.
    reach = EXCESS_WINDOWS * rule.window
    first = 0
    while first < len(excess) and value.at - excess[first][0] >= reach:
        first += 1
    return (*excess[first:], (value.at, over * stands_for.total_seconds()))


def seconds_of(excess: Excess) -> float:
    """The integral: seconds of full breach, may be negative."""
    return math.fsum(amount for _, amount in excess)


def shortfall(rule: Rule, level: Level, limit: float, value: Value, excess: Excess) -> str | None:
    """What is missing to believe that `value` is beyond the `limit` of `level`, in words; `None` for nothing.

    `min_events` is not asked here: with too few events there is no verdict at all.
    """
    evidence = rule.evidence
    if evidence is None or not evidence.bound or value.events is None or value.bad is None:
        return None
    above = rule.direction is Direction.ABOVE
    bad = min(max(value.bad if above else value.events - value.bad, 0.0), value.events)
    bound = lower_bound(bad, value.events, evidence.confidence)
    if not bound > (limit if above else 1 - limit):
        plausible = format_quantity(bound if above else 1 - bound, Unit.RATIO)
        sure = format_quantity(evidence.confidence, Unit.RATIO)
        return f"with {sure} confidence it is only known to be beyond {plausible}"
    return _rollback_shortfall(rule, evidence, bad, excess) if level is Level.ROLLBACK else None


def burn_shortfall(rule: Rule, slo: Slo, level: Level, limit: float, burn: Burn) -> str | None:
    """The same for a burn rate: the long window must show that it is beyond the `limit`, by itself."""
    evidence = rule.evidence
    if evidence is None:
        return None
    if burn.events < evidence.min_events:
        return f"there are {format_count(burn.events)} events of the {evidence.min_events} it takes"
    bound = lower_bound(min(max(burn.bad, 0.0), burn.events), burn.events, evidence.confidence)
    if not bound > limit * slo.budget:
        plausible = format_quantity(bound / slo.budget, Unit.TIMES)
        sure = format_quantity(evidence.confidence, Unit.RATIO)
        return f"with {sure} confidence it is only known to be beyond {plausible}"
    if level is Level.ROLLBACK and burn.bad < evidence.min_bad:
        return f"there are {format_count(burn.bad)} bad events of the {evidence.min_bad} it takes"
    return None


def _rollback_shortfall(rule: Rule, evidence: Evidence, bad: float, excess: Excess) -> str | None:
    if bad < evidence.min_bad:
        return f"there are {format_count(bad)} bad events of the {evidence.min_bad} it takes"
    there, needed = seconds_of(excess), evidence.excess * rule.window.total_seconds()
    if not there > needed:
        return f"its excess is {there:.3g}s and must be more than {needed:.3g}s"
    return None
