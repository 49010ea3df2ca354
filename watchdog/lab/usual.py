"""What values are compared with: the references of baselines, computed over a track as a source would have answered.

Causal: what a sample is compared with is made of earlier samples only, never of itself. This module must never
compare, and never make a reference of anything but values of the track.
"""

from __future__ import annotations

import math
from datetime import timedelta
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from watchdog.core.baseline import (
    LEAST_SAMPLES,
    MEDIAN_OVER,
    SAMPLED_OVER,
    USUAL_FLOOR,
    USUAL_OVER,
    USUAL_QUANTILE,
    counts_good,
    usual_step,
)
from watchdog.core.referring import step_of
from watchdog.core.rule import Against, Direction, Rule
from watchdog.core.service import RollbackPolicy
from watchdog.lab.track import Floats, Track

Indexes = NDArray[np.int64]

#: How long a deployment is compared with what was before it, unless the service says otherwise.
_WATCHED_FOR = RollbackPolicy().armed_for
#: What dividing times may lose: far less than any step.
_ROUNDING = 1e-9
#: Rows of windows that are sorted at a time: some megabytes.
_ROWS = 4096
#: A reference in the past is looked at so often, however rarely a check polls (seconds): a track's sample counts as
#: many times as it would have been seen.
_COUNTED_EVERY = 60.0


class References(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What each sample of a track is compared with; arrays of shape (samples,), NaN where there is nothing.

    `values` are references, `spreads` how far values usually lie from them on the bad side (only for `usual`),
    `samples` how many samples each is made of.
    """

    values: Floats
    samples: Floats
    spreads: Floats | None = None


def references_of(
    rule: Rule,
    track: Track,
    *,
    deployments: tuple[float, ...] = (),
    watched_for: timedelta = _WATCHED_FOR,
) -> References | None:
    """The references of a rule's baseline over a track; `None` for a rule without one.

    `deployments` are the moments (Unix seconds) at which new versions began, for `before-deployment`; each is
    compared with what was before it for `watched_for`, then there is no reference until the next one.
    Raises `ValueError` for `previous-version`, which one track cannot answer.
    """
    baseline = rule.baseline
    if baseline is None:
        return None
    match baseline.against:
        case Against.USUAL:
            return usual(
                track,
                over=baseline.over or USUAL_OVER,
                window=rule.window,
                direction=rule.direction,
                good=counts_good(rule),
            )
        case Against.EARLIER:
            return _earlier(track, (baseline.ago or timedelta()).total_seconds(), rule.window.total_seconds())
        case Against.BEFORE_DEPLOYMENT:
            return _before(track, rule.window, sorted(deployments), watched_for.total_seconds())
        case Against.PREVIOUS_VERSION:
            raise ValueError(
                f"rule {rule.name!r} compares with the previous version, which one series cannot answer"
            )


def usual(
    track: Track,
    *,
    over: timedelta,
    window: timedelta = timedelta(),
    direction: Direction = Direction.ABOVE,
    good: bool = False,
    quantile: float = USUAL_QUANTILE,
    floor: float = USUAL_FLOOR,
) -> References:
    """The median of the time `over` before each sample, and one deviation from it on the bad side.

    Time is cut into cells as long as `usual_step`, but never shorter than the rule's `window` or the track's own
    step; each gives its newest value, and a sample is compared with the cells before its own: the reference is
    renewed once a cell. It is the median of the values other than 0 (`USUAL_POINTS`); all are counted. The deviation
    is `usual_spread` (`good` is told there). `quantile` and `floor` are the daemon's, unless others are measured.
    """
    step = max(usual_step(over).total_seconds(), window.total_seconds(), track.step)
    width = max(1, math.floor(over.total_seconds() / step + _ROUNDING))
    cell = np.floor(track.times / step + _ROUNDING).astype(np.int64)
    cells, newest, of = _newest_of(cell, _known(track))
    outer = quantile if direction is Direction.ABOVE else 1 - quantile
    medians, outers, counts = _windows(cells, newest, width, outer)
    deviations = np.abs(outers - medians) / NormalDist().inv_cdf(quantile)
    least = floor * np.abs(1 - medians if good else medians)
    spreads = np.maximum(deviations, least)
    return References(values=medians[of], samples=counts[of], spreads=spreads[of])


def _known(track: Track) -> Floats:
    """The values, NaN where none can be compared with."""
    usable = np.isfinite(track.values)
    if track.failed is not None:
        usable &= ~track.failed
    return np.where(usable, track.values, np.nan)


def _newest_of(cell: Indexes, values: Floats) -> tuple[Indexes, Floats, Indexes]:
    """The cells with samples, each one's newest value, and which of them every sample lies in."""
    cells, of = np.unique(cell, return_inverse=True)
    newest = np.full(len(cells), np.nan)
    there = np.isfinite(values)
    newest[of[there]] = values[there]  # the last assignment counts, and samples are oldest first
    return cells, newest, of


def _windows(cells: Indexes, values: Floats, width: int, outer: float) -> tuple[Floats, Floats, Floats]:
    """For each cell of the `width` cells before it: the median, the outer quantile, and how many have a value.

    Median and quantile are those of the values other than 0, NaN of fewer than `LEAST_SAMPLES`.
    """
    padded = np.concatenate((np.full(width, np.nan), values[:-1]))
    numbers = np.concatenate((np.full(width, np.iinfo(np.int64).min), cells[:-1]))
    found = np.full((3, len(cells)), np.nan)
    for first in range(0, len(cells), _ROWS):
        end = min(first + _ROWS, len(cells))
        part = sliding_window_view(padded[first : end + width - 1], width)
        near = sliding_window_view(numbers[first : end + width - 1], width)
        there = np.where(near >= cells[first:end, None] - width, part, np.nan)
        found[2, first:end] = np.isfinite(there).sum(axis=1)
        ordered = np.sort(np.where(there == 0, np.nan, there), axis=1)
        counts = np.isfinite(ordered).sum(axis=1)
        ordered[counts < LEAST_SAMPLES] = np.nan
        found[0, first:end] = _quantile(ordered, counts, 0.5)
        found[1, first:end] = _quantile(ordered, counts, outer)
    return found[0], found[1], found[2]


def _quantile(ordered: Floats, counts: Indexes, q: float) -> Floats:
    """The quantile of each row's first `counts` numbers, between two of them linearly, as PromQL does; NaN of none."""
    rows = np.arange(len(ordered))
    last = np.maximum(counts - 1, 0)
    place = q * last
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, last)
    quantiles: Floats = ordered[rows, low] + (ordered[rows, high] - ordered[rows, low]) * (place - low)
    return quantiles


