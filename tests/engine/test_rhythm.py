from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason, Observation, Value
from watchdog.engine.rhythm import FIRST_LAG, MISSES, RETRIES, Beat, Rhythm
from watchdog.engine.scheduler import Scheduler
from watchdog.testing.clock import BASE, LoopClock

ALWAYS_THE_SAME = settings(derandomize=True, deadline=None, max_examples=60)


def at(seconds: float) -> datetime:
    return BASE + timedelta(seconds=seconds)


def value(moment: float, *, interval: float | None = None) -> Value:
    return Value(
        value=0.0, at=at(moment), scrape_interval=None if interval is None else timedelta(seconds=interval)
    )


class Scraped:
    """A source that scrapes every `every` from `phase` on; a sample can be seen `lag` after its time.

    `window` is that of the rule; the scrape interval it tells is the count of samples in it, as the real one is.
    """

    def __init__(
        self, *, every: float, phase: float = 0.0, lag: float = 0.02, window: float | None = 60.0
    ) -> None:
        self.every, self.phase, self.lag, self.window = every, phase, lag, window
        self.skew = 0.0
        self.away = False

    def newest(self, now: float) -> float:
        return math.floor((now - self.lag - self.phase) / self.every) * self.every + self.phase

    def answer(self, now: float) -> Observation:
        if self.away:
            return Failed(reason=FailReason.UNREACHABLE)
        newest = self.newest(now)
        if self.window is None:
            return value(newest + self.skew)
        first = now - self.window
        samples = math.floor((newest - first) / self.every + 1e-9) + 1
        return value(newest + self.skew, interval=(newest - first) / samples)


class Run:
    """A scheduler that polls one check of a source by its rhythm; `waits` are the ages of fresh samples."""

    def __init__(self, source: Scraped, *, interval: float, seed: int = 3) -> None:
        self.source = source
        self.rhythm = Rhythm()
        self.polls: list[float] = []
        self.waits: list[float] = []
        self._seen = self._seen_at = -math.inf
        self.scheduler: Scheduler[str] = Scheduler("poll", self._poll, clock=LoopClock(), seed=seed)
        self.scheduler.plan("a", {"job": timedelta(seconds=interval)})
        self._task = asyncio.create_task(self.scheduler.run())

    async def _poll(self, _: str) -> Beat | None:
        now = asyncio.get_running_loop().time()
        self.polls.append(now)
        observation = self.source.answer(now)
        if isinstance(observation, Value):
            newest = self.source.newest(now)
            if newest > self._seen:
                if self._seen_at > now - 1:
                    self.waits.pop()  # a moment too early, and asked again at once
                self.waits.append(now - newest)
                self._seen_at = now
            self._seen = newest
        return self.rhythm.heard(observation, now=LoopClock().now())

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def run(
    source: Scraped, *, interval: float, lasting: float, meanwhile: Callable[[], None] | None = None
) -> Run:
    """Poll for so long; `meanwhile` happens in the middle."""
    one = Run(source, interval=interval)
    await asyncio.sleep(lasting / 2)
    if meanwhile is not None:
        meanwhile()
    await asyncio.sleep(lasting / 2)
    await one.stop()
    return one


CASES = [
    (5.0, 5.0, 60.0),
    (5.0, 30.0, 60.0),
    (15.0, 30.0, 60.0),
    (15.0, 15.0, 60.0),
    (1.0, 5.0, 10.0),
    (10.0, 30.0, 60.0),
    (5.0, 30.0, None),
    (15.0, 30.0, None),
]


@pytest.mark.virtual_time
@pytest.mark.parametrize(("every", "interval", "window"), CASES)
async def test_polls_come_right_after_the_scrapes(
    every: float, interval: float, window: float | None
) -> None:
    source = Scraped(every=every, phase=every * 0.37, window=window)
    one = await run(source, interval=interval, lasting=100 * interval)
    later = one.waits[10:]
    assert sum(later) / len(later) < 0.1, "at random it would be half a scrape interval"
    assert len(one.polls) < 1.6 * 100


