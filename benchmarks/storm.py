"""A thousand services turn red at the same moment: how long until it is decided, on disk, and a message is due.

The reactor, the store on a real file and the outbox are the product's own; nothing is switched and nothing is sent.
Every service has a version that was deployed a minute ago and a good one to go back to, so that each is decided about.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from tempfile import TemporaryDirectory

from watchdog.aio.clock import SystemClock
from watchdog.core.audit import ChainHead
from watchdog.core.check import KnownLog, KnownRun
from watchdog.core.checks import Poll, check_on
from watchdog.core.deployment import Deployment, DeploymentState, Origin
from watchdog.core.events import Observed, Ticked
from watchdog.core.guards import GuardFacts
from watchdog.core.message import MessageKind
from watchdog.core.observation import Value
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.routing import Route
from watchdog.core.rule import Holds, Level, Query, Rule, Samples, Thresholds
from watchdog.core.service import RollbackPolicy, Service
from watchdog.core.traffic import TrafficState, VariantState
from watchdog.core.world import ServiceWorld, World
from watchdog.engine.dispatcher import Dispatcher
from watchdog.engine.effects import Effects
from watchdog.engine.executor import Executor
from watchdog.engine.reactor import Reactor
from watchdog.engine.scheduler import Scheduler
from watchdog.leader.single import SingleLeadership
from watchdog.store.sql import SqlStore
from watchdog.telemetry.metrics import Metrics

_ONE = Samples(1)
_RULE = Rule(
    name="errors",
    form=Query(query='errors{version="$version"}'),
    source="prometheus",
    thresholds=Thresholds(warning=10.0, critical=20.0, rollback=30.0),
    hold=Holds(warning=_ONE, critical=_ONE, rollback=_ONE),
)
#: The worst that the holds allow: every service is bad at its first sample.
_GOOD, _BAD = 1.0, 300.0


@dataclass(slots=True, kw_only=True)
class Storm:
    """What came of it, in seconds since the first answer arrived. `told` counts messages by kind."""

    services: int
    decided: float
    told_after: float
    intended: int
    blocked: int
    told: Counter[MessageKind] = field(default_factory=Counter)


async def measure(services: int) -> Storm:
    """Let so many turn red at once."""
    with TemporaryDirectory(prefix="storm-") as folder:
        store = SqlStore(f"sqlite:///{folder}/watchdog.db")
        await store.open()
        try:
            return await _measure(store, services)
        finally:
            await store.aclose()


async def _measure(store: SqlStore, services: int) -> Storm:
    clock = SystemClock()
    world = red_world(services, clock.now())
    reactor = Reactor(store=store, world=world, head=ChainHead(), effects=_effects(store, clock), clock=clock)
    for name in world.services:
        reactor.deliver(bad(name, clock.now()))
    began = time.perf_counter()
    await reactor.drain()
    decided = time.perf_counter() - began
    await reactor.turn(Ticked(paused_by_file="", leader=True))
    told_after = time.perf_counter() - began
    rollbacks = list(reactor.world.rollbacks())
    due = await store.due(now=clock.now() + timedelta(days=1), limit=10 * services)
    return Storm(
        services=services,
        decided=decided,
        told_after=told_after,
        intended=sum(one.state is RollbackState.INTENDED for one in rollbacks),
        blocked=sum(one.state is RollbackState.BLOCKED for one in rollbacks),
        told=Counter(one.message.kind for one in due),
    )


def red_world(count: int, now: datetime) -> World:
    """So many services that are live on a version which was deployed a minute ago."""
    return World(
        services={name: _service(name, now) for name in (f"service-{number:04}" for number in range(count))},
        routes=(Route(to=("ops",)),),
        leader=True,
    )


def bad(name: str, now: datetime) -> Observed:
    """The newest version of a service at ten times its limit."""
    check = check_on(_RULE, name, version="v2", variant="green")
    return Observed(check=check, observation=Value(value=_BAD, at=now), arrived_at=now)


def _service(name: str, now: datetime) -> ServiceWorld:
    v1 = _deployment(name, "v1", "blue", DeploymentState.STABLE, now - timedelta(days=1))
    v2 = _deployment(name, "v2", "green", DeploymentState.WATCHING, now - timedelta(minutes=1))
    variants = {
        "blue": VariantState(weight=0, ready=10, total=10),
        "green": VariantState(weight=100, ready=10, total=10),
    }
    well = KnownRun(level=Level.OK, version="v1", first_at=v1.started_at, last_at=v2.started_at)
    return ServiceWorld(
        service=Service(name=name, rules=(_RULE.name,), rollback=RollbackPolicy()),
        rules={_RULE.name: _RULE},
        traffic=TrafficState(variants=variants, revision="1", read_at=now),
        deployments={one.id: one for one in (v1, v2)},
        known={_RULE.name: KnownLog(runs=(well,))},
    )


def _deployment(service: str, version: str, variant: str, state: DeploymentState, at: datetime) -> Deployment:
    return Deployment(
        id=f"{service}-{version}",
        service=service,
        version=version,
        variant=variant,
        origin=Origin.SEEN,
        state=state,
        armed=True,
        started_at=at,
        recorded_at=at,
        live_at=at,
    )


def _effects(store: SqlStore, clock: SystemClock) -> Effects:
    """The doors out of the reactor, with nobody behind them."""

    async def nowhere(_: object) -> None:
        return None

    async def never() -> str:
        return ""

    def no_facts(_rollback: Rollback, _state: TrafficState, _paused: str) -> GuardFacts:
        raise RuntimeError("nothing is switched here")

    executor = Executor(
        switches={},
        facts=no_facts,
        paused=never,
        leadership=SingleLeadership(epoch=1),
        deliver=lambda _outcome: None,
        clock=clock,
    )
    executor.halt()
    checks: Scheduler[Poll] = Scheduler("poll", nowhere, clock=clock, seed=1)
    traffic: Scheduler[str] = Scheduler("look", nowhere, clock=clock, seed=1)
    return Effects(
        executor=executor,
        checks=checks,
        traffic=traffic,
        dispatcher=Dispatcher(store, {}, clock=clock, rng=random.Random(1)),
        metrics=Metrics(lambda: None),
        clock=clock,
        look_interval=timedelta(seconds=5),
    )


if __name__ == "__main__":
    print(asyncio.run(measure(1000)))
