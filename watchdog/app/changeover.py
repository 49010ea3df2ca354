"""From the running configuration to another one, without a stop: built beside, taken in one turn, the old one closed.

What is new by name is there before the reactor's world asks for it; what replaces something is exchanged in the very
turn in which the world follows. What something under way still needs stays, and goes when that is over. This module
must never let a configuration in of which a part cannot be had.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog

from watchdog.aio.clock import Clock
from watchdog.aio.supervise import Supervisor
from watchdog.api.auth import Guard
from watchdog.app.build import places
from watchdog.app.parts import Built, Key, Parts
from watchdog.app.people import People
from watchdog.config.loaded import Configuration
from watchdog.core.edition import SWITCH
from watchdog.core.errors import StoreError
from watchdog.core.reconfigure import Change, ConfigBroken, Reconfigured, busy, sources_of
from watchdog.core.restore import restore_service
from watchdog.core.service import Intervals
from watchdog.core.world import ServiceWorld, World
from watchdog.engine.collector import Collector
from watchdog.engine.effects import Effects
from watchdog.engine.pause import PauseFile
from watchdog.engine.reactor import Reactor
from watchdog.engine.scheduler import Scheduler
from watchdog.store.interface import Store
from watchdog.telemetry.metrics import Metrics
from watchdog.telemetry.redact import register_secret
from watchdog.traffic.interface import TrafficSwitch, Watched

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A switch whose object changes over and over is looked at so often, at most; at the first change at once.
LOOKS_APART = timedelta(milliseconds=200)


def look_interval(intervals: Intervals) -> timedelta:
    """How often switches are read while nothing happens."""
    return min(intervals.recheck, intervals.critical)


def needs_restart(began: Configuration, configuration: Configuration) -> tuple[str, ...]:
    """The keys that hold from the start of the process to its end, and have another value now."""
    listen = (began.server.host, began.server.port) != (configuration.server.host, configuration.server.port)
    keys = {
        "store": began.store != configuration.store,
        "server.listen": listen,
        "kubernetes": began.kubernetes != configuration.kubernetes,
        "discover": began.discovery != configuration.discovery,
        "leader": (began.leader.kind, began.leader.settings)
        != (configuration.leader.kind, configuration.leader.settings),
    }
    return tuple(key for key, changed in keys.items() if changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Everything that follows a changed configuration."""

    parts: Parts
    store: Store
    reactor: Reactor
    people: People
    collector: Collector
    effects: Effects
    traffic: Scheduler[str]
    supervisor: Supervisor
    pause: PauseFile
    metrics: Metrics
    guard: Callable[[], Guard | None]
    clock: Clock


