"""Observing whole arrays of answers at once: what `watchdog.core.observe` makes of each of them, for months of polls.

Every moment stands for a poll of its own, answered at once: the time of evaluation is the moment itself. A test holds
both to say the same of any answers. This module must never say anything that `observe` would not.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from watchdog.core.observation import FailReason, NoDataReason
from watchdog.core.observe import DEFAULT_MAX_AGE, LEEWAY
from watchdog.core.promql import over
from watchdog.core.rule import Gauge, ProbeForm, Quantile, Query, Rate, Ratio, Rule, Unit
from watchdog.lab.range_points import FAILED, PARTIAL, Points
from watchdog.lab.track import Floats

Mask = NDArray[np.bool_]
_TOLERANCE = 1e-6  # as in `watchdog.core.observe`
_REASONS = (*NoDataReason, *FailReason)


class Seen(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What became of every answer. `values`, `events`, `bad` and `sampled` are NaN where there is no value.

    But `events` are 0 where it is known that nothing happened. `reasons` counts those without a value.
    """

    values: Floats
    sampled: Floats
    failed: Mask
    more: Mask
    events: Floats | None
    bad: Floats | None
    reasons: dict[str, int]


class _Looking:
    """Answers while they are looked at: the first thing that is wrong with one decides."""

    def __init__(self, rule: Rule, parts: Mapping[str, Points], times: Floats) -> None:
        self.rule, self.parts, self.times = rule, parts, times
        self._why = np.full(len(times), -1, dtype=np.int8)
        #: Where it is known that nothing happened.
        self.idle = np.zeros(len(times), dtype=np.bool_)

    def wrong(self, where: Mask, reason: NoDataReason | FailReason, *, idle: bool = False) -> None:
        """These have no value, unless something else was wrong with them before."""
        new = where & (self._why < 0)
        self._why[new] = _REASONS.index(reason)
        if idle:
            self.idle |= new

    @property
    def fine(self) -> Mask:
        """Where nothing was wrong yet."""
        return self._why < 0

    @property
    def failed(self) -> Mask:
        """Where the answer was an error."""
        return self._why >= len(NoDataReason)

    def reasons(self) -> dict[str, int]:
        """How often each was found."""
        found, counts = np.unique(self._why[self._why >= 0], return_counts=True)
        return {str(_REASONS[int(which)]): int(count) for which, count in zip(found, counts, strict=True)}

    def number(self, part: str) -> Floats:
        """The part's numbers, NaN where there is none."""
        points = self.parts.get(part)
        return np.full(len(self.times), np.nan) if points is None else points.values


def observed(rule: Rule, parts: Mapping[str, Points], times: Floats) -> Seen:
    """What `observe` makes of the parts of an answer at each of these moments (Unix seconds).

    Of a rule with an `slo` the values are shares of its shortest window, as of any other ratio. Raises `ValueError`
    for a probe.
    """
    looking = _Looking(rule, parts, times)
    for points in parts.values():
        looking.wrong(points.flags == FAILED, FailReason.QUERY_ERROR)
    for points in parts.values():
        looking.wrong(points.flags == PARTIAL, NoDataReason.PARTIAL)
    _want_numbers(looking)
    with np.errstate(all="ignore"):  # what is no number is found out by itself
        numbers = _numbers(looking)
    fine, events = looking.fine, numbers.events
    return Seen(
        values=np.where(fine, numbers.value, np.nan),
        sampled=np.where(fine, numbers.sampled, np.nan),
        failed=looking.failed,
        more=np.zeros(len(times), dtype=np.bool_) if numbers.more is None else numbers.more & fine,
        events=None if events is None else np.where(fine, events, np.where(looking.idle, 0.0, np.nan)),
        bad=None if numbers.bad is None else np.where(fine, numbers.bad, np.nan),
        reasons=looking.reasons(),
    )


