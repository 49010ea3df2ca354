"""The rhythm of a source: when the next fresh sample of a check can be seen.

Asking at random moments after a scrape wastes half a poll interval on average; asking right after it wastes nothing,
and asking a moment too early wastes all of it. Learnt from the samples' own times, kept right by what comes back.
This module must never delay a poll by more than half a scrape interval against its plan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from watchdog.core.clockstep import ahead
from watchdog.core.observation import Observation, Value

#: How long after its timestamp a sample can be seen, to begin with: a scrape takes some milliseconds.
FIRST_LAG = 0.03
#: The lag shrinks a little whenever a sample was there at once; it is learnt anew when one was not.
DECAY = 0.98
#: A sample that was not there yet is asked for again this often, at most, before the plan is kept; and this often
#: in all before it is taken for missing. Each wait is longer than the one before it.
RETRIES, MISSES, GROWTH = 3, 12, 1.6
#: Steps between samples that are remembered where the source does not count them.
STEPS = 8

_SHORTEST_LAG = 0.005
#: An answer within so many seconds of when it could be expected says how early it could have been had.
_PROMPT = 0.1
#: A step that is so near to a multiple of an interval (as a share of that) is one: scrapes jitter.
_NEAR = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """Samples can be seen in `next_in` seconds, then every `every`. `again`: ask once more then, off plan."""

    next_in: float
    every: float
    again: bool = False


@dataclass(slots=True)
class Rhythm:
    """What was learnt of one check's samples.

    `retries` of the newest poll that came too early, `misses` since the last sample that came in time; `retry_at` is
    when the last retry was due.
    """

    seen_at: datetime | None = None
    every: float | None = None
    lag: float = FIRST_LAG
    counted: bool = False
    steps: tuple[float, ...] = ()
    retries: int = 0
    misses: int = 0
    retry_at: datetime | None = None

    def heard(self, observation: Observation, *, now: datetime) -> Beat | None:
        """Learn from one observation; answers when to ask next, `None` when nothing is known."""
        if not isinstance(observation, Value):
            self.retries = 0
            return None
        if ahead(self.seen_at, now):
            self.seen_at = None  # by a clock that was set back since
        if self.seen_at is None or observation.at > self.seen_at:
            self._learn_step(observation)
            self.seen_at = observation.at
        if self.every is None:
            return None
        age = (now - self.seen_at).total_seconds()
        if age < self.every:
            self._learn_lag(age, self.every, now)
            self.retries = self.misses = 0
        elif self.retries < RETRIES and self.misses < MISSES:
            return self._retry(self.every, now)
        else:
            self.retries = 0
        return Beat(next_in=(self.every + self.lag - age) % self.every, every=self.every)

    def _retry(self, every: float, now: datetime) -> Beat:
        """There should be a newer sample by now: look again in a moment."""
        wait = min(FIRST_LAG * GROWTH**self.misses / 2, every / 4)
        self.retries, self.misses = self.retries + 1, self.misses + 1
        self.retry_at = now + timedelta(seconds=wait)
        return Beat(next_in=wait, every=every, again=True)

    def _learn_lag(self, age: float, every: float, now: datetime) -> None:
        """How early the newest sample could be seen: now, when it was awaited; else perhaps a little earlier still."""
        awaited = self.retries > 0 and self.retry_at is not None
        if awaited and self.retry_at is not None and abs((now - self.retry_at).total_seconds()) <= _PROMPT:
            self.lag = min(max(age, _SHORTEST_LAG), every / 2)
        elif not awaited and self.counted and age <= self.lag + _PROMPT:
            self.lag = max(self.lag * DECAY, _SHORTEST_LAG)

    def _learn_step(self, value: Value) -> None:
        """The time between two samples: it divides the steps seen, and is at least what the source counts."""
        least = value.scrape_interval.total_seconds() if value.scrape_interval is not None else 0.0
        self.counted = least > 0
        if self.seen_at is None:
            if self.counted and (self.every is None or self.every < least * (1 - _NEAR)):
                self.every = least
            return
        step = (value.at - self.seen_at).total_seconds()
        if not self.counted:
            self.steps = (*self.steps, step)[-STEPS:]
            self.every = min(self.steps)
            return
        every = self.every or least
        times = round(step / every)
        if every < least * (1 - _NEAR) or times < 1 or abs(step / every - times) > _NEAR:
            # A count of samples in a window rounds up, so the interval that it gives is rather too short.
            times = max(1, math.floor(step / least + _NEAR))
        self.every = step / times
