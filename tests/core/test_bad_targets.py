"""Where a rollback must not go, and what must not begin one: the stories of the failure catalogue, parts B and C."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.core.scenario import CRITICAL, MINUTE, OK, ROLLBACK, Scenario, of_service, rule
from watchdog.core.deployment import DeploymentState
from watchdog.core.events import OutcomeKind
from watchdog.core.facts import facts_before_write
from watchdog.core.guards import BEFORE_WRITE, ask
from watchdog.core.message import MessageKind
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState

BLOCKED, WANTED = MessageKind.ROLLBACK_BLOCKED, MessageKind.APPROVAL_WANTED


def never_intended(scenario: Scenario) -> bool:
    return not any(
        passage.state is RollbackState.INTENDED
        for rollback in scenario.service.rollbacks.values()
        for passage in rollback.history
    )


def asked_again(scenario: Scenario, *, without: str = "") -> list[tuple[str, str]]:
    """What the guards say of the state just read, right before the write; a variant may be gone from it."""
    state = scenario.state()
    state = replace(state, variants={name: it for name, it in state.variants.items() if name != without})
    facts = facts_before_write(scenario.world, scenario.rollback, state, now=scenario.now, paused_by_file="")
    return [(veto.guard, veto.reason) for veto in ask(facts, BEFORE_WRITE)]


# -- B4, B5: nothing was deployed, or not the version


def test_more_visitors_than_the_service_can_bear_are_told_and_roll_nothing_back() -> None:
    scenario = Scenario(of_service("errors")).stable_blue().after("3h").traffic()
    for _ in range(10):
        scenario.after("30s").observe(value=ROLLBACK)

    assert never_intended(scenario)
    assert scenario.vetoes[0] == ("armed", "not_armed")
    assert MessageKind.INCIDENT_OPENED in scenario.told
    assert scenario.told.count(BLOCKED) == 1


def test_more_visitors_than_both_live_versions_can_bear_are_not_the_fault_of_the_new_one() -> None:
    scenario = Scenario().shows("green", ready=1, total=1).stable_blue().after("5s")
    scenario.traffic(blue=9, green=1).after("35s").traffic()
    scenario.observe(value=CRITICAL, on="blue")
    scenario.green_is_bad(6)

    assert never_intended(scenario)
    assert scenario.vetoes == [("not_already_bad", "previous_bad_too")]


def test_visitors_that_come_late_to_a_version_of_yesterday_do_not_take_it_back() -> None:
    scenario = Scenario(armed_for=60 * MINUTE).green_deployed().after("61m").traffic().green_is_bad(4)

    assert never_intended(scenario)
    assert ("armed", "too_late") in scenario.vetoes


@pytest.mark.parametrize("since", ["2h", "20h"])
def test_a_flag_that_is_flipped_on_a_running_version_is_told_and_not_answered_with_an_older_version(
    since: str,
) -> None:
    scenario = Scenario().green_deployed().healthy_for("11m").after(since).traffic()
    assert scenario.on("green").state is DeploymentState.STABLE
    scenario.green_is_bad(4)

    assert never_intended(scenario)
    assert ("armed", "too_late") in scenario.vetoes
    assert scenario.told.count(BLOCKED) == 1


def test_the_same_version_with_another_configuration_is_not_answered_with_the_same_version() -> None:
    scenario = Scenario().shows("blue", version="v1").shows("green", version="v1")
    scenario.green_deployed().green_is_bad(4)

    assert never_intended(scenario)
    assert scenario.vetoes[0] == ("known_good_target", "same_version")
    assert "carries the same version v1" in scenario.message(BLOCKED).headline


# -- C1, D10: no capacity


def test_an_old_version_without_capacity_is_waited_for_and_told_and_never_switched_to_before() -> None:
    scenario = Scenario().shows("blue", ready=0).green_deployed().green_is_bad()
    for ready in range(8):
        scenario.shows("blue", ready=ready).traffic().green_is_bad(1)
        scenario.rollback_is(RollbackState.BLOCKED, f"{ready} of 10 are ready")
        assert scenario.vetoes == [("target_ready", "not_ready")]
    assert scenario.told.count(BLOCKED) == 1
    assert "8 needed" in scenario.message(BLOCKED).headline

    scenario.shows("blue", ready=8).traffic().green_is_bad(1)

    scenario.rollback_is(RollbackState.INTENDED)


@pytest.mark.parametrize(
    ("capacity", "said"),
    [
        ({"ready": 7}, ("target_ready", "not_ready")),
        ({"ready": 0, "total": 0}, ("target_ready", "not_ready")),
        ({"ready": None}, ("target_ready", "unknown")),
    ],
)
def test_an_autoscaler_that_shrinks_the_target_after_the_decision_stops_the_write(
    capacity: dict[str, Any], said: tuple[str, str]
) -> None:
    scenario = Scenario().decided()
    assert asked_again(scenario) == []

    scenario.shows("blue", **capacity)

    assert asked_again(scenario) == [said]


def test_an_autoscaler_that_grows_what_is_live_asks_more_of_the_target() -> None:
    scenario = Scenario().decided()

    assert asked_again(scenario.shows("green", ready=12, total=12)) == []
    assert asked_again(scenario.shows("green", ready=13, total=13)) == [("target_ready", "not_ready")]


# -- C2, C3: the target is gone, or is another one


def test_a_target_that_is_gone_at_the_write_is_not_written() -> None:
    scenario = Scenario().shows("red", ready=10).traffic(blue=1, green=0, red=0).healthy_for("11m")
    scenario.after("5s").traffic(blue=0, green=1).after("35s").traffic().green_is_bad()

    assert [guard for guard, _ in asked_again(scenario, without="blue")] == [
        "known_good_target",
        "target_ready",
    ]


def test_a_tag_that_was_moved_makes_another_version_of_the_target_and_none_to_go_to() -> None:
    scenario = Scenario().shows("blue", version="v1").shows("green", version="v2").green_deployed()
    scenario.shows("blue", version="v1-moved").traffic().green_is_bad(4)

    assert never_intended(scenario)
    assert scenario.vetoes[0] == ("known_good_target", "replaced")
    assert "blue now carries v1-moved, not v1" in scenario.message(BLOCKED).headline


def test_a_tag_that_is_moved_between_decision_and_write_stops_it() -> None:
    scenario = Scenario().shows("blue", version="v1").shows("green", version="v2").decided()
    assert asked_again(scenario) == []

    scenario.shows("blue", version="v1-moved")

    assert ("known_good_target", "unknown_version") in asked_again(scenario)


# -- C4, C7: what must not be taken back


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deployment_marked_as_forbidden_to_take_back_is_told_with_the_reason_and_stays(when: str) -> None:
    scenario = Scenario().stable_blue()
    if when == "before":
        scenario.post("v2", "green", rollback="forbidden")
        scenario.after("5s").traffic(blue=0, green=1).after("35s").traffic()
    else:
        scenario.after("5s").traffic(blue=0, green=1).after("35s").traffic()
        scenario.post("v2", "green", rollback="forbidden")
    scenario.green_is_bad(6)

    assert never_intended(scenario)
    assert scenario.vetoes[0] == ("known_good_target", "forbidden")
    message = scenario.message(BLOCKED)
    assert "recorded with rollback: forbidden; move traffic by hand if that is safe" in message.headline
    assert message.needs_human


def test_even_a_person_does_not_take_back_what_was_forbidden() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v2", "green", rollback="forbidden")
    scenario.after("5s").traffic(blue=0, green=1).after("35s").traffic()

    reply = scenario.ask(RequestKind.ROLLBACK, reason="I know better")

    assert reply.status == 409
    assert "rollback: forbidden" in reply.detail


# -- C5, C6: never to what was bad


def test_what_was_gone_back_to_and_is_bad_too_is_not_taken_forward_again() -> None:
    scenario = Scenario(cooldown=MINUTE, max_per_day=9).verified().blue_recovers().after("70s").traffic()
    scenario.rollback_is(RollbackState.COMPLETED)
    switches = [one for one in scenario.service.rollbacks.values() if one.switched]
    for _ in range(20):
        scenario.after("30s").observe(value=ROLLBACK, on="blue")

    assert [one for one in scenario.service.rollbacks.values() if one.switched] == switches
    scenario.rollback_is(RollbackState.BLOCKED)
    assert ("armed", "not_armed") in scenario.vetoes
    assert scenario.vetoes[1][0] == "known_good_target"
    assert scenario.told[-1] is BLOCKED


def test_not_even_a_person_is_led_back_to_what_was_taken_away_before_he_says_that_it_is_good() -> None:
    scenario = Scenario().verified().blue_recovers().after("70s").traffic()

    refused = scenario.ask(RequestKind.ROLLBACK, reason="forward again")
    assert refused.status == 409
    assert "known_good_target" in refused.detail

    scenario.ask(RequestKind.MARK_GOOD, version="green", reason="it was the network")
    assert scenario.ask(RequestKind.ROLLBACK, reason="forward again").status == 202


def test_two_bad_deployments_in_a_row_end_at_the_last_one_that_proved_itself() -> None:
    scenario = Scenario().shows("red", ready=10).traffic(blue=1, green=0, red=0).healthy_for("11m")
    scenario.after("5s").traffic(blue=0, green=1).after("5m").traffic(green=0, red=1).after("35s").traffic()
    for _ in range(2):
        scenario.after("10s").observe(value=ROLLBACK, on="red")

    scenario.rollback_is(RollbackState.INTENDED)
    assert (scenario.rollback.from_variant, scenario.rollback.to_variant) == ("red", "blue")


def test_a_version_that_was_worse_for_a_moment_of_its_soak_did_not_prove_itself() -> None:
    scenario = Scenario().traffic(blue=1, green=0).healthy_for("9m")
    scenario.after("30s").observe(value=CRITICAL)
    scenario.after("30s").observe(value=OK).after("30s").observe(value=OK).healthy_for("5m")
    scenario.after("5s").traffic(blue=0, green=1).after("35s").traffic().green_is_bad(4)

    assert never_intended(scenario)
    assert scenario.vetoes[0] == ("known_good_target", "not_stable")


def test_a_change_that_was_refused_goes_nowhere_else() -> None:
    scenario = Scenario().decided()
    scenario.after("1s").outcome(OutcomeKind.REFUSED, detail="no right to do so").green_is_bad(6)

    scenario.rollback_is(RollbackState.FAILED)
    assert len(scenario.service.rollbacks) == 1
    assert WANTED not in scenario.told


def test_one_rule_that_knows_better_can_be_asked_before_the_load_is_taken_for_a_fault() -> None:
    scenario = Scenario(rule(), rule("saturation"), confirm=("saturation",)).green_deployed()
    for _ in range(4):
        scenario.after("10s").observe("errors", value=ROLLBACK).observe("saturation", value=OK)

    assert never_intended(scenario)
    assert scenario.vetoes == [("confirmed", "not_confirmed")]
