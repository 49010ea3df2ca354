"""In daylight: a version is being watched, and a rollback of it would not work. People hear of it once, quietly."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.core.scenario import MINUTE, Scenario
from watchdog.core.deployment import DeploymentState
from watchdog.core.guards import READINESS
from watchdog.core.incident import Incident, IncidentKind
from watchdog.core.message import MessageKind
from watchdog.core.readiness import LASTS
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Severity
from watchdog.core.service import GitOps, Mode
from watchdog.core.units import parse_duration

OPENED, CLOSED = MessageKind.INCIDENT_OPENED, MessageKind.INCIDENT_CLOSED


def unready(scenario: Scenario) -> Incident | None:
    return scenario.service.incident_of(IncidentKind.UNREADY)


def waits(scenario: Scenario, text: str, *, every: str = "10s", **ticks: Any) -> Scenario:
    """Time passes in ticks, and the switch is read."""
    scenario.looks_every = 25
    end = scenario.now + parse_duration(text)
    while scenario.now < end:
        scenario.after(every).traffic().tick(**ticks)
    return scenario


def gone(scenario: Scenario) -> Scenario:
    """The standby dies while the new version is watched."""
    return scenario.shows("blue", ready=0).traffic().tick()


def told(scenario: Scenario) -> bool:
    return unready(waits(scenario, "5m")) is not None


# -- what is told


def test_a_standby_that_goes_away_while_the_new_version_is_watched_is_told_before_anybody_needs_it() -> None:
    scenario = waits(gone(Scenario().green_deployed()), "80s")
    assert scenario.told == []

    waits(scenario, "10s")

    assert scenario.told == [OPENED]
    message = scenario.message(OPENED)
    assert message.severity is Severity.LOW
    assert message.headline == (
        "trips green in production could not be rolled back now: target_ready: blue has 0 ready, 8 needed"
    )
    assert message.next_step == (
        "Start the standby again, or give the switch a `ready` probe if nobody can tell; see watchdog status trips"
    )
    assert (message.version, message.service, message.environment) == ("green", "trips", "production")
    assert message.needs_human
    incident = unready(scenario)
    assert incident is not None
    assert (incident.severity, incident.deployment) == (Severity.LOW, scenario.on("green").id)
    assert message.incident == incident.id
    assert scenario.audit[-1].kind == "rollback_unready"
    assert scenario.audit[-1].body["vetoes"][0]["guard"] == "target_ready"


def test_people_hear_of_it_within_the_time_the_catalogue_asks_for() -> None:
    longest_between_reads = 2 * MINUTE
    assert LASTS + longest_between_reads <= timedelta(seconds=300)


def test_it_is_told_once_however_long_it_lasts_and_whatever_else_is_in_the_way_later() -> None:
    scenario = waits(gone(Scenario(armed_for=60 * MINUTE).green_deployed()), "3m")
    scenario.shows("blue", version="v7")
    waits(scenario, "20m")

    assert scenario.told == [OPENED]


def test_a_restart_tells_it_neither_twice_nor_not_at_all() -> None:
    scenario = waits(gone(Scenario().green_deployed()), "60s").restart()
    assert waits(scenario, "80s").told == []
    assert waits(scenario, "20s").told == [OPENED]

    assert waits(scenario.restart(), "5m").told == [OPENED]
    assert unready(scenario) is not None


def test_it_is_over_when_the_standby_is_back_for_as_long() -> None:
    scenario = waits(gone(Scenario().green_deployed()), "2m")
    scenario.shows("blue", ready=10)
    waits(scenario, "80s")
    assert scenario.told == [OPENED]

    waits(scenario, "30s")

    assert scenario.told == [OPENED, CLOSED]
    message = scenario.message(CLOSED)
    assert (message.headline, message.severity) == (
        "trips: closed: green could be rolled back again",
        Severity.LOW,
    )
    assert unready(scenario) is None


def test_a_standby_that_comes_and_goes_is_one_notice() -> None:
    scenario = waits(gone(Scenario().green_deployed()), "2m")
    for _ in range(5):
        waits(scenario.shows("blue", ready=10), "60s")
        waits(scenario.shows("blue", ready=0), "60s")

    assert scenario.told == [OPENED]


def test_a_standby_that_restarts_is_no_news() -> None:
    scenario = Scenario().green_deployed()
    for _ in range(5):
        waits(scenario.shows("blue", ready=0), "80s")
        waits(scenario.shows("blue", ready=10), "20s")

    assert scenario.told == []


def test_one_that_was_closed_by_a_person_is_told_again_only_when_it_lasts_again() -> None:
    scenario = waits(gone(Scenario().green_deployed()), "2m")
    first = unready(scenario)
    assert first is not None
    assert scenario.ask(RequestKind.CLOSE, first.id).status == 200
    assert scenario.told == [OPENED, CLOSED]

    waits(scenario, "80s")
    assert scenario.told == [OPENED, CLOSED]
    waits(scenario, "30s")
    assert scenario.told == [OPENED, CLOSED, OPENED]


def test_one_that_somebody_acknowledged_is_left_to_him() -> None:
    scenario = waits(gone(Scenario().green_deployed()), "2m")
    first = unready(scenario)
    assert first is not None
    scenario.ask(RequestKind.ACKNOWLEDGE, first.id)

    assert waits(scenario, "10m").told.count(OPENED) == 1


@pytest.mark.parametrize(
    ("begin", "said", "advice"),
    [
        (
            lambda one: one.shows("blue", ready=None, note="no checks"),
            "readiness of blue is unknown: no checks",
            "`ready`",
        ),
        (
            lambda one: one.shows("blue", version="v9"),
            "blue now carries v9, not blue",
            "watchdog mark-good trips",
        ),
    ],
)
def test_whatever_guard_says_no_is_named_with_what_to_do(begin: Any, said: str, advice: str) -> None:
    scenario = Scenario().green_deployed()
    begin(scenario)

    assert told(scenario)
    message = scenario.message(OPENED)
    assert said in message.headline
    assert advice in message.next_step


def test_a_taint_of_the_only_target_is_told() -> None:
    scenario = Scenario().green_deployed()
    scenario.ask(RequestKind.TAINT, version="blue", reason="it burns")

    waits(scenario, "2m")

    assert scenario.told[-1] is OPENED
    assert "version blue on blue is tainted: it burns" in scenario.messages[-1].headline
    assert "there is no target" not in scenario.messages[-1].headline


def test_a_version_before_it_that_never_proved_itself_is_told() -> None:
    scenario = Scenario().traffic(blue=1, green=0).after("1m").traffic(blue=0, green=1)

    assert told(scenario)
    assert "never stable" in scenario.message(OPENED).headline


def test_a_controller_that_would_undo_the_switch_is_told() -> None:
    scenario = Scenario().green_deployed()
    managed = replace(scenario.service, traffic=replace(scenario.state(), managed_by="Argo CD"))
    scenario.world = replace(scenario.world, services={**scenario.world.services, "trips": managed})

    for _ in range(20):
        scenario.after("10s").tick()

    assert "unmanaged: Argo CD manages the target" in scenario.message(OPENED).headline
    assert "`gitops: pause` or `ignore` for trips" in scenario.message(OPENED).next_step
    scenario.configure(gitops=GitOps.IGNORE)
    for _ in range(20):
        scenario.after("10s").tick()
    assert scenario.told == [OPENED, CLOSED]


def test_a_pause_file_that_nobody_can_look_at_is_told_for_nobody_may_have_set_it() -> None:
    scenario = Scenario().green_deployed()

    waits(scenario, "2m", paused="the pause file /x cannot be looked at: Permission denied")

    assert scenario.told == [OPENED]
    assert "paused: the pause file /x cannot be looked at" in scenario.message(OPENED).headline
    assert "See what is wrong with the pause file" in scenario.message(OPENED).next_step


# -- what is no news


def test_what_people_set_themselves_is_no_news_to_them() -> None:
    scenario = Scenario().green_deployed()
    scenario.ask(RequestKind.PAUSE, reason="looking into it")
    waits(scenario, "5m", paused="the pause file /x exists")
    scenario.now += MINUTE
    marked = replace(scenario.service, traffic=replace(scenario.state(), paused="by bob"))
    scenario.world = replace(scenario.world, services={**scenario.world.services, "trips": marked})
    for _ in range(20):
        scenario.after("10s").tick()

    assert scenario.told == [MessageKind.PAUSED]


def test_beside_a_pause_the_other_guards_are_heard_all_the_same() -> None:
    scenario = Scenario().green_deployed()
    scenario.ask(RequestKind.PAUSE)

    assert told(gone(scenario))
    assert "paused" not in scenario.message(OPENED).headline


def test_a_service_that_is_only_observed_does_not_nag() -> None:
    assert not told(gone(Scenario(mode=Mode.OBSERVE).green_deployed()))


def test_one_that_waits_for_approval_of_people_does() -> None:
    assert told(gone(Scenario(mode=Mode.APPROVE).green_deployed()))


def test_the_first_version_of_all_has_nothing_to_go_back_to_and_does_not_nag() -> None:
    assert not told(Scenario().traffic(blue=1, green=0))


def test_a_version_that_is_replaced_in_place_where_nothing_else_ever_was_does_not_nag() -> None:
    scenario = Scenario().shows("blue", version="v1").traffic(blue=1, green=0)
    scenario.after("1m").shows("blue", version="v2").traffic()
    assert scenario.on("blue").state is DeploymentState.WATCHING

    assert not told(scenario)


def test_a_service_of_one_variant_does_not_nag() -> None:
    scenario = Scenario().shows("blue", version="v1").traffic(blue=1)
    scenario.after("1m").shows("blue", version="v2").traffic()
    assert scenario.on("blue").armed

    assert not told(scenario)


def test_a_deployment_that_must_not_be_rolled_back_is_known_to_whoever_said_so() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v2", "green", rollback="forbidden")
    scenario.after("5s").traffic(blue=0, green=1)

    assert not told(gone(scenario))


def test_a_stable_version_lets_the_one_before_go() -> None:
    scenario = Scenario().green_deployed().healthy_for("11m")
    assert scenario.on("green").state is DeploymentState.STABLE
    assert scenario.on("green").armed

    assert not told(gone(scenario))


def test_what_the_watchdog_would_not_roll_back_any_more_by_itself_is_no_news() -> None:
    scenario = Scenario(armed_for=5 * MINUTE).green_deployed().after("5m")

    assert not told(gone(scenario))


def test_a_return_is_never_rolled_back_by_itself_and_does_not_nag() -> None:
    scenario = Scenario().green_deployed().after("1m").traffic(blue=1, green=0)
    scenario.shows("green", ready=0)

    assert not told(scenario)


def test_who_does_not_lead_leaves_it_to_who_does() -> None:
    scenario = waits(gone(Scenario().green_deployed()), "5m", leader=False)

    assert scenario.told == []


def test_a_switch_that_cannot_be_read_says_nothing_new() -> None:
    scenario = Scenario().green_deployed()
    scenario.shows("blue", ready=0).traffic().unreadable()
    for _ in range(30):
        scenario.after("10s").tick()

    assert scenario.told == []


def test_while_a_rollback_waits_or_is_made_people_hear_of_that_instead() -> None:
    scenario = gone(Scenario(cooldown=MINUTE).green_deployed()).green_is_bad()
    scenario.rollback_is(RollbackState.BLOCKED)
    before = scenario.told

    waits(scenario, "5m")

    assert unready(scenario) is None
    assert scenario.told == before


# -- the end


def test_it_is_over_at_once_when_the_version_is_stable() -> None:
    scenario = waits(gone(Scenario().green_deployed()), "2m").healthy_for("11m").tick()

    assert scenario.told == [OPENED, CLOSED]
    assert scenario.message(CLOSED).headline == "trips: closed: green is stable"


@pytest.mark.parametrize("how", ["late", "observe", "back"])
def test_it_is_over_at_once_when_nobody_would_roll_it_back_any_more(how: str) -> None:
    scenario = waits(gone(Scenario(armed_for=10 * MINUTE).green_deployed()), "2m")
    assert unready(scenario) is not None

    if how == "late":
        scenario.after("8m")
    elif how == "observe":
        scenario.mode(Mode.OBSERVE)
    else:
        scenario.traffic(blue=1, green=0)
    scenario.tick()

    assert unready(scenario) is None
    assert scenario.message(CLOSED).headline == (
        "trips: closed: green would not be rolled back by itself any more"
    )


def test_the_last_moment_in_which_it_is_armed_counts() -> None:
    scenario = Scenario(armed_for=10 * MINUTE).green_deployed()
    gone(scenario)
    started = scenario.on("green").started_at
    scenario.now = started + 10 * MINUTE - LASTS
    scenario.tick()
    scenario.now = started + 10 * MINUTE
    scenario.tick()
    assert scenario.told[-1:] == [OPENED]

    scenario.now += timedelta(microseconds=1)
    scenario.tick()

    assert scenario.told[-1] is CLOSED


def test_each_deployment_has_a_notice_of_its_own() -> None:
    scenario = Scenario().shows("red", ready=10).traffic(blue=1, green=0, red=0).healthy_for("11m")
    scenario.after("5s").traffic(blue=0, green=1)
    waits(gone(scenario), "2m")
    first = unready(scenario)
    assert first is not None

    scenario.after("10s").traffic(green=0, red=1).tick()
    assert unready(scenario) is None
    waits(scenario, "2m")

    second = unready(scenario)
    assert second is not None
    assert second.deployment != first.deployment
    assert scenario.told == [OPENED, CLOSED, OPENED]


def test_what_was_silenced_is_told_in_its_own_words_at_the_end_of_that() -> None:
    scenario = Scenario().green_deployed()
    reply = scenario.ask(RequestKind.SILENCE, "", matchers={"service": "trips"}, for_seconds=240, reason="x")
    assert reply.status == 201, reply.detail
    waits(gone(scenario), "3m")
    assert OPENED not in scenario.told

    waits(scenario, "3m")

    found = [one for one in scenario.messages if one.kind is OPENED]
    assert [one.headline for one in found] == [
        "trips green in production could not be rolled back now: target_ready: blue has 0 ready, 8 needed"
    ]


def test_what_is_asked_is_what_the_gauge_asks() -> None:
    assert READINESS == ("paused", "leader", "known_good_target", "target_ready", "unmanaged")


def test_a_standby_that_is_back_ends_it_though_a_rollback_waits_for_something_else() -> None:
    scenario = waits(gone(Scenario().green_deployed()), "2m").green_is_bad()
    scenario.rollback_is(RollbackState.BLOCKED)
    assert unready(scenario) is not None

    waits(scenario.shows("blue", ready=10), "2m")

    scenario.rollback_is(RollbackState.BLOCKED)
    assert unready(scenario) is None


def test_what_lasts_begins_anew_after_its_end() -> None:
    scenario = waits(gone(Scenario().green_deployed()), "2m")
    scenario.shows("blue", ready=10)
    while unready(scenario) is not None:
        waits(scenario, "10s")

    waits(scenario.shows("blue", ready=0), "80s")
    assert scenario.told == [OPENED, CLOSED]
    waits(scenario, "30s")
    assert scenario.told == [OPENED, CLOSED, OPENED]


def test_time_in_which_nothing_was_expected_does_not_count() -> None:
    scenario = waits(gone(Scenario().green_deployed()), "60s").mode(Mode.OBSERVE)
    waits(scenario, "5m")
    waits(scenario.mode(Mode.ENFORCE), "80s")
    assert scenario.told == []

    waits(scenario, "30s")

    assert scenario.told == [OPENED]


def test_of_several_live_versions_only_the_newest_is_asked_about_and_a_proved_one_needs_no_way_back() -> None:
    scenario = Scenario().shows("red", ready=10).traffic(blue=1, green=0, red=0).healthy_for("11m")
    scenario.after("5s").traffic(blue=0, red=1).after("1m").traffic(green=1)
    scenario.ask(RequestKind.MARK_GOOD, version="green", reason="seen elsewhere")
    assert (scenario.on("red").state, scenario.on("green").state) == (
        DeploymentState.WATCHING,
        DeploymentState.STABLE,
    )
    assert scenario.on("green").armed

    assert not told(gone(scenario))


def test_a_return_beside_a_version_that_is_watched_is_the_newest_and_needs_no_way_back() -> None:
    scenario = Scenario().green_deployed().after("1m").traffic(blue=1, green=1)
    assert (scenario.on("blue").state, scenario.on("green").state) == (
        DeploymentState.RETURN,
        DeploymentState.WATCHING,
    )

    assert not told(scenario.shows("green", ready=0))
