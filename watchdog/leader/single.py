"""One process, always the leader: the store's lock and the host locks of the switches keep others away."""

from __future__ import annotations

import asyncio
import socket

from watchdog.aio.clock import SteadyClock
from watchdog.settings.model import Settings


class SingleSettings(Settings):
    """Nothing to set."""


class SingleLeadership:
    """Leads from `acquire` to `release`."""

    Settings = SingleSettings

    def __init__(self, settings: SingleSettings | None = None, *, clock: SteadyClock | None = None) -> None:
        self._leading = False

    @property
    def is_leader(self) -> bool:
        return self._leading

    @property
    def identity(self) -> str:
        return socket.gethostname()

    @property
    def holder(self) -> str:
        return self.identity if self._leading else ""

    async def acquire(self) -> None:
        self._leading = True

    async def lost(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def release(self) -> None:
        self._leading = False

    async def aclose(self) -> None:
        self._leading = False
