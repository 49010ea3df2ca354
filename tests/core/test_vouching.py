"""A person's word on a version: what it changes, and what it never does."""

from __future__ import annotations

import pytest

from tests.core.scenario import Scenario
from watchdog.core.deployment import DeploymentState
from watchdog.core.message import MessageKind
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.targets import choose

TAINT, UNTAINT, MARK_GOOD = RequestKind.TAINT, RequestKind.UNTAINT, RequestKind.MARK_GOOD


def target(scenario: Scenario) -> str:
    """The version a rollback would go to now, or the word for why there is none."""
    chosen = choose(scenario.service, scenario.service.current())
    return chosen.deployment.version if chosen.deployment is not None else chosen.problem


def two_versions() -> Scenario:
    """v1 on blue proved itself; v2 on green takes the traffic now."""
    scenario = Scenario()
    scenario.traffic(blue=1, green=0).post("v1", "blue")
    scenario.healthy_for("11m")
    scenario.post("v2", "green")
    return scenario.after("5s").traffic(blue=0, green=1)


def test_a_tainted_version_is_no_target_until_it_is_untainted() -> None:
    scenario = two_versions()
    assert target(scenario) == "v1"

    reply = scenario.ask(TAINT, version="v1", reason="leaks memory")

    assert reply.status == 200
    assert reply.body["taint"]["by"] == "alice"
    assert reply.body["states"] == {"blue": "stable"}
    assert scenario.last.services, "it is stored"
    assert target(scenario) == "tainted"
    assert scenario.restart().service.taints["v1"].reason == "leaks memory"

    reply = scenario.ask(UNTAINT, version="v1", by="bob", reason="it was the database")

    assert (reply.status, reply.body["taint"]) == (200, None)
    assert target(scenario) == "v1"
    assert scenario.recorded[-2:] == ["version_tainted", "version_untainted"]
    assert scenario.audit[-1].body["was"]["by"] == "alice"


def test_a_taint_of_the_live_version_counts_once_it_is_not_live_any_more() -> None:
    scenario = two_versions()
    scenario.ask(TAINT, version="v2", reason="sells at last year's price")
    assert target(scenario) == "v1"
    scenario.healthy_for("11m").after("5s").traffic(blue=1, green=0)
    assert target(scenario) == "tainted"


def test_tainting_twice_keeps_the_first_word_and_untainting_twice_changes_nothing() -> None:
    scenario = two_versions()
    scenario.ask(TAINT, version="v1", reason="first")
    again = scenario.ask(TAINT, version="v1", by="bob", reason="second")
    assert again.body["taint"]["reason"] == "first"
    assert scenario.recorded.count("version_tainted") == 1

    for _ in range(2):
        assert scenario.ask(UNTAINT, version="v1", reason="x").status == 200
    assert scenario.recorded.count("version_untainted") == 1


@pytest.mark.parametrize("kind", [TAINT, UNTAINT, MARK_GOOD])
def test_a_version_that_nobody_knows_is_404_with_those_that_are(kind: RequestKind) -> None:
    scenario = two_versions()
    reply = scenario.ask(kind, version="v3", reason="x")
    assert (reply.status, reply.detail) == (404, "trips has no version 'v3'; known, newest first: v2, v1")
    reply = Scenario().ask(kind, version="v3", reason="x")
    assert reply.detail.endswith("known, newest first: none")


def test_a_version_is_known_by_the_switchs_own_name_for_it_too() -> None:
    scenario = Scenario().shows("blue", version="sha-1").shows("green", version="sha-2")
    scenario.traffic(blue=1, green=0).healthy_for("11m").after("5s").traffic(blue=0, green=1)
    assert scenario.ask(TAINT, version="sha-1", reason="x").body["version"] == "sha-1"
    assert target(scenario) == "tainted"


def test_the_switchs_name_for_an_announced_version_means_that_version() -> None:
    scenario = Scenario().traffic(blue=1, green=0)
    scenario.post("v1", "blue")
    scenario.shows("blue", version="sha-1").after("5s").traffic()
    assert scenario.ask(TAINT, version="sha-1", reason="x").body["version"] == "v1"


def test_a_version_that_was_replaced_too_soon_becomes_a_target_by_a_persons_word() -> None:
    scenario = Scenario()
    scenario.traffic(blue=1, green=0).after("1m").traffic(blue=0, green=1)
    assert scenario.on("blue").state is DeploymentState.SUPERSEDED
    assert target(scenario) == "not_stable"

    reply = scenario.ask(MARK_GOOD, version="blue", reason="served for a year")

    assert (reply.status, reply.body["states"]) == (200, {"blue": "stable"})
    assert target(scenario) == "blue"
    blue = scenario.on("blue")
    assert (blue.state, blue.ended_at) == (DeploymentState.STABLE, None)
    assert blue.reason == "marked good by alice: served for a year"
    assert scenario.recorded[-2:] == ["deployment_stable", "version_marked_good"]
    assert scenario.audit[-1].body["by"] == "alice"