class Changeover:
    """Takes configurations in, one after the other. `configuration` is the one that is in force."""

    def __init__(self, engine: Engine, configuration: Configuration, *, began: Configuration) -> None:
        """`began` is what the process was started with: some of it holds until its end."""
        self._engine = engine
        self._started_with = began
        self.configuration = configuration
        self._built: Built | None = None
        self._taken: asyncio.Future[bool] | None = None
        self._refused: tuple[str, ...] = ()
        self._restart_told: tuple[str, ...] = ()
        self._waiting: frozenset[Key] = frozenset()
        """What is not as `configuration` says because something under way needs it as it is."""
        self._running: dict[str, str] = {}
        self._begun: frozenset[str] = frozenset()
        self._watched: dict[str, tuple[TrafficSwitch, str]] = {}
        self._numbers = itertools.count(1)
        for name in engine.parts.sources:
            self._run_source(name, f"source {name}")
        self._watch_switches()
        engine.metrics.config_taken(engine.clock.now())

    async def take(self, configuration: Configuration) -> bool:
        """Take a configuration in; answers whether anything was different.

        Raises `WatchdogError` when a part of it cannot be had, `NotYet` while a rollback is in its way, `StoreError`
        when it cannot be recorded: then everything is as it was. To be called again only when it has ended.
        """
        engine = self._engine
        for token in configuration.server.tokens:
            register_secret(token.token.get_secret_value())
        world = engine.reactor.world
        built = engine.parts.prepare(
            configuration, busy=frozenset(name for name, one in world.services.items() if busy(one))
        )
        if not self._differs(configuration, built, world):
            self._judged(configuration)
            return False
        try:
            change = await self._change(configuration, built)
        except BaseException:
            engine.parts.discard(built)
            raise
        self._admit(built)
        try:
            taken = await self._offer(change, built)
        except asyncio.CancelledError:
            engine.parts.discard(built)  # everything is being stopped
            raise
        if not taken:
            self._withdraw(built)
            raise StoreError(
                "the changed configuration cannot be recorded", advice="see what is wrong with the store"
            )
        self._judged(configuration)
        return True

    async def refuse(self, problems: tuple[str, ...]) -> bool:
        """Tell that the files were changed and cannot be used, once of the same mistakes; false when it could not."""
        self._engine.metrics.config_refused()
        if problems == self._refused:
            return True
        _log.error("config_refused", problems=list(problems))
        change = ConfigBroken(problems=problems, file=str(self.configuration.path))
        if await self._offer(change, None):
            self._refused = problems
            return True
        return False

    async def settle(self) -> None:
        """Take what had to wait, once it need not any more. Cheap when nothing waits."""
        if not self._waiting:
            return
        world = self._engine.reactor.world
        needed = {("switch", name) for name, one in world.services.items() if busy(one)}
        needed |= {("source", name) for name in sources_of(world)}
        if self._waiting - needed:
            await self.take(self.configuration)

    def on_change(self, change: Change, before: World | None) -> None:
        """The reactor's word, in the turn in which its world follows (or does not)."""
        if self._taken is None or self._taken.done():
            return  # nobody waits for it any more: everything is being stopped
        if before is not None and isinstance(change, Reconfigured) and self._built is not None:
            self._exchange(change, self._built, before)
        self._taken.set_result(before is not None)

    def abandon(self) -> None:
        """The reactor takes nothing in any more: whoever waits for it has waited in vain. Idempotent."""
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(False)

    async def _offer(self, change: Change, built: Built | None) -> bool:
        self._built, self._taken = built, asyncio.get_running_loop().create_future()
        self._engine.reactor.deliver(change)
        return await self._taken

    def _judged(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._refused = ()
        self._engine.metrics.config_taken(self._engine.clock.now())

    def _differs(self, configuration: Configuration, built: Built, world: World) -> bool:
        """Whether there is anything to take in, or to record."""
        return (
            not built.empty
            or bool(world.config_fault)
            or configuration.trail.digest != self.configuration.trail.digest
            or configuration.server != self.configuration.server
            or world.services.keys() != configuration.services.keys()
            or bool(self._waiting)
        )

    async def _change(self, configuration: Configuration, built: Built) -> Reconfigured:
        restart = needs_restart(self._started_with, configuration)
        told, self._restart_told = self._restart_told, restart
        return Reconfigured(
            services={name: entry.service for name, entry in configuration.services.items()},
            rules=configuration.rules,
            sources=tuple(configuration.sources),
            limits=configuration.limits,
            routes=configuration.routes,
            recheck=configuration.intervals.recheck,
            places=places(configuration),
            before=self.configuration.trail.digest,
            after=configuration.trail.digest,
            restored=await self._restored(configuration),
            new_sources=built.names("source"),
            new_switches=built.names("switch"),
            moved=self._engine.parts.moved(built),
            exchanged=self._engine.parts.exchanged(built),
            switches=self._engine.parts.switch_places(built),
            parts=self._parts_that_change(configuration, built),
            restart=restart if restart != told else (),
        )

    async def _restored(self, configuration: Configuration) -> dict[str, ServiceWorld]:
        """The services that are new, as the store knows them from an earlier time."""
        added = configuration.services.keys() - self._engine.reactor.world.services.keys()
        if not added:
            return {}
        saved = await self._engine.store.load(now=self._engine.clock.now())
        records = {record.name: record for record in saved.services}
        return {
            name: restore_service(
                configuration.services[name].service,
                configuration.rules,
                record=records.get(name),
                deployments=saved.deployments,
                incidents=saved.incidents,
                rollbacks=saved.rollbacks,
                checks=saved.checks,
            )
            for name in sorted(added)
        }

    def _parts_that_change(self, configuration: Configuration, built: Built) -> dict[str, tuple[str, ...]]:
        """What the record names beside services, rules and sources."""
        before, channels = self.configuration, built.names("channel")
        said = {
            "channels_added": channels - before.channels.keys(),
            "channels_changed": channels & before.channels.keys(),
            "channels_removed": before.channels.keys() - configuration.channels.keys(),
            "others": {
                name
                for name, changed in {
                    "heartbeat": before.heartbeat != configuration.heartbeat,
                    "intervals": before.intervals != configuration.intervals,
                    "pause_file": before.pause_file != configuration.pause_file,
                    "server.metrics": before.server.metrics != configuration.server.metrics,
                    "server.tokens": before.server.tokens != configuration.server.tokens,
                    "server.url": before.server.url != configuration.server.url,
                    "templates": before.templates != configuration.templates,
                }.items()
                if changed
            },
        }
        return {name: tuple(sorted(names)) for name, names in said.items()}

    def _admit(self, built: Built) -> None:
        """What is new by name must be there before anything is decided that needs it."""
        engine = self._engine
        new = built.names("channel") - engine.parts.channels.keys()
        engine.parts.admit(built)
        for name in new:
            engine.people.use(name, engine.parts.channels[name])
        self._begun = built.names("source") - self._running.keys()
        for name in self._begun:
            self._run_source(name, f"source {name}")

    def _withdraw(self, built: Built) -> None:
        engine = self._engine
        engine.parts.discard(built)
        for name in built.names("channel") - engine.parts.channels.keys():
            engine.people.dismiss(name)
        self._end_sources()

    def _exchange(self, change: Reconfigured, built: Built, before: World) -> None:
        """The one moment in which everything follows. Never blocks, never waits."""
        engine, world = self._engine, self._engine.reactor.world
        self._waiting = self._held(change, world)
        engine.parts.exchange(built, held=self._waiting)
        for name in built.names("channel"):
            engine.people.use(name, engine.parts.channels[name])
        for name in self.configuration.channels.keys() - built.configuration.channels.keys():
            engine.people.dismiss(name)
        for name in built.names("source") - self._begun:
            engine.supervisor.end(self._running.pop(name))
            self._run_source(name, f"source {name} #{world.edition}")
        engine.people.follow(built.configuration)
        self._end_sources()
        self._watch_switches()
        engine.pause.move(built.configuration.pause_file)
        guard, server = engine.guard(), built.configuration.server
        if guard is not None:
            guard.change(server.tokens, open_metrics=server.metrics == "open")
        engine.collector.follow(world, sources=built.names("source"))
        interval = look_interval(built.configuration.intervals)
        engine.effects.follow(before, world, look_interval=interval)
        self.configuration = built.configuration
        _log.info("config_reloaded", before=change.before, after=change.after, edition=world.edition)

    def _held(self, change: Reconfigured, world: World) -> frozenset[Key]:
        """What something under way needs as it is."""
        kept: set[Key] = {("switch", name) for name in world.services.keys() - change.services.keys()}
        for name in change.new_switches & world.services.keys():
            service = world.services[name]
            if busy(service) and service.editions.get(SWITCH) != world.edition:
                kept.add(("switch", name))
        gone = sources_of(world) - set(change.sources)
        return frozenset(kept | {("source", name) for name in gone})

    def _run_source(self, name: str, task: str) -> None:
        """A source's own work beside the answers, as it is now."""
        self._running[name] = task
        self._engine.supervisor.start(task, self._engine.parts.sources[name].run, critical=False)

    def _end_sources(self) -> None:
        for name in self._running.keys() - self._engine.parts.sources.keys():
            self._engine.supervisor.end(self._running.pop(name))

    def _watch_switches(self) -> None:
        """Every switch that is there can say by itself when to look; what it said of one that is gone is nothing."""
        engine = self._engine
        for name, (switch, task) in list(self._watched.items()):
            if engine.parts.switches.get(name) is not switch:
                engine.supervisor.end(task)
                del self._watched[name]
        for name, switch in engine.parts.switches.items():
            if name not in self._watched and isinstance(switch, Watched):
                task = f"watch {name} #{next(self._numbers)}"
                changed = partial(engine.traffic.soon, name, apart=LOOKS_APART)
                engine.supervisor.start(task, partial(switch.watch, changed), critical=False)
                changed()  # what happened while nobody was told
                self._watched[name] = switch, task
