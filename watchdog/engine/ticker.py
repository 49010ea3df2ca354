"""The tick: once a second the reactor learns what only looking can tell, and time itself.

A tick is not sent while the one before it waits. It carries how far the machine's clock was set, when that is more than
a correction; smaller ones are followed here at once. This module must never decide what a tick means.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from watchdog.aio.clock import SteadyClock
from watchdog.core.errors import StoreError
from watchdog.core.events import Ticked
from watchdog.core.shifting import NOTICED
from watchdog.leader.interface import Leadership
from watchdog.store.interface import Reader
from watchdog.telemetry.metrics import Metrics

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds between ticks.
TICK = 1.0
#: Clocks that are this near to each other are the same.
JITTER = timedelta(milliseconds=100)
#: The outbox is counted every so many ticks.
COUNT_EVERY = 10


class Ticker:
    """Delivers ticks, measures the loop's lag, counts the outbox. `taken` says how many ticks were taken in so far."""

    def __init__(  # noqa: PLR0913 - what only looking can tell comes from many sides
        self,
        *,
        paused: Callable[[], Awaitable[str]],
        leadership: Leadership,
        epoch: int,
        deliver: Callable[[Ticked], None],
        taken: Callable[[], int],
        store: Reader,
        metrics: Metrics,
        clock: SteadyClock,
    ) -> None:
        self._paused = paused
        self._leadership = leadership
        self._epoch = epoch
        self._deliver = deliver
        self._taken = taken
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._was_paused = ""

    async def run(self) -> None:
        """Tick until cancelled."""
        count, delivered = 0, 0
        while True:
            if self._taken() >= delivered:
                await self._tick()
                delivered += 1
            began = self._clock.monotonic()
            await self._clock.sleep(TICK)
            self._metrics.set_loop_lag(max(0.0, self._clock.monotonic() - began - TICK))
            count += 1
            if count % COUNT_EVERY == 0:
                await self._count_outbox()

    async def _tick(self) -> None:
        paused = await self._paused()
        if paused != self._was_paused:
            _log.warning("paused_by_file" if paused else "pause_file_gone", detail=paused)
            self._was_paused = paused
        self._deliver(
            Ticked(
                paused_by_file=paused,
                leader=self._leadership.is_leader,
                epoch=self._epoch,
                stepped=self._stepped(),
            )
        )

    def _stepped(self) -> timedelta:
        """How far the machine's clock was set, when all that is remembered must be moved with it."""
        by = self._clock.stepped()
        if abs(by) > NOTICED:
            return by
        if abs(by) > JITTER:
            self._clock.follow(by)
        return timedelta()

    async def _count_outbox(self) -> None:
        try:
            standing = await self._store.outbox_standing()
        except StoreError:
            return  # the reactor tells about a broken store
        age = timedelta()
        if standing.oldest is not None:
            age = max(self._clock.now() - standing.oldest.message.created_at, age)
        self._metrics.set_outbox(
            sum(standing.pending.values()), dead=sum(standing.dead.values()), oldest=age.total_seconds()
        )
