"""The rhythm of a source: when the next fresh sample of a check can be seen.

Asking at random moments after a scrape wastes half a poll interval on average; asking right after it wastes nothing.
Learnt from the samples' own times, kept right by what comes back. This module must never delay a poll by more than half
a scrape interval against its plan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from watchdog.core.observation import Observation, Value

#: How long after its timestamp a sample can be seen, to begin with: a scrape takes some milliseconds.
FIRST_LAG = 0.03
#: The lag grows by this when a sample was not there yet, and shrinks a little when it was.
GROWTH, DECAY = 1.6, 0.98
#: A sample that was not there yet is asked for again this often, at most, before the plan is kept.
RETRIES = 3
#: The time between two samples is the shortest of so many: polls may miss samples, a restart may bring two at once.
STEPS = 8
#: An answer that comes so long after its sample says nothing about how early it could have been had.
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
    """What was learnt of one check's samples. `retries` since the last fresh one, `steady_lag` before the first."""

    seen_at: datetime | None = None
    every: float | None = None
    lag: float = FIRST_LAG
    steady_lag: float = FIRST_LAG
    retries: int = 0
    steps: tuple[float, ...] = ()

    def heard(self, observation: Observation, *, now: datetime) -> Beat | None:
        """Learn from one observation; answers when to ask next, `None` when nothing is known."""
        if not isinstance(observation, Value):
            return None
        if self.seen_at is None or observation.at > self.seen_at:
            self._learn_lag(observation.at, now)
            self._learn_step(observation)
            self.seen_at, self.retries = observation.at, 0
        elif self._overdue(now) and self.retries < RETRIES and self.every is not None:
            if self.retries == 0:
                self.steady_lag = self.lag
            self.retries += 1
            self.lag = min(self.lag * GROWTH, self.every / 4)
            return Beat(next_in=self.lag / 2, every=self.every, again=True)
        if self.every is None:
            return None
        return Beat(next_in=self._until_next(now), every=self.every)

    def _overdue(self, now: datetime) -> bool:
        """Whether there should be a sample newer than the last one by now."""
        if self.seen_at is None or self.every is None:
            return False
        return (now - self.seen_at).total_seconds() >= self.every

    def _learn_lag(self, at: datetime, now: datetime) -> None:
        """How early it could be seen: later than thought when it took retries, unless samples were missing."""
        if self.seen_at is None or self.every is None:
            return
        if self.retries and (at - self.seen_at).total_seconds() > 1.5 * self.every:
            self.lag = self.steady_lag
        elif not self.retries and (now - at).total_seconds() <= 2 * self.lag + _PROMPT:
            self.lag = max(self.lag * DECAY, 0.005)

    def _learn_step(self, value: Value) -> None:
        """The time between two samples: it divides the steps seen, and is at least what the source counts."""
        least = value.scrape_interval.total_seconds() if value.scrape_interval is not None else 0.0
        if self.seen_at is None:
            self.every = least if least > 0 else None
            return
        step = (value.at - self.seen_at).total_seconds()
        if least <= 0:
            self.steps = (*self.steps, step)[-STEPS:]
            self.every = min(self.steps)
        elif self.every is None or self.every < least * (1 - _NEAR) or not _divides(self.every, step):
            # A count of samples in a window rounds up, so the interval that it gives is rather too short.
            self.every = step / max(1, math.floor(step / least + _NEAR))

    def _until_next(self, now: datetime) -> float:
        if self.seen_at is None or self.every is None:
            return 0.0
        due = (self.seen_at - now).total_seconds() + self.every + self.lag
        return due % self.every


def _divides(every: float, step: float) -> bool:
    times = round(step / every)
    return times >= 1 and abs(step / every - times) <= _NEAR
