"""When to poll what: seeded jitter, no overlap, faster while something hangs on it.

A job's first poll comes within a second of its start; then its own seeded phase spreads it over its interval.
A job that is still busy when its time comes is skipped and counted, never doubled. This module must never know what
a job does.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
import math
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from watchdog.aio.clock import Clock
from watchdog.aio.crew import Crew
from watchdog.engine.rhythm import Beat

K = TypeVar("K", bound=Hashable)

#: The first polls after a start are spread over at most this long.
FIRST_WITHIN = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round(Generic[K]):
    """How far the polls of some jobs are: `key` was polled longest ago, its last poll ended `at` (monotonic).

    One that was never polled counts from when it was planned; `whole` is false then.
    """

    key: K
    at: float
    whole: bool


@dataclass(slots=True)
class _Job:
    interval: float
    due: float
    planned_at: float
    first: bool = True
    asked: bool = False
    """Whether somebody wanted a poll at once while one was under way."""
    nudged: bool = False
    """Whether a poll that `soon` asked for is still to come."""
    nudged_at: float = -math.inf
    polled_at: float | None = None


class Scheduler(Generic[K]):
    """Polls jobs by key. `plan` may be called at any time from the same loop."""

    def __init__(
        self, name: str, poll: Callable[[K], Awaitable[Beat | None]], *, clock: Clock, seed: int
    ) -> None:
        """`poll` may answer when fresh data can be expected: then the next poll is moved to the nearest such moment."""
        self._poll = poll
        self._clock = clock
        self._seed = seed
        self._jobs: dict[K, _Job] = {}
        self._groups: dict[str, frozenset[K]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._numbers = itertools.count()
        self._changed = asyncio.Event()
        self._crew = Crew(name)
        self._busy: set[K] = set()
        self._halted = False
        self.overruns = 0

    def plan(self, group: str, jobs: Mapping[K, timedelta]) -> None:
        """Poll exactly `jobs` from now on as this group's, each at its interval; other groups are left alone."""
        if self._halted:
            return
        for key in self._groups.get(group, frozenset()) - jobs.keys():
            del self._jobs[key]
        self._groups[group] = frozenset(jobs)
        if not jobs:
            del self._groups[group]
        for key, interval in jobs.items():
            self._set(key, interval.total_seconds())

    def pace(self, key: K, interval: timedelta) -> None:
        """Poll one job at another interval from now on. Unknown keys are left alone."""
        if key in self._jobs:
            self._set(key, interval.total_seconds())

    def halt(self) -> None:
        """Start no more polls, for good; those under way go on."""
        self._halted = True
        self._jobs.clear()

    def now(self, key: K) -> None:
        """Poll a job at once; once more after the poll under way, if there is one. Unknown keys are left alone."""
        job = self._jobs.get(key)
        if job is None:
            return
        if key in self._busy:
            job.asked = True
        else:
            self._push(key, job, self._clock.monotonic())

    def soon(self, key: K, *, apart: timedelta) -> None:
        """As `now`, but what is asked for again within `apart` is one poll at the end of it. Cheap to call often."""
        job = self._jobs.get(key)
        if job is None or job.nudged:
            return
        now = self._clock.monotonic()
        due = job.nudged_at = max(now, job.nudged_at + apart.total_seconds())
        if due <= now and key in self._busy:
            job.asked = True
            return
        job.nudged = True
        if due < job.due:
            self._push(key, job, due)

    def round(self, interval: timedelta) -> Round[K] | None:
        """Of the jobs that are polled this often or more, the one that was longest ago; `None` without any."""
        limit, whole = interval.total_seconds(), True
        oldest: tuple[float, K] | None = None
        for key, job in self._jobs.items():
            if job.interval > limit:
                continue
            whole = whole and job.polled_at is not None
            at = job.planned_at if job.polled_at is None else job.polled_at
            if oldest is None or at < oldest[0]:
                oldest = (at, key)
        return None if oldest is None else Round(key=oldest[1], at=oldest[0], whole=whole)

    def _set(self, key: K, interval: float) -> None:
        job, now = self._jobs.get(key), self._clock.monotonic()
        if job is None:
            job = self._jobs[key] = _Job(interval=interval, due=0.0, planned_at=now)
            self._push(key, job, now + self._share(key) * min(interval, FIRST_WITHIN))
        elif job.interval != interval:
            job.interval = interval
            if now + interval < job.due:
                self._push(key, job, now + interval)

    def _share(self, key: K) -> float:
        """A number from 0 to 1 that belongs to this job and seed."""
        digest = hashlib.blake2s(f"{self._seed}:{key}".encode(), digest_size=4).digest()
        return int.from_bytes(digest) / 2**32

    def _push(self, key: K, job: _Job, due: float) -> None:
        job.due = due
        heapq.heappush(self._heap, (due, next(self._numbers), key))
        self._changed.set()

    async def run(self) -> None:
        """Poll until cancelled; polls under way are cancelled then."""
        try:
            while True:
                self._changed.clear()
                await self._wait(self._start_due())
        finally:
            await self._crew.stop()

    def _start_due(self) -> float | None:
        """Start everything that is due; answers how long to wait for the next, `None` when there is nothing."""
        while self._heap:
            due, _, key = self._heap[0]
            job = self._jobs.get(key)
            if job is None or job.due != due:
                heapq.heappop(self._heap)  # replaced by a later plan
                continue
            now = self._clock.monotonic()
            if due > now:
                return due - now
            heapq.heappop(self._heap)
            self._start(key, job, now)
        return None

    def _start(self, key: K, job: _Job, now: float) -> None:
        phase = 0.1 + 0.9 * self._share(key) if job.first and job.interval > FIRST_WITHIN else 1.0
        job.first = False
        self._push(key, job, max(job.due + job.interval * phase, now))
        nudged, job.nudged = job.nudged, False
        if key in self._busy:
            job.asked = job.asked or nudged
            self.overruns += not nudged
            return
        self._busy.add(key)
        self._crew.start(f"{key}#{next(self._numbers)}", self._run_one(key))

    async def _run_one(self, key: K) -> None:
        beat = None
        try:
            beat = await self._poll(key)
        finally:
            self._busy.discard(key)
            job = self._jobs.get(key)
            if job is not None:
                job.polled_at = self._clock.monotonic()
                self._plan_next(key, job, beat)

    def _plan_next(self, key: K, job: _Job, beat: Beat | None) -> None:
        """After a poll: at once when somebody asked meanwhile, else on the beat nearest to the plan."""
        now = self._clock.monotonic()
        if job.asked:
            job.asked = False
            self._push(key, job, now)
            return
        if beat is None or beat.every > job.interval:
            return
        beats = 0 if beat.again else max(0, round((job.due - now - beat.next_in) / beat.every))
        self._push(key, job, now + beat.next_in + beats * beat.every)

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
