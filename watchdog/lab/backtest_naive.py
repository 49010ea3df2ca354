"""The plain alert that a rule is held against: one sample beyond 150 % of critical, no hold, no evidence.

It is judged by the daemon's own evaluation, too, as a rule of its own. This module must never judge.
"""

from __future__ import annotations

from msgspec.structs import replace

from watchdog.core.rule import Direction, Holds, Rule, Samples, Thresholds, Unit

#: Of critical.
FACTOR = 1.5
_ONE = Samples(1)


def naive_of(rule: Rule) -> Rule | None:
    """The same measurement with such an alert; `None` where 150 % of critical means nothing.

    Where the rule rolls back, its own threshold is taken: that is 150 % of critical unless somebody wrote another.
    A margin of a baseline counts like a threshold; burn rates over two windows have no single sample.
    """
    if rule.slo is not None:
        return None
    if rule.baseline is not None:
        margin = _limit(rule.baseline.margins, Direction.ABOVE, Unit.NONE)
        if margin is None:
            return None
        return _plain(replace(rule, baseline=replace(rule.baseline, margins=Thresholds(rollback=margin))))
    limit = _limit(rule.thresholds, rule.direction, rule.unit)
    return None if limit is None else _plain(replace(rule, thresholds=Thresholds(rollback=limit)))


def _plain(rule: Rule) -> Rule:
    return replace(rule, evidence=None, hold=Holds(warning=_ONE, critical=_ONE, rollback=_ONE), clear=1)


def _limit(thresholds: Thresholds, direction: Direction, unit: Unit) -> float | None:
    if thresholds.rollback is not None:
        return thresholds.rollback
    critical = thresholds.critical
    if critical is None or critical <= 0:
        return None
    if direction is Direction.ABOVE:
        return critical * FACTOR
    # Of good shares the bad ones are counted (design §5); of other numbers half as many again are missing.
    return 1 - (1 - critical) * FACTOR if unit is Unit.RATIO else critical / FACTOR
