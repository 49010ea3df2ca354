"""The machine's clock is set, or the machine sleeps: every duration stays what it was, and nothing held is made up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.core.scenario import CRITICAL, OK, ROLLBACK, Scenario, probe, rule
from watchdog.core.check import Reason
from watchdog.core.deciding import INTENT_FOR
from watchdog.core.events import Asked, Observed, Stood, Ticked, TrafficSeen
from watchdog.core.facts import gather
from watchdog.core.guards import GuardFacts, ask
from watchdog.core.observation import Value
from watchdog.core.request import Request, RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Holds, Lasting, Level, Rule, Samples
from watchdog.core.service import Mode
from watchdog.core.shifting import caught_up, described, followed, set_back_by, shifted
from watchdog.core.step import step

HOUR = timedelta(hours=1)
STEPS = pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forward", "back"])
#: Rules whose rollback is held by time.
BY_TIME = rule(hold=Holds(warning=Samples(1), critical=Samples(1), rollback=Lasting(timedelta(minutes=1))))


def clock_set(scenario: Scenario, by: timedelta) -> Scenario:
    """The machine's clock is set, and the next tick notices. What is checked of other steps is not of this one."""
    stepped = step(scenario.world, Ticked(stepped=by), scenario.now)
    scenario.world, scenario.last = stepped.world, stepped
    scenario.audit.extend(stepped.audit)
    scenario.now += by
    return scenario


def slept(scenario: Scenario, duration: timedelta) -> Scenario:
    """The machine sleeps, and the reactor notices before anything else."""
    since = scenario.now
    scenario.now += duration
    scenario.feed(Stood(since=since))
    return scenario


def awaiting() -> Scenario:
    scenario = Scenario().green_deployed()
    return scenario.mode(Mode.APPROVE).green_is_bad().rollback_is(RollbackState.AWAITING_APPROVAL)


def done() -> Scenario:
    return Scenario().verified().blue_recovers().after("90s").traffic().tick()


def deployed_again() -> Scenario:
    """Long after that, another version is on green."""
    scenario = done().healthy_for("11m")
    scenario.post("v3", "green")
    return scenario.after("5s").traffic(blue=0, green=1)


STORIES: dict[str, Callable[[], Scenario]] = {
    "watching": lambda: Scenario().green_deployed(),
    "decided": lambda: Scenario().decided(),
    "awaiting approval": awaiting,
    "verifying": lambda: Scenario().verified(),
    "done": done,
    "deployed again": deployed_again,
}
stories = pytest.mark.parametrize("story", STORIES)


@pytest.fixture(scope="module")
def told() -> dict[str, Scenario]:
    """Each story once."""
    return {name: story() for name, story in STORIES.items()}


@stories
@settings(deadline=None)
@given(by=st.timedeltas(min_value=-30 * HOUR, max_value=30 * HOUR))
def test_what_is_moved_and_moved_back_is_what_it_was(
    told: dict[str, Scenario], story: str, by: timedelta
) -> None:
    world = told[story].world
    moved = shifted(world, by)
    assert shifted(moved, -by) == world
    service = moved.services["trips"]
    assert service.rules is world.services["trips"].rules, "what holds no moment is the same object"
    assert all(
        one.started_at - world.services["trips"].deployments[one.id].started_at == by
        for one in service.deployments.values()
    )


def test_a_moment_at_the_end_of_time_stays_there() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    assert shifted({"a": (last,)}, HOUR) == {"a": (last,)}
    assert shifted(last, -HOUR) == last - HOUR


def asked(scenario: Scenario, moved: timedelta, later: timedelta) -> tuple[str, GuardFacts]:
    """What the guards say so much later, with the clock set by so much now."""
    world = followed(scenario.world, moved, scenario.now + moved) if moved else scenario.world
    service = world.services["trips"]
    bad = next(one for one in reversed(service.deployments.values()) if one.variant == "green")
    now = scenario.now + moved + later
    facts = gather(world, service, now=now, automatic=True, bad=bad, rule=scenario.rules[0])
    return str(ask(facts)), facts


