"""The newest values of a check: what two versions that serve at the same time are told apart by (`baseline.test`).

Values whose windows overlap are made of the same events, and chance would look like certainty; so they are kept a
window apart. This module must never take a value twice, nor one that a version had long ago for a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from watchdog.core.clockstep import SET_BACK
from watchdog.core.observation import Reference, Value
from watchdog.core.quantity import format_quantity
from watchdog.core.rule import Direction, Gauge, Rule, Unit
from watchdog.core.two_samples import TwoSample, difference

#: `(sample time, value)`, oldest first.
Recent = tuple[tuple[datetime, float], ...]

#: Scrapes are not quite regular: windows may overlap by this share of one.
_OVERLAP = 0.1
#: Values from before so many times as long as the newest ones should take are not new any more.
_LATE = 2


class ToldApart(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a version's values are worse than the other's by more than chance, and in words how much they are.

    `None` where there are too few to tell.
    """

    worse: bool | None
    words: str


def two_sample_of(rule: Rule) -> TwoSample | None:
    """What must be shown beside the margin, for a rule that asks for it."""
    return rule.baseline.test if rule.baseline is not None else None


def spacing(rule: Rule) -> timedelta:
    """How far apart values are kept: the current value of a gauge has no window."""
    return timedelta() if isinstance(rule.form, Gauge) else rule.window


def span(rule: Rule, test: TwoSample) -> timedelta:
    """How long it takes until there are enough values."""
    return test.least * max(spacing(rule), rule.interval)


def with_value(rule: Rule, recent: Recent, value: Value) -> Recent:
    """The newest values with one more, if it is one: fresh, of enough events, a window after the last."""
    test = two_sample_of(rule)
    if test is None:
        return ()
    least = 0 if rule.evidence is None else rule.evidence.min_events
    if value.events is not None and value.events < least:
        return recent
    if recent and recent[-1][0] - value.at > SET_BACK:
        recent = ()  # by a clock that was set back: times before and after do not compare
    gap = value.at - recent[-1][0] if recent else None
    if gap is not None and (gap <= timedelta() or gap < spacing(rule) * (1 - _OVERLAP)):
        return recent
    return (*_young(rule, test, recent, value.at), (value.at, value.value))[-test.samples :]


def newest(rule: Rule, recent: Recent, *, now: datetime) -> tuple[float, ...]:
    """The values that are still new."""
    test = two_sample_of(rule)
    return () if test is None else tuple(value for _, value in _young(rule, test, recent, now))


def _young(rule: Rule, test: TwoSample, recent: Recent, now: datetime) -> Recent:
    reach = _LATE * test.samples * max(spacing(rule), rule.interval)
    return tuple(one for one in recent if now - one[0] <= reach)


def told_apart(rule: Rule, test: TwoSample, recent: Recent, reference: Reference | None) -> ToldApart:
    """What the newest values of both say, for example `its 20 values are higher than 14 of v1 in 98% of pairs`.

    Both must be there: the version that is judged, and the other one in the `reference`.
    """
    own: Sequence[float] = [value for _, value in recent]
    other = () if reference is None else reference.sample
    version = "the other version" if reference is None else reference.version or "the other version"
    if min(len(own), len(other)) < test.least:
        there = f"there are {len(own)} values of it and {len(other)} of {version}"
        return ToldApart(worse=None, words=f"{there}, and it takes {test.least} of each")
    above = rule.direction is Direction.ABOVE
    found = difference(own, other) if above else difference(other, own)
    side = "higher" if above else "lower"
    pairs = format_quantity(found.larger, Unit.RATIO)
    words = f"its {len(own)} values are {side} than {len(other)} of {version} in {pairs} of pairs"
    if found.larger < test.effect:
        return ToldApart(worse=False, words=f"{words} ({format_quantity(test.effect, Unit.RATIO)} needed)")
    if not found.chance < 1 - test.confidence:
        chance, most = (format_quantity(one, Unit.RATIO) for one in (found.chance, 1 - test.confidence))
        return ToldApart(
            worse=False, words=f"{words}, which chance gives in {chance} of cases (less than {most} needed)"
        )
    return ToldApart(worse=True, words=words)
