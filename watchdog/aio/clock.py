"""The clock: the only way to the time of day and to waiting, so that a test can bring its own time.

This module must never be used by the core, which is told `now`.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC. May be set back by the system's administrator. Never raises."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back. Never raises."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long; nothing to wait for when it is not above 0. Safe to cancel."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))
