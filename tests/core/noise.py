"""Healthy services in their noise, and faults, judged by the product's own `evaluate` with its holds and rechecks.

The error share of a healthy service is half a percent; the rule is critical beyond 1 % and rolls back beyond 1.5 %.
Guards are left out, so an episode is what a rollback would have been, were a deployment armed all the time. Requests
arrive at random (Poisson), in slots of five seconds, which is how often the source is scraped. Seeded: the same
figures every time.
"""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial

from watchdog.core.check import CheckState
from watchdog.core.evaluate import evaluate, wants_recheck
from watchdog.core.observation import NoData, NoDataReason, Observation, Value
from watchdog.core.rule import Evidence, Holds, Level, Ratio, Rule, Samples, Thresholds, Unit

SLOT = 5  #: seconds: between two scrapes, and between two polls where a recheck is wanted
POLL, WINDOW = 30 // SLOT, 60 // SLOT  #: slots
DAY = 24 * 3600 // SLOT
WEEK = 7 * DAY
#: Requests a second, from a handful a minute to a busy service.
RATES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
HEALTHY, BLIP = 0.005, 0.05
FAULTS = (1.0, 0.5, 0.2, 0.1, 0.05)
#: Episodes that are closer together are one.
APART = 600 // SLOT
_START = datetime(2026, 1, 5, tzinfo=UTC)

Draw = Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A way to judge: the rule, and whether it is polled more often while a breach is pending."""

    name: str
    rule: Rule
    recheck: bool = True


def _rule(evidence: Evidence | None, samples: int) -> Rule:
    return Rule(
        name="error-rate",
        form=Ratio(bad="bad", total="total"),
        unit=Unit.RATIO,
        thresholds=Thresholds(critical=0.01, rollback=0.015),
        evidence=evidence,
        hold=Holds(rollback=Samples(samples)),
        window=timedelta(seconds=SLOT * WINDOW),
        interval=timedelta(seconds=SLOT * POLL),
    )


DEFAULT = Judge(name="the default evidence", rule=_rule(Evidence(), 2))
BARE = Judge(name="one sample above 150 %", rule=_rule(None, 1))
NO_EVIDENCE = Judge(name="evidence: none", rule=_rule(None, 2))
FOR_3 = Judge(name="for: 3", rule=_rule(None, 3), recheck=False)
JUDGES = (DEFAULT, BARE, NO_EVIDENCE, FOR_3)


class Counts:
    """Bad requests and all of them, summed up to the end of each slot."""

    def __init__(self, bad: Iterator[int], good: Draw) -> None:
        self.bad, self.total = [0], [0]
        for failed in bad:
            self.bad.append(self.bad[-1] + failed)
            self.total.append(self.total[-1] + failed + good())

    def seen(self, slot: int) -> Observation:
        """What a poll at the end of a slot gets: the window before it."""
        total = self.total[slot] - self.total[slot - WINDOW]
        if not total:
            return NoData(reason=NoDataReason.EMPTY)
        bad = self.bad[slot] - self.bad[slot - WINDOW]
        return Value(value=bad / total, at=_at(slot), events=float(total), bad=float(bad))


def _at(slot: int) -> datetime:
    return _START + timedelta(seconds=SLOT * slot)


@lru_cache(maxsize=64)
def _sums(mean: float) -> tuple[float, ...]:
    """The Poisson distribution, as far as it matters: its tail is below 1e-12."""
    widest = math.ceil(mean + 8 * math.sqrt(mean) + 20)
    logs = (number * math.log(mean) - mean - math.lgamma(number + 1) for number in range(widest))
    return tuple(itertools.accumulate(math.exp(one) for one in logs))


def poisson(draw: random.Random, mean: float) -> Draw:
    """Draws of how many there are in a slot."""
    sums = _sums(mean)
    return lambda: bisect(sums, draw.random())


# -- how a healthy service is noisy: bad requests by slot


def independent(draw: random.Random, rate: float, slots: int) -> Iterator[int]:
    """Every request fails on its own."""
    bad = poisson(draw, rate * SLOT * HEALTHY)
    return (bad() for _ in range(slots))


def bursty(draw: random.Random, rate: float, slots: int) -> Iterator[int]:
    """Over-dispersed: every half minute has an error share of its own, gamma with a coefficient of variation of 1."""
    for _ in range(slots // POLL):
        mean, sure = rate * SLOT * HEALTHY * draw.gammavariate(1.0, 1.0), draw.random
        for _ in range(POLL):
            number, left = 0, math.exp(-mean)
            product = sure()
            while product > left:
                number += 1
                product *= sure()
            yield number


def blips(draw: random.Random, rate: float, slots: int, *, a_day: int, seconds: int) -> Iterator[int]:
    """Real but short trouble: so often a day, 5 % of the requests fail for so long."""
    healthy, ill = poisson(draw, rate * SLOT * HEALTHY), poisson(draw, rate * SLOT * BLIP)
    bad: set[int] = set()
    for _ in range(a_day * slots // DAY):
        start = draw.randrange(slots)
        bad |= set(range(start, start + seconds // SLOT))
    return (ill() if slot in bad else healthy() for slot in range(slots))


Noise = Callable[[random.Random, float, int], Iterator[int]]
NOISES: dict[str, Noise] = {
    "independent": independent,
    "bursty (gamma, CV 1)": bursty,
    "six blips of 60 s a day": partial(blips, a_day=6, seconds=60),
    "two blips of 3 min a day": partial(blips, a_day=2, seconds=180),
}


def counts(noise: str, rate: float, slots: int, seed: int) -> Counts:
    """A stretch of one service's life."""
    draw = random.Random(f"{noise}/{rate}/{seed}")
    good = poisson(draw, rate * SLOT * (1 - HEALTHY))
    return Counts(NOISES[noise](draw, rate, slots), good)


