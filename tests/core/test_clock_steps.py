"""A clock that was set back must not make the watchdog deaf to what the switch shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.core.scenario import CRITICAL, OK, ROLLBACK, Scenario, of_service, rule
from watchdog.core.check import CheckState
from watchdog.core.clockstep import ahead
from watchdog.core.evaluate import evaluate
from watchdog.core.events import TrafficSeen
from watchdog.core.message import MessageKind
from watchdog.core.observation import NoData, NoDataReason, Value
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Level, Query, Rule, Thresholds
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


HOUR = timedelta(hours=1)


def set_back(scenario: Scenario) -> Scenario:
    scenario.now -= HOUR
    return scenario


@pytest.mark.parametrize(("seconds", "expected"), [(0, False), (60, False), (61, True), (-61, False)])
def test_a_moment_more_than_a_minute_ahead_is_of_a_clock_that_was_set_back(
    seconds: int, expected: bool
) -> None:
    assert ahead(NOON + timedelta(seconds=seconds), NOON) is expected
    assert ahead(NOON + HOUR + timedelta(seconds=seconds), NOON, beyond=HOUR) is expected
    assert not ahead(None, NOON)


def test_a_deployment_of_just_before_the_clock_was_set_back_does_not_warm_up_for_an_hour() -> None:
    scenario = set_back(Scenario().stable_blue().after("5s").traffic(blue=0, green=1).after("5s"))

    scenario.traffic().green_is_bad()

    assert scenario.incident.level is Level.ROLLBACK


def test_samples_after_the_clock_was_set_back_are_new_ones_and_prove_nothing_together_with_older_ones() -> (
    None
):
    scenario = Scenario(of_service()).stable_blue().after("10s").observe(value=CRITICAL)
    scenario.after("10s").observe(value=ROLLBACK)
    set_back(scenario).traffic().observe(value=ROLLBACK)

    after = scenario.remembers()
    assert after.sampled_at == scenario.now
    assert after.streaks["rollback"].count == 1, "the sample before the step is not counted with it"
    assert after.held is Level.CRITICAL
    assert after.latched is Level.CRITICAL, "what is known to be wrong stays"

    scenario.after("10s").observe(value=ROLLBACK)
    assert scenario.remembers().held is Level.ROLLBACK


def test_a_clear_check_hears_again_after_the_clock_was_set_back() -> None:
    scenario = set_back(Scenario().stable_blue()).after("30s").traffic()
    for _ in range(2):
        scenario.after("10s").observe(value=ROLLBACK, on="blue")

    assert scenario.incident.level is Level.ROLLBACK


def test_silence_is_counted_from_the_step_and_a_quarantine_ends_a_window_after_it() -> None:
    silent = CheckState(
        blind_since=NOON, unknown_since=NOON, breached_at=NOON, quarantine_until=NOON, latched=Level.CRITICAL
    )
    now = NOON - HOUR

    after = evaluate(rule(), silent, NoData(reason=NoDataReason.EMPTY), now=now).state

    assert (after.blind_since, after.unknown_since, after.breached_at) == (now, now, now)
    assert after.quarantine_until == now + rule().window
    later = now + rule().window
    assert evaluate(rule(), after, Value(value=OK, at=later), now=later).counted


def test_proof_goes_on_and_ends_in_its_own_time_after_the_clock_was_set_back() -> None:
    scenario = Scenario().verified().after("1s")
    set_back(scenario).traffic()
    begun = scenario.now

    scenario.blue_recovers()
    assert scenario.rollback.recovered_at == scenario.now, "samples count: the switch is long settled"
    scenario.after("90s").traffic().tick()

    scenario.rollback_is(RollbackState.COMPLETED)
    assert scenario.now - begun < timedelta(minutes=3)
    assert scenario.message(MessageKind.ROLLBACK_COMPLETED).headline == "trips: recovered on blue"
    assert scenario.recorded.count("rollback_deadlines_moved") == 1


def test_a_proof_without_samples_ends_at_its_deadline_after_the_clock_was_set_back() -> None:
    scenario = set_back(Scenario().verified().after("1s")).traffic()
    span = scenario.rollback.verify_until
    assert span is not None

    scenario.now = span
    scenario.traffic().tick()

    scenario.rollback_is(RollbackState.UNVERIFIED)
    assert scenario.recorded.count("rollback_deadlines_moved") == 1
