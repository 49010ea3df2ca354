"""Figures of a score: precision, recall, false alarms a week with their interval, delays, abstention.

What is not defined (a precision without alerts) is `None`, never 0 and never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

#: Figures have so many decimals: there are never more than a few hundred events.
_DECIMALS = 4
_CONFIDENCE = 0.95
WEEK = 7 * 24 * 3600.0


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted over some series: alerts (true, false), events and those found, scored time and samples.

    `delays` and `seconds` are those of every event that was found. `judged` are scored samples with a verdict.
    """

    events: int = 0
    found: int = 0
    true: int = 0
    false: int = 0
    scored: int = 0
    judged: int = 0
    weeks: float = 0.0
    delays: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()

    def __add__(self, other: Counted) -> Counted:
        """Both together."""
        return Counted(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__}
        )


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one level, or of one of the rules beside it; `None` where one is not defined."""

    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    false_per_week: float | None = None
    false_per_week_ci: tuple[float, float] | None = None
    delay_samples_median: float | None = None
    delay_seconds_median: float | None = None
    delay_seconds_p95: float | None = None
    abstention: float | None = None

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        content: dict[str, Any] = msgspec.to_builtins(self)
        return content


def figures_of(counted: Counted) -> Figures:
    """The figures of what was counted."""
    alerts = counted.true + counted.false
    precision = counted.true / alerts if alerts else None
    recall = counted.found / counted.events if counted.events else None
    a_week: float | None = None
    interval: tuple[float, float] | None = None
    if counted.weeks > 0:
        a_week = counted.false / counted.weeks
        low, high = poisson_interval(counted.false)
        interval = (_rounded(low / counted.weeks), _rounded(high / counted.weeks))
    return Figures(
        precision=_some(precision),
        recall=_some(recall),
        f1=_some(_f1(precision, recall)),
        false_per_week=_some(a_week),
        false_per_week_ci=interval,
        delay_samples_median=_some(quantile(counted.delays, 0.5)),
        delay_seconds_median=_some(quantile(counted.seconds, 0.5)),
        delay_seconds_p95=_some(quantile(counted.seconds, 0.95)),
        abstention=_some(1 - counted.judged / counted.scored if counted.scored else None),
    )


def quantile(numbers: Sequence[float], q: float) -> float | None:
    """The quantile, between two numbers linearly; `None` of none."""
    if not numbers:
        return None
    ordered = sorted(numbers)
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    if ordered[low] == ordered[high]:
        return float(ordered[low])
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def poisson_interval(count: int, *, confidence: float = _CONFIDENCE) -> tuple[float, float]:
    """The exact interval of the mean of which so many were counted, its ends equally unlikely.

    F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (1936).
    """
    tail = (1 - confidence) / 2
    low = _mean_with(lambda mean: _at_most(count - 1, mean) - (1 - tail), count) if count else 0.0
    return low, _mean_with(lambda mean: _at_most(count, mean) - tail, count)


def _mean_with(falls: Any, count: int) -> float:
    """Where a function that falls with the mean is 0."""
    spread = 10 * math.sqrt(count + 1) + 20
    low, high = max(0.0, count - spread), count + spread
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if falls(middle) > 0 else (low, middle)
    return (low + high) / 2


def _at_most(count: int, mean: float) -> float:
    """The probability of at most so many."""
    if mean <= 0:
        return 1.0
    return math.fsum(
        math.exp(number * math.log(mean) - mean - math.lgamma(number + 1)) for number in range(count + 1)
    )


def _f1(precision: float | None, recall: float | None) -> float | None:
    if precision is None or recall is None:
        return None
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _some(number: float | None) -> float | None:
    return None if number is None else _rounded(number)


def _rounded(number: float) -> float:
    return round(number, _DECIMALS)
