"""Quantiles of classic histograms, by the arithmetic of Prometheus's `histogram_quantile`.

A histogram is a family of counters with the label `le`: how many observations were at most that large. Native
histograms have no such series and are not read here. This module must never invent precision: a quantile beyond the
highest finite bound is only known to be larger than that bound.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Mapping

_BUCKET = "_bucket"
#: Counts that differ by less than this share are the same: rates of two buckets are rounded apart (as in Prometheus).
_SAME = 1e-12
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def buckets_of(selector: str) -> str:
    """The selector of a histogram's buckets, from one that names the histogram as a whole, or its buckets already.

    The name stands in front of the braces; configuration saw to that. Raises `ValueError` when it does not.
    """
    stripped = selector.strip()
    name = _NAME.match(stripped)
    if name is None:
        raise ValueError(f"{selector!r}: a histogram is named in front of the braces")
    rest = stripped[name.end() :].lstrip()
    return (name.group() if name.group().endswith(_BUCKET) else name.group() + _BUCKET) + rest


def quantile(q: float, buckets: Mapping[float, float]) -> float:
    """The quantile `q` (0 < q <= 1) of a histogram; `buckets` are counts or rates by upper bound, cumulative.

    Inside a bucket, observations are taken to lie evenly between its bounds; the lowest bucket begins at 0 where its
    bound is above 0. The answer is

    * the highest finite bound where the quantile lies beyond it,
    * the lowest bound where the quantile lies in a lowest bucket up to 0 or less,
    * NaN without the bucket `+Inf`, without another one, and without observations.

    Source: `histogram_quantile` of Prometheus (promql/quantile.go), for classic histograms.
    """
    bounds = sorted(buckets)
    if len(bounds) < 2 or bounds[-1] != math.inf:
        return math.nan
    counts = _monotonic([buckets[bound] for bound in bounds])
    rank = q * counts[-1]
    if rank == 0 or any(math.isnan(count) for count in counts):
        return math.nan
    found = bisect_left(counts, rank, hi=len(counts) - 1)
    if found == len(bounds) - 1:
        return bounds[-2]
    if found == 0:
        return bounds[0] if bounds[0] <= 0 else bounds[0] * (rank / counts[0])
    below = counts[found - 1]
    share = (rank - below) / (counts[found] - below)
    return bounds[found - 1] + (bounds[found] - bounds[found - 1]) * share


def _monotonic(counts: list[float]) -> list[float]:
    """Cumulative counts that never fall: targets that are scraped apart, or have other buckets, make them fall."""
    risen: list[float] = []
    for count in counts:
        highest = risen[-1] if risen else -math.inf
        same = abs(count - highest) < _SAME * (abs(count) + abs(highest))
        risen.append(highest if count < highest or same else count)
    return risen
