"""Forgets what nobody needs any more: messages that were sent or given up, and requests that were answered.

A little at a time, with pauses, so that nothing that is decided waits for it. This module must never touch what is
open: the store keeps that, whatever it is asked.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from watchdog.aio.clock import Clock
from watchdog.core.errors import StoreError
from watchdog.store.interface import Store

#: So long a message is kept after it was sent or given up, and a request after it was made.
KEPT_FOR = timedelta(days=30)
#: Seconds between two rounds, and before the first.
ROUND = 3600.0
#: So many records in one transaction, and seconds between two of them.
BATCH, PAUSE = 200, 1.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Retention:
    """One task of a term."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Once an hour, until cancelled."""
        while True:
            await self._clock.sleep(ROUND)
            await self.forget()

    async def forget(self) -> None:
        """One round. A store that does not work is told by others, and asked again in the next round."""
        forgotten = 0
        try:
            while count := await self._store.prune(before=self._clock.now() - KEPT_FOR, limit=BATCH):
                forgotten += count
                if count < BATCH:
                    break
                await self._clock.sleep(PAUSE)
        except StoreError:
            return
        finally:
            if forgotten:
                _log.info("forgotten", records=forgotten)