class _Numbers(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a form is made of, whatever is wrong with it."""

    value: Floats
    sampled: Floats
    events: Floats | None = None
    bad: Floats | None = None
    more: Mask | None = None


def _numbers(looking: _Looking) -> _Numbers:
    match looking.rule.form:
        case Ratio():
            return _ratio(looking)
        case Quantile():
            return _quantile(looking)
        case Query() | Rate() | Gauge():
            return _number(looking)
        case ProbeForm():
            raise ValueError(f"rule {looking.rule.name!r} is a probe; no source answers it")


def _want_numbers(looking: _Looking) -> None:
    """One finite number in every part that has any."""
    quantile = isinstance(looking.rule.form, Quantile)
    events = looking.parts.get("events")
    happened = np.zeros(len(looking.times), dtype=np.bool_)
    if events is not None:
        happened = (events.series > 1) | ((events.series == 1) & (events.values != 0))
    for part, points in looking.parts.items():
        several, one = points.series > 1, points.series == 1
        odd = one & ~np.isfinite(points.values)
        if quantile and part in {"value", "highest"}:  # a quantile of nothing is NaN
            odd &= happened | ~np.isnan(points.values)
        looking.wrong(several, NoDataReason.SEVERAL_SERIES)
        looking.wrong(odd, NoDataReason.NOT_A_NUMBER)


def _ratio(looking: _Looking) -> _Numbers:
    total = looking.number("total")
    looking.wrong(np.isnan(total), NoDataReason.EMPTY)
    looking.wrong(total == 0, NoDataReason.EMPTY, idle=True)
    sampled = _sampled(looking)
    bad = np.nan_to_num(looking.number("bad"), nan=0.0)
    looking.wrong((total < 0) | (bad < 0), FailReason.OUT_OF_RANGE)
    looking.wrong(bad > total * (1 + _TOLERANCE), FailReason.OUT_OF_RANGE)
    for window in looking.rule.windows:
        _want_possible(looking, window)
    bad = np.minimum(bad, total)
    return _Numbers(value=bad / total, sampled=sampled, events=total, bad=bad)


def _want_possible(looking: _Looking, window: timedelta) -> None:
    """Counts of another window that cannot be true make the answer an error, too."""
    total = np.nan_to_num(looking.number(over("total", window)), nan=0.0)
    bad = np.nan_to_num(looking.number(over("bad", window)), nan=0.0)
    counted = total != 0
    looking.wrong(counted & ((total < 0) | (bad < 0)), FailReason.OUT_OF_RANGE)
    looking.wrong(counted & (bad > total * (1 + _TOLERANCE)), FailReason.OUT_OF_RANGE)


def _quantile(looking: _Looking) -> _Numbers:
    evidence = looking.rule.evidence
    events, value, highest = (looking.number(part) for part in ("events", "value", "highest"))
    looking.wrong(np.isnan(events), NoDataReason.EMPTY)
    sampled = _sampled(looking)
    looking.wrong(events < 0, FailReason.OUT_OF_RANGE)
    wanted = evidence is not None and evidence.min_events > 0
    looking.wrong(events == 0, NoDataReason.TOO_FEW_EVENTS if wanted else NoDataReason.EMPTY, idle=True)
    looking.wrong(np.isnan(value), NoDataReason.EMPTY)
    more = (value > 0) & (value == highest)
    value = np.where(more, np.nextafter(value, np.inf), value)
    _want_share(looking, value)
    return _Numbers(value=value, sampled=sampled, events=events, more=more)


def _number(looking: _Looking) -> _Numbers:
    """The number of a query, a rate or a gauge."""
    rule = looking.rule
    value = looking.number("value")
    looking.wrong(np.isnan(value), NoDataReason.EMPTY)
    sampled = _sampled(looking)
    _want_share(looking, value)
    if isinstance(rule.form, Rate):
        looking.wrong(value < 0, FailReason.OUT_OF_RANGE)
    if rule.unit is Unit.RATIO:
        value = np.clip(value, 0.0, 1.0)
    if not (isinstance(rule.form, Query) and rule.form.events is not None):
        return _Numbers(value=value, sampled=sampled)
    events = np.nan_to_num(looking.number("events"), nan=0.0)
    looking.wrong(events < 0, FailReason.OUT_OF_RANGE)
    return _Numbers(value=value, sampled=sampled, events=events)


def _want_share(looking: _Looking, value: Floats) -> None:
    if looking.rule.unit is Unit.RATIO:
        looking.wrong((value < -_TOLERANCE) | (value > 1 + _TOLERANCE), FailReason.OUT_OF_RANGE)


def _sampled(looking: _Looking) -> Floats:
    """The time of the newest sample, judged."""
    rule, newest = looking.rule, looking.number("newest")
    missing = np.isnan(newest)
    if "newest" in looking.parts or (isinstance(rule.form, Query) and rule.form.freshness is not None):
        looking.wrong(missing, NoDataReason.STALE)
    newest = np.where(missing, looking.times, newest)
    age = looking.times - newest
    looking.wrong(age > _allowed(looking, age), NoDataReason.STALE)
    looking.wrong(age < -LEEWAY.total_seconds(), NoDataReason.FUTURE)
    return newest


def _allowed(looking: _Looking, age: Floats) -> Floats:
    """How old the newest sample may be: two scrape intervals, learnt as `observe` does."""
    if looking.rule.max_age:
        return np.full(len(age), looking.rule.max_age.total_seconds())
    window = looking.rule.window.total_seconds()
    samples = looking.number("samples")
    span = np.where((age >= 0) & (age < window), window - age, window)
    interval = np.maximum(span / samples, 0.001).round(6)  # a duration has microseconds
    return np.where(samples >= 1, 2 * interval, DEFAULT_MAX_AGE.total_seconds())