@pytest.mark.virtual_time
@pytest.mark.parametrize("lag", [0.005, 0.1, 0.5])
async def test_the_time_that_a_sample_takes_to_be_seen_is_learnt(lag: float) -> None:
    one = await run(Scraped(every=5.0, lag=lag), interval=5.0, lasting=1000)
    later = one.waits[100:]
    assert sum(later) / len(later) < lag * 1.5 + 0.05


@pytest.mark.virtual_time
@pytest.mark.parametrize("window", [60.0, None])
async def test_it_finds_the_beat_again_when_the_scrapes_move(window: float | None) -> None:
    source = Scraped(every=5.0, phase=1.0, window=window)

    def restart() -> None:
        source.phase = 3.3

    one = await run(source, interval=5.0, lasting=1000, meanwhile=restart)
    later = one.waits[120:]
    assert sum(later) / len(later) < 0.1


@pytest.mark.virtual_time
@pytest.mark.parametrize("window", [120.0, None])
@pytest.mark.parametrize("after", [2.5, 10.0])
async def test_it_learns_a_new_scrape_interval(window: float | None, after: float) -> None:
    source = Scraped(every=5.0, phase=1.0, window=window)

    def change() -> None:
        source.every = after

    one = await run(source, interval=10.0, lasting=2000, meanwhile=change)
    later = one.waits[-60:]
    assert sum(later) / len(later) < 0.15
    assert len([moment for moment in one.polls if moment > 1500]) < 90


@pytest.mark.virtual_time
async def test_rare_scrapes_cost_no_retries_when_polls_come_often() -> None:
    """At the recheck interval most polls see a sample again: that is as it should be, not late."""
    one = await run(Scraped(every=15.0, phase=2.0), interval=5.0, lasting=1000)
    assert len(one.polls) <= 1000 / 5 + 30
    assert one.rhythm.lag < 0.5


@pytest.mark.virtual_time
async def test_an_outage_is_not_mistaken_for_a_slow_source() -> None:
    source = Scraped(every=5.0)
    one = Run(source, interval=5.0)
    await asyncio.sleep(300)
    source.answer = lambda now: value(290)  # type: ignore[method-assign]  # its target died: the old sample stays
    await asyncio.sleep(300)
    del source.answer
    polls = [moment for moment in one.polls if 300 < moment < 600]
    assert len(polls) <= 60 + MISSES + 2
    await asyncio.sleep(100)
    await one.stop()
    assert one.rhythm.lag < 0.1


@pytest.mark.virtual_time
async def test_a_source_that_was_away_is_found_on_its_beat_again() -> None:
    source = Scraped(every=5.0, phase=2.0)
    one = Run(source, interval=5.0)
    await asyncio.sleep(100)
    source.away = True
    await asyncio.sleep(200)
    source.away, source.phase = False, 4.4
    await asyncio.sleep(300)
    await one.stop()
    assert sum(one.waits[-20:]) / 20 < 0.1


@pytest.mark.virtual_time
@pytest.mark.parametrize("skew", [-2.0, 2.0, 4.9])
async def test_a_clock_that_differs_from_the_sources_neither_stops_nor_hurries_polls(skew: float) -> None:
    source = Scraped(every=5.0)
    source.skew = skew
    one = await run(source, interval=5.0, lasting=1000)
    assert 195 <= len(one.polls) <= 200 * (1 + RETRIES)
    assert len(one.waits) >= 195, "every sample is seen"


@pytest.mark.virtual_time
async def test_a_source_whose_clock_is_set_back_is_polled_by_plan() -> None:
    source = Scraped(every=5.0)

    def back() -> None:
        source.skew = -3600.0

    one = await run(source, interval=5.0, lasting=400, meanwhile=back)
    assert 75 <= len(one.polls) <= 80 + MISSES + 4


@pytest.mark.virtual_time
async def test_one_odd_step_is_forgotten() -> None:
    """A restart may bring two samples at once; that is not the scrape interval from then on."""
    rhythm, moments = Rhythm(), [0.0, 5.0, 10.0, 10.01]
    for moment in [*moments, *(10.0 + 5 * number for number in range(1, 20))]:
        rhythm.heard(value(moment), now=at(moment + 0.03))
    assert rhythm.every == pytest.approx(5.0)


