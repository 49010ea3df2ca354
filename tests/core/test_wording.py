"""What messages share: the evidence behind them, and names that stand in commands."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tests.core.scenario import CRITICAL, OK, ROLLBACK, WARNING, Scenario, of_service, probe, rule
from watchdog.core import rollback_news, telling
from watchdog.core.check import CheckId
from watchdog.core.incident import Breach, Incident
from watchdog.core.message import MessageKind
from watchdog.core.observation import Pulse
from watchdog.core.rule import Direction, Level, Rule, Unit
from watchdog.core.units import elapsed
from watchdog.core.wording import evidence_of, word


def story(*rules: Rule) -> Scenario:
    return Scenario(*rules).traffic(blue=1, green=0).after("30s")


@pytest.mark.parametrize(
    "one",
    [rule(), of_service(), rule("by-variant", query='errors{variant="$variant"}'), rule("a/b@c")],
    ids=lambda one: one.name,
)
def test_the_evidence_names_the_check_that_it_is_of(one: Rule) -> None:
    scenario = story(one).observe(one.name, value=CRITICAL)
    evidence = scenario.message(MessageKind.INCIDENT_OPENED).evidence
    assert evidence is not None
    assert [str(check) for check in scenario.service.checks] == [str(evidence.check)]
    assert evidence.check.rule == one.name


def test_the_evidence_is_that_of_the_worst_breach_that_is_not_over() -> None:
    scenario = story(rule(), rule("latency"), of_service())
    scenario.observe("errors", value=WARNING).observe("latency", value=CRITICAL)
    evidence = evidence_of(scenario.incident)
    assert evidence is not None
    assert (evidence.check.rule, evidence.level, evidence.value, evidence.limit) == (
        "latency",
        Level.CRITICAL,
        CRITICAL,
        20.0,
    )
    assert (evidence.warning, evidence.critical, evidence.rollback) == (10.0, 20.0, 30.0)
    assert (evidence.unit, evidence.direction, evidence.since) == (Unit.NONE, Direction.ABOVE, scenario.now)

    for _ in range(2):
        scenario.after("30s").observe("latency", value=OK).observe("errors", value=WARNING)
    left = evidence_of(scenario.incident)
    assert left is not None
    assert left.check.rule == "errors"


def test_of_two_that_are_as_bad_it_is_the_one_that_began_first() -> None:
    scenario = story(rule(), rule("latency")).observe("latency", value=CRITICAL).after("30s")
    scenario.observe("latency", value=CRITICAL).observe("errors", value=CRITICAL)
    evidence = evidence_of(scenario.incident)
    assert evidence is not None
    assert evidence.check.rule == "latency"


def test_what_is_over_is_evidence_only_where_that_is_asked_for() -> None:
    incident = story(rule()).observe(value=CRITICAL).incident
    over = replace(
        incident,
        breaches={name: replace(one, cleared_at=one.since) for name, one in incident.breaches.items()},
    )
    assert evidence_of(over) is None
    assert evidence_of(over, now_over=True) == evidence_of(incident)
    assert evidence_of(None) is None
    assert evidence_of(replace(incident, breaches={}), now_over=True) is None


def test_a_limit_that_follows_from_a_baseline_is_the_one_that_decided() -> None:
    incident = story(rule()).observe(value=CRITICAL).incident
    breaches = {name: replace(one, limit=12.5) for name, one in incident.breaches.items()}
    evidence = evidence_of(replace(incident, breaches=breaches))
    assert evidence is not None
    assert evidence.limit == 12.5


def test_a_probe_is_evidence_too() -> None:
    scenario = Scenario(probe()).traffic(blue=1, green=0)
    for _ in range(3):
        scenario.after("30s").sees(
            CheckId(service="trips", rule="healthy"), Pulse(passed=False, at=scenario.now, detail="503")
        )
    evidence = scenario.message(MessageKind.INCIDENT_OPENED).evidence
    assert evidence is not None
    assert (evidence.check.rule, evidence.critical, evidence.warning) == ("healthy", 3.0, None)


def test_a_switch_is_told_with_the_numbers_that_led_to_it_and_its_end_with_those_that_hold_it_open() -> None:
    scenario = Scenario().switched()
    switched = scenario.message(MessageKind.ROLLBACK_SWITCHED).evidence
    assert switched is not None
    assert (switched.check.version, switched.value, switched.limit) == ("green", ROLLBACK, 30.0)

    again = Scenario().verified().blue_recovers().after("60s").traffic()
    assert again.message(MessageKind.ROLLBACK_COMPLETED).evidence is None


def test_every_open_rule_says_where_a_rollback_begins() -> None:
    scenario = (
        story(rule(), rule("latency")).observe("errors", value=CRITICAL).observe("latency", value=CRITICAL)
    )
    message = telling.incident_opened(scenario.service.service, scenario.incident, now=scenario.now)
    told = dict(message.facts)
    assert told["traffic"] == "not moved; a rollback begins at errors beyond 30, latency beyond 30"


def test_a_rule_s_dashboard_and_runbook_go_with_what_is_told_of_it() -> None:
    one = rule(
        runbook="https://runbooks.example.com/errors", dashboard="https://dashboards.example.com/errors"
    )
    scenario = Scenario(one).switched()
    for kind in (MessageKind.INCIDENT_OPENED, MessageKind.ROLLBACK_SWITCHED):
        message = scenario.message(kind)
        assert (message.runbook, message.dashboard) == (one.runbook, one.dashboard)


@pytest.mark.parametrize(
    "name", ["v1.4.2", "a b; id", "$(id)", "'quoted'", "two\nlines", "-rf", "", "träffic"]
)
def test_a_name_is_one_word_of_a_command(name: str) -> None:
    assert shlex.split(word(name)) == [" ".join(name.split())]


def test_a_breach_of_a_version_with_a_slash_is_not_taken_for_a_variant() -> None:
    since = Scenario().now
    breach = Breach(rule=rule(), level=Level.CRITICAL, since=since, version="main/7")
    incident = story(rule()).observe(value=CRITICAL).incident
    made: Incident = replace(incident, breaches={"trips/errors@main/7": breach, "trips/errors@main": breach})
    found = evidence_of(replace(made, breaches={"trips/errors@main/7": breach}))
    assert found is not None
    assert found.check == CheckId(service="trips", rule="errors", version="main/7")
    assert found.since == since <= since + timedelta()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(300.038, "5m"), (1.9, "1s"), (0.25, "250ms"), (0, "0s"), (-3, "0s"), (3661.5, "1h1m1s")],
)
def test_people_read_whole_seconds_of_what_lasted(seconds: float, said: str) -> None:
    since = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
    now = since + timedelta(seconds=seconds)

    assert elapsed(since, now) == said
    if seconds > 0:
        assert rollback_news.breaker_closed(since=since, now=now).headline.endswith(f"after {said}")
