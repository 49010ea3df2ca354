"""A clock that was set back must not make the watchdog deaf to what the switch shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from watchdog.core.events import TrafficSeen
from watchdog.core.rule import Query, Rule, Thresholds
from watchdog.core.service import Service
from watchdog.core.step import step
from watchdog.core.traffic import TrafficState, VariantState
from watchdog.core.world import ServiceWorld, World

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RULE = Rule(name="queue", form=Query(query="q"), thresholds=Thresholds(critical=1))


def world() -> World:
    service = ServiceWorld(service=Service(name="trips", rules=("queue",)), rules={"queue": RULE})
    return step(World(services={"trips": service}), seen("blue", NOON), NOON).world


def seen(live: str, at: datetime) -> TrafficSeen:
    variants = {name: VariantState(weight=int(name == live), ready=1, total=1) for name in ("blue", "green")}
    return TrafficSeen(service="trips", state=TrafficState(variants=variants, revision=live, read_at=at))


def live(after: World) -> tuple[str, ...]:
    traffic = after.services["trips"].traffic
    assert traffic is not None
    return traffic.live


def test_a_read_that_was_overtaken_by_a_newer_one_says_nothing() -> None:
    late = seen("green", NOON - timedelta(seconds=1))
    assert live(step(world(), late, NOON).world) == ("blue",)


def test_a_read_after_the_clock_was_set_back_by_an_hour_counts() -> None:
    earlier = NOON - timedelta(hours=1)
    assert live(step(world(), seen("green", earlier), earlier).world) == ("green",)
