"""Plans of simulations: which services live how long, and which faults they get; carried out by several processes.

The same plan and seed give the same figures, however many processes there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

import msgspec

from watchdog.lab.noise import WEEK, Noise
from watchdog.lab.score_figures import poisson_interval, quantile
from watchdog.lab.simulate import DEFAULT, Judge, delay, episodes

Key = TypeVar("Key")

#: Requests a second: what is simulated unless others are named.
SOME_RATES = (1.0, 10.0, 100.0)
#: So many faults are simulated at a time.
_BATCH = 10


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to simulate: `weeks` service-weeks and `faults` faults of every share, at every rate (requests a second).

    Each of the weeks is a life of its own, and `life` slots long: shorter ones are for those who cannot wait.
    """

    judge: Judge = DEFAULT
    noise: Noise = Noise()
    rates: tuple[float, ...] = SOME_RATES
    weeks: int = 4
    shares: tuple[float, ...] = (1.0, 0.2)
    faults: int = 100
    seed: int = 0
    life: int = WEEK

    @property
    def steps(self) -> int:
        """How often `done` is called."""
        return len(self.rates) * (self.weeks + len(self.shares) * math.ceil(self.faults / _BATCH))


class Delays(msgspec.Struct, frozen=True, kw_only=True):
    """How soon faults of one share were believed; `None` where so many were not."""

    share: float
    faults: int
    decided: int
    delay_seconds_median: float | None
    delay_seconds_p95: float | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was found for one rate of requests (a second), or for all of them together (`rate` is `None`)."""

    rate: float | None
    weeks: float
    false_rollbacks: int
    false_per_week: float
    false_per_week_ci: tuple[float, float]
    faults: tuple[Delays, ...]


def _delays(share: float, taken: list[float | None]) -> Delays:
    known = [math.inf if one is None else one for one in taken]
    return Delays(
        share=share,
        faults=len(taken),
        decided=sum(one is not None for one in taken),
        delay_seconds_median=_finite(quantile(known, 0.5)),
        delay_seconds_p95=_finite(quantile(known, 0.95)),
    )


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def simulate(plan: Plan, *, jobs: int = 1, done: Callable[[], None] = lambda: None) -> list[Outcome]:
    """The outcome at every rate, and of all of them together at the end. `done` is called after every step."""
    if jobs > 1:
        with ProcessPoolExecutor(jobs) as pool:
            return _outcomes(plan, _gathered(plan, pool, done))
    lives = {key: _life(plan, *key) for key in _told(_lives(plan), done)}
    faults = {key: _faults(plan, *key) for key in _told(_batches(plan), done)}
    return _outcomes(plan, (lives, faults))


Lives = dict[tuple[float, int], int]
Believed = dict[tuple[float, float, int], list[float | None]]


def _lives(plan: Plan) -> list[tuple[float, int]]:
    return [(rate, week) for rate in plan.rates for week in range(plan.weeks)]


def _batches(plan: Plan) -> list[tuple[float, float, int]]:
    return [
        (rate, share, first)
        for rate in plan.rates
        for share in plan.shares
        for first in range(0, plan.faults, _BATCH)
    ]


def _life(plan: Plan, rate: float, week: int) -> int:
    return episodes(plan.judge, plan.noise, rate, slots=plan.life, seed=f"{plan.seed}/life/{rate}/{week}")


def _faults(plan: Plan, rate: float, share: float, first: int) -> list[float | None]:
    quiet = msgspec.structs.replace(
        plan.noise, blips_a_day=0.0
    )  # a fault is found, not a blip that was there before
    return [
        delay(plan.judge, share, rate, noise=quiet, seed=f"{plan.seed}/fault/{rate}/{share}/{number}")
        for number in range(first, min(first + _BATCH, plan.faults))
    ]


def _told(keys: list[Key], done: Callable[[], None]) -> Iterator[Key]:
    for key in keys:
        yield key
        done()


def _gathered(plan: Plan, pool: ProcessPoolExecutor, done: Callable[[], None]) -> tuple[Lives, Believed]:
    lives = {pool.submit(_life, plan, *key): key for key in _lives(plan)}
    faults = {pool.submit(_faults, plan, *key): key for key in _batches(plan)}
    waiting: set[Future[Any]] = {*lives, *faults}
    while waiting:
        finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for _ in finished:
            done()
    return {key: one.result() for one, key in lives.items()}, {
        key: one.result() for one, key in faults.items()
    }


def _outcomes(plan: Plan, found: tuple[Lives, Believed]) -> list[Outcome]:
    lives, believed = found
    rows = [_outcome(plan, rate, lives, believed) for rate in plan.rates]
    return [*rows, _outcome(plan, None, lives, believed)]


def _outcome(plan: Plan, rate: float | None, lives: Lives, believed: Believed) -> Outcome:
    rates = plan.rates if rate is None else (rate,)
    false = sum(count for (one, _), count in lives.items() if one in rates)
    weeks = plan.weeks * len(rates) * plan.life / WEEK
    low, high = poisson_interval(false)
    return Outcome(
        rate=rate,
        weeks=weeks,
        false_rollbacks=false,
        false_per_week=round(false / weeks, 4),
        false_per_week_ci=(round(low / weeks, 4), round(high / weeks, 4)),
        faults=tuple(
            _delays(
                share,
                [
                    taken
                    for (one, of, _), batch in believed.items()
                    if one in rates and of == share
                    for taken in batch
                ],
            )
            for share in plan.shares
        ),
    )
