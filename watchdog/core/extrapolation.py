"""How far a counter rose in a whole window, judged from the samples inside it, by the arithmetic of Prometheus.

Samples rarely lie on the window's edges, so that the steps between them cover less than the window. This module must
never look at anything but one series' samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

#: A gap at the window's edge of up to so many sample intervals is filled; beyond, the series began or ended inside.
_GAP = 1.1


def increase(values: Sequence[float]) -> float | None:
    """How far a counter rose over its samples, oldest first. `None` with fewer than two: nothing can be said.

    A value below the one before it is a reset: the counter began again at 0. NaN stays NaN.
    """
    if len(values) < 2:
        return None
    return sum(after if after < before else after - before for before, after in pairwise(values))


def extrapolated(
    times: Sequence[float], values: Sequence[float], *, after: float, until: float
) -> float | None:
    """The increase in the whole window (`after`, `until`], in Unix seconds. `None` with fewer than two samples.

    Filled are the gaps to the window's edges, half a sample interval where a gap is too wide to be only that, and at
    the beginning no further back than where the counter would have been 0.
    Source: `extrapolatedRate` of Prometheus (promql/functions.go).
    """
    rise = increase(values)
    if rise is None:
        return None
    covered = times[-1] - times[0]
    between = covered / (len(times) - 1)
    before, behind = (
        gap if gap < _GAP * between else between / 2 for gap in (times[0] - after, until - times[-1])
    )
    if rise > 0 and values[0] >= 0:
        before = min(before, covered * (values[0] / rise))
    return rise * (covered + before + behind) / covered
