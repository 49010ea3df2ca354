"""One time in which this process leads: the engine, from the store's claim to a clean end or the loss of the lead.

A term is built while this process still follows, and opens nothing before `begin`. It ends in one of two ways: with
`finish` everything that is under way is finished, written and sent; with `drop` nothing more is, because it belongs to
whoever leads next. A term is never begun twice. This module must never decide anything.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from msgspec.structs import replace

from watchdog.aio.clock import SteadyClock
from watchdog.aio.supervise import Supervisor, TaskEnded
from watchdog.api.auth import Guard
from watchdog.app.build import references
from watchdog.app.changeover import Changeover, Engine, look_interval
from watchdog.app.parts import Parts
from watchdog.app.people import People
from watchdog.app.restoring import left_behind, restored
from watchdog.config.loaded import Configuration
from watchdog.core.audit import AuditDraft
from watchdog.core.checks import Poll
from watchdog.core.errors import StoreAhead, StoreError, StoreLocked, WatchdogError
from watchdog.core.events import Asked, Event
from watchdog.core.facts import facts_before_write
from watchdog.core.guards import GuardFacts
from watchdog.core.reconfigure import Change, busy
from watchdog.core.relocating import started as under_other_switches
from watchdog.core.request import Request
from watchdog.core.rollback import Rollback
from watchdog.core.shifting import caught_up
from watchdog.core.step import Stepped
from watchdog.core.traffic import TrafficState
from watchdog.core.view import View
from watchdog.core.world import World
from watchdog.engine.announcing import Announcing
from watchdog.engine.collector import Collector
from watchdog.engine.effects import Effects
from watchdog.engine.executor import Executor
from watchdog.engine.pause import PauseFile
from watchdog.engine.reactor import Reactor
from watchdog.engine.references import SelfCheck
from watchdog.engine.resuming import Resuming
from watchdog.engine.rhythm import Beat
from watchdog.engine.scheduler import Scheduler
from watchdog.engine.ticker import Ticker
from watchdog.engine.watcher import Watcher
from watchdog.leader.interface import Leadership
from watchdog.store.interface import Saved, Store
from watchdog.telemetry.metrics import Metrics

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
T = TypeVar("T")

#: A clean stop waits so long for a switch under way, and for what runs beside it.
FINISH_WITHIN, STOP_WITHIN = timedelta(seconds=10), timedelta(seconds=10)
_ADVICE = "see what is wrong with the store"
#: So long a lost term may take to fall silent: what waits for a store that does not answer ends by that one's timeouts.
DROP_WITHIN = timedelta(seconds=60)


class Term:
    """`begin` once, then `wait`; then `finish` or `drop`, and always `aclose`."""

    def __init__(  # noqa: PLR0913 - what outlives a term, all of it by name
        self,
        configuration: Configuration,
        *,
        began: Configuration,
        store: Store,
        leadership: Leadership,
        metrics: Metrics,
        pause: PauseFile,
        guard: Callable[[], Guard | None],
        clock: SteadyClock,
        seed: int,
    ) -> None:
        """`began` is what the process was started with. Builds every provider: raises `WatchdogError`."""
        self._configuration = configuration
        self._began = began
        self._store = store
        self._leadership = leadership
        self._metrics = metrics
        self._pause = pause
        self._guard = guard
        self._clock = clock
        self._epoch = 0
        self._closing = AsyncExitStack()
        self._supervisor = Supervisor()
        self._beginning = False
        self._early: dict[str, Request] = {}
        self.parts = Parts(configuration, clock=clock)
        self._people = People(
            configuration,
            self,
            store=store,
            leadership=leadership,
            metrics=metrics,
            clock=clock,
            seed=seed,
        )
        self._announcing = Announcing(switches=self.parts.switches, clock=clock)
        self._checks = Scheduler("poll", self._poll, clock=clock, seed=seed)
        self._traffic = Scheduler("look", self._look, clock=clock, seed=seed)
        self._reactor: Reactor | None = None
        self._collector: Collector | None = None
        self._watcher: Watcher | None = None
        self._executor: Executor | None = None
        self._changeover: Changeover | None = None

    @property
    def leading(self) -> bool:
        """Whether it was begun, whatever became of it."""
        return self._changeover is not None

    @property
    def running(self) -> tuple[str, ...]:
        """Names of the engine's tasks."""
        return self._supervisor.running

    @property
    def configuration(self) -> Configuration:
        """What is in force."""
        return self._changeover.configuration if self._changeover else self._configuration

    @property
    def changeover(self) -> Changeover:
        """Takes changed configurations in. After `begin` only."""
        if self._changeover is None:
            raise RuntimeError("the daemon was not started")
        return self._changeover

    def view(self) -> View | None:
        """The newest view; `None` before the engine is there."""
        return self._people.seen(self._reactor.view()) if self._reactor else None

    def turn_at(self) -> datetime | None:
        """The reactor's last progress; `None` before there is one."""
        return self._reactor.turn_at if self._reactor else None

    async def begin(self, *, anew: str = "") -> None:
        """Lock, claim, load, restore, go. Raises `WatchdogError`; to be followed by `aclose` then.

        `anew`: who leads now, to be recorded; empty where there is never another. Only then people are told of a broken
        store: of several processes it may be this one's alone.
        """
        self._beginning = True
        self.parts.lock()
        now = self._clock.now
        taking = self._take_over()
        saved = await (taking if anew else self.or_tell(taking))
        world = restored(self._configuration, saved, leader=self._leadership.is_leader, epoch=self._epoch)
        if (set_back := caught_up(world, now())) is not None:
            world = set_back["world"]
        elsewhere = under_other_switches(world, self.parts.switch_places(), now())
        self._reactor = self._wire(saved, elsewhere.world)
        if anew:
            await self._record_lead(self._reactor, anew)
        if set_back is not None:
            _log.warning("clock_set", how="back, while the watchdog did not run")
            await self._reactor.settle(Stepped(**set_back))
        await self._relocate(self._reactor, elsewhere)
        await self._reactor.settle(left_behind(self._configuration, self._reactor.world, saved, now=now()))
        for request in ({one.id: one for one in saved.requests} | self._early).values():
            self.deliver(Asked(request=request))
        self._early = {}
        self._start_tasks(self._reactor)

    async def _take_over(self) -> Saved:
        if not self._leadership.is_leader:  # frozen since: it would take the store from whoever leads by now
            raise WatchdogError("the lead was lost before the store was claimed")
        self._epoch = await self._store.claim(now=self._clock.now())
        return await self._store.load(now=self._clock.now())

    def asked(self, request: Request) -> None:
        """A request was stored. While the engine is made it is kept: `load` has missed it. Before, `load` finds it."""
        if self._changeover is not None:
            self.deliver(Asked(request=request))
        elif self._beginning:
            self._early[request.id] = request

    def deliver(self, event: Event) -> None:
        """Into the reactor's inbox, when there is one."""
        if self._reactor is not None:
            self._reactor.deliver(event)

    async def or_tell(self, call: Coroutine[Any, Any, T]) -> T:
        """Ask the store. A broken one is told to people past itself; one that is in use is only an error."""
        try:
            return await call
        except StoreLocked:
            raise
        except StoreError as error:
            await self.tell_store_failed(error)
            raise

    async def tell_store_failed(self, error: StoreError) -> None:
        """Tell people past the store that it cannot be used."""
        await self._people.tell_store_failed(error)

    async def wait(self) -> None:
        """Until a part ends that the engine cannot do without (`TaskEnded`)."""
        await self._supervisor.wait()

    def halt(self) -> None:
        """Begin no write and no poll any more. Idempotent, at once."""
        if self._executor is not None:
            self._executor.halt()  # what is decided from here on, even while draining, must not be begun and cut off

    async def finish(self) -> None:
        """A clean end: what is under way is finished, everything is written, what is due is sent."""
        self.halt()
        self._checks.halt()
        self._traffic.halt()
        if self._executor is not None:
            left = await self._executor.crew.finish(FINISH_WITHIN)
            if left:
                _log.warning("intents_left_for_the_next_start", rollbacks=left)
        await self._supervisor.stop(STOP_WITHIN)
        if self._reactor is not None and self._changeover is not None:
            await self._reactor.drain()
            await self._people.flush()

    async def drop(self) -> None:
        """The lead is lost: everything ends where it is. Raises `TaskEnded` when a part does not: it could go on later.

        What was written and not recorded is found by the next leader, as after a crash.
        """
        self.halt()
        self._checks.halt()
        self._traffic.halt()
        await self._closing.aclose()  # what writes, first
        stuck = await self._supervisor.stop(DROP_WITHIN)
        if self._changeover is not None:
            self._changeover.abandon()
        self._metrics.set_outbox(0)  # whoever leads counts it
        if stuck:
            raise TaskEnded(stuck[0])

    async def aclose(self) -> None:
        """Close every provider and end what is left. Idempotent."""
        await self._supervisor.stop(STOP_WITHIN)
        await self._closing.aclose()
        await self.parts.aclose()

    async def _record_lead(self, reactor: Reactor, leader: str) -> None:
        """Who leads, in the record. Raises `StoreError`: who cannot write must not lead."""
        note = AuditDraft(
            at=self._clock.now(),
            kind="leader_changed",
            subject="",
            body={"leader": leader, "epoch": self._epoch},
        )
        if not await reactor.settle(Stepped(world=reactor.world, audit=(note,))):
            raise StoreError("the change of the leader cannot be recorded", advice=_ADVICE)
        _log.info("leader_changed", leader=leader, epoch=self._epoch)

    async def _relocate(self, reactor: Reactor, elsewhere: Stepped) -> None:
        """Record what other switches than before come to. Raises `StoreError`: a later start would believe the old."""
        if elsewhere.audit:
            changed = [note.subject for note in elsewhere.audit if note.kind == "switch_changed"]
            _log.warning("switch_changed", services=changed, how="while the watchdog did not run")
        if not await reactor.settle(elsewhere) and elsewhere.audit:
            raise StoreError("the changed traffic switch cannot be recorded", advice=_ADVICE)

    def _wire(self, saved: Saved, world: World) -> Reactor:
        self._executor = Executor(
            switches=self.parts.switches,
            facts=self._facts,
            paused=self._pause.look,
            epoch=self._epoch,
            deliver=self.deliver,
            clock=self._clock,
        )
        self._closing.push_async_callback(self._executor.crew.stop)
        resuming = Resuming(switches=self.parts.switches, deliver=self.deliver, clock=self._clock)
        self._closing.push_async_callback(resuming.crew.stop)
        effects = Effects(
            executor=self._executor,
            checks=self._checks,
            traffic=self._traffic,
            dispatcher=self._people.dispatcher,
            metrics=self._metrics,
            clock=self._clock,
            look_interval=look_interval(self._configuration.intervals),
            may_tell=lambda: self._leadership.is_leader,
            announce=self._announcing.committed,
            resume=resuming.submit,
            remember=self._people.charting.committed,
        )
        self._closing.push_async_callback(effects.aclose)
        self._closing.push_async_callback(self._people.charting.aclose)
        reactor = Reactor(
            store=self._store,
            world=world,
            head=saved.head,
            effects=effects,
            clock=self._clock,
            on_change=self._on_change,
        )
        self._collector = collector = Collector(
            sources=self.parts.sources,
            probes=self.parts.probes,
            world=lambda: reactor.world,
            deliver=reactor.deliver,
            clock=self._clock,
            metrics=self._metrics,
        )
        self._watcher = Watcher(
            switches=self.parts.switches,
            deliver=reactor.deliver,
            clock=self._clock,
            edition=lambda: reactor.world.edition,
            closely=lambda name: (one := reactor.world.services.get(name)) is not None and busy(one),
        )
        self._engine = Engine(
            parts=self.parts,
            store=self._store,
            reactor=reactor,
            people=self._people,
            collector=collector,
            effects=effects,
            traffic=self._traffic,
            supervisor=self._supervisor,
            pause=self._pause,
            metrics=self._metrics,
            guard=self._guard,
            clock=self._clock,
        )
        return reactor

    def _start_tasks(self, reactor: Reactor) -> None:
        ticker = Ticker(
            paused=self._pause.look,
            leadership=self._leadership,
            epoch=self._epoch,
            deliver=reactor.deliver,
            taken=lambda: reactor.ticks,
            store=self._store,
            metrics=self._metrics,
            clock=self._clock,
        )
        start = self._supervisor.start
        self._people.start(self._supervisor, reactor, self._checks)
        start("reactor", reactor.run, critical=True)
        start("ticker", ticker.run, critical=True)
        self._changeover = Changeover(self._engine, self._configuration, began=self._began)
        self_check = SelfCheck(
            references=lambda: references(self.parts.configuration),
            probes=self.parts.probes,
            world=lambda: reactor.world,
            deliver=reactor.deliver,
            clock=self._clock,
        )
        start("self_check", self_check.run, critical=False)
        start("announcing", self._announcing.run, critical=False)
        start("checks", self._checks.run, critical=True)
        start("traffic", self._traffic.run, critical=True)

    def _on_change(self, change: Change, before: World | None) -> None:
        self.changeover.on_change(change, before)

    async def _poll(self, poll: Poll) -> Beat | None:
        return await self._collector.poll(poll) if self._collector is not None else None

    async def _look(self, service: str) -> None:
        if self._watcher is not None:
            await self._watcher.look(service)

    def _facts(self, rollback: Rollback, state: TrafficState, paused: str) -> GuardFacts:
        """What the guards may look at right before a write: the newest world, the state just read."""
        if self._reactor is None:
            raise RuntimeError("an intent before the reactor")
        world = replace(self._reactor.world, leader=self._leadership.is_leader)
        return facts_before_write(world, rollback, state, now=self._clock.now(), paused_by_file=paused)


def is_deposed(fault: BaseException | None) -> bool:
    """Whether a part of a term ended because another process became the store's writer."""
    if isinstance(fault, TaskEnded):
        return is_deposed(fault.__cause__)
    if isinstance(fault, BaseExceptionGroup):
        return all(is_deposed(one) for one in fault.exceptions)
    return isinstance(fault, StoreAhead)
