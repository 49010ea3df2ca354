"""The lead as this process may believe in it: for how long, since when, and under which name.

Everything is counted from the moment before the question left whose answer renewed the lead, by boot time: then this
process stops believing in it before anybody else may take it, however late the answer came and however long the machine
slept. This module must never ask anybody.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field

from watchdog.aio.clock import SteadyClock
from watchdog.settings.model import PositiveDuration, ProviderSettings


class SharedSettings(ProviderSettings):
    """What every kind takes that several processes share."""

    lease: PositiveDuration = timedelta(seconds=15)
    """So long nobody else takes the lead of a leader that is not heard of."""
    renew: PositiveDuration = timedelta(seconds=10)
    """A leader that could not renew for so long stops acting. Shorter than `lease`: the rest is a margin."""
    retry: PositiveDuration = timedelta(seconds=2)
    """Between two tries to renew, or to take the lead. Shorter than `renew`."""
    identity: str | None = Field(default=None, min_length=1, max_length=40, pattern=r"^[A-Za-z0-9._-]+$")
    """What others see of this process; left out, the name of its pod or host. A random part is added."""


def identity_of(settings: SharedSettings, environment: Mapping[str, str] | None = None) -> str:
    """A name that no other process has, not even the one before it in the same place."""
    found = os.environ if environment is None else environment
    name = settings.identity or found.get("POD_NAME") or found.get("HOSTNAME") or socket.gethostname()
    return f"{name[:52]}_{secrets.token_hex(4)}"


class Hold:
    """Whether this process holds the lead. `renewed` may be repeated; what is over stays over until `begin`."""

    def __init__(self, settings: SharedSettings, *, clock: SteadyClock) -> None:
        self._for = settings.renew.total_seconds()
        self._clock = clock
        self._renewed_at: float | None = None
        self._over = asyncio.Event()

    @property
    def sure(self) -> bool:
        """Whether it certainly holds at this moment. Never blocks."""
        return self.left() > 0.0

    def left(self) -> float:
        """For how many more seconds; 0 when it is over. On any thread; who waits for the end is told by `end` alone."""
        renewed_at = self._renewed_at
        if renewed_at is None:
            return 0.0
        left = renewed_at + self._for - self._clock.boottime()
        if left > 0.0:
            return left
        self._renewed_at = None
        return 0.0

    def begin(self, asked_at: float) -> bool:
        """The lead was taken by a question that left at `asked_at` (boot time); false when that is too long ago."""
        self._over.clear()
        self._renewed_at = asked_at
        return self.sure

    def renewed(self, asked_at: float) -> None:
        """The lead was renewed by a question that left then; nothing when it was over by the time of the answer."""
        if self.sure:
            self._renewed_at = asked_at

    def end(self) -> None:
        """It is over. Idempotent."""
        self._renewed_at = None
        self._over.set()

    async def ended(self) -> None:
        """Return when it is over. Safe to cancel."""
        await self._over.wait()
