"""The rhythm of a source: when the next fresh sample of a check can be seen.

Asking at random moments after a scrape wastes half a poll interval on average; asking right after it wastes nothing.
Learnt from the samples' own times, kept right by what comes back. This module must never delay a poll by more than half
a scrape interval against its plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from watchdog.core.observation import Observation, Value

#: How long after its timestamp a sample can be seen, to begin with: a scrape takes some milliseconds.
FIRST_LAG = 0.03
#: The lag grows by this when a sample was not there yet, and shrinks a little when it was.
GROWTH, DECAY = 1.6, 0.98
#: A sample that was not there yet is asked for again this often, at most, before the plan is kept.
RETRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """Samples can be seen in `next_in` seconds, then every `every`. `again`: ask once more then, off plan."""

    next_in: float
    every: float
    again: bool = False


@dataclass(slots=True)
class Rhythm:
    """What was learnt of one check's samples."""

    seen_at: datetime | None = None
    every: float | None = None
    lag: float = FIRST_LAG
    retries: int = 0
    expecting: bool = False

    def heard(self, observation: Observation, *, now: datetime) -> Beat | None:
        """Learn from one observation; answers when to ask next, `None` when nothing is known."""
        if not isinstance(observation, Value):
            self.expecting = False
            return None
        fresh = self.seen_at is None or observation.at > self.seen_at
        self._learn(observation)
        if self.every is None or self.seen_at is None:
            return None
        if not fresh and self.expecting and self.retries < RETRIES:
            self.retries += 1
            self.lag = min(self.lag * GROWTH, self.every / 4)
            return Beat(next_in=self.lag / 2, every=self.every, again=True)
        if fresh and self.expecting and self.retries == 0:
            self.lag = max(self.lag * DECAY, 0.005)
        self.retries = 0
        self.expecting = True
        return Beat(next_in=self._until_next(now), every=self.every)

    def _learn(self, value: Value) -> None:
        """The time between two samples: as the source counts them, else the shortest step seen."""
        step = None
        if value.scrape_interval is not None:
            step = value.scrape_interval.total_seconds()
        elif self.seen_at is not None and value.at > self.seen_at:
            step = (value.at - self.seen_at).total_seconds()
            step = step if self.every is None else min(step, self.every)
        if step is not None and step > 0:
            self.every = step
        if self.seen_at is None or value.at > self.seen_at:
            self.seen_at = value.at

    def _until_next(self, now: datetime) -> float:
        if self.seen_at is None or self.every is None:
            return 0.0
        due = self.seen_at + timedelta(seconds=self.every + self.lag)
        return (due - now).total_seconds() % self.every
