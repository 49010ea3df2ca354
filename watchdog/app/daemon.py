"""The daemon: wires the parts together, starts and stops them in order. The only place that does.

Start: lock, load, restore, then act. Stop: take nothing new, let a switch under way finish, write, tell, close.
This module must never decide anything.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from msgspec.structs import replace

from watchdog.aio.clock import SteadyClock
from watchdog.aio.supervise import Supervisor, Work
from watchdog.api.app import GUARD, make_app
from watchdog.api.auth import Guard
from watchdog.api.listener import Listener, listen
from watchdog.app.build import places, references
from watchdog.app.changeover import Changeover, Engine, look_interval
from watchdog.app.parts import Parts
from watchdog.config.loaded import Configuration
from watchdog.core.checks import Poll
from watchdog.core.errors import StoreError, StoreLocked
from watchdog.core.events import Asked, ChannelDead, Event
from watchdog.core.facts import facts_before_write
from watchdog.core.guards import GuardFacts
from watchdog.core.message import MessageKind, Outgoing
from watchdog.core.orphans import orphans
from watchdog.core.reconfigure import Change, busy
from watchdog.core.relocating import started as under_other_switches
from watchdog.core.restore import restore_service, restore_sources
from watchdog.core.rollback import Rollback
from watchdog.core.shifting import caught_up
from watchdog.core.step import Stepped
from watchdog.core.storming import restored as restore_storm
from watchdog.core.telling import store_failed
from watchdog.core.traffic import TrafficState
from watchdog.core.view import View
from watchdog.core.world import World
from watchdog.engine.collector import Collector
from watchdog.engine.dispatcher import Dispatcher
from watchdog.engine.effects import Effects
from watchdog.engine.executor import Executor
from watchdog.engine.pause import PauseFile
from watchdog.engine.reactor import Reactor
from watchdog.engine.references import SelfCheck
from watchdog.engine.rhythm import Beat
from watchdog.engine.scheduler import Scheduler
from watchdog.engine.ticker import Ticker
from watchdog.engine.watcher import Watcher
from watchdog.leader.single import SingleLeadership
from watchdog.store.interface import Saved
from watchdog.store.registry import make_store
from watchdog.telemetry.metrics import Metrics

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
T = TypeVar("T")

#: A clean stop waits so long for a switch under way, and for messages that are due.
FINISH_WITHIN, FLUSH_WITHIN, STOP_WITHIN = timedelta(seconds=10), timedelta(seconds=5), timedelta(seconds=10)
STALLED_AFTER = timedelta(seconds=15)


class Daemon:
    """Everything of one running watchdog. `start`, `wait`, `stop`; each once."""

    stalled_after = STALLED_AFTER

    def __init__(self, configuration: Configuration, *, clock: SteadyClock, seed: int) -> None:
        self._configuration = configuration
        self._clock = clock
        self._guard: Guard | None = None
        self._closing = AsyncExitStack()
        self._supervisor = Supervisor()
        self._listener: Listener | None = None
        self._stopped = False
        self._metrics = Metrics(self.view)
        self._epoch = 0
        self._store = make_store(configuration.store_url)
        self._leadership = SingleLeadership()
        self._pause = PauseFile(configuration.pause_file)
        self._parts = Parts(configuration, clock=clock)
        self._dispatcher = Dispatcher(
            self._store,
            self._parts.channels,
            clock=clock,
            rng=random.Random(seed),
            on_dead=self._channel_dead,
            on_outcome=self._metrics.count_notification,
        )
        self._checks = Scheduler("poll", self._poll, clock=clock, seed=seed)
        self._traffic = Scheduler("look", self._look, clock=clock, seed=seed)
        self._reactor: Reactor | None = None
        self._collector: Collector | None = None
        self._watcher: Watcher | None = None
        self._executor: Executor | None = None
        self._changeover: Changeover | None = None

    @property
    def url(self) -> str:
        """Where the API listens, once started."""
        return self._listener.url if self._listener else ""

    def view(self) -> View | None:
        """The newest view; `None` before the start is done."""
        return self._reactor.view() if self._reactor else None

    def progress_at(self) -> datetime:
        """The reactor's last progress."""
        return self._reactor.turn_at if self._reactor else self._clock.now()

    async def start(self) -> None:
        """Lock, load, restore, begin. Raises `WatchdogError` (a sentence for the user); all is closed then."""
        try:
            await self._start()
        except BaseException:
            self._stopped = True
            await self._supervisor.stop(STOP_WITHIN)
            await self._closing.aclose()
            raise

    async def _start(self) -> None:
        self._closing.push_async_callback(self._parts.aclose)
        self._closing.push_async_callback(self._store.aclose)
        await self._or_tell(self._store.open())
        self._parts.lock()
        await self._leadership.acquire()
        self._closing.push_async_callback(self._leadership.release)
        self._epoch = await self._or_tell(self._store.claim(now=self._clock.now()))
        saved = await self._or_tell(self._store.load(now=self._clock.now()))
        world = self._restore(saved)
        if (set_back := caught_up(world, self._clock.now())) is not None:
            world = set_back["world"]
        elsewhere = under_other_switches(world, self._parts.switch_places(), self._clock.now())
        self._reactor = self._wire(saved, elsewhere.world)
        if set_back is not None:
            _log.warning("clock_set", how="back, while the watchdog did not run")
            await self._reactor.settle(Stepped(**set_back))
        await self._relocate(self._reactor, elsewhere)
        await self._reactor.settle(
            orphans(self._reactor.world, saved.incidents, saved.rollbacks, now=self._clock.now())
        )
        self._store.on_request(lambda request: self._deliver(Asked(request=request)))
        for request in saved.requests:
            self._deliver(Asked(request=request))
        self._start_tasks(self._reactor)
        server = self._configuration.server
        app = make_app(
            reader=self._store,
            desk=self._store,
            live=self,
            server=server,
            rules=lambda: self._parts.configuration.rules,
            metrics=self._metrics.render,
            clock=self._clock,
        )
        self._guard = app[GUARD]
        self._listener = await listen(app, host=server.host, port=server.port)
        _log.info("started", url=self.url, services=len(self._configuration.services))

    async def _relocate(self, reactor: Reactor, elsewhere: Stepped) -> None:
        """Record what other switches than before come to. Raises `StoreError`: a later start would believe the old."""
        if elsewhere.audit:
            changed = [note.subject for note in elsewhere.audit if note.kind == "switch_changed"]
            _log.warning("switch_changed", services=changed, how="while the watchdog did not run")
        if not await reactor.settle(elsewhere) and elsewhere.audit:
            raise StoreError(
                "the changed traffic switch cannot be recorded", advice="see what is wrong with the store"
            )

    async def _or_tell(self, call: Coroutine[Any, Any, T]) -> T:
        """Ask the store. A broken one is told to people past itself; one that is in use is only an error."""
        try:
            return await call
        except StoreLocked:
            raise
        except StoreError as error:
            await self._dispatcher.emergency(store_failed(str(error), error.advice, now=self._clock.now()))
            raise

    def _wire(self, saved: Saved, world: World) -> Reactor:
        self._executor = Executor(
            switches=self._parts.switches,
            facts=self._facts,
            paused=self._pause.look,
            leadership=self._leadership,
            deliver=self._deliver,
            clock=self._clock,
        )
        self._closing.push_async_callback(self._executor.crew.stop)
        effects = Effects(
            executor=self._executor,
            checks=self._checks,
            traffic=self._traffic,
            dispatcher=self._dispatcher,
            metrics=self._metrics,
            clock=self._clock,
            look_interval=look_interval(self._configuration.intervals),
        )
        self._closing.push_async_callback(effects.aclose)
        reactor = Reactor(
            store=self._store,
            world=world,
            head=saved.head,
            effects=effects,
            clock=self._clock,
            on_change=self._on_change,
        )
        self._collector = collector = Collector(
            sources=self._parts.sources,
            probes=self._parts.probes,
            world=lambda: reactor.world,
            deliver=reactor.deliver,
            clock=self._clock,
            metrics=self._metrics,
        )
        self._watcher = Watcher(
            switches=self._parts.switches,
            deliver=reactor.deliver,
            clock=self._clock,
            edition=lambda: reactor.world.edition,
            closely=lambda name: (one := reactor.world.services.get(name)) is not None and busy(one),
        )
        self._engine = Engine(
            parts=self._parts,
            store=self._store,
            reactor=reactor,
            dispatcher=self._dispatcher,
            collector=collector,
            effects=effects,
            traffic=self._traffic,
            supervisor=self._supervisor,
            pause=self._pause,
            metrics=self._metrics,
            guard=lambda: self._guard,
            clock=self._clock,
        )
        return reactor

    def _restore(self, saved: Saved) -> World:
        records = {record.name: record for record in saved.services}
        configuration = self._configuration
        services = {
            name: restore_service(
                entry.service,
                configuration.rules,
                record=records.get(name),
                deployments=saved.deployments,
                incidents=saved.incidents,
                rollbacks=saved.rollbacks,
                checks=saved.checks,
            )
            for name, entry in configuration.services.items()
        }
        return World(
            services=services,
            sources=restore_sources(configuration.sources, saved.incidents),
            storm=restore_storm(saved.incidents, services),
            limits=configuration.limits,
            routes=configuration.routes,
            silences={one.id: one for one in saved.silences},
            leader=self._leadership.is_leader,
            epoch=self._leadership.epoch,
            recheck=configuration.intervals.recheck,
            places=places(configuration),
        )

    def _start_tasks(self, reactor: Reactor) -> None:
        ticker = Ticker(
            paused=self._pause.look,
            leadership=self._leadership,
            deliver=reactor.deliver,
            taken=lambda: reactor.ticks,
            store=self._store,
            metrics=self._metrics,
            clock=self._clock,
        )
        start = self._supervisor.start
        start("dispatcher", self._dispatcher.run, critical=True)
        start("reactor", reactor.run, critical=True)
        start("ticker", ticker.run, critical=True)
        self._changeover = Changeover(self._engine, self._configuration)
        self_check = SelfCheck(
            references=lambda: references(self._parts.configuration),
            probes=self._parts.probes,
            world=lambda: reactor.world,
            deliver=reactor.deliver,
            clock=self._clock,
        )
        start("self_check", self_check.run, critical=False)
        start("checks", self._checks.run, critical=True)
        start("traffic", self._traffic.run, critical=True)

    def beside(self, name: str, work: Work) -> None:
        """Run something beside the engine until the stop; when it fails it is started again."""
        self._supervisor.start(name, work, critical=False)

    async def take(self, configuration: Configuration) -> bool:
        """Put another configuration in force (`Changeover.take`). After `start` only."""
        return await self._started().take(configuration)

    async def refuse(self, problems: tuple[str, ...]) -> bool:
        """Tell people that a changed configuration cannot be used (`Changeover.refuse`)."""
        return await self._started().refuse(problems)

    async def settle(self) -> None:
        """Take what had to wait (`Changeover.settle`)."""
        await self._started().settle()

    def _started(self) -> Changeover:
        if self._changeover is None:
            raise RuntimeError("the daemon was not started")
        return self._changeover

    def _on_change(self, change: Change, before: World | None) -> None:
        self._started().on_change(change, before)

    async def wait(self) -> None:
        """Run until `stop`, or until a part the daemon cannot do without has ended (`TaskEnded`)."""
        await self._supervisor.wait()

    async def stop(self) -> None:
        """A clean stop; within `TimeoutStopSec` of the unit. Everything is closed, whatever fails. Idempotent."""
        if self._stopped:
            return
        self._stopped = True
        _log.info("stopping")
        try:
            await self._wind_down()
        finally:
            await self._closing.aclose()
        _log.info("stopped")

    async def _wind_down(self) -> None:
        if self._executor is not None:
            self._executor.halt()  # what is decided from here on, even while draining, must not be begun and cut off
        if self._listener is not None:
            await self._listener.aclose()
        self._checks.halt()
        self._traffic.halt()
        if self._executor is not None:
            left = await self._executor.crew.finish(FINISH_WITHIN)
            if left:
                _log.warning("intents_left_for_the_next_start", rollbacks=left)
        await self._supervisor.stop(STOP_WITHIN)
        if self._reactor is not None:
            await self._reactor.drain()
            await self._dispatcher.flush(FLUSH_WITHIN)

    async def _poll(self, poll: Poll) -> Beat | None:
        return await self._collector.poll(poll) if self._collector is not None else None

    async def _look(self, service: str) -> None:
        if self._watcher is not None:
            await self._watcher.look(service)

    def _deliver(self, event: Event) -> None:
        if self._reactor is not None:
            self._reactor.deliver(event)

    def _facts(self, rollback: Rollback, state: TrafficState, paused: str) -> GuardFacts:
        """What the guards may look at right before a write: the newest world, the state just read."""
        if self._reactor is None:
            raise RuntimeError("an intent before the reactor")
        world = replace(self._reactor.world, leader=self._leadership.is_leader)
        return facts_before_write(world, rollback, state, now=self._clock.now(), paused_by_file=paused)

    def _channel_dead(self, row: Outgoing, reason: str) -> None:
        """A message was given up: tell the other channels, but never about such news itself."""
        if row.message.kind is not MessageKind.CHANNEL_FAILED:
            self._deliver(
                ChannelDead(channel=row.channel, key=row.key, headline=row.message.headline, reason=reason)
            )
