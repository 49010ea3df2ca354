"""A fleet of which every service was deployed to a minute ago, and an answer that says it is ten times too bad.

What the tests and the benchmark of "everything is red at once" start from.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from watchdog.aio.clock import SteadyClock
from watchdog.core.check import KnownLog, KnownRun
from watchdog.core.checks import Poll, check_on
from watchdog.core.deployment import Deployment, DeploymentState, Origin
from watchdog.core.events import Observed
from watchdog.core.guards import GuardFacts
from watchdog.core.observation import Value
from watchdog.core.rollback import Rollback
from watchdog.core.routing import Route
from watchdog.core.rule import Holds, Level, Query, Rule, Samples, Thresholds
from watchdog.core.service import RollbackPolicy, Service
from watchdog.core.traffic import TrafficState, VariantState
from watchdog.core.world import ServiceWorld, World
from watchdog.engine.dispatcher import Dispatcher
from watchdog.engine.effects import Effects
from watchdog.engine.executor import Executor
from watchdog.engine.outbox import Outbox
from watchdog.engine.scheduler import Scheduler
from watchdog.telemetry.metrics import Metrics

_ONE = Samples(1)
_RULE = Rule(
    name="errors",
    form=Query(query='errors{version="$version"}'),
    source="prometheus",
    thresholds=Thresholds(warning=10.0, critical=20.0, rollback=30.0),
    hold=Holds(warning=_ONE, critical=_ONE, rollback=_ONE),
    clear=1,
)
#: The worst that the holds allow: every service is bad at its first sample.
_GOOD, _BAD = 1.0, 300.0


def red_world(count: int, now: datetime) -> World:
    """So many services that are live on a version which was deployed a minute ago."""
    return World(
        services={name: _service(name, now) for name in (f"service-{number:04}" for number in range(count))},
        routes=(Route(to=("ops",)),),
        leader=True,
    )


def bad(name: str, now: datetime) -> Observed:
    """The newest version of a service at ten times its limit."""
    return _seen(name, _BAD, now)


def good(name: str, now: datetime) -> Observed:
    """The same version, well."""
    return _seen(name, _GOOD, now)


def _seen(name: str, value: float, now: datetime) -> Observed:
    check = check_on(_RULE, name, version="v2", variant="green")
    return Observed(check=check, observation=Value(value=value, at=now), arrived_at=now)


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


def nowhere(store: Outbox, clock: SteadyClock) -> Effects:
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
        epoch=1,
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
