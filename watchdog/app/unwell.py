"""A follower whose store does not answer: told to people once it has lasted, because perhaps nobody leads either.

While a term runs its reactor tells of a broken store; without one this is all there is. This module must never wait for
the store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from watchdog.aio.clock import SteadyClock
from watchdog.aio.crew import Crew
from watchdog.core.errors import StoreError

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A failover of the database takes less; and as often it is told again.
TELL_AFTER, TELL_AGAIN_AFTER = timedelta(seconds=60), timedelta(minutes=10)


class Unwell:
    """What is tried by this process and fails, by name."""

    def __init__(self, tell: Callable[[StoreError], Awaitable[object]], *, clock: SteadyClock) -> None:
        """`tell` reaches people without the store."""
        self._tell = tell
        self._clock = clock
        self._since: dict[str, float] = {}
        self._told_at: float | None = None
        self._crew = Crew("unwell")

    def fails(self, what: str, error: StoreError) -> None:
        """It failed (again). Never blocks."""
        now = self._clock.boottime()
        if what not in self._since:
            _log.error("store_failed", what=what, error=str(error), advice=error.advice)
        since = self._since.setdefault(what, now)
        told = self._told_at is not None and now - self._told_at < TELL_AGAIN_AFTER.total_seconds()
        if now - since >= TELL_AFTER.total_seconds() and not told and not self._crew.busy(what):
            self._told_at = now
            self._crew.start(what, self._say(error))

    def works(self, what: str) -> None:
        """It works. Never blocks."""
        if self._since.pop(what, None) is not None:
            _log.info("store_recovered", what=what)
            self._told_at = self._told_at if self._since else None

    async def _say(self, error: StoreError) -> None:
        await self._tell(error)

    async def aclose(self) -> None:
        """End what is being said."""
        await self._crew.stop()