# -- judged


def held(judge: Judge, counts: Counts, slots: int, *, first: int = WINDOW) -> Iterator[int]:
    """The slots in which a rollback would be decided."""
    state, slot = CheckState(), first
    while slot <= slots:
        now = _at(slot)
        result = evaluate(judge.rule, state, counts.seen(slot), now=now)
        state = result.state
        if state.held is Level.ROLLBACK and result.counted:
            yield slot
        slot += 1 if judge.recheck and wants_recheck(state, now) else POLL


def episodes(judge: Judge, noise: str, rate: float, *, slots: int = WEEK, seed: int) -> int:
    """How often a healthy service would be rolled back, counting what is less than ten minutes apart once."""
    count, last = 0, None
    for slot in held(judge, counts(noise, rate, slots, seed), slots):
        count += last is None or slot - last > APART
        last = slot
    return count


def delay(judge: Judge, share: float, rate: float, seed: int) -> float | None:
    """Seconds from the beginning of a fault until the rollback is decided; `None` when it is not within half an hour.

    Health for twenty minutes; the fault begins at any moment between two polls.
    """
    draw = random.Random(f"fault/{share}/{rate}/{seed}")
    before = 1200 // SLOT + draw.randrange(POLL)
    slots = before + 1800 // SLOT
    healthy, failing = poisson(draw, rate * SLOT * HEALTHY), poisson(draw, rate * SLOT * share)
    fine = poisson(draw, rate * SLOT * (1 - HEALTHY))
    rest = poisson(draw, rate * SLOT * (1 - share)) if share < 1 else None
    number = itertools.count()

    def good() -> int:
        if next(number) < before:
            return fine()
        return rest() if rest is not None else 0

    seen = Counts((healthy() if slot < before else failing() for slot in range(slots)), good)
    found = next((slot for slot in held(judge, seen, slots) if slot > before), None)
    return None if found is None else float(SLOT * (found - before))


def interval(count: int) -> tuple[float, float]:
    """Byar's approximation of the exact Poisson 95 % interval of a count (Breslow and Day 1987, formula 2.10)."""
    low = count * (1 - 1 / (9 * count) - 1.96 / (3 * math.sqrt(count))) ** 3 if count else 0.0
    more = count + 1
    return low, more * (1 - 1 / (9 * more) + 1.96 / (3 * math.sqrt(more))) ** 3
