"""Whether the whole process stood still: stopped by a signal, blocked by one long call, or asleep with the machine.

Meanwhile nobody watched and nobody was told, and the first answers afterwards may be of before. A timer of the loop
leaves a mark every `BEAT` seconds of its own; too long a time between two of them, by boot time, is a standstill.
This module must never take a slow store or a slow source for one: the loop runs on beside those.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from watchdog.aio.clock import SteadyClock

#: Seconds between two marks, and how long (seconds) they may be apart: a busy loop is late, too.
BEAT, STOOD = 1.0, 5.0


class Standstill:
    """`begin` and `end` in the running loop; `noticed` as often as wanted."""

    def __init__(self, clock: SteadyClock) -> None:
        self._clock = clock
        self._marked = 0.0
        self._stood: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Leave the first mark. Again: begin anew."""
        self.end()
        self._marked = self._clock.boottime()
        self._arm()

    def end(self) -> None:
        """Leave no more marks, and notice nothing. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._stood = None

    def noticed(self) -> datetime | None:
        """Since when nobody ran, once for each standstill; `None` when there was none."""
        if self._timer is None:
            return None
        self._look()
        stood, self._stood = self._stood, None
        if stood is None:
            return None
        return self._clock.now() - timedelta(seconds=self._clock.boottime() - stood)

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(BEAT, self._beat)

    def _beat(self) -> None:
        self._look()
        self._marked = self._clock.boottime()
        self._arm()

    def _look(self) -> None:
        """Keep the beginning of a standstill until it is asked for: marks go on meanwhile."""
        now = self._clock.boottime()
        if now - self._marked > BEAT + STOOD:
            self._stood = self._marked if self._stood is None else self._stood
            self._marked = now
