"""A right symptom with a wrong cause: what was bad before, and what several services share, takes no version away."""

from __future__ import annotations

import pytest

from tests.core.scenario import CRITICAL, OK, ROLLBACK, Scenario
from watchdog.core.checks import checks_of
from watchdog.core.message import MessageKind
from watchdog.core.observation import Value
from watchdog.core.rollback import RollbackState

MOVES = {"rollback_intended", "rollback_applied"}


def everywhere(story: Scenario, value: float, *, rounds: int, every: str = "10s") -> Scenario:
    """All services show this."""
    story.looks_every = 200
    for _ in range(rounds):
        story.after(every)
        for name, service in story.world.services.items():
            for check in checks_of(service):
                story.sees(check, Value(value=value, at=story.now))
            story.traffic(name)
        story.tick()
    return story


def two_services() -> Scenario:
    """Both run v1 on blue and share a database."""
    story = Scenario(others=("hotels",))
    story.traffic(blue=1, green=0).traffic("hotels", blue=1, green=0)
    return everywhere(story, OK, rounds=25, every="30s")


def test_what_two_services_share_fails_three_hours_after_a_deployment() -> None:
    story = two_services().after("5s").traffic(blue=0, green=1)
    story.after("35s").traffic()
    everywhere(story, OK, rounds=180, every="60s")
    before = len(story.messages)
    everywhere(story, 10 * ROLLBACK, rounds=60)
    assert not MOVES & set(story.recorded)
    assert all(one.state is RollbackState.BLOCKED for one in story.world.rollbacks())
    told = story.messages[before:]
    for name in ("trips", "hotels"):
        mine = [one.kind for one in told if one.service == name]
        assert mine == [
            MessageKind.INCIDENT_OPENED,
            MessageKind.INCIDENT_WORSENED,
            MessageKind.ROLLBACK_BLOCKED,
        ], "each is told once, how bad, and why nothing was done"
    assert story.vetoes[0] == ("armed", "too_late")


@pytest.mark.parametrize("value", [CRITICAL, ROLLBACK, 2 * ROLLBACK])
def test_what_was_bad_before_the_deployment_is_not_held_against_it(value: float) -> None:
    story = Scenario().stable_blue()
    for _ in range(6):
        story.after("10s").observe(value=value, on="blue").traffic()
    story.after("5s").traffic(blue=0, green=1).after("35s").traffic().green_is_bad(30)
    assert not MOVES & set(story.recorded)
    assert ("not_already_bad", "already_bad") in story.vetoes


def test_what_nobody_knows_of_the_time_before_is_not_held_against_it_either() -> None:
    story = Scenario().stable_blue().restart()
    story.after("25h").traffic().after("5s").traffic(blue=0, green=1).after("35s").traffic()
    story.green_is_bad(30)
    assert not MOVES & set(story.recorded)
    assert ("not_already_bad", "no_baseline") in story.vetoes


def test_a_version_that_still_serves_and_is_as_bad_is_no_way_back() -> None:
    """What both depend on fails while traffic is being moved over."""
    story = Scenario().green_deployed().traffic(blue=1, green=1)
    for _ in range(5):
        story.after("10s").observe(value=ROLLBACK, on="blue").observe(value=ROLLBACK, on="green")
    assert not MOVES & set(story.recorded)
    assert ("not_already_bad", "previous_bad_too") in story.vetoes
