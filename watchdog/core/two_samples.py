"""Whether values of one version are larger than those of another by more than chance: the Mann-Whitney U test.

No shape of the distributions is assumed, and one wild value weighs no more than any other. How likely it is by chance
alone says nothing of how much it is; so the effect is asked, too: the share of all pairs of a new and an old value in
which the new one is the worse one. This module must never compare other than two plain samples of finite numbers.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import msgspec

#: Up to so many values of either version chance is counted out exactly; beyond, the normal approximation is as good.
_EXACT = 30


class TwoSample(msgspec.Struct, frozen=True, kw_only=True):
    """What the comparison must show beside the margin (`baseline.test`).

    `confidence` is one-sided (0..1); `effect` the least share of pairs in which the new version is the worse one,
    Vargha and Delaney's A (0.5 is no difference, 0.71 is called large); `samples` how many newest values of each
    version are compared, and at least half as many must be there.
    """

    confidence: float = 0.99
    effect: float = 0.71
    samples: int = 20

    @property
    def least(self) -> int:
        """How many values of a version are enough."""
        return math.ceil(self.samples / 2)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How two samples differ. `larger` is the share of pairs in which the first one's value is larger, ties half.

    `chance` is how likely at least that much is where both come from the same distribution (one-sided p value).
    """

    larger: float
    chance: float


def difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """How much larger the first sample's values are. Both have a value at least; all of them are finite.

    H. B. Mann and D. R. Whitney, "On a test of whether one of two random variables is stochastically larger than the
    other", Annals of Mathematical Statistics 18 (1947); the effect is A of A. Vargha and H. D. Delaney, "A critique and
    improvement of the CL common language effect size statistics", Journal of Educational and Behavioral Statistics 25
    (2000). With ties, or many values, the normal approximation corrected for ties and continuity.
    """
    ordered = sorted(second)
    below = sum(bisect_left(ordered, value) for value in first)
    not_above = sum(bisect_right(ordered, value) for value in first)
    u, pairs = (below + not_above) / 2, len(first) * len(second)
    tied = len(set(first) | set(second)) < len(first) + len(second)
    exact = not tied and max(len(first), len(second)) <= _EXACT
    chance = _counted(len(first), len(second), round(u)) if exact else _approximated(first, second, u)
    return Difference(larger=u / pairs, chance=chance)


def certain_from(confidence: float) -> int:
    """How many values of each version it takes so that the plainest difference there is has that confidence."""
    count = 1
    while not 1 / math.comb(2 * count, count) < 1 - confidence:
        count += 1
    return count


def _counted(first: int, second: int, u: int) -> float:
    """The share of all orders of that many values in which U is at least `u`."""
    ways = _ways(min(first, second), max(first, second))
    return sum(ways[u:]) / math.comb(first + second, first)


@lru_cache(maxsize=64)
def _ways(first: int, second: int) -> tuple[int, ...]:
    """In how many orders U is 0, 1, 2 …: the coefficients of a Gaussian binomial, a quotient of products."""
    top = first * second
    ways = [1] + [0] * top
    for number in range(1, first + 1):
        for place in range(top, second + number - 1, -1):
            ways[place] -= ways[place - second - number]
        for place in range(number, top + 1):
            ways[place] += ways[place - number]
    return tuple(ways)


def _approximated(first: Sequence[float], second: Sequence[float], u: float) -> float:
    count, pairs = len(first) + len(second), len(first) * len(second)
    ties = sum(many**3 - many for many in Counter([*first, *second]).values())
    variance = pairs / 12 * (count + 1 - ties / (count * (count - 1)))
    if not variance > 0:
        return 1.0  # all values are the same
    return NormalDist().cdf(-(u - pairs / 2 - 0.5) / math.sqrt(variance))
