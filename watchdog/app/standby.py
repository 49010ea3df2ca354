"""What a follower shows: the world as the leader last wrote it, read from the store every few seconds.

It says what is stored and nothing more: no switch is read and no source asked. This module must never write, and never
read so often that it costs the store anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec.structs import replace

from watchdog.aio.clock import SteadyClock
from watchdog.app.restoring import restored
from watchdog.app.unwell import Unwell
from watchdog.config.loaded import Configuration
from watchdog.core.errors import StoreError
from watchdog.core.view import View
from watchdog.core.viewing import view_of
from watchdog.store.interface import Store

#: How often the store is read, and for which part of the time at most.
READ_INTERVAL, SHARE = timedelta(seconds=3), 0.05
#: One read of the store.
READ_WITHIN = timedelta(seconds=20)


class Standby:
    """One supervised task; `view` is what it saw last."""

    def __init__(
        self,
        store: Store,
        configuration: Configuration,
        *,
        leads: Callable[[], bool],
        unwell: Unwell,
        clock: SteadyClock,
    ) -> None:
        """Nothing is read while `leads`: then there is somebody who knows better."""
        self._store = store
        self._leads = leads
        self._configuration = configuration
        self._unwell = unwell
        self._clock = clock
        self._view: View | None = None
        self._error = ""

    def follow(self, configuration: Configuration) -> None:
        """Show what is configured now, from the next read on."""
        self._configuration = configuration

    def view(self) -> View | None:
        """The newest view; `None` before the first read."""
        return self._view

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            pause = READ_INTERVAL.total_seconds()
            if not self._leads():
                began = self._clock.monotonic()
                if await self._read():
                    pause = max(pause, (self._clock.monotonic() - began) / SHARE)
            await self._clock.sleep(pause)

    async def _read(self) -> bool:
        """Whether the store answered."""
        now = self._clock.now()
        try:
            async with asyncio.timeout(READ_WITHIN.total_seconds()):
                saved = await self._store.load(now=now)
        except TimeoutError:
            self._failed(StoreError("the store does not answer", advice="see what is wrong with the store"))
        except StoreError as error:
            self._failed(error)
        else:
            self._unwell.works("read")
            world = restored(self._configuration, saved, leader=False, epoch=0)
            self._view = view_of(world, now=now, turn_at=now, audit_head=saved.head.hash)
            return True
        return False

    def _failed(self, error: StoreError) -> None:
        self._unwell.fails("read", error)
        now = self._clock.now()
        base = self._view or bare(now)
        self._view = replace(base, turn_at=now, store_error=str(error))


def bare(now: datetime) -> View:
    """A view of nothing: this process follows, and has seen nothing itself."""
    return View(at=now, turn_at=now, leader=False)
