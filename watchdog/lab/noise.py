"""Simulated requests: healthy services in their noise, short troubles, and faults.

Requests arrive at random (Poisson), in slots of five seconds, which is how often the source is scraped. Seeded: the
same figures every time. This module must never judge.
"""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec
import numpy as np

from watchdog.core.observation import NoData, NoDataReason, Observation, Value

SLOT = 5  #: seconds: between two scrapes, and between two polls where a recheck is wanted
DAY = 24 * 3600 // SLOT
WEEK = 7 * DAY
#: Requests a second, from a handful a minute to a busy service.
RATES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
#: For so many slots the error share of a bursty service is the same: half a minute.
_BURST = 30 // SLOT
_START = datetime(2026, 1, 5, tzinfo=UTC)

Draw = Callable[[], int]


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """How a healthy service is noisy. `healthy` and `blip_share` are shares of requests that fail.

    `burst` is the coefficient of variation (gamma) of the error share from one half minute to the next; 0: every
    request fails on its own. Blips are real but short trouble: so many a day, each `blip_slots` slots long.
    """

    healthy: float = 0.005
    burst: float = 0.0
    blips_a_day: float = 0.0
    blip_slots: int = 180 // SLOT
    blip_share: float = 0.05

    @property
    def plain(self) -> dict[str, float]:
        """As JSON types, in seconds."""
        return {
            "base": self.healthy,
            "burst": self.burst,
            "blips_a_day": self.blips_a_day,
            "blip_seconds": float(self.blip_slots * SLOT),
            "blip_share": self.blip_share,
        }


#: Healthy services in the noises that figures are published for.
NOISES = {
    "independent": Noise(),
    "bursty (gamma, CV 1)": Noise(burst=1.0),
    "six blips of 60 s a day": Noise(blips_a_day=6, blip_slots=60 // SLOT),
    "two blips of 3 min a day": Noise(blips_a_day=2),
}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """From slot `begins` on this share of the requests fails."""

    share: float
    begins: int


class Counts:
    """Bad requests and all of them, summed up to the end of each slot."""

    def __init__(self, bad: Iterator[int], good: Draw) -> None:
        self.bad, self.total = [0], [0]
        for failed in bad:
            self.bad.append(self.bad[-1] + failed)
            self.total.append(self.total[-1] + failed + good())

    def seen(self, slot: int, window: int, *, good: bool = False) -> Observation:
        """What a poll at the end of a slot gets: the `window` slots before it. `good`: the share of what went well."""
        total = self.total[slot] - self.total[slot - window]
        if not total:
            return NoData(reason=NoDataReason.EMPTY)
        bad = self.bad[slot] - self.bad[slot - window]
        counted = total - bad if good else bad
        return Value(value=counted / total, at=moment(slot), events=float(total), bad=float(counted))

    def windows(self, window: int) -> tuple[np.ndarray, np.ndarray]:
        """Bad requests and all, in the window that ends with each slot; nothing in the first ones."""
        found = []
        for sums in (self.bad, self.total):
            whole = np.asarray(sums, dtype=np.float64)
            counted = np.zeros(len(whole))
            counted[window:] = whole[window:] - whole[:-window]
            found.append(counted)
        return found[0], found[1]


def moment(slot: int) -> datetime:
    """The end of a slot."""
    return _START + timedelta(seconds=SLOT * slot)


def counts(noise: Noise, rate: float, slots: int, *, seed: str, fault: Fault | None = None) -> Counts:
    """A stretch of one service's life, at so many requests a second."""
    draw = random.Random(seed)
    fine = poisson(draw, rate * SLOT * (1 - noise.healthy))
    if fault is None:
        return Counts(failures(noise, draw, rate, slots), fine)
    rest = poisson(draw, rate * SLOT * (1 - fault.share)) if fault.share < 1 else None
    failing = poisson(draw, rate * SLOT * fault.share)
    healthy = failures(noise, draw, rate, fault.begins)
    number = itertools.count()

    def good() -> int:
        if next(number) < fault.begins:
            return fine()
        return rest() if rest is not None else 0

    return Counts(itertools.chain(healthy, (failing() for _ in range(slots - fault.begins))), good)


def failures(noise: Noise, draw: random.Random, rate: float, slots: int) -> Iterator[int]:
    """Bad requests by slot, of a service that is healthy but for its blips."""
    ill_slots: set[int] = set()
    for _ in range(round(noise.blips_a_day * slots / DAY)):
        start = draw.randrange(slots)
        ill_slots |= set(range(start, start + noise.blip_slots))
    ill = poisson(draw, rate * SLOT * noise.blip_share)
    alone = poisson(draw, rate * SLOT * noise.healthy)
    bad = _bursts(noise, draw, rate) if noise.burst > 0 else _forever(alone)
    for slot in range(slots):
        healthy = next(bad)
        yield ill() if slot in ill_slots else healthy


def _forever(draw: Draw) -> Iterator[int]:
    while True:
        yield draw()


def _bursts(noise: Noise, draw: random.Random, rate: float) -> Iterator[int]:
    """Over-dispersed: every half minute has an error share of its own."""
    spread = noise.burst**2
    while True:
        mean, sure = rate * SLOT * noise.healthy * draw.gammavariate(1 / spread, spread), draw.random
        for _ in range(_BURST):
            number, left = 0, math.exp(-mean)
            product = sure()
            while product > left:
                number += 1
                product *= sure()
            yield number


@lru_cache(maxsize=64)
def _sums(mean: float) -> tuple[float, ...]:
    """The Poisson distribution, as far as it matters: its tail is below 1e-12."""
    widest = math.ceil(mean + 8 * math.sqrt(mean) + 20)
    logs = (number * math.log(mean) - mean - math.lgamma(number + 1) for number in range(widest))
    return tuple(itertools.accumulate(math.exp(one) for one in logs))


def poisson(draw: random.Random, mean: float) -> Draw:
    """Draws of how many there are in a slot."""
    if mean <= 0:
        return lambda: 0
    sums = _sums(mean)
    return lambda: bisect(sums, draw.random())
