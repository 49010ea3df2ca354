"""Scripts for tests of the player: one service, `trips`, that runs v1 on blue and gets v2 on green."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from watchdog.core.ladder import Policy, Step
from watchdog.core.request import RequestKind
from watchdog.core.routing import Route
from watchdog.core.rule import (
    Evidence,
    Holds,
    ProbeForm,
    Query,
    Ratio,
    Rule,
    Samples,
    Severity,
    Thresholds,
    Unit,
)
from watchdog.core.service import RollbackPolicy, Service
from watchdog.core.traffic import VariantState
from watchdog.core.units import parse_duration
from watchdog.lab.play import Player
from watchdog.lab.recording import Happening, Recording, What
from watchdog.lab.script import (
    Deployed,
    Feed,
    Occurrence,
    Planned,
    Sample,
    Script,
    Wanted,
)

BEGINS = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
HALF = timedelta(seconds=30)
#: What takes longer is played once only.
LONG = timedelta(minutes=15)

ERRORS = Rule(
    name="errors",
    form=Ratio(
        bad='requests_total{service="$service",version="$version",status=~"5.."}',
        total='requests_total{service="$service",version="$version"}',
    ),
    thresholds=Thresholds(warning=0.005, critical=0.01, rollback=0.015),
    unit=Unit.RATIO,
    source="prometheus",
    hold=Holds(warning=Samples(1), critical=Samples(1), rollback=Samples(2)),
    evidence=Evidence(),
    clear=2,
)
DEPTH = Rule(
    name="depth",
    form=Query(query='max(queue_depth{service="$service"})'),
    thresholds=Thresholds(warning=50.0, critical=100.0),
    unit=Unit.COUNT,
    source="prometheus",
    hold=Holds(warning=Samples(1), critical=Samples(1)),
)
ALIVE = Rule(
    name="alive",
    form=ProbeForm(kind="http", settings={"url": "http://$service.internal/healthz"}),
    thresholds=Thresholds(critical=3.0, rollback=5.0),
)
ONE_LADDER = Policy(
    name="production",
    ladders={
        severity: (Step(to=("ops",)), Step(after=timedelta(minutes=5), to=("lead",))) for severity in Severity
    },
)


def after(text: str) -> timedelta:
    return parse_duration(text)


def series(*items: tuple[float | str | None, int], every: timedelta = HALF) -> tuple[Sample, ...]:
    """Values, each so many times; `None` is no data, `error` a poll that failed."""
    drawn = [value for value, times in items for _ in range(times)]
    return tuple(
        Sample(at=index * every, failed=True) if value == "error" else Sample(at=index * every, value=value)  # type: ignore[arg-type]
        for index, value in enumerate(drawn)
    )


def feed(
    *items: tuple[float | str | None, int],
    rule: Rule = ERRORS,
    service: str = "trips",
    version: str = "",
    every: timedelta = HALF,
) -> Feed:
    return Feed(service=service, rule=rule.name, version=version, samples=series(*items, every=every))


def standing(live: str = "blue", **versions: str) -> dict[str, VariantState]:
    return {
        name: VariantState(weight=100 if name == live else 0, version=versions.get(name), ready=4, total=4)
        for name in ("blue", "green")
    }


def service(*rules: Rule, name: str = "trips", **changes: Any) -> Service:
    own = {key: value for key, value in changes.items() if key in Service.__struct_fields__}
    policy = {key: value for key, value in changes.items() if key not in own}
    return Service(
        name=name,
        rules=tuple(one.name for one in rules or (ERRORS,)),
        rollback=RollbackPolicy(**policy),
        **own,
    )


def vouched(name: str = "trips", version: str = "v1", at: str = "30s") -> Planned:
    """A person says that a version is good: nobody has to wait for it to soak."""
    said = {"version": version, "reason": "it served for months"}
    return Planned(
        at=after(at), what=Wanted(kind=RequestKind.MARK_GOOD, service=name, arguments=said, by="alice")
    )


def deployed(
    at: str, version: str = "v2", variant: str = "green", name: str = "trips", **how: Any
) -> Planned:
    return Planned(at=after(at), what=Deployed(service=name, version=version, variant=variant, **how))


def wanted(at: str, kind: RequestKind, name: str = "trips", by: str = "alice", **arguments: str) -> Planned:
    return Planned(at=after(at), what=Wanted(kind=kind, service=name, arguments=arguments, by=by))


def planned(at: str, what: Occurrence) -> Planned:
    return Planned(at=after(at), what=what)


def script(
    *feeds: Feed,
    events: Iterable[Planned] = (),
    until: str = "15m",
    rules: tuple[Rule, ...] = (ERRORS,),
    **changes: Any,
) -> Script:
    made = Script(
        name="a story",
        begins=BEGINS,
        until=after(until),
        services=(service(*rules),),
        rules={one.name: one for one in rules},
        traffic={"trips": standing(blue="v1")},
        routes=(Route(to=("ops",)),),
        feeds=feeds,
        events=tuple(events),
    )
    return replace(made, **changes)


def bad_deployment(*, until: str = "15m", events: Iterable[Planned] = (), **changes: Any) -> Script:
    """v2 is deployed after five minutes and is bad from the first sample on; v1 stays good."""
    return script(
        feed((0.001, 121), version="v1"),
        feed((None, 10), (0.05, 111), version="v2"),
        events=(vouched(), deployed("5m"), *events),
        until=until,
        **changes,
    )


def played(one: Script) -> Recording:
    """The recording; and, of a short one, what is skipped as if nothing could change surely changes nothing."""
    recording = Player(one).play()
    assert one.until > LONG or Player(one, thorough=True).play() == recording
    return recording


def told(recording: Recording, what: What, *fields: str) -> list[tuple[str, ...]]:
    """When, and these facts, of all happenings of one kind."""
    return [(clock(one), *(str(one.facts.get(field, "")) for field in fields)) for one in recording.of(what)]


def clock(one: Happening) -> str:
    seconds = one.at.total_seconds()
    return (
        f"{int(seconds // 60)}:{seconds % 60:04.1f}".removesuffix(".0")
        if seconds % 1
        else (f"{int(seconds // 60)}:{int(seconds % 60):02}")
    )