@stories
@settings(deadline=None)
@given(
    by=st.timedeltas(min_value=-2 * HOUR, max_value=2 * HOUR),
    later=st.timedeltas(min_value=timedelta(), max_value=26 * HOUR),
)
def test_no_guard_is_deceived_by_a_clock_that_was_set(
    told: dict[str, Scenario], story: str, by: timedelta, later: timedelta
) -> None:
    """Armed, cooldown, max_per_day, the breaker and what was known before: all go by the time that really passed."""
    as_ever, _ = asked(told[story], timedelta(), later)
    moved, facts = asked(told[story], by, later)
    assert moved == as_ever
    assert facts.now == told[story].now + by + later


def test_the_guards_that_go_by_time_do_say_no_in_these_stories(told: dict[str, Scenario]) -> None:
    """Otherwise the test above would compare nothing."""
    texts = [
        asked(one, timedelta(), later)[0]
        for one in told.values()
        for later in (timedelta(), timedelta(minutes=4), 2 * HOUR)
    ]
    for guard in ("cooldown", "too_late"):
        assert any(guard in text for text in texts), guard


@STEPS
def test_a_request_for_approval_expires_when_its_time_has_really_passed(by: timedelta) -> None:
    scenario = clock_set(awaiting().after("1m"), by)
    scenario.after("13m").tick().rollback_is(RollbackState.AWAITING_APPROVAL)
    scenario.after("2m").tick().rollback_is(RollbackState.EXPIRED, "nobody approved within 15 minutes")


@STEPS
def test_an_approval_in_time_counts_after_the_clock_was_set(by: timedelta) -> None:
    scenario = clock_set(awaiting().after("1m"), by).after("5s").traffic()
    reply = scenario.ask(RequestKind.APPROVE, scenario.incident.id)
    assert reply.status == 202, reply
    scenario.rollback_is(RollbackState.INTENDED)


@STEPS
def test_an_intent_lives_as_long_as_ever_and_is_not_handed_out_again(by: timedelta) -> None:
    scenario = clock_set(Scenario().decided().after("1m"), by)
    assert scenario.rollback.expires_at == scenario.now + INTENT_FOR - timedelta(minutes=1)
    assert scenario.last.rollbacks == (), "the executor has it in hand"
    assert scenario.last.deployments, "what nobody has in hand is written"


@STEPS
def test_a_proof_takes_as_long_as_ever(by: timedelta) -> None:
    scenario = Scenario().verified().after("1s")
    until = scenario.rollback.verify_until
    assert until is not None
    clock_set(scenario, by)
    assert scenario.rollback.verify_until == until + by
    scenario.traffic().blue_recovers().after("90s").traffic().tick()
    scenario.rollback_is(RollbackState.COMPLETED)


@STEPS
@pytest.mark.parametrize("held_by", [rule(), BY_TIME], ids=["samples", "time"])
@pytest.mark.parametrize("source_follows", [True, False])
def test_no_hold_is_met_by_samples_of_before_and_after(
    by: timedelta, held_by: Rule, source_follows: bool
) -> None:
    scenario = Scenario(held_by).green_deployed().after("10s")
    scenario.observe(value=ROLLBACK, on="green")
    assert scenario.remembers(on="green").streaks["rollback"].count == 1
    clock_set(scenario, by)
    sampled = scenario.now + timedelta(seconds=5) - (timedelta() if source_follows else by)
    scenario.after("5s").traffic()
    scenario.sees(scenario.check(on="green"), Value(value=ROLLBACK, at=sampled))
    assert not scenario.service.rollbacks, "one sample since the clock was set"
    for _ in range(7):
        sampled += timedelta(seconds=10)
        scenario.after("10s").sees(scenario.check(on="green"), Value(value=ROLLBACK, at=sampled))
    scenario.rollback_is(RollbackState.INTENDED, "and it is not deaf")


@pytest.mark.parametrize("held_by", [BY_TIME], ids=["time"])
def test_no_hold_is_met_by_samples_of_before_and_after_a_sleep(held_by: Rule) -> None:
    scenario = Scenario(held_by).green_deployed().after("10s")
    scenario.observe(value=ROLLBACK, on="green")
    slept(scenario, timedelta(minutes=10)).traffic().observe(value=ROLLBACK, on="green")
    assert not scenario.service.rollbacks
    for _ in range(7):
        scenario.after("10s").observe(value=ROLLBACK, on="green")
    scenario.rollback_is(RollbackState.INTENDED)