def test_nothing_is_known_from_one_sample_of_a_source_that_does_not_count() -> None:
    assert Rhythm().heard(value(1), now=at(1.5)) is None


@pytest.mark.parametrize(
    "observation", [NoData(reason=NoDataReason.EMPTY), Failed(reason=FailReason.TIMEOUT)]
)
def test_no_sample_says_nothing(observation: Observation) -> None:
    rhythm = Rhythm()
    rhythm.heard(value(0, interval=5), now=at(0.1))
    assert rhythm.heard(observation, now=at(5.1)) is None
    assert rhythm.every == 5


def test_the_first_answer_of_a_source_that_counts_says_when_the_next_sample_comes() -> None:
    beat = Rhythm().heard(value(0, interval=5), now=at(2))
    assert beat is not None
    assert beat.next_in == pytest.approx(3 + FIRST_LAG)
    assert (beat.every, beat.again) == (5, False)


def test_a_sample_that_is_late_is_asked_for_again_so_many_times_and_then_not_more() -> None:
    rhythm, now = Rhythm(), 5.04
    rhythm.heard(value(0, interval=5), now=at(0.1))
    retries = 0
    for _ in range(20):
        beat = rhythm.heard(value(0, interval=5), now=at(now))
        assert beat is not None
        retries += beat.again
        now += beat.next_in if beat.again else 5.0
    assert retries == MISSES


def test_a_sample_seen_again_before_the_next_one_is_due_is_not_late() -> None:
    rhythm = Rhythm()
    rhythm.heard(value(0, interval=15), now=at(0.1))
    beat = rhythm.heard(value(0, interval=15), now=at(5.1))
    assert beat is not None
    assert not beat.again
    assert rhythm.lag == pytest.approx(FIRST_LAG, rel=0.05)


@ALWAYS_THE_SAME
@given(seed=st.integers(0, 10_000))
def test_a_wait_is_never_negative_nor_not_a_number_nor_a_busy_loop(seed: int) -> None:
    """Whatever a source tells: samples forward, backward, in heaps, intervals of nothing and of days."""
    chance = random.Random(seed)
    rhythm, now, polls = Rhythm(), 0.0, 0
    while now < 500 and polls < 5000:
        polls += 1
        moment = now + chance.choice([0, 0, -0.001, -5, 4.9, -86400, chance.uniform(-60, 5)])
        interval = chance.choice([None, None, 0.001, 1e-6, 0, 5, 15, 86400])
        odd: Observation = value(moment, interval=interval)
        if chance.random() < 0.1:
            odd = NoData(reason=NoDataReason.STALE)
        beat = rhythm.heard(odd, now=at(now + chance.choice([0, 0, 0, -3600])))
        if beat is None:
            now += 5
            continue
        assert math.isfinite(beat.next_in)
        assert math.isfinite(beat.every)
        assert 0 <= beat.next_in <= beat.every
        assert beat.every > 0
        # As the scheduler does it: off plan at once, else on the beat nearest to the plan.
        now += beat.next_in if beat.again else max(5 - beat.every / 2, 2.5)
    assert polls < 500 / 2.5 * (1 + RETRIES) + 10


@pytest.mark.virtual_time
@pytest.mark.parametrize("seed", range(8))
async def test_a_mad_source_cannot_make_the_scheduler_spin(seed: int) -> None:
    chance = random.Random(seed)
    source = Scraped(every=5.0)

    def mad(now: float) -> Observation:
        interval = chance.choice([None, 1e-6, 0.001, 0.1, 5, 15])
        return value(now + chance.uniform(-60, 5), interval=interval)

    source.answer = mad  # type: ignore[method-assign]
    one = await run(source, interval=5.0, lasting=2000)
    assert 300 <= len(one.polls) <= 2000 / 2.5 * (1 + RETRIES)
    busiest = max(
        sum(begin <= moment < begin + 1 for moment in one.polls) for begin in (float(n) for n in range(2000))
    )
    assert busiest <= 2 * (1 + RETRIES)
    assert all(after > before for before, after in itertools.pairwise(one.polls))
