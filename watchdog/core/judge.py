"""The level of one sample by itself: thresholds first, then the evidence for each.

This module must never know what came before the sample, other than the excess that its evidence asks for.
"""

from __future__ import annotations

import msgspec

from watchdog.core.burning import Burnt, Slo, measured
from watchdog.core.check import Reason
from watchdog.core.evidence import Excess, burn_shortfall, shortfall
from watchdog.core.observation import Value
from watchdog.core.recent import Recent, told_apart, two_sample_of
from watchdog.core.rule import BREACH_LEVELS, Direction, Level, Rule


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A sample's level and why. `limit` is the threshold that decided.

    `worse` is the worst threshold the value is beyond without the evidence for it, and `lacking` what was
    missing; `None` and empty when nothing was. `shown` is what two samples have shown, in words. `burnt` is the level
    whose burn rates were compared with `limit`, for a rule with an `slo`.
    """

    level: Level
    reason: Reason
    limit: float
    worse: float | None = None
    lacking: str = ""
    shown: str = ""
    burnt: Burnt | None = None


def beyond(value: float, limit: float, direction: Direction) -> bool:
    """Whether a value is on the bad side of a limit. Equal is not, and there is no tolerance."""
    return value > limit if direction is Direction.ABOVE else value < limit


def judge(rule: Rule, value: Value, excess: Excess, recent: Recent = ()) -> Judgement:
    """The worst level whose value and evidence both pass; else ok, and why. Thresholds get worse by level.

    `recent` are the check's newest values, for a rule that tests them. Without enough of them nothing beyond a limit
    is known to be bad or good.
    """
    if rule.slo is not None:
        return _burning(rule, rule.slo, value)
    mildest = rule.thresholds.mildest
    if not beyond(value.value, mildest, rule.direction):
        return Judgement(level=Level.OK, reason=Reason.WITHIN, limit=mildest)
    worse: float | None = None
    lacking = ""
    for level in reversed(BREACH_LEVELS):
        limit = rule.thresholds.of(level)
        if limit is None or not beyond(value.value, limit, rule.direction):
            continue
        missing = shortfall(rule, level, limit, value, excess)
        if missing is None:
            passed = Judgement(level=level, reason=Reason.BEYOND, limit=limit, worse=worse, lacking=lacking)
            return _tested(rule, value, recent, passed)
        if worse is None:
            worse, lacking = limit, missing
    limit = mildest if worse is None else worse
    return Judgement(level=Level.OK, reason=Reason.NOT_SIGNIFICANT, limit=limit, worse=worse, lacking=lacking)


def _tested(rule: Rule, value: Value, recent: Recent, passed: Judgement) -> Judgement:
    """The same after the test of two samples, which says the same of every level."""
    test = two_sample_of(rule)
    if test is None:
        return passed
    told = told_apart(rule, test, recent, value.reference)
    if told.worse is None:
        return Judgement(
            level=Level.UNKNOWN, reason=Reason.NO_REFERENCE, limit=passed.limit, lacking=told.words
        )
    if told.worse:
        return msgspec.structs.replace(passed, shown=told.words)
    return Judgement(
        level=Level.OK,
        reason=Reason.NOT_SIGNIFICANT,
        limit=passed.limit,
        worse=passed.limit,
        lacking=told.words,
    )


def _burning(rule: Rule, slo: Slo, value: Value) -> Judgement:
    """The same where each level is a burn rate over windows of its own, measured or not."""
    known = measured(slo, value.burns)
    beyond = [one for one in known if one.beyond]
    worse: float | None = None
    lacking = ""
    for one in reversed(beyond):
        level, limit = Level(one.level), one.limit.factor
        missing = burn_shortfall(rule, slo, level, limit, one.burn)
        if missing is None:
            return Judgement(
                level=level, reason=Reason.BEYOND, limit=limit, worse=worse, lacking=lacking, burnt=one
            )
        if worse is None:
            worse, lacking = limit, missing
    shown = beyond[-1] if beyond else known[0]
    return Judgement(
        level=Level.OK,
        reason=Reason.NOT_SIGNIFICANT if beyond else Reason.WITHIN,
        limit=shown.limit.factor,
        worse=worse,
        lacking=lacking,
        burnt=shown,
    )
