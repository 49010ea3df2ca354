"""The reactor: the single writer. One event at a time: step, commit, then let the effects go.

Nothing is done before it is on disk: when the store fails, the world stays as it was, no effect leaves, and people are
told past the store. This module must never do I/O but the store's, and never decide anything `core.step` could.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from watchdog.aio.clock import Clock
from watchdog.aio.supervise import finish
from watchdog.core.addressing import outgoing
from watchdog.core.audit import AuditRecord, ChainHead, link
from watchdog.core.errors import StoreError
from watchdog.core.events import Asked, Event, Observed, Outcome, Ticked, TrafficSeen, TrafficUnseen
from watchdog.core.step import Stepped, memory, step
from watchdog.core.turn import Turn
from watchdog.core.view import View
from watchdog.core.viewing import view_of
from watchdog.core.world import World
from watchdog.engine.effects import Effects
from watchdog.store.interface import Store

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: What checks remember between transitions is written this often; a crash loses at most so much of it.
FLUSH_INTERVAL = timedelta(seconds=30)
#: The head of the audit chain goes into the journal this often.
JOURNAL_INTERVAL = timedelta(hours=1)


class Reactor:
    """Owns the world. `deliver` is the one door in; `effects` are the doors out."""

    def __init__(
        self, *, store: Store, world: World, head: ChainHead, effects: Effects, clock: Clock
    ) -> None:
        self.world = world
        self.turn_at = clock.now()
        self.ticks = 0
        self.store_error = ""
        self._store = store
        self._head = head
        self._effects = effects
        self._clock = clock
        self._inbox: asyncio.Queue[Event] = asyncio.Queue()
        self._kept: list[Event] = []
        self._dirty: set[str] = set()
        self._flushed_at = clock.monotonic()
        self._journaled_at = clock.monotonic()

    def deliver(self, event: Event) -> None:
        """Put an event into the inbox. Never blocks: polls do not overlap, so it is bounded by the number of checks."""
        self._inbox.put_nowait(event)

    def view(self) -> View:
        """Everything as it is now."""
        return view_of(
            self.world,
            now=self._clock.now(),
            turn_at=self.turn_at,
            store_error=self.store_error,
            audit_head=self._head.hash,
        )

    async def run(self) -> None:
        """Take events until cancelled; a turn that was begun is finished first."""
        self._effects.begin(self.world)
        while True:
            event = await self._inbox.get()
            await finish(self.turn(event))  # committed and known, or neither

    async def settle(self, stepped: Stepped) -> None:
        """Write what a start has to put in order, before the first event. A store that cannot take it is told about."""
        turn, head = self._turn_of(stepped)
        if not turn.empty and await self._commit(turn):
            self._head = head

    async def drain(self) -> None:
        """Take in what is in the inbox now, for a clean stop, and write what checks remember."""
        await self._retry_kept()
        while not self._inbox.empty():
            await self.turn(self._inbox.get_nowait())
        await self._flush()

    async def turn(self, event: Event) -> None:
        """One turn: step, commit, effects. What was kept is taken in first: people mean their requests in order."""
        if isinstance(event, Ticked):
            await self._retry_kept()
            await self._take(event)
            self.ticks += 1
            await self._look_after()
        elif isinstance(event, Outcome | Asked):
            self._kept.append(event)  # what was done or asked must not be forgotten; the rest comes again
            await self._retry_kept()
        else:
            await self._take(event)
        self.turn_at = self._clock.now()

    async def _take(self, event: Event) -> bool:
        """Take one event in; false, and everything is as it was, when it could not be written."""
        stepped = step(self.world, event, self._clock.now())
        turn, head = self._turn_of(stepped)
        if not turn.empty and not await self._commit(turn):
            return False
        self._head = head
        self._dirty.update(_touched(event))
        before, self.world = self.world, stepped.world
        self._effects.release(before, stepped, turn, event)
        return True

    async def _retry_kept(self) -> None:
        while self._kept and await self._take(self._kept[0]):
            del self._kept[0]

    def _turn_of(self, stepped: Stepped) -> tuple[Turn, ChainHead]:
        """Link the audit records and address the messages."""
        head, records = self._head, list[AuditRecord]()
        for draft in stepped.audit:
            record = link(head, draft)
            records.append(record)
            head = ChainHead(seq=record.seq, hash=record.hash)
        turn = Turn(
            services=stepped.services,
            deployments=stepped.deployments,
            incidents=stepped.incidents,
            silences=stepped.silences,
            rollbacks=stepped.rollbacks,
            checks=stepped.checks,
            forgotten=stepped.forgotten,
            outbox=outgoing(stepped.messages, self.world.routes, head=head.hash),
            audit=tuple(records),
            replies=stepped.replies,
        )
        return turn, head

    async def _commit(self, turn: Turn) -> bool:
        try:
            await self._store.commit(turn)
        except StoreError as error:
            self._store_failed(error)
            return False
        if self.store_error:
            _log.info("store_recovered", after=self.store_error)
            self.store_error = ""
            self._effects.store_works()
        return True

    def _store_failed(self, error: StoreError) -> None:
        """Nothing was written, so nothing is done; people hear of it another way, once."""
        if str(error) != self.store_error:
            _log.critical("store_failed", error=str(error), advice=error.advice)
            self.store_error = str(error)
        self._effects.store_failed(error, now=self._clock.now())

    async def _look_after(self) -> None:
        """What is done from time to time. By the monotonic clock: the time of day may be set back."""
        now = self._clock.monotonic()
        if now - self._flushed_at >= FLUSH_INTERVAL.total_seconds() or (self.store_error and self._dirty):
            await self._flush()
        if now - self._journaled_at >= JOURNAL_INTERVAL.total_seconds():
            self._journaled_at = now
            _log.info("audit_head", seq=self._head.seq, hash=self._head.hash)

    async def _flush(self) -> None:
        """Write what checks and deployments remember between transitions."""
        names = [name for name in sorted(self._dirty) if name in self.world.services]
        services = [self.world.services[name] for name in names]
        turn = Turn(
            services=tuple(service.record() for service in services),
            deployments=tuple(
                one
                for service in services
                for one in service.deployments.values()
                if one.soaked_at is not None
            ),
            checks=tuple(record for service in services for record in memory(service)),
        )
        if turn.empty or await self._commit(turn):
            self._dirty.clear()
            self._flushed_at = self._clock.monotonic()


def _touched(event: Event) -> tuple[str, ...]:
    match event:
        case Observed(check=check):
            return (check.service,)
        case TrafficSeen(service=name) | TrafficUnseen(service=name) | Outcome(service=name):
            return (name,)
        case _:
            return ()