@pytest.mark.parametrize("state", ["adopted", "watching"])
def test_a_live_version_is_stable_at_once(state: str) -> None:
    scenario = Scenario().traffic(blue=1, green=0)
    if state == "watching":
        scenario.after("1m").traffic(blue=0, green=1)
    current = scenario.service.current()
    assert current is not None
    assert current.state.value == state

    scenario.ask(MARK_GOOD, version=current.version, reason="x")

    assert scenario.on(current.variant).state is DeploymentState.STABLE


def test_a_version_that_was_rolled_back_by_mistake_gets_its_name_back() -> None:
    scenario = Scenario().verified().blue_recovers().after("2m").traffic().tick()
    scenario.rollback_is(RollbackState.COMPLETED)
    assert scenario.on("green").state is DeploymentState.ROLLED_BACK
    assert "green" in scenario.service.taints

    untainted = scenario.ask(UNTAINT, version="green", reason="x")
    assert untainted.body["states"] == {"green": "rolled_back"}, "no taint, but never known good either"
    scenario.ask(MARK_GOOD, version="green", reason="the load test was bad, not the version")

    assert scenario.on("green").state is DeploymentState.STABLE
    assert target(scenario) == "green"
    assert scenario.restart().on("green").state is DeploymentState.STABLE


def test_mark_good_lifts_the_taint() -> None:
    scenario = two_versions()
    scenario.ask(TAINT, version="v1", reason="x")
    assert scenario.ask(MARK_GOOD, version="v1", reason="y").body["taint"] is None
    assert target(scenario) == "v1"


def test_an_announcement_that_came_to_nothing_bars_a_target_no_longer() -> None:
    scenario = two_versions()
    scenario.post("v3", "blue")
    scenario.after("5m").tick()
    assert target(scenario) == "not_stable"
    waiting = scenario.ask(MARK_GOOD, version="v1", reason="x")
    assert (waiting.status, waiting.detail) == (
        409,
        "v1 cannot be marked good: v3 is announced for blue; wait until it is there or given up",
    )
    scenario.after("1h").tick()
    assert target(scenario) == "not_stable"

    assert scenario.ask(MARK_GOOD, version="v1", reason="blue still carries it").status == 200

    assert target(scenario) == "v1"
    never = scenario.ask(MARK_GOOD, version="v3", reason="x")
    assert never.status == 409
    assert "blue carries v1 since" in never.detail
    scenario.after("1m").post("v4", "blue")
    assert target(scenario) == "not_stable", "what is announced later counts"


def test_nobody_can_vouch_for_what_never_took_traffic() -> None:
    scenario = Scenario().traffic(blue=1)
    scenario.state(green=0)
    scenario.traffic()
    scenario.post("v9", "green")
    scenario.after("61m").tick()
    reply = scenario.ask(MARK_GOOD, version="v9", reason="x")
    assert reply.status == 409
    assert reply.detail == "v9 cannot be marked good: v9 never took traffic on green, so nobody can know it"


def test_a_variant_that_shows_another_version_now_is_not_what_was_vouched_for() -> None:
    scenario = Scenario().shows("blue", version="v1").shows("green", version="v2")
    scenario.traffic(blue=1, green=0).after("1m").traffic(blue=0, green=1)
    scenario.shows("blue", version="v3").after("1m").traffic()
    reply = scenario.ask(MARK_GOOD, version="v1", reason="x")
    assert (reply.status, reply.detail) == (409, "v1 cannot be marked good: blue carries v3 now")


def test_a_version_that_must_not_be_rolled_back_to_stays_so() -> None:
    scenario = Scenario().traffic(blue=1, green=0)
    scenario.post("v1", "blue", rollback="forbidden")
    scenario.after("1m").traffic(blue=0, green=1)
    scenario.ask(MARK_GOOD, version="v1", reason="x")
    assert target(scenario) == "target_forbidden"


def test_marking_good_twice_is_one_move_and_two_words_in_the_record() -> None:
    scenario = two_versions()
    for _ in range(2):
        assert scenario.ask(MARK_GOOD, version="v2", reason="x").status == 200
    assert scenario.recorded.count("deployment_stable") == 2, "v1's own, and v2's"
    assert scenario.recorded.count("version_marked_good") == 2


def test_traffic_on_a_version_that_a_person_tainted_is_told_in_those_words() -> None:
    scenario = two_versions()
    scenario.ask(TAINT, version="v1", reason="leaks memory")
    scenario.after("5s").traffic(blue=1, green=0)
    message = scenario.message(MessageKind.SWITCH_UNDONE)
    assert message.headline == "trips: traffic is back on v1, which was tainted by alice"
    assert dict(message.facts)["because"] == "leaks memory"
