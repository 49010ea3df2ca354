"""The clocks: the only way to the time of day, to durations and to waiting, so that a test can bring its own time.

Three clocks of the machine, and what each is for:

* The time of day (`now`) dates what people read and what is kept on disk. The machine's own may be set at any
  moment, and everything that was remembered would then be an hour away from what happens next. So `now` is the time
  of day as it was last followed, counted on by boot time: it never jumps by itself. The ticker measures how far the
  machine's has moved away (`stepped`), and the reactor moves `now` and everything that it remembers in one turn
  (`follow`, `watchdog.core.shifting`). What is due in five minutes stays due in five minutes.
* Boot time (`boottime`) counts a time in which the machine slept. For how long something may still be done: an
  intent, what was read a moment ago, and whether this process stood still.
* Monotonic time (`monotonic`) does not, and neither do timeouts and pauses in the loop. For those, and for nothing
  that must end while the machine sleeps.

This module must never be used by the core, which is told `now`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

#: Linux counts sleep in this one; where there is no such clock, sleep is not seen.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
#: Two clocks that are read within so many seconds are read at once. How often that is tried: whoever is stopped
#: between the two would take the pause for a clock that was set.
_AT_ONCE, _TRIES = 0.001, 20


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC. Never raises."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment, without those in which the machine slept; never goes back. Never raises."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long; nothing to wait for when it is not above 0. Safe to cancel."""
        ...


class SteadyClock(Clock, Protocol):
    """A clock whose `now` moves only when it is told to: what the engine goes by."""

    def boottime(self) -> float:
        """Seconds since some fixed moment, with those in which the machine slept; never goes back. Never raises."""
        ...

    def stepped(self) -> timedelta:
        """How far the machine's time of day was set away from `now`; below zero when it was set back. Never raises."""
        ...

    def follow(self, by: timedelta) -> None:
        """Move `now` by so much, at once and for everybody. Never raises."""
        ...


class SystemClock:
    """The machine's clocks. `wall` and `boot` are read instead of them where a test says so, both in seconds."""

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        boot: Callable[[], float] = lambda: time.clock_gettime(_BOOT),
    ) -> None:
        self._wall = wall
        self._boot = boot
        self._ahead = 0.0
        self._ahead = self._measured() or wall() - boot()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._boot() + self._ahead, UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def boottime(self) -> float:
        return self._boot()

    def stepped(self) -> timedelta:
        measured = self._measured()
        return timedelta() if measured is None else timedelta(seconds=measured - self._ahead)

    def follow(self, by: timedelta) -> None:
        self._ahead += by.total_seconds()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))

    def _measured(self) -> float | None:
        """How far the time of day is ahead of boot time, in seconds; `None` when both could not be read at once."""
        for _ in range(_TRIES):
            before = self._boot()
            wall = self._wall()
            after = self._boot()
            if after - before < _AT_ONCE:
                return wall - (before + after) / 2
        return None
