"""The reactor: the single writer. Step, commit, then let the effects go.

Events are taken in one at a time and in order. What was only seen (observations, reads of switches) is written
together while more of it waits: up to `BATCH` events or `BATCH_FOR` seconds, and never beyond a step that writes an
intent, so that a decision waits for nobody. Nothing is done before it is on disk: when the store fails, the world
stays as it was, no effect leaves, and people are told past the store. This module must never do I/O but the store's,
and never decide anything `core.step` could.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

import msgspec
import structlog

from watchdog.aio.clock import SteadyClock
from watchdog.aio.supervise import finish
from watchdog.core.addressing import outgoing
from watchdog.core.audit import AuditRecord, ChainHead, link
from watchdog.core.errors import StoreError
from watchdog.core.events import (
    Asked,
    ChannelDead,
    Event,
    Observed,
    Outcome,
    Resumed,
    Stood,
    Ticked,
    TrafficSeen,
    TrafficUnseen,
    service_of,
)
from watchdog.core.gathering import gather
from watchdog.core.reconfigure import Change, reconfigure
from watchdog.core.rollback import RollbackState
from watchdog.core.roster import concerned
from watchdog.core.shifting import described, shifted
from watchdog.core.step import Stepped, memory, step
from watchdog.core.turn import Turn, together
from watchdog.core.view import View
from watchdog.core.viewing import view_of
from watchdog.core.world import World
from watchdog.engine.effects import Effects
from watchdog.engine.standstill import Standstill
from watchdog.store.interface import Store

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: What checks remember between transitions is written this often; a crash loses at most so much of it.
FLUSH_INTERVAL = timedelta(seconds=30)
#: So many services at least are written in one transaction then, and all of them over at most so many ticks.
FLUSH_AT_ONCE, FLUSH_TICKS = 50, 20
#: Most events of one transaction, and for how long (seconds) events are added to it.
BATCH, BATCH_FOR = 100, 0.04
#: The head of the audit chain goes into the journal this often.
JOURNAL_INTERVAL = timedelta(hours=1)


#: Events that only say what was seen.
_SEEN = (Observed, TrafficSeen, TrafficUnseen)
#: What was done, what was asked, and what people did not hear: said once.
_KEPT = (Outcome, Asked, Resumed, ChannelDead)


class _Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn came to: the events that were taken in, the world after them, and what must be written first."""

    events: tuple[Event | Change, ...]
    world: World
    turn: Turn
    head: ChainHead
    looks: tuple[str, ...]


