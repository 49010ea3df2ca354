"""How long the pure part takes: one evaluation, one whole step of the reactor."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from watchdog.core.check import CheckId, CheckState
from watchdog.core.evaluate import evaluate
from watchdog.core.events import Observed, TrafficSeen
from watchdog.core.observation import Value
from watchdog.core.rule import Evidence, Ratio, Rule, Thresholds, Unit
from watchdog.core.service import Service
from watchdog.core.step import step
from watchdog.core.traffic import TrafficState, VariantState
from watchdog.core.world import ServiceWorld, World

_RULE = Rule(
    name="error-rate",
    form=Ratio(bad="b", total="t"),
    unit=Unit.RATIO,
    source="p",
    thresholds=Thresholds(warning=0.005, critical=0.01, rollback=0.015),
    evidence=Evidence(),
)
_START = datetime(2026, 1, 1, tzinfo=UTC)


def _value(number: int) -> Value:
    return Value(value=0.002, at=_START + timedelta(seconds=30 * number), events=1000, bad=2)


def evaluations(count: int) -> list[float]:
    """Seconds of each of `count` evaluations of a healthy series."""
    state, taken = CheckState(), []
    for number in range(count):
        value = _value(number)
        began = time.perf_counter()
        state = evaluate(_RULE, state, value, now=value.at).state
        taken.append(time.perf_counter() - began)
    return taken


def steps(count: int) -> list[float]:
    """Seconds of each of `count` steps with a healthy observation."""
    service = ServiceWorld(service=Service(name="s", rules=("error-rate",)), rules={"error-rate": _RULE})
    world = World(services={"s": service})
    variants = {"blue": VariantState(weight=1, ready=1, total=1), "green": VariantState(weight=0)}
    seen = TrafficSeen(service="s", state=TrafficState(variants=variants, revision="1", read_at=_START))
    world = step(world, seen, _START).world
    check, taken = CheckId(service="s", rule="error-rate"), []
    for number in range(count):
        value = _value(number)
        event = Observed(check=check, observation=value, arrived_at=value.at)
        began = time.perf_counter()
        world = step(world, event, value.at).world
        taken.append(time.perf_counter() - began)
    return taken
