"""Deployments that are seen: adopted at first sight, armed when traffic moved, a return when it moved back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.core.scenario import CRITICAL, MINUTE, OK, ROLLBACK, T0, WARNING, Scenario, of_service, probe, rule
from watchdog.core.deployment import DeploymentState, Origin
from watchdog.core.events import OutcomeKind
from watchdog.core.message import MessageKind
from watchdog.core.rule import Holds


def test_the_first_sight_is_adopted_and_not_armed() -> None:
    scenario = Scenario().traffic(blue=1, green=0)

    blue = scenario.on("blue")
    assert (blue.state, blue.origin, blue.armed) == (DeploymentState.ADOPTED, Origin.ADOPTED, False)
    assert (blue.version, blue.named) == ("blue", False)
    assert scenario.service.serving("green") is None


def test_a_switch_that_tells_versions_names_what_is_adopted() -> None:
    scenario = Scenario().shows("blue", version="v1").traffic(blue=1, green=0)

    assert (scenario.on("blue").version, scenario.on("blue").named) == ("v1", True)


def test_a_variant_that_only_tells_its_own_name_tells_nothing() -> None:
    scenario = Scenario().shows("blue", version="blue").traffic(blue=1, green=0)

    assert (scenario.on("blue").version, scenario.on("blue").named) == ("blue", False)


def test_every_variant_that_is_live_at_first_sight_is_adopted() -> None:
    scenario = Scenario().traffic(blue=9, green=1)

    assert {one.variant for one in scenario.service.deployments.values()} == {"blue", "green"}
    assert all(one.state is DeploymentState.ADOPTED for one in scenario.service.deployments.values())


def test_what_is_adopted_soaks_and_becomes_a_target() -> None:
    scenario = Scenario().stable_blue()

    assert scenario.on("blue").state is DeploymentState.STABLE
    assert not scenario.on("blue").armed


def test_a_version_announced_before_the_first_sight_is_adopted_under_its_name() -> None:
    scenario = Scenario()
    scenario.post("v1", "blue")

    scenario.traffic(blue=1, green=0)

    (blue,) = scenario.service.deployments.values()
    assert (blue.version, blue.state, blue.armed) == ("v1", DeploymentState.ADOPTED, False)


def test_a_seen_change_arms_from_the_last_read_of_the_old_state() -> None:
    scenario = Scenario().stable_blue().at("12m").traffic().at("12m30s").traffic(blue=0, green=1)

    green = scenario.on("green")
    assert (green.state, green.origin, green.armed) == (DeploymentState.WATCHING, Origin.SEEN, True)
    assert green.started_at == T0 + 12 * MINUTE
    assert green.live_at == scenario.now


def test_a_new_version_in_place_is_a_new_deployment() -> None:
    scenario = Scenario().shows("blue", version="v1").stable_blue()

    scenario.after("5s").shows("blue", version="v2").traffic()

    assert (scenario.on("blue").version, scenario.on("blue").state) == ("v2", DeploymentState.WATCHING)
    assert scenario.on("blue").armed
    states = {one.version: one.state for one in scenario.service.deployments.values()}
    assert states["v1"] is DeploymentState.STABLE, "what proved itself is remembered"


def test_an_earlier_version_in_place_again_is_a_return() -> None:
    scenario = Scenario().shows("blue", version="v1").stable_blue()
    scenario.after("5s").shows("blue", version="v2").traffic()

    scenario.after("5s").shows("blue", version="v1").traffic()

    assert (scenario.on("blue").version, scenario.on("blue").state) == ("v1", DeploymentState.RETURN)
    assert not scenario.on("blue").armed


def test_seeing_the_same_again_records_nothing() -> None:
    scenario = Scenario().shows("blue", version="v1").stable_blue()
    recorded = list(scenario.recorded)

    for _ in range(5):
        scenario.after("10s").traffic()

    assert scenario.recorded == recorded
    assert len(scenario.service.deployments) == 1


def test_the_first_time_a_switch_tells_a_version_is_no_deployment() -> None:
    scenario = Scenario().traffic(blue=1, green=0)

    scenario.after("5s").shows("blue", version="v1").traffic()

    (blue,) = scenario.service.deployments.values()
    assert (blue.version, blue.named, blue.state) == ("v1", True, DeploymentState.ADOPTED)


def test_a_switch_that_stops_telling_versions_for_a_moment_changes_nothing() -> None:
    scenario = Scenario().shows("blue", version="v1").traffic(blue=1, green=0)

    scenario.after("5s").shows("blue", version=None).traffic()
    scenario.after("5s").shows("blue", version="v1").traffic()

    assert len(scenario.service.deployments) == 1


def test_traffic_back_on_an_earlier_deployment_is_a_return() -> None:
    scenario = Scenario().green_deployed()

    scenario.after("5s").traffic(blue=1, green=0)

    assert (scenario.on("blue").state, scenario.on("blue").armed) == (DeploymentState.RETURN, False)
    assert scenario.on("green").state is DeploymentState.SUPERSEDED


def test_an_arrival_nobody_announced_on_a_variant_with_a_past_is_taken_for_a_return() -> None:
    """The switch tells no versions: it may be something new, but nothing says so."""
    scenario = Scenario().green_deployed().healthy_for("11m")
    scenario.after("5s").traffic(blue=1, green=0).after("1h").traffic(blue=0, green=1)

    assert (scenario.on("green").state, scenario.on("green").armed) == (DeploymentState.RETURN, False)


def test_a_switch_made_by_the_watchdog_is_a_return() -> None:
    scenario = Scenario().switched()

    blue = scenario.on("blue")
    assert (blue.state, blue.origin, blue.armed) == (DeploymentState.RETURN, Origin.SWITCHED, False)
    assert scenario.on("green").state is DeploymentState.ROLLED_BACK


def test_the_read_after_a_switch_records_no_second_return() -> None:
    scenario = Scenario().decided().after("1s")
    scenario.outcome(OutcomeKind.APPLIED)  # the state read back did not come with it
    before = len(scenario.service.deployments)

    scenario.after("1s").traffic(blue=1, green=0).after("1s").traffic()

    assert len(scenario.service.deployments) == before


def test_what_is_replaced_before_it_proved_itself_is_superseded() -> None:
    scenario = Scenario().traffic(blue=1, green=0).after("1m").traffic(blue=0, green=1)

    assert scenario.on("blue").state is DeploymentState.SUPERSEDED
    assert scenario.on("blue").ended_at == scenario.now


def test_a_stable_version_stays_stable_when_it_is_replaced() -> None:
    scenario = Scenario().green_deployed()

    assert scenario.on("blue").state is DeploymentState.STABLE


def test_nothing_live_at_all_is_an_outage_and_ends_no_deployment() -> None:
    scenario = Scenario().green_deployed().after("5s").traffic(blue=0, green=0)

    assert scenario.on("green").state is DeploymentState.WATCHING

    scenario.after("5s").traffic(green=1)

    assert scenario.on("green").state is DeploymentState.WATCHING
    assert scenario.on("green").armed


def test_what_checks_remember_outlives_a_moment_without_traffic() -> None:
    scenario = Scenario().green_deployed().green_is_bad(1)
    before = scenario.service.checks

    scenario.after("2s").traffic(blue=0, green=0).tick()

    assert scenario.service.checks == before


def test_a_change_through_nothing_live_is_a_change() -> None:
    scenario = Scenario().stable_blue().after("5s").traffic(blue=0, green=0).after("5s").traffic(green=1)

    assert (scenario.on("green").state, scenario.on("green").armed) == (DeploymentState.WATCHING, True)


def test_a_restart_sees_the_change_that_happened_while_down() -> None:
    scenario = Scenario().stable_blue().restart().after("3m").traffic(blue=0, green=1)

    assert (scenario.on("green").state, scenario.on("green").armed) == (DeploymentState.WATCHING, True)
    assert scenario.on("green").started_at == T0 + 11 * MINUTE


def test_a_restart_without_a_change_adopts_nothing_again() -> None:
    scenario = Scenario().stable_blue().restart().after("3m").traffic()

    assert len(scenario.service.deployments) == 1
    assert scenario.on("blue").state is DeploymentState.STABLE


# -- soaking


def test_time_that_is_unknown_neither_counts_nor_resets() -> None:
    scenario = Scenario().traffic(blue=1, green=0).healthy_for("6m")
    for _ in range(40):
        scenario.after("30s").silence()
    assert scenario.on("blue").state is DeploymentState.ADOPTED

    scenario.healthy_for("3m")
    assert scenario.on("blue").state is DeploymentState.ADOPTED
    scenario.healthy_for("2m")
    assert scenario.on("blue").state is DeploymentState.STABLE


@pytest.mark.parametrize("worse", [WARNING, CRITICAL, ROLLBACK])
def test_one_bad_verdict_starts_the_soak_over(worse: float) -> None:
    scenario = Scenario().traffic(blue=1, green=0).healthy_for("9m").after("10s").observe(value=worse)

    assert scenario.on("blue").soaked_for == timedelta()
    assert scenario.last.deployments, "it is stored at once: a crash must not bring the lost time back"

    scenario.healthy_for("9m")
    assert scenario.on("blue").state is DeploymentState.ADOPTED
    scenario.healthy_for("2m")
    assert scenario.on("blue").state is DeploymentState.STABLE


def test_one_rule_that_is_ok_is_enough_while_others_are_unknown() -> None:
    scenario = Scenario(rule(), rule("latency")).traffic(blue=1, green=0)
    for _ in range(22):
        scenario.after("30s").observe("errors", value=OK).silence("latency")

    assert scenario.on("blue").state is DeploymentState.STABLE


def test_one_rule_that_is_worse_keeps_it_from_soaking() -> None:
    scenario = Scenario(rule(), rule("latency")).traffic(blue=1, green=0)
    for _ in range(44):
        scenario.after("30s").observe("latency", value=WARNING).observe("errors", value=OK)

    assert scenario.on("blue").state is DeploymentState.ADOPTED


def test_a_gap_in_the_polls_is_unknown_time() -> None:
    scenario = Scenario().traffic(blue=1, green=0).healthy_for("1m").after("2h").observe(value=OK)

    assert scenario.on("blue").state is DeploymentState.ADOPTED
    assert scenario.on("blue").soaked_for < 2 * MINUTE


def test_a_watching_deployment_becomes_stable_and_stays_armed() -> None:
    scenario = Scenario().green_deployed().healthy_for("11m")

    assert (scenario.on("green").state, scenario.on("green").armed) == (DeploymentState.STABLE, True)
    assert "deployment_stable" in scenario.recorded


def test_a_rule_that_is_gone_keeps_nothing_from_soaking() -> None:
    scenario = Scenario(rule(), of_service(hold=Holds())).traffic(blue=1, green=0)
    scenario.after("30s").observe("load", value=WARNING)
    assert scenario.told == [], "not for long enough"

    scenario.configure(rules=(rule(),)).tick()
    scenario.healthy_for("11m")

    assert scenario.on("blue").state is DeploymentState.STABLE
    assert all(check.rule == "errors" for check in scenario.service.checks)


# -- warm-up


def test_during_the_warm_up_values_do_not_count() -> None:
    scenario = Scenario().stable_blue().after("5s").traffic(blue=0, green=1)

    scenario.after("5s").observe(value=ROLLBACK).after("5s").observe(value=ROLLBACK)
    assert scenario.told == []
    assert scenario.service.rollbacks == {}
    assert scenario.remembers().verdict is not None
    assert scenario.remembers().streaks == {}

    scenario.after("15s").observe(value=ROLLBACK)
    assert scenario.told == [MessageKind.INCIDENT_OPENED], "critical is held at once"
    assert scenario.service.rollbacks == {}, "two samples make a rollback, and only one counted"


def test_a_dead_probe_counts_during_the_warm_up() -> None:
    scenario = Scenario(probe()).stable_blue().after("5s").traffic(blue=0, green=1)

    for _ in range(5):
        scenario.after("1s").probed(alive=False)

    assert MessageKind.INCIDENT_OPENED in scenario.told
    assert scenario.service.rollbacks != {}


def test_a_probe_that_answers_in_between_ends_the_row_of_dead_ones() -> None:
    scenario = Scenario(probe()).stable_blue().after("5s").traffic(blue=0, green=1)

    for _ in range(5):
        scenario.after("1s").probed(alive=False).after("1s").probed(alive=True)

    assert scenario.told == []
    assert scenario.remembers("healthy").probe_failures == 0


def test_an_adopted_version_has_no_warm_up() -> None:
    scenario = Scenario().traffic(blue=1, green=0).after("1s").observe(value=CRITICAL)

    assert scenario.told == [MessageKind.INCIDENT_OPENED]


def test_samples_of_the_whole_service_from_before_a_deployment_hold_nothing_against_it() -> None:
    scenario = Scenario(of_service()).stable_blue().after("10s").observe(value=ROLLBACK)
    scenario.after("5s").traffic(blue=0, green=1)

    assert scenario.remembers().streaks == {}

    scenario.after("35s").observe(value=ROLLBACK)

    assert scenario.service.rollbacks == {}