def _earlier(track: Track, ago: float, window: float) -> References:
    """The value that long ago, and how many samples lay in the time up to it (`SAMPLED_OVER`)."""
    known = np.flatnonzero(np.isfinite(_known(track)))
    times = track.times[known]
    moments = track.times - ago
    until = np.searchsorted(times, moments + _ROUNDING, side="right")
    values = np.full(len(track), np.nan)
    old = moments - times[np.maximum(until - 1, 0)] if len(times) else np.full(len(track), np.inf)
    there = (until > 0) & (old <= max(1.5 * track.step, window))
    values[there] = track.values[known[until[there] - 1]]
    since = np.searchsorted(times, moments - SAMPLED_OVER.total_seconds(), side="right")
    samples = (until - since).astype(np.float64) * max(1.0, track.step / _COUNTED_EVERY)
    return References(values=values, samples=samples)


def _before(track: Track, window: timedelta, deployments: list[float], watched: float) -> References:
    """The median of `MEDIAN_OVER` before the newest deployment, while that is young."""
    known = np.flatnonzero(np.isfinite(_known(track)))
    times = track.times[known]
    values, samples = np.full(len(track), np.nan), np.zeros(len(track))
    points = max(1.0, track.step / step_of(window).total_seconds())
    for deployed, following in zip(deployments, [*deployments[1:], math.inf], strict=True):
        first, end = np.searchsorted(times, (deployed - MEDIAN_OVER.total_seconds(), deployed), side="right")
        young = (track.times >= deployed) & (track.times < following) & (track.times <= deployed + watched)
        if end > first:
            values[young] = np.median(track.values[known[first:end]])
        samples[young] = (end - first) * points
    return References(values=values, samples=samples)
