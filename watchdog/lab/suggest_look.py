"""What a history looks like, in robust figures: how much there is, where values lie, what repeats and what drifts.

This module must never propose anything, and never guess what a number means.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from watchdog.core.quantity import format_quantity
from watchdog.core.rule import Unit
from watchdog.core.units import format_duration
from watchdog.lab.track import Floats, Track

#: Fewer samples with a value teach nothing.
LEAST_SAMPLES = 100
#: Less time teaches little: a week has weekends.
SHORT = timedelta(days=7)
#: The hours of a day explain at least this share of all that values vary: a daily pattern.
DAILY_SHARE = 0.3
#: The last quarter's median lies so many deviations off the first one's: values drift.
DRIFT = 3.0
_DAY, _HOUR = 86_400.0, 3_600.0
#: Makes the median distance from the median a standard deviation where values are normally distributed.
_MAD_TO_DEVIATION = 1.4826


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A history in figures.

    `marked` are samples that somebody called anomalous, `known` is the share of the others that have a value, `zeros`
    that of values that are 0. `median` and the ends are in the rule's unit. `daily` is the share of all variation that
    the hour of the day explains, `drift` how many deviations the last quarter's median lies off the first one's.
    """

    samples: int
    marked: int
    usable: int
    begin: datetime
    end: datetime
    step_seconds: float
    known: float
    least: float
    low: float
    median: float
    high: float
    most: float
    zeros: float
    daily: float
    drift: float

    @property
    def span(self) -> timedelta:
        """From the first sample to the last."""
        return self.end - self.begin

    @property
    def constant(self) -> bool:
        """Whether every value is the same."""
        return self.least == self.most

    def values(self, unit: Unit) -> str:
        """Where the values lie, for people."""
        ends = f"{format_quantity(self.least, unit)} and {format_quantity(self.most, unit)}"
        zeros = f", {self.zeros:.0%} are 0" if self.zeros else ""
        return f"between {ends}, half of them below {format_quantity(self.median, unit)}{zeros}"

    def history(self) -> str:
        """How much there is, for people."""
        span = f"{self.begin:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"
        every = format_duration(timedelta(seconds=self.step_seconds))
        lasts = format_duration(timedelta(seconds=round(self.span.total_seconds() / 60) * 60))
        return f"{self.samples} samples in {lasts} ({span}), one every {every}; {_share(self.known)} have a value"


def usable(track: Track) -> Floats:
    """The values that can be learnt from, NaN elsewhere: what failed, or is marked as anomalous, teaches no health."""
    there = np.isfinite(track.values)
    if track.failed is not None:
        there &= ~track.failed
    if track.labels is not None:
        there &= track.labels == 0
    return np.where(there, track.values, np.nan)


def look(track: Track) -> Look:
    """The figures of a track; those of values are NaN where there is none."""
    values = usable(track)
    known = values[np.isfinite(values)]
    ends = (
        [float(one) for one in np.quantile(known, (0, 0.01, 0.5, 0.99, 1))] if len(known) else [math.nan] * 5
    )
    marked = 0 if track.labels is None else int(np.count_nonzero(track.labels))
    times = track.times
    begin, end = (float(times[0]), float(times[-1])) if len(times) else (0.0, 0.0)
    return Look(
        samples=len(track),
        marked=marked,
        usable=len(known),
        begin=datetime.fromtimestamp(begin, UTC),
        end=datetime.fromtimestamp(end, UTC),
        step_seconds=track.step,
        known=len(known) / (len(track) - marked) if len(track) > marked else 0.0,
        least=ends[0],
        low=ends[1],
        median=ends[2],
        high=ends[3],
        most=ends[4],
        zeros=float(np.mean(known == 0)) if len(known) else 0.0,
        daily=_daily(times, values),
        drift=_drift(values),
    )


def spread(values: Floats) -> float:
    """How far values usually lie from their median, as one standard deviation; 0 of fewer than two."""
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return 0.0
    median = np.median(known)
    mad = float(np.median(np.abs(known - median)))
    if mad > 0:
        return _MAD_TO_DEVIATION * mad
    # More than half of all values are the same: the outer ones must say.
    return float(np.quantile(np.abs(known - median), 0.99)) / 3


def _daily(times: Floats, values: Floats) -> float:
    """The share of variation that the hour of the day explains; 0 of less than three days."""
    there = np.isfinite(values)
    if not len(times) or times[-1] - times[0] < 3 * _DAY or np.count_nonzero(there) < LEAST_SAMPLES:
        return 0.0
    known = _clipped(values[there])
    hours = ((times[there] % _DAY) // _HOUR).astype(np.int64)
    whole = float(np.var(known))
    if whole <= 0:
        return 0.0
    medians = np.array([np.median(known[hours == hour]) for hour in np.unique(hours)])
    counts = np.array([np.count_nonzero(hours == hour) for hour in np.unique(hours)])
    middle = float(np.average(medians, weights=counts))
    return min(1.0, float(np.average((medians - middle) ** 2, weights=counts)) / whole)


def _clipped(values: Floats) -> Floats:
    """Without the outermost hundredth on either side: one incident is no pattern."""
    low, high = np.quantile(values, (0.01, 0.99))
    clipped: Floats = np.clip(values, low, high)
    return clipped


def _drift(values: Floats) -> float:
    quarter = len(values) // 4
    first, last = values[:quarter], values[len(values) - quarter :]
    first, last = first[np.isfinite(first)], last[np.isfinite(last)]
    if len(first) < LEAST_SAMPLES // 4 or len(last) < LEAST_SAMPLES // 4:
        return 0.0
    apart = float(np.median(last) - np.median(first))
    # What drifts spreads by itself: the quieter quarter says what is usual.
    within = min(spread(first), spread(last)) or max(spread(first), spread(last))
    if within <= 0:
        return math.copysign(math.inf, apart) if apart else 0.0
    return apart / within


def _share(share: float) -> str:
    return f"{share:.0%}" if share in (0.0, 1.0) else f"{share:.2%}"
