"""Time for tests: a fixed day plus the time of the running loop, so that virtual loops bring virtual days.

This module must never look at the machine's clock.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

#: When virtual time begins, unless a test says otherwise.
BASE = datetime(2026, 1, 1, tzinfo=UTC)


class LoopClock:
    """A clock whose time of day is `base` plus `loop.time()`. To be used inside a running loop.

    `jump` sets the machine's time of day, which `now` follows when it is told to. `suspend` lets the machine sleep:
    boot time and the time of day go on, and nobody runs meanwhile.
    """

    def __init__(self, base: datetime = BASE) -> None:
        self._base = self._first = base
        self._slept = 0.0
        self._behind = timedelta()

    def now(self) -> datetime:
        return self._base + timedelta(seconds=self.boottime())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def boottime(self) -> float:
        return asyncio.get_running_loop().time() + self._slept

    def stepped(self) -> timedelta:
        return self._behind

    def follow(self, by: timedelta) -> None:
        self._base += by
        self._behind -= by

    @property
    def true(self) -> datetime:
        """What a clock says that nobody ever set."""
        return self._first + timedelta(seconds=self.boottime())

    @property
    def wall(self) -> datetime:
        """The machine's time of day."""
        return self.now() + self._behind

    def jump(self, by: timedelta) -> None:
        """Somebody sets the machine's time of day."""
        self._behind += by

    def suspend(self, duration: timedelta) -> None:
        """The machine sleeps, and everything in it."""
        self._slept += duration.total_seconds()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))


class StillClock:
    """Always says the same moment; waiting takes no time. For parts that only stamp what they read."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        """The moment it was given."""
        return self._now

    def monotonic(self) -> float:
        """Seconds of that moment."""
        return self._now.timestamp()

    async def sleep(self, seconds: float) -> None:
        """Nothing to wait for."""
