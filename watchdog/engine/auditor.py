"""Looks every few seconds whether anything is late, and says so: in the log, in a metric, to whoever asks.

The heartbeat is withheld for what it finds. This module must never mend anything, tell people through the outbox that
may be what is broken, or wait for a store longer than a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from msgspec.structs import replace

from watchdog.aio.clock import Clock
from watchdog.core import roster
from watchdog.core.checks import Poll
from watchdog.core.errors import StoreError
from watchdog.core.incident import IncidentState
from watchdog.core.lateness import HEARD_AFTER, TRIED_AFTER, Late, Looked, What, late, unseen
from watchdog.core.message import Message, MessageKind, Outgoing, OutgoingState
from watchdog.core.world import World
from watchdog.engine.scheduler import Round
from watchdog.store.interface import Page, Standing
from watchdog.telemetry.metrics import Metrics

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds between two looks.
LOOK = 5.0
#: For one question to the store.
STORE_LIMIT = timedelta(seconds=10)
#: Messages that are looked through for one that nobody took.
_LOOKED_THROUGH = 200


class Ledger(Protocol):
    """What is asked of `watchdog.store.interface.Store`; the promises are the same."""

    async def outbox_standing(self) -> Standing:
        """What has waited for longest."""
        ...

    async def outbox(
        self,
        *,
        state: OutgoingState | None = None,
        channel: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Outgoing]:
        """Messages of a state."""
        ...

    async def outgoing(self, key: str) -> Outgoing | None:
        """One message by its key."""
        ...


class Engine(Protocol):
    """What is looked at of `watchdog.engine.reactor.Reactor`."""

    world: World
    turn_at: datetime
    store_error: str


class Auditor:
    """`found` is what the newest look found."""

    def __init__(
        self,
        *,
        engine: Engine,
        store: Ledger,
        polled: Callable[[timedelta], Round[Poll] | None],
        critical: Callable[[], timedelta],
        channels: Callable[[], Iterable[str]],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """`polled` is `Scheduler.round` of the checks; `channels` are the names of those in use."""
        self._engine = engine
        self._store = store
        self._polled = polled
        self._critical = critical
        self._channels = channels
        self._metrics = metrics
        self._clock = clock
        self._late: tuple[Late, ...] = ()
        self._looked_at = clock.now()

    def found(self) -> tuple[Late, ...]:
        """What is late, and that nobody looked where that is so."""
        blind = unseen(self._looked_at, self._clock.now())
        return self._late if blind is None else (*self._late, blind)

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await self._clock.sleep(LOOK)
                await self.look()
        finally:
            self._publish(())  # whoever leads next looks for itself

    async def look(self) -> None:
        """Look once. Never raises for a store that does not answer: that is late, too."""
        trouble, overdue, unheard = "", None, None
        try:
            async with asyncio.timeout(STORE_LIMIT.total_seconds()):
                standing = await self._store.outbox_standing()
                overdue = await self._untried(standing)
                unheard = await self._unheard(standing)
        except TimeoutError:
            trouble = "no answer in time"
        except StoreError as error:
            trouble = str(error) or type(error).__name__
        looked = Looked(
            turn_at=self._engine.turn_at,
            store_error=self._engine.store_error or trouble,
            overdue=overdue,
            unheard=unheard,
            unpolled=self._unpolled(),
            critical=self._critical(),
        )
        now = self._clock.now()
        self._take(late(self._engine.world, looked, now))
        self._looked_at = now

    async def _untried(self, standing: Standing) -> Outgoing | None:
        """What has waited longest to be tried at all.

        Not where its channel is being tried with something else, or wants to be left alone for a while: then it is the
        channel that is late, and people are told so.
        """
        oldest, now = standing.overdue, self._clock.now()
        if oldest is None or oldest.attempts or now - oldest.due_at <= TRIED_AFTER:
            return None
        rows = [row for row in (oldest, standing.oldest, standing.needed) if row is not None]
        rows += await self._pending()
        tried = {row.channel for row in rows if row.attempts}
        untried = [row for row in rows if not row.attempts and row.channel not in tried]
        return min(untried, key=lambda row: row.due_at, default=None)

    async def _unheard(self, standing: Standing) -> Message | None:
        """The oldest message that needs somebody, waits for some channel and was taken by none; else what is lost."""
        until = self._clock.now() - HEARD_AFTER
        lost = await self._lost(until) if standing.dead else None
        if lost is not None or standing.needed is None or standing.needed.message.created_at > until:
            return lost
        waiting = (standing.needed, *(await self._pending()))
        candidates = {
            row.message.key: row.message
            for row in waiting
            if row.message.needs_human and row.message.created_at <= until
        }
        for message in sorted(candidates.values(), key=lambda one: one.created_at):
            if not await self._taken(message):
                return message
        return None

    async def _lost(self, until: datetime) -> Message | None:
        """What every channel gave up of an incident that nobody took, while nothing of it arrives anywhere else."""
        untaken = {one.id for one in roster.everyone(self._engine.world) if one.state is IncidentState.OPEN}
        dead = await self._store.outbox(state=OutgoingState.DEAD, limit=_LOOKED_THROUGH) if untaken else None
        lost = [
            row
            for row in (dead.items if dead is not None else ())
            if row.message.needs_human and row.message.incident in untaken and row.message.created_at <= until
        ]
        if not lost:
            return None
        sent = (await self._store.outbox(state=OutgoingState.SENT, limit=_LOOKED_THROUGH)).items
        for row in reversed(lost):
            instead = replace(row.message, key=f"{MessageKind.CHANNEL_FAILED}:{row.key}")
            if any(_tells_of(one.message, row) for one in sent):
                continue
            if not await self._taken(row.message) and not await self._taken(instead):
                return row.message
        return None

    async def _pending(self) -> tuple[Outgoing, ...]:
        return (await self._store.outbox(state=OutgoingState.PENDING, limit=_LOOKED_THROUGH)).items

    async def _taken(self, message: Message) -> bool:
        """Whether any channel took it."""
        for channel in self._channels():
            row = await self._store.outgoing(f"{message.key}@{channel}")
            if row is not None and row.state is OutgoingState.SENT:
                return True
        return False

    def _unpolled(self) -> tuple[str, datetime] | None:
        oldest = self._polled(self._critical())
        if oldest is None:
            return None
        ago = timedelta(seconds=self._clock.monotonic() - oldest.at)
        return str(oldest.key), self._clock.now() - ago

    def _take(self, found: tuple[Late, ...]) -> None:
        known = {one.what for one in self._late}
        for one in found:
            if one.what not in known:
                _log.error("late", what=one.what.value, since=one.since, detail=one.detail)
        for what in sorted(known - {one.what for one in found}):
            _log.info("late_no_more", what=what.value)
        self._publish(found)

    def _publish(self, found: tuple[Late, ...]) -> None:
        self._late = found
        self._metrics.set_late({what.value: any(one.what is what for one in found) for what in What})


def _tells_of(message: Message, lost: Outgoing) -> bool:
    """Whether who got a message knows of what was lost: it is later news of the incident, or says what failed."""
    if message.created_at < lost.message.created_at:
        return False
    failed = message.kind is MessageKind.CHANNEL_FAILED and message.labels.get("channel") == lost.channel
    return message.needs_human and (failed or message.incident == lost.message.incident)
