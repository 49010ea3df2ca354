"""Announcements: pending before traffic, naming after it, armed in place, and the same words twice change nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.core.scenario import CRITICAL, MINUTE, T0, Scenario, rule
from watchdog.core.deployment import DeploymentState
from watchdog.core.events import OutcomeKind
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState


def versions(scenario: Scenario) -> list[tuple[str, str, str]]:
    return [(one.version, one.variant, one.state.value) for one in scenario.service.deployments.values()]


# -- before traffic


def test_an_announcement_before_traffic_is_pending() -> None:
    scenario = Scenario().stable_blue()

    reply = scenario.post("v2", "green", source="pipeline", url="https://ci/1", labels={"team": "booking"})

    assert (reply.status, reply.body["state"], reply.body["armed"]) == (201, "pending", False)
    assert (reply.body["source"], reply.body["url"], reply.body["labels"]) == (
        "pipeline",
        "https://ci/1",
        {"team": "booking"},
    )
    assert scenario.last.looks == ("trips",), "its traffic is looked at right away"


def test_when_traffic_comes_the_announced_one_is_armed() -> None:
    scenario = Scenario().stable_blue()
    reply = scenario.post("v2", "green")
    scenario.after("20s").traffic().after("10s").traffic(blue=0, green=1)

    green = scenario.on("green")
    assert (green.id, green.version, green.state, green.armed) == (
        reply.body["id"],
        "v2",
        DeploymentState.WATCHING,
        True,
    )
    assert green.started_at == scenario.now - timedelta(seconds=10)


def test_it_did_not_start_before_it_says_it_did() -> None:
    scenario = Scenario().stable_blue().after("1m")
    scenario.post("v2", "green", started_at=scenario.now.isoformat())

    scenario.after("1s").traffic(blue=0, green=1)

    assert scenario.on("green").started_at == scenario.now - timedelta(seconds=1)


def test_an_announcement_to_which_no_traffic_comes_fails_after_an_hour() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v2", "green")

    scenario.after("59m59s").tick()
    assert versions(scenario)[-1] == ("v2", "green", "pending")
    scenario.after("1s").tick()
    assert versions(scenario)[-1] == ("v2", "green", "failed")
    assert scenario.recorded[-1] == "deployment_failed"


def test_a_later_announcement_replaces_the_one_that_waits() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v2", "green")
    scenario.post("v3", "green")

    assert versions(scenario)[-2:] == [("v2", "green", "superseded"), ("v3", "green", "pending")]


def test_the_same_announcement_twice_is_one() -> None:
    scenario = Scenario().stable_blue()
    first, second = scenario.post("v2", "green"), scenario.post("v2", "green", url="https://ci/2")

    assert (first.status, second.status) == (201, 200)
    assert first.body["id"] == second.body["id"]
    assert second.body["url"] == "https://ci/2"
    assert len(scenario.service.deployments) == 2


def test_an_announced_return_to_an_earlier_version_is_never_armed() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v1", "blue")
    scenario.after("5s").traffic(blue=0, green=1).after("5s")
    scenario.post("v1", "blue")
    scenario.after("5s").traffic(blue=1, green=0)

    assert (scenario.on("blue").version, scenario.on("blue").state) == ("v1", DeploymentState.RETURN)
    assert not scenario.on("blue").armed


def test_an_announcement_waits_until_the_switch_tells_its_version() -> None:
    """In place, on a switch that tells versions: what is there now is still the earlier one."""
    scenario = Scenario().shows("blue", version="v1").stable_blue()
    reply = scenario.post("v2", "blue")
    assert reply.body["state"] == "pending"
    scenario.after("10s").traffic()
    assert scenario.on("blue").version == "v1"

    scenario.after("10s").shows("blue", version="v2").traffic()

    assert scenario.on("blue").id == reply.body["id"]
    assert (scenario.on("blue").state, scenario.on("blue").armed) == (DeploymentState.WATCHING, True)


def test_an_older_announcement_that_gets_its_traffic_late_is_what_serves() -> None:
    scenario = Scenario().shows("green", version="v2").stable_blue()
    scenario.post("v3", "green")
    scenario.after("5s").traffic(blue=0, green=1).after("5s").shows("green", version="v3").traffic()

    assert scenario.on("green").version == "v3"
    assert scenario.on("green").state is DeploymentState.WATCHING


# -- after traffic


def test_an_announcement_within_fifteen_minutes_names_the_seen_change() -> None:
    scenario = Scenario().green_deployed()
    seen = scenario.on("green")

    reply = scenario.post("v2", "green")

    assert (reply.status, reply.body["id"], reply.body["version"]) == (200, seen.id, "v2")
    assert scenario.on("green").armed
    assert scenario.on("green").started_at == seen.started_at


def test_the_fifteenth_minute_still_counts() -> None:
    scenario = Scenario().green_deployed().after("14m25s")

    assert scenario.post("v2", "green").status == 200


def test_after_fifteen_minutes_it_is_another_one() -> None:
    scenario = Scenario().green_deployed().after("14m26s")

    reply = scenario.post("v2", "green")

    assert reply.status == 201
    assert (scenario.on("green").version, scenario.on("green").state) == ("v2", DeploymentState.WATCHING)


def test_a_named_change_is_not_named_twice() -> None:
    scenario = Scenario().green_deployed()
    scenario.post("v2", "green")

    reply = scenario.after("1m").post("v3", "green")

    assert reply.status == 201
    assert [one for one in versions(scenario) if one[1] == "green"] == [
        ("v2", "green", "superseded"),
        ("v3", "green", "watching"),
    ]


def test_an_adopted_version_without_a_name_is_named_at_any_time() -> None:
    scenario = Scenario().stable_blue().after("5h")

    reply = scenario.post("v1", "blue")

    assert reply.status == 200
    assert versions(scenario) == [("v1", "blue", "stable")]
    assert not scenario.on("blue").armed


def test_a_name_the_switch_does_not_use_makes_no_new_deployment_at_every_read() -> None:
    scenario = Scenario().shows("green", version="sha-1").shows("blue", version="sha-0").green_deployed()
    assert scenario.post("v2", "green").status == 200

    for _ in range(3):
        scenario.after("10s").traffic()

    assert [one for one in versions(scenario) if one[1] == "green"] == [("v2", "green", "watching")]
    assert scenario.post("sha-1", "green").status == 200, "the switch's own name is the same thing"

    scenario.green_is_bad()
    scenario.rollback_is(RollbackState.INTENDED)


def test_a_return_that_is_announced_as_something_new_is_armed() -> None:
    scenario = Scenario().green_deployed().healthy_for("11m").after("5s").traffic(blue=1, green=0)
    assert scenario.on("blue").state is DeploymentState.RETURN

    reply = scenario.after("5m").post("v3", "blue")

    assert reply.status == 200
    assert (scenario.on("blue").version, scenario.on("blue").state) == ("v3", DeploymentState.WATCHING)
    assert scenario.on("blue").armed
    assert [one for one in versions(scenario) if one[0] == "blue"] == [("blue", "blue", "stable")]


def test_naming_a_version_that_the_watchdog_returned_to_arms_nothing() -> None:
    scenario = Scenario().switched().after("1m")

    reply = scenario.post("v1", "blue")

    assert reply.status == 200
    assert not scenario.on("blue").armed
    assert {one.version for one in scenario.service.deployments.values() if one.variant == "blue"} == {"v1"}
    assert scenario.rollback.to_version == "v1"


def test_naming_a_version_in_the_middle_of_its_incident_loses_nothing() -> None:
    scenario = Scenario(rule(query='errors{variant="$variant"}')).green_deployed()
    scenario.after("10s").observe(value=CRITICAL)
    incident = scenario.incident

    scenario.after("1s").post("v2", "green")

    assert scenario.incident.id == incident.id
    assert list(scenario.incident.breaches) == ["trips/errors@v2/green"]
    assert scenario.incident.version == "v2"
    assert scenario.remembers().latched.value == "critical"

    scenario.green_is_bad()
    assert (scenario.rollback.from_version, scenario.rollback.state) == ("v2", RollbackState.INTENDED)


def test_the_name_of_a_version_that_was_rolled_back_already_is_tainted_under_it() -> None:
    scenario = Scenario().switched()
    assert set(scenario.service.taints) == {"green"}

    reply = scenario.after("1m").post("v2", "green")

    assert (reply.status, reply.body["state"]) == (200, "rolled_back")
    assert set(scenario.service.taints) == {"v2"}
    assert scenario.service.taints["v2"].version == "v2"


def test_the_next_version_for_a_variant_that_was_rolled_back_is_a_deployment_of_its_own() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v2", "green")
    scenario.after("5s").traffic(blue=0, green=1).after("35s").green_is_bad().after("1s")
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))

    reply = scenario.after("1m").post("v3", "green")

    assert (reply.status, reply.body["state"]) == (201, "pending")
    assert set(scenario.service.taints) == {"v2"}


# -- in place


def test_another_version_in_place_is_armed_at_once() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v1", "blue")

    reply = scenario.after("1h").post("v2", "blue")

    assert (reply.status, reply.body["state"], reply.body["armed"]) == (201, "watching", True)
    assert versions(scenario) == [("v1", "blue", "stable"), ("v2", "blue", "watching")]


def test_in_place_back_to_an_earlier_version_is_a_return_and_never_armed() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v1", "blue")
    scenario.after("1h").post("v2", "blue")

    reply = scenario.after("1m").post("v1", "blue")

    assert (reply.status, reply.body["state"], reply.body["armed"]) == (201, "return", False)
    assert versions(scenario)[-1] == ("v1", "blue", "return")


def test_in_place_a_version_that_was_not_stable_yet_is_superseded() -> None:
    scenario = Scenario().traffic(blue=1, green=0)
    scenario.post("v1", "blue")
    scenario.after("1m").post("v2", "blue")

    assert versions(scenario) == [("v1", "blue", "superseded"), ("v2", "blue", "watching")]


def test_the_same_version_in_place_again_is_no_deployment() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v1", "blue")

    reply = scenario.after("1h").post("v1", "blue")

    assert reply.status == 200
    assert versions(scenario) == [("v1", "blue", "stable")]


def test_with_the_version_its_checks_and_its_incident_go() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v1", "blue")
    scenario.after("30s").observe(value=CRITICAL)
    assert scenario.incident.version == "v1"

    scenario.after("1m").post("v2", "blue")

    assert not scenario.service.checks
    assert not scenario.service.incidents


# -- what else it says


def test_forbidden_sticks() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v2", "green", rollback="forbidden")
    scenario.post("v2", "green", rollback="allowed")
    scenario.after("5s").traffic(blue=0, green=1).after("35s").green_is_bad()

    assert not scenario.on("green").rollback_allowed
    assert ("known_good_target", "forbidden") in scenario.vetoes


@pytest.mark.parametrize(
    ("started_at", "problem"),
    [
        ("2026-03-02T10:00:00", "needs a time zone"),
        ("2027-01-01T00:00:00+00:00", "lies in the future"),
        ("yesterday", "is not a time"),
    ],
)
def test_an_impossible_start_is_refused(started_at: str, problem: str) -> None:
    scenario = Scenario().stable_blue()

    reply = scenario.post("v2", "green", started_at=started_at)

    assert reply.status == 422
    assert problem in reply.detail
    assert len(scenario.service.deployments) == 1


def test_a_clock_a_little_ahead_is_forgiven() -> None:
    scenario = Scenario().stable_blue()

    reply = scenario.post("v2", "green", started_at=(scenario.now + timedelta(seconds=4)).isoformat())

    assert reply.status == 201
    assert scenario.service.deployments[reply.body["id"]].started_at == T0 + 11 * MINUTE


def test_a_variant_that_does_not_exist_is_refused_with_those_that_do() -> None:
    scenario = Scenario().stable_blue()

    reply = scenario.post("v2", "grün")

    assert (reply.status, reply.detail) == (422, "service trips has no variant 'grün'; it has blue, green")


def test_a_service_that_does_not_exist_is_refused_with_those_that_do() -> None:
    scenario = Scenario().stable_blue()

    reply = scenario.ask(RequestKind.DEPLOYMENT, "trip", version="v2", variant="green")

    assert (reply.status, reply.detail) == (404, "there is no service 'trip'; known: trips")
