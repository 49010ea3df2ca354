"""Several versions take traffic at once: who is judged, who is told, and away from whom traffic is moved."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.core.scenario import OK, ROLLBACK, Scenario, of_service, rule
from watchdog.core.check import CheckId
from watchdog.core.checks import checks_of
from watchdog.core.deployment import DeploymentState
from watchdog.core.events import OutcomeKind
from watchdog.core.message import MessageKind
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Level, Rule

BY_VARIANT = rule(query='errors{version="$version",slot="$variant"}')


def canary(*rules: Rule, version: str = "v2") -> Scenario:
    """v1 proved itself on blue; another version is announced and gets a share of the traffic on green."""
    story = Scenario(*rules).traffic(blue=1, green=0)
    story.post("v1", "blue")
    story.healthy_for("11m")
    story.post(version, "green")
    story.after("5s").traffic(blue=80, green=20)
    return story.after("35s").traffic()


def keys(story: Scenario) -> list[str]:
    return [str(check) for check in checks_of(story.service)]


def test_a_rule_that_names_the_version_is_one_check_for_each_and_others_are_one() -> None:
    story = canary(rule(), of_service())

    assert keys(story) == ["trips/errors@v1", "trips/errors@v2", "trips/load"]


def test_traffic_moves_away_from_the_version_that_breached_and_from_no_other() -> None:
    story = canary(rule(), of_service())
    for _ in range(2):
        story.after("10s").observe("errors", value=ROLLBACK, on="green").observe(
            "errors", value=OK, on="blue"
        )

    story.rollback_is(RollbackState.INTENDED)
    assert (story.rollback.from_version, story.rollback.to_version) == ("v2", "v1")
    assert story.rollback.change is not None
    assert story.rollback.change.away == ("green",)
    assert story.remembers("errors", on="blue").latched is Level.OK

    story.after("1s").outcome(OutcomeKind.APPLIED, state=story.state(blue=100, green=0)).after("2s").traffic()
    story.blue_recovers().after("1m").traffic().tick()
    story.rollback_is(RollbackState.COMPLETED)
    assert keys(story) == ["trips/errors@v1", "trips/load"]


def test_an_old_version_that_breaches_beside_a_new_one_is_told_and_keeps_its_traffic() -> None:
    story = canary(rule(), of_service())
    for _ in range(3):
        story.after("10s").observe("errors", value=ROLLBACK, on="blue").observe(
            "errors", value=OK, on="green"
        )

    story.rollback_is(RollbackState.BLOCKED)
    assert ("armed", "not_armed") in story.vetoes
    assert story.rollback.from_version == "v1"
    assert story.told[0] is MessageKind.INCIDENT_OPENED


def test_a_rule_of_the_whole_service_only_tells() -> None:
    story = canary(rule(), of_service())
    for _ in range(3):
        story.after("10s").observe("load", value=ROLLBACK)

    story.rollback_is(RollbackState.BLOCKED)
    assert ("still_live", "not_attributable") in story.vetoes
    assert story.incident.level is Level.ROLLBACK


def test_both_versions_equally_bad_move_nothing() -> None:
    story = canary(rule())
    for _ in range(3):
        story.after("10s").observe(value=ROLLBACK, on="blue").observe(value=ROLLBACK, on="green")

    assert all(one.state is RollbackState.BLOCKED for one in story.service.rollbacks.values())


def test_the_same_version_on_two_variants_is_told_apart_where_the_rule_does() -> None:
    story = canary(BY_VARIANT, version="v1")
    assert keys(story) == ["trips/errors@v1/blue", "trips/errors@v1/green"]

    for _ in range(3):
        story.after("10s").observe(value=ROLLBACK, on="green").observe(value=OK, on="blue")
    assert list(story.incident.breaches) == ["trips/errors@v1/green"]
    assert not story.incident.breaches["trips/errors@v1/green"].over, "blue cleared nothing of green"
    assert story.remembers(on="blue").latched is Level.OK

    for _ in range(3):
        story.after("10s").observe(value=OK, on="green")
    assert not story.service.incidents


def test_the_same_question_is_the_same_check_by_name() -> None:
    assert keys(canary(rule(), version="v1")) == ["trips/errors@v1", "trips/errors@v1"]


@pytest.mark.parametrize(
    ("query", "per_version", "per_variant"),
    [
        ('a{v="$version"}', True, False),
        ('a{v="${version}"}', True, False),
        ('a{v="$variant"}', True, True),
        ('a{v="${variant}",w="$version"}', True, True),
        ('a{v="$service"}', False, False),
    ],
)
def test_what_a_rule_names_decides_what_it_becomes(query: str, per_version: bool, per_variant: bool) -> None:
    named = rule(query=query)

    assert (named.per_version, named.per_variant) == (per_version, per_variant)


def test_what_was_stored_before_variants_had_names_is_found_again() -> None:
    story = canary(BY_VARIANT)
    for _ in range(2):
        story.after("10s").observe(value=ROLLBACK, on="green")
    remembered, incident = story.remembers(on="green"), story.incident
    world = story.service
    old = CheckId(service="trips", rule="errors", version="v2", variant="green")
    breaches = {"trips/errors@v2": next(iter(incident.breaches.values()))}
    world = replace(
        world, checks={old: remembered}, incidents={incident.id: replace(incident, breaches=breaches)}
    )
    story.world = replace(story.world, services={"trips": world})
    story.restart()

    assert list(story.incident.breaches) == ["trips/errors@v2/green"]
    assert story.remembers(on="green").latched is remembered.latched
    assert story.on("green").state is DeploymentState.WATCHING


def test_a_version_that_is_named_later_takes_its_check_along() -> None:
    story = Scenario(BY_VARIANT).stable_blue().after("5s").traffic(blue=1, green=1).after("35s").traffic()
    for _ in range(2):
        story.after("10s").observe(value=ROLLBACK, on="green")
    assert list(story.incident.breaches) == ["trips/errors@green/green"]
    story.post("v2", "green")

    assert list(story.incident.breaches) == ["trips/errors@v2/green"]
    assert keys(story) == ["trips/errors@blue/blue", "trips/errors@v2/green"]
