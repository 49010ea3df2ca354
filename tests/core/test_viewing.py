from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.core.scenario import MINUTE, T0, Scenario, rule
from watchdog.core.check import CheckState, Reason, Verdict
from watchdog.core.deployment import DeploymentState
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Level
from watchdog.core.view import ServiceView
from watchdog.core.viewing import service_view, view_of
from watchdog.core.world import SourceWorld, World


def seen(story: Scenario) -> ServiceView:
    return service_view(story.world, story.service, now=story.now)


def test_an_empty_world_has_an_empty_view() -> None:
    view = view_of(World(services={}), now=T0, turn_at=T0)
    assert (view.services, view.sources, view.store_error, view.paused_by_file) == ({}, {}, "", False)


def test_the_view_says_when_it_is_from_and_what_is_wrong_with_the_watchdog_itself() -> None:
    world = replace(
        Scenario().world,
        leader=False,
        epoch=4,
        paused_by_file="the pause file exists",
        breaker="too much red",
    )
    view = view_of(world, now=T0, turn_at=T0 - MINUTE, store_error="the disk is full", audit_head="ab")
    assert (view.at, view.turn_at) == (T0, T0 - MINUTE)
    assert (view.leader, view.epoch, view.paused_by_file) == (False, 4, True)
    assert (view.breaker, view.store_error, view.audit_head) == ("too much red", "the disk is full", "ab")


def test_sources_are_shown_as_they_answered() -> None:
    down = SourceWorld(name="prometheus", up=False, error="refused", failing_since=T0)
    world = World(services={}, sources={"prometheus": down, "app": SourceWorld(name="app")})
    view = view_of(world, now=T0, turn_at=T0)
    assert (view.sources["prometheus"].up, view.sources["prometheus"].error) == (False, "refused")
    assert view.sources["prometheus"].failing_since == T0
    assert view.sources["app"].up is None


def test_a_service_before_the_first_look_is_unknown_and_not_ready() -> None:
    view = seen(Scenario())
    assert (view.level, view.deployment, view.stable, view.traffic) == (Level.UNKNOWN, None, None, None)
    assert not view.rollback_ready


def test_a_service_shows_what_is_live_what_is_stable_and_its_checks() -> None:
    story = Scenario().green_deployed()
    story.observe(value=1.0)
    view = seen(story)
    assert view.deployment is not None
    assert view.deployment.variant == "green"
    assert view.stable is not None
    assert (view.stable.variant, view.stable.state) == ("blue", DeploymentState.STABLE)
    assert view.traffic == story.service.traffic
    assert view.level is Level.OK
    (check,) = view.checks
    assert (check.id.variant, check.level, check.last_data_at) == ("green", Level.OK, story.now)


def test_a_rollback_would_work_when_a_proven_version_stands_by() -> None:
    view = seen(Scenario().green_deployed())
    assert view.rollback_ready
    assert view.not_ready == ()


@pytest.mark.parametrize(
    ("trouble", "guard"),
    [
        (lambda story: story.shows("blue", ready=0).after("1s").traffic(), "target_ready"),
        (lambda story: story.ask(RequestKind.PAUSE), "paused"),
        (lambda story: story.tick(paused="the pause file exists"), "paused"),
        (lambda story: story.tick(leader=False), "leader"),
        (lambda story: story.unreadable().unreadable().unreadable(), "target_ready"),
    ],
    ids=["target", "person", "file", "leader", "switch"],
)
def test_it_says_in_daylight_that_a_rollback_would_fail(trouble: object, guard: str) -> None:
    story = Scenario().green_deployed()
    assert callable(trouble)
    trouble(story)
    view = seen(story)
    assert not view.rollback_ready
    assert [veto.guard for veto in view.not_ready] == [guard]


def test_without_a_proven_version_to_go_to_it_is_not_ready() -> None:
    story = Scenario().traffic(blue=1, green=0).after("1m").traffic(blue=0, green=1)
    assert [veto.guard for veto in seen(story).not_ready][:1] == ["known_good_target"]


def test_it_is_ready_whether_or_not_it_may_act_by_itself() -> None:
    """`armed_for`, cooldown and the like keep the watchdog back, not a person."""
    assert seen(Scenario(armed_for=timedelta(seconds=1)).green_deployed()).rollback_ready


def test_an_open_incident_and_a_rollback_under_way_are_shown() -> None:
    story = Scenario().decided()
    view = seen(story)
    assert view.incidents == (story.incident.id,)
    assert view.rollback is not None
    assert view.rollback.state is RollbackState.INTENDED
    assert view.level is Level.ROLLBACK


def test_a_rollback_that_ended_is_shown_no_more() -> None:
    story = Scenario().verified().after("2m").traffic()
    story.blue_recovers()
    story.after("5m").traffic().tick()
    assert story.rollback.over
    assert seen(story).rollback is None


def test_a_switch_that_cannot_be_read_is_shown_with_its_error() -> None:
    story = Scenario().stable_blue().after("1s").unreadable("connection refused")
    assert seen(story).traffic_error == "connection refused"


def test_a_switch_that_cannot_be_read_could_not_be_written_either_and_is_believed_again_when_it_answers() -> (
    None
):
    story = Scenario().green_deployed().after("5s").unreadable().unreadable()
    assert seen(story).rollback_ready, "one lost answer is no outage"

    story.unreadable("no such socket")
    (veto,) = seen(story).not_ready
    assert (veto.guard, veto.reason) == ("target_ready", "unknown")
    assert veto.detail == "the traffic switch cannot be read: no such socket"

    assert seen(story.after("5s").traffic()).rollback_ready


def test_pauses_and_taints_are_shown() -> None:
    story = Scenario().switched()
    story.ask(RequestKind.PAUSE, reason="lunch")
    view = seen(story)
    assert view.paused is not None
    assert view.paused.reason == "lunch"
    assert list(view.taints) == ["green"]


def test_checks_are_shown_in_order_and_an_unheard_one_is_unknown() -> None:
    story = Scenario(rule("zeta"), rule("alpha")).stable_blue()
    view = seen(story)
    assert [check.id.rule for check in view.checks] == ["alpha", "zeta"]
    check = story.check("alpha")
    silent = replace(story.service, checks={check: CheckState()})
    (shown,) = service_view(story.world, silent, now=T0).checks
    assert (shown.level, shown.last_data_at, shown.verdict) == (Level.UNKNOWN, None, None)


def test_the_last_data_of_a_check_without_a_sample_time_is_its_last_known_verdict() -> None:
    story = Scenario().stable_blue()
    known = Verdict(level=Level.OK, reason=Reason.PASSED, at=T0)
    silent = replace(story.service, checks={story.check(): CheckState(known=known)})
    (shown,) = service_view(story.world, silent, now=T0).checks
    assert shown.last_data_at == T0


def test_the_newest_stable_version_is_the_one_shown() -> None:
    story = Scenario().green_deployed().healthy_for("11m")
    view = seen(story)
    assert view.stable is not None
    assert view.stable.variant == "green"