class Reactor:
    """Owns the world. `deliver` is the one door in; `effects` are the doors out."""

    def __init__(
        self,
        *,
        store: Store,
        world: World,
        head: ChainHead,
        effects: Effects,
        clock: SteadyClock,
        on_change: Callable[[Change, World | None], None] = lambda _change, _before: None,
    ) -> None:
        """`on_change` hears of a change of the configuration in the very turn in which the world follows it.

        It is given the world before, or `None` when the change could not be written and everything is as it was.
        """
        self.world = world
        self.turn_at = clock.now()
        self.ticks = 0
        self.store_error = ""
        self._store = store
        self._head = head
        self._effects = effects
        self._clock = clock
        self._standstill = Standstill(clock)
        self._on_change = on_change
        self._inbox: deque[Event | Change] = deque()
        self._arrived = asyncio.Event()
        self._kept: list[Event] = []
        self._dirty: set[str] = set()
        self._to_flush: list[str] = []
        self._flushed_at = clock.monotonic()
        self._journaled_at = clock.monotonic()

    def deliver(self, event: Event | Change) -> None:
        """Put an event into the inbox. Never blocks: polls do not overlap, so it is bounded by the number of checks."""
        self._inbox.append(event)
        self._arrived.set()

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
        self._standstill.begin()
        try:
            while True:
                while not self._inbox:
                    self._arrived.clear()
                    await self._arrived.wait()
                await finish(self.turn(self._inbox.popleft()))  # committed and known, or neither
        finally:
            self._standstill.end()

    async def settle(self, stepped: Stepped) -> bool:
        """Write what a start has to put in order, before the first event. A store that cannot take it is told about.

        Answers whether the store has it; true when there is nothing to write.
        """
        turn, head, _world = self._turn_of(stepped, self._head)
        if turn.empty:
            return True
        if not await self._commit(turn):
            return False
        self._head = head
        return True

    async def drain(self) -> None:
        """Take in what is in the inbox now, for a clean stop, and write what checks remember."""
        await self._retry_kept()
        while self._inbox:
            await self.turn(self._inbox.popleft())
        self._to_flush = sorted(self._dirty)
        while self._to_flush and await self._flush():
            pass

    async def turn(self, event: Event | Change) -> None:
        """One turn: step, commit, effects. What was kept is taken in first: people mean their requests in order.

        What was only seen is taken in together with what was seen next and waits in the inbox. That nobody ran for a
        while is taken in before anything that came of it.
        """
        if (since := self._standstill.noticed()) is not None:
            _log.warning("stood_still", since=since, for_seconds=(self._clock.now() - since).total_seconds())
            await self._take((Stood(since=since),))
        if isinstance(event, Ticked):
            await self._retry_kept()
            await self._take((event,))
            self.ticks += 1
            await self._look_after()
        elif isinstance(event, _KEPT):
            self._kept.append(event)  # must not be forgotten; the rest comes again
            await self._retry_kept()
        elif isinstance(event, _SEEN):
            await self._take(self._waiting(event))
        elif isinstance(event, Change):
            before = self.world
            taken = await self._take((event,))
            self._on_change(event, before if taken else None)
        else:
            await self._take((event,))
        self.turn_at = self._clock.now()

    def _follow(self, by: timedelta) -> None:
        """The world was moved to another time of day: with it goes the clock, and what waits here and is dated."""
        self._clock.follow(by)
        self._inbox = deque(shifted(one, by) for one in self._inbox)
        self._kept = [shifted(one, by) for one in self._kept]
        _log.warning("clock_set", how=described(by), stepped_seconds=by.total_seconds())

    def _waiting(self, first: Event) -> Iterator[Event | Change]:
        """The event, and those behind it in the inbox that were only seen, while there is time for them."""
        until = self._clock.monotonic() + BATCH_FOR
        yield first
        for _ in range(BATCH - 1):
            if not self._inbox or not isinstance(self._inbox[0], _SEEN) or self._clock.monotonic() >= until:
                return
            yield self._inbox.popleft()

    async def _take(self, events: Iterable[Event | Change]) -> bool:
        """Take events in as one transaction; false when it could not be written.

        Then everything is as it was, but for the events of several that need nothing written.
        """
        batch = self._stepped(events)
        if not batch.turn.empty and not await self._commit(batch.turn):
            if len(batch.events) > 1:
                self._settle(self._stepped(batch.events, writing=False))
            return False
        self._settle(batch)
        return True

    def _stepped(self, events: Iterable[Event | Change], *, writing: bool = True) -> _Batch:
        """Step through events; one that intends a rollback is the last. Not `writing`: skip what must be written."""
        world, head = self.world, self._head
        taken, turns, looks = list[Event | Change](), list[Turn](), dict[str, None]()
        for event in events:
            now = self._clock.now()
            stepped = reconfigure(world, event, now) if isinstance(event, Change) else step(world, event, now)
            turn, end, after = self._turn_of(stepped, head)
            if not writing and not turn.empty:
                continue
            world, head = after, end
            taken.append(event)
            looks.update(dict.fromkeys(stepped.looks))
            if not turn.empty:
                turns.append(turn)
            if writing and any(one.state is RollbackState.INTENDED for one in turn.rollbacks):
                break
        return _Batch(events=tuple(taken), world=world, turn=together(turns), head=head, looks=tuple(looks))

    def _settle(self, batch: _Batch) -> None:
        """What was written is known, and may have its effects."""
        for event in batch.events:
            if isinstance(event, Ticked) and event.stepped:
                self._follow(event.stepped)
        self._head = batch.head
        self._dirty.update(name for event in batch.events if (name := service_of(event)))
        before, self.world = self.world, batch.world
        self._effects.release(before, batch.world, batch.turn, events=batch.events, looks=batch.looks)

    async def _retry_kept(self) -> None:
        while self._kept and await self._take((self._kept[0],)):
            del self._kept[0]

    def _turn_of(self, stepped: Stepped, head: ChainHead) -> tuple[Turn, ChainHead, World]:
        """Link the audit records to the chain's `head`, and address the messages; the world knows what waits then."""
        records = list[AuditRecord]()
        for draft in stepped.audit:
            record = link(head, draft)
            records.append(record)
            head = ChainHead(seq=record.seq, hash=record.hash)
        rows = outgoing(
            stepped.messages,
            stepped.world.routes,
            head=head.hash,
            incidents=concerned(stepped.world, stepped.messages, stepped.incidents),
        )
        outbox, world = gather(rows, stepped.world, self._clock.now())
        turn = Turn(
            services=stepped.services,
            deployments=stepped.deployments,
            incidents=stepped.incidents,
            silences=stepped.silences,
            rollbacks=stepped.rollbacks,
            checks=stepped.checks,
            forgotten=stepped.forgotten,
            outbox=outbox,
            resent=stepped.resent,
            audit=tuple(records),
            replies=stepped.replies,
        )
        return turn, head, world

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
        due = now - self._flushed_at >= FLUSH_INTERVAL.total_seconds()
        if not self._to_flush and (due or self.store_error):
            self._to_flush = sorted(self._dirty)
            self._flushed_at = now
        if self._to_flush:
            await self._flush()
        if now - self._journaled_at >= JOURNAL_INTERVAL.total_seconds():
            self._journaled_at = now
            _log.info("audit_head", seq=self._head.seq, hash=self._head.hash)

    async def _flush(self) -> bool:
        """Write what checks and deployments remember between transitions, some services at a time.

        What is left is written by the next ticks: whoever decides meanwhile does not wait for all of it.
        """
        count = max(FLUSH_AT_ONCE, math.ceil(len(self._dirty) / FLUSH_TICKS))
        names = self._to_flush[:count]
        services = [self.world.services[name] for name in names if name in self.world.services]
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
        if not turn.empty and not await self._commit(turn):
            return False
        self._dirty.difference_update(names)
        del self._to_flush[:count]
        return True
