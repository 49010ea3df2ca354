"""Silences hold messages back, never anything else; and whoever was spared hears of it when they end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.core.scenario import CRITICAL, MINUTE, OK, ROLLBACK, T0, WARNING, Scenario, rule
from watchdog.core.message import MessageKind
from watchdog.core.request import Reply, RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.silence import LONGEST, Silence, covering, problem
from watchdog.core.viewing import view_of

OPENED, WORSENED, CLOSED = (
    MessageKind.INCIDENT_OPENED,
    MessageKind.INCIDENT_WORSENED,
    MessageKind.INCIDENT_CLOSED,
)


def silence(scenario: Scenario, *, lasts: str = "1h", reason: str = "load test", **matchers: str) -> Reply:
    seconds = {"10m": 600, "1h": 3600, "2h": 7200}[lasts]
    return scenario.ask(
        RequestKind.SILENCE, "", matchers=matchers or {"service": "trips"}, for_seconds=seconds, reason=reason
    )


def bad(scenario: Scenario, value: float = CRITICAL) -> Scenario:
    return scenario.traffic(blue=1, green=0).after("30s").observe(value=value)


def test_what_is_silenced_is_recorded_and_not_told() -> None:
    scenario = Scenario()
    reply = silence(scenario)
    assert (reply.status, reply.body["by"], reply.body["matchers"]) == (201, "alice", {"service": "trips"})

    bad(scenario)

    assert scenario.told == []
    incident = scenario.incident
    assert (incident.silenced_by, incident.silenced_messages, incident.told) == (
        (reply.body["id"],),
        1,
        False,
    )
    assert scenario.world.silences[reply.body["id"]].held_back == 1
    assert scenario.last.silences == (scenario.world.silences[reply.body["id"]],), "the count is stored"
    assert scenario.recorded.count("incident_opened") == 1
    held = next(draft for draft in scenario.audit if draft.kind == "message_silenced")
    assert held.body["silences"] == [reply.body["id"]]
    assert "critical" in held.body["headline"]


def test_the_view_counts_the_silences_that_hold() -> None:
    scenario = Scenario()
    silence(scenario)
    silence(scenario, lasts="10m")
    assert view_of(scenario.world, now=scenario.now, turn_at=scenario.now).silences == 2
    later = scenario.now + 20 * MINUTE
    assert view_of(scenario.world, now=later, turn_at=later).silences == 1


def test_an_incident_that_nobody_heard_of_ends_as_quietly() -> None:
    scenario = Scenario()
    silence(scenario)
    bad(scenario).after("30s").observe(value=OK).after("30s").observe(value=OK).tick()

    assert not scenario.service.incidents
    assert scenario.told == []
    assert scenario.recorded.count("incident_closed") == 1


def test_the_end_of_an_incident_is_always_told_to_those_who_heard_of_its_beginning() -> None:
    scenario = bad(Scenario(), WARNING)
    silence(scenario)
    scenario.after("30s").observe(value=CRITICAL)
    assert scenario.told == [OPENED], "that it is worse is held back"

    scenario.after("30s").observe(value=OK).after("30s").observe(value=OK)

    assert scenario.told == [OPENED, CLOSED]


def test_when_the_silence_is_over_people_hear_of_what_is_still_open_once() -> None:
    scenario = Scenario()
    made = silence(scenario, lasts="10m").body["id"]
    bad(scenario).at("9m").tick()
    assert scenario.told == []

    scenario.at("10m").tick().after("1s").tick().after("1m").tick()

    message = scenario.message(OPENED)
    assert message.incident == scenario.incident.id
    assert ("silenced", "until now; 1 message held back") in message.facts
    assert message.needs_human
    assert scenario.incident.told
    assert scenario.incident.silenced_by == ()
    assert scenario.incident.silenced_messages == 1
    assert scenario.world.silences == {}
    ended = [one for stepped in scenario.steps for one in stepped.silences if one.ended_at]
    assert [(one.id, one.ended_by, one.held_back) for one in ended] == [(made, "", 1)]
    assert "silence_ended" in scenario.recorded
    scenario.after("30s").observe(value=OK).after("30s").observe(value=OK)
    assert scenario.told == [OPENED, CLOSED]


def test_a_silence_that_ends_while_the_daemon_is_down_is_over_after_the_start() -> None:
    scenario = Scenario()
    silence(scenario, lasts="10m")
    bad(scenario).at("11m").restart().tick()

    assert scenario.told == [OPENED]


def test_a_silence_is_ended_early_by_a_person() -> None:
    scenario = Scenario()
    made = silence(scenario).body["id"]
    bad(scenario)

    reply = scenario.after("1m").ask(RequestKind.EXPIRE, made, by="bob", reason="found it")

    assert (reply.status, reply.body["ended_by"]) == (200, "bob")
    scenario.after("1s").tick()
    assert scenario.told == [OPENED]
    assert scenario.ask(RequestKind.EXPIRE, made).status == 404
    assert (
        next(d for d in scenario.audit if d.kind == "silence_ended").body["why"] == "ended by bob: found it"
    )


def test_rollbacks_are_made_and_told_in_the_deepest_silence() -> None:
    scenario = Scenario()
    silence(scenario, lasts="2h")

    scenario.verified().blue_recovers().after("2m").traffic().tick()

    scenario.rollback_is(RollbackState.COMPLETED)
    assert scenario.told == [MessageKind.ROLLBACK_SWITCHED, MessageKind.ROLLBACK_COMPLETED]


def test_a_rollback_that_a_guard_stops_is_told_in_silence_too() -> None:
    scenario = Scenario()
    silence(scenario, lasts="2h")
    scenario.ask(RequestKind.PAUSE, reason="freeze")

    scenario.decided()

    assert scenario.told == [MessageKind.PAUSED, MessageKind.ROLLBACK_BLOCKED]


@pytest.mark.parametrize(
    "matchers",
    [
        {"service": "maps"},
        {"environment": "staging"},
        {"severity": "medium"},
        {"rule": "latency"},
        {"label.team": "maps"},
        {"version": "v9"},
        {"incident": "inc-1"},
        {"source": "prometheus"},
        {"service": "trips", "severity": "low"},
    ],
    ids=str,
)
def test_what_does_not_match_is_told(matchers: dict[str, str]) -> None:
    scenario = Scenario(labels={"team": "booking"})
    silence(scenario, **matchers)

    assert bad(scenario).told == [OPENED]


@pytest.mark.parametrize(
    "matchers",
    [
        {"service": "trips"},
        {"environment": "production"},
        {"severity": "high"},
        {"rule": "errors"},
        {"label.team": "booking"},
        {"version": "blue"},
        {"service": "trips", "rule": "errors", "severity": "high"},
    ],
    ids=str,
)
def test_what_matches_in_everything_is_held_back(matchers: dict[str, str]) -> None:
    scenario = Scenario(labels={"team": "booking"}, environment="production")
    silence(scenario, **matchers)

    assert bad(scenario).told == []


def test_an_incident_of_two_rules_is_silent_only_when_both_are() -> None:
    scenario = Scenario(rule("errors"), rule("latency"))
    silence(scenario, rule="errors")
    scenario.traffic(blue=1, green=0).after("30s").observe("errors", value=WARNING)
    assert scenario.told == []

    scenario.observe("latency", value=CRITICAL)
    assert scenario.told == [WORSENED]
    assert scenario.incident.told
    assert scenario.incident.silenced_by == ()

    silence(scenario, rule="latency")
    for _ in range(2):
        scenario.after("30s").observe("errors", value=ROLLBACK)
    assert scenario.told == [WORSENED, MessageKind.ROLLBACK_BLOCKED]
    assert len(scenario.incident.silenced_by) == 2


def test_a_worse_severity_breaks_the_silence_of_a_milder_one() -> None:
    scenario = Scenario()
    silence(scenario, severity="medium")
    bad(scenario, WARNING)
    assert scenario.told == []

    scenario.after("30s").observe(value=CRITICAL)

    assert scenario.told == [WORSENED]


def test_blind_checks_and_sources_that_are_down_are_silenced_by_rule_and_by_source() -> None:
    blind = Scenario()
    silence(blind, lasts="10m", rule="errors")
    blind.traffic(blue=1, green=0)
    for _ in range(9):
        blind.after("30s").silence().tick()
    assert blind.service.incidents
    assert blind.told == []
    blind.at("10m").tick()
    assert blind.told == [OPENED]

    down = Scenario()
    silence(down, lasts="10m", source="prometheus")
    down.traffic(blue=1, green=0)
    for _ in range(9):
        down.after("30s").fails().tick()
    incident = down.world.sources["prometheus"].incident
    assert incident is not None
    assert (incident.silenced_messages, incident.told) == (1, False)
    assert down.told == []
    down.at("10m").tick()
    assert down.told == [OPENED]
    assert down.message(OPENED).labels == {"source": "prometheus"}


def test_a_silence_made_by_a_clock_that_was_set_back_is_over() -> None:
    scenario = Scenario()
    silence(scenario)
    scenario.now -= timedelta(days=3)

    assert bad(scenario).told == [OPENED]
    scenario.tick()
    assert scenario.world.silences == {}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"matchers": {}, "for_seconds": 60, "reason": "x"}, "matchers name at least one"),
        ({"matchers": {"servce": "x"}, "for_seconds": 60, "reason": "x"}, "matchers/servce is not known"),
        ({"matchers": {"label.": "x"}, "for_seconds": 60, "reason": "x"}, "matchers/label. is not known"),
        (
            {"matchers": {"severity": "loud"}, "for_seconds": 60, "reason": "x"},
            "matchers/severity is none of",
        ),
        ({"matchers": {"service": "x"}, "for_seconds": 60, "reason": ""}, "reason must not be empty"),
        ({"matchers": {"service": "x"}, "reason": "x"}, "ends_at is required"),
        ({"matchers": {"service": "x"}, "ends_at": T0.isoformat(), "reason": "x"}, "ends_at is over already"),
        (
            {"matchers": {"service": "x"}, "for_seconds": LONGEST.total_seconds() + 1, "reason": "x"},
            "ends_at is more than 30 days away",
        ),
    ],
)
def test_a_silence_that_cannot_be_is_refused_and_changes_nothing(body: dict[str, Any], detail: str) -> None:
    scenario = Scenario()
    before = scenario.world

    reply = scenario.ask(RequestKind.SILENCE, "", **body)

    assert reply.status == 422
    assert reply.detail.startswith(detail)
    assert scenario.world == before
    assert scenario.recorded == []


def test_an_end_can_be_written_as_a_time() -> None:
    scenario = Scenario()
    ends_at = T0 + 5 * MINUTE
    reply = scenario.ask(
        RequestKind.SILENCE, "", matchers={"service": "trips"}, ends_at=ends_at.isoformat(), reason="x"
    )
    assert scenario.world.silences[reply.body["id"]].ends_at == ends_at


def test_a_silence_holds_from_its_beginning_up_to_its_end() -> None:
    one = Silence(
        id="s", matchers={"service": "trips"}, by="ana", created_at=T0, ends_at=T0 + MINUTE, reason="x"
    )
    assert one.holds(T0)
    assert not one.holds(T0 + MINUTE)
    assert not replace(one, ended_at=T0).holds(T0)
    assert covering([one], {"service": "trips"}, frozenset(), now=T0) == (one,)
    assert covering([one], {"service": "trips"}, frozenset(), now=T0 + MINUTE) == ()
    assert problem({"service": "x"}, reason="x", ends_at=T0 + LONGEST, now=T0) is None