def test_dead_probes_of_before_do_not_count_after_the_clock_was_set() -> None:
    scenario = Scenario(probe()).traffic(blue=1, green=0).healthy_for("11m")
    scenario.after("5s").traffic(blue=0, green=1).after("35s")
    for _ in range(4):
        scenario.after("10s").probed(alive=False)
    clock_set(scenario, HOUR).traffic().probed(alive=False)
    assert scenario.remembers("healthy").probe_failures == 1
    assert not scenario.service.rollbacks


@STEPS
def test_one_cycle_is_unknown_and_what_is_known_to_be_wrong_stays(by: timedelta) -> None:
    scenario = Scenario().green_deployed().after("10s").observe(value=CRITICAL, on="green")
    assert scenario.remembers(on="green").latched is Level.CRITICAL
    clock_set(scenario, by)
    after = scenario.remembers(on="green")
    assert after.verdict is not None
    assert (after.verdict.level, after.verdict.reason) == (Level.UNKNOWN, Reason.CLOCK_SET)
    assert "the machine's clock was set" in after.verdict.explanation
    assert after.latched is Level.CRITICAL
    assert scenario.incident.level is Level.CRITICAL
    scenario.after("10s").traffic().observe(value=OK, on="green")
    assert scenario.remembers(on="green").verdict != after.verdict


def test_an_answer_that_was_asked_for_before_judges_nothing_after() -> None:
    scenario = Scenario().green_deployed().after("10s")
    check, edition = scenario.check(on="green"), scenario.world.edition
    bad = Value(value=ROLLBACK, at=scenario.now)
    late: list[Observed | TrafficSeen] = [
        Observed(check=check, observation=bad, arrived_at=scenario.now + HOUR, edition=edition),
        TrafficSeen(service="trips", state=scenario.state(blue=1, green=0), edition=edition),
    ]
    for change in (clock_set, slept):
        change(scenario, HOUR)
        before = scenario.world
        for event in late:
            scenario.feed(event)
        assert scenario.world == before


def test_it_is_recorded_with_both_times() -> None:
    scenario = Scenario().green_deployed()
    before = scenario.now
    clock_set(scenario, -HOUR)
    (note,) = (one for one in scenario.audit if one.kind == "clock_set")
    assert note.at == before
    assert note.body["stepped_seconds"] == -3600
    assert (note.body["before"], note.body["after"]) == (_text(before), _text(before - HOUR))
    assert described(-HOUR) == "back by 1h"


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


@STEPS
def test_a_silence_and_the_known_verdicts_move_along(by: timedelta) -> None:
    scenario = Scenario().green_deployed()
    ends_at = (scenario.now + HOUR).isoformat()
    request = {"matchers": {"service": "trips"}, "ends_at": ends_at, "reason": "work"}
    scenario.feed(
        Asked(
            request=Request(
                id="req-s", kind=RequestKind.SILENCE, target="", by="olga", at=scenario.now, body=request
            )
        )
    )
    (silence,) = scenario.world.silences.values()
    known = scenario.service.known["errors"].runs[-1]
    clock_set(scenario, by)
    (moved,) = scenario.world.silences.values()
    assert moved.ends_at == silence.ends_at + by
    assert scenario.service.known["errors"].runs[-1].last_at == known.last_at + by


def test_a_start_that_finds_a_world_of_later_than_now_moves_it() -> None:
    scenario = Scenario().switched().after("5s").traffic()
    now = scenario.now - HOUR
    assert set_back_by(scenario.world, scenario.now) == timedelta()
    assert set_back_by(scenario.world, scenario.now - timedelta(seconds=50)) == timedelta(), "two clocks"
    assert set_back_by(scenario.world, now) == -HOUR
    found = caught_up(scenario.world, now)
    assert found is not None
    applied_at = found["world"].services["trips"].rollbacks[scenario.rollback.id].applied_at
    assert applied_at == now - timedelta(seconds=5)
    assert found["rollbacks"], "and it is written"
    assert caught_up(found["world"], now) is None


def test_an_intent_that_was_on_its_way_moves_no_world_a_second_time() -> None:
    scenario = Scenario().decided()
    before = scenario.service.rollbacks
    clock_set(scenario, -HOUR)
    stored = replace(scenario.service, rollbacks=before)  # as it is on disk until its outcome is known

    world = replace(scenario.world, services={stored.name: stored})

    assert caught_up(world, scenario.now) is None
