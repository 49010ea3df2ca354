"""One service in trouble, as values: what the tests of the engine start from.

`trips` runs v2 on green, which is bad and armed; v1 on blue is stable, ready and stands by.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from watchdog.core.deployment import Deployment, DeploymentState, Origin
from watchdog.core.rollback import Passage, Rollback, RollbackState
from watchdog.core.routing import Route
from watchdog.core.rule import Holds, ProbeForm, Query, Ratio, Rule, Samples, Thresholds, Unit
from watchdog.core.service import RollbackPolicy, Service
from watchdog.core.traffic import Change, TrafficState, VariantState
from watchdog.core.world import ServiceWorld, SourceWorld, World
from watchdog.testing.clock import BASE

HOUR = timedelta(hours=1)
POLICY = RollbackPolicy(
    warmup=timedelta(seconds=1),
    soak=timedelta(seconds=30),
    stabilise=timedelta(seconds=1),
    verify=timedelta(seconds=20),
    contest_for=timedelta(seconds=5),
)
ERRORS = Rule(
    name="errors",
    form=Ratio(
        bad='requests_total{service="$service",version="$version",status=~"5.."}',
        total='requests_total{service="$service",version="$version"}',
    ),
    thresholds=Thresholds(warning=0.005, critical=0.01, rollback=0.015),
    unit=Unit.RATIO,
    source="prometheus",
    interval=timedelta(seconds=5),
    window=timedelta(seconds=10),
    hold=Holds(warning=Samples(2), critical=Samples(2), rollback=Samples(2)),
    clear=2,
)
DEPTH = Rule(
    name="depth",
    form=Query(query='max(queue_depth{service="$service"})'),
    thresholds=Thresholds(critical=100.0),
    unit=Unit.COUNT,
    source="prometheus",
    interval=timedelta(seconds=30),
)
ALIVE = Rule(
    name="alive",
    form=ProbeForm(kind="http", settings={"url": "http://$service.internal/$version/healthz"}),
    thresholds=Thresholds(critical=3.0),
    interval=timedelta(seconds=5),
)


def variants(live: str = "green", *, ready: int | None = 1) -> dict[str, VariantState]:
    return {
        name: VariantState(weight=100 if name == live else 0, ready=ready, total=1)
        for name in ("blue", "green", "red")
    }


def traffic(
    live: str = "green", *, at: datetime = BASE, revision: str = "r1", mark: str | None = None
) -> TrafficState:
    return TrafficState(variants=variants(live), revision=revision, read_at=at, mark=mark)


def deployment(version: str, variant: str, state: DeploymentState, *, age: timedelta) -> Deployment:
    at = BASE - age
    return Deployment(
        id=f"dep-{version}",
        service="trips",
        version=version,
        variant=variant,
        state=state,
        origin=Origin.SEEN,
        started_at=at,
        recorded_at=at,
        live_at=at,
        armed=state is DeploymentState.WATCHING,
    )


GOOD = deployment("v1", "blue", DeploymentState.STABLE, age=2 * HOUR)
BAD = deployment("v2", "green", DeploymentState.WATCHING, age=timedelta(minutes=2))


def service(*rules: Rule, name: str = "trips", live: str = "green", **changes: Any) -> ServiceWorld:
    chosen = rules or (ERRORS,)
    found = ServiceWorld(
        service=Service(
            name=name,
            labels={"team": "booking"},
            rules=tuple(rule.name for rule in chosen),
            rollback=POLICY,
        ),
        rules={rule.name: rule for rule in chosen},
        traffic=traffic(live),
        deployments={one.id: replace(one, service=name) for one in (GOOD, BAD)},
    )
    return replace(found, **changes)


def world(*services: ServiceWorld, **changes: Any) -> World:
    found = World(
        services={one.name: one for one in services or (service(),)},
        sources={"prometheus": SourceWorld(name="prometheus")},
        routes=(Route(to=("ops",)),),
        epoch=7,
        recheck=timedelta(seconds=1),
    )
    return replace(found, **changes)


def intent(**changes: Any) -> Rollback:
    """The rollback of v2 to v1 whose intent is on disk; it lapses after five minutes."""
    found = Rollback(
        id="rb-1",
        key="auto:trips:dep-v2",
        service="trips",
        deployment=BAD.id,
        incident=None,
        state=RollbackState.INTENDED,
        automatic=True,
        requested_by="watchdog",
        reason="errors",
        from_variant="green",
        from_version="v2",
        to_variant="blue",
        to_version="v1",
        decided_at=BASE,
        intended_at=BASE,
        observed_at=BASE,
        expires_at=BASE + timedelta(minutes=5),
        change=Change(target="blue", away=("green",), expect="r1", mark="rb-1", epoch=7),
        rules=(ERRORS,),
        history=(Passage(state=RollbackState.INTENDED, at=BASE),),
    )
    return replace(found, **changes)
