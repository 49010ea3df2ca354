"""Silence is told, and nothing else comes of it: of a check, of a source, of a switch."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.core.scenario import (
    CRITICAL,
    MINUTE,
    OK,
    ROLLBACK,
    T0,
    Scenario,
    counting,
    of_service,
    probe,
    rule,
)
from watchdog.core.incident import Incident, IncidentKind
from watchdog.core.message import MessageKind
from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason, Observation
from watchdog.core.observe import NO_EVENTS
from watchdog.core.request import RequestKind
from watchdog.core.rule import Level

OPENED, CLOSED, ACKNOWLEDGED = (
    MessageKind.INCIDENT_OPENED,
    MessageKind.INCIDENT_CLOSED,
    MessageKind.INCIDENT_ACKNOWLEDGED,
)


def of_kind(scenario: Scenario, kind: IncidentKind) -> Incident | None:
    return scenario.service.incident_of(kind)


def blind(scenario: Scenario) -> Incident | None:
    return of_kind(scenario, IncidentKind.BLIND)


def outage(scenario: Scenario) -> Incident | None:
    return scenario.world.sources["prometheus"].incident


# -- a check


def test_a_check_without_data_for_too_long_is_told() -> None:
    scenario = Scenario().traffic(blue=1, green=0).silence()

    scenario.after("2m59s").tick()
    assert scenario.told == []
    scenario.after("1s").tick()

    assert scenario.told == [OPENED]
    message = scenario.message(OPENED)
    assert message.headline == "trips in production is not being watched: errors has no data (empty)"
    assert message.needs_human
    assert blind(scenario) is not None


def fact(scenario: Scenario) -> str:
    """What the one message says of the one check."""
    ((name, text),) = scenario.message(OPENED).facts
    assert name.startswith("errors")
    return text


def empty(scenario: Scenario, detail: str) -> Scenario:
    return scenario.sees(scenario.check(), NoData(reason=NoDataReason.EMPTY, detail=detail))


def test_a_rule_whose_metric_was_renamed_is_told_with_since_when_and_what_probably_happened() -> None:
    scenario = Scenario(of_service("errors")).traffic(blue=1, green=0).observe(value=OK).after("30s")
    scenario.looks_every = 50
    while not scenario.told:
        empty(scenario, "no series").after("1s").tick()

    assert scenario.now - T0 <= timedelta(minutes=3) + 3 * timedelta(seconds=30)
    text = fact(scenario)
    assert text.startswith(
        "no usable data since 2026-03-02 10:00:30 UTC (last data 2026-03-02 10:00:00 UTC): there is no data: no series"
    )
    assert "probably a metric was renamed, a label changed, or what exposed it is gone" in text
    assert scenario.message(OPENED).next_step.endswith("watchdog doctor -c FILE")


def test_a_rule_that_never_had_data_since_it_was_configured_is_told_too() -> None:
    scenario = empty(Scenario().traffic(blue=1, green=0), "no series").after("3m").tick()

    assert scenario.message(OPENED).facts[0][0] == "errors@blue"
    assert "(never any so far)" in fact(scenario)
    assert "probably its name or a label is misspelt, or nothing exposes the metric" in fact(scenario)


def test_a_rule_that_lost_its_data_is_told_in_time_although_the_daemon_was_restarted_meanwhile() -> None:
    scenario = Scenario().traffic(blue=1, green=0).observe(value=OK).after("30s").silence().after("2m")
    scenario.restart().silence().after("59s").tick()
    assert scenario.told == []

    scenario.after("1s").tick()

    assert "no usable data since 2026-03-02 10:00:30 UTC (last data 2026-03-02 10:00:00 UTC)" in fact(
        scenario
    )
    scenario.restart().silence().after("10m").tick()
    assert scenario.told == [OPENED], "still the same incident"


def test_a_service_that_is_quiet_at_night_is_told_to_have_no_traffic_and_not_to_have_lost_a_metric() -> None:
    scenario = Scenario().traffic(blue=1, green=0).observe(value=OK).after("30s")
    empty(scenario, NO_EVENTS).after("3m").tick()

    headline = scenario.message(OPENED).headline
    assert headline == "trips in production is not being watched: errors has no traffic to judge (empty)"
    assert "probably there is no traffic: the metric is there and does not rise" in fact(scenario)
    assert scenario.message(OPENED).next_step.startswith("Nothing can be judged without traffic.")


@pytest.mark.parametrize(
    ("observation", "guess"),
    [
        (NoData(reason=NoDataReason.STALE), "what exposed it is gone"),
        (NoData(reason=NoDataReason.SEVERAL_SERIES), "how to join them"),
        (NoData(reason=NoDataReason.NOT_A_NUMBER), "divides by nothing"),
        (NoData(reason=NoDataReason.FUTURE), "clocks"),
        (NoData(reason=NoDataReason.PARTIAL), "not whole"),
        (Failed(reason=FailReason.QUERY_ERROR), "cannot work with the rule's query"),
        (Failed(reason=FailReason.UNABLE), "could not even ask"),
    ],
)
def test_every_kind_of_silence_has_its_own_explanation(observation: Observation, guess: str) -> None:
    scenario = Scenario(rule(), of_service()).traffic(blue=1, green=0).observe("load", value=OK)
    scenario.sees(scenario.check("errors"), observation).after("3m").tick()

    assert guess in fact(scenario)


def test_blind_after_nothing_tells_at_the_first_unknown() -> None:
    scenario = Scenario(rule(blind_after=timedelta(0))).traffic(blue=1, green=0).silence().tick()

    assert scenario.told == [OPENED]


def test_data_ends_the_blindness() -> None:
    scenario = Scenario().traffic(blue=1, green=0).silence().after("3m").tick()

    scenario.after("10s").observe(value=OK).tick()

    assert scenario.told == [OPENED, CLOSED]
    assert blind(scenario) is None


def test_blindness_never_opens_closes_or_moves_anything_else() -> None:
    scenario = Scenario().green_deployed().green_is_bad(1)
    before = scenario.incident
    for _ in range(20):
        scenario.after("30s").silence().tick()

    assert scenario.incident == before
    assert scenario.service.rollbacks == {}


def test_too_few_events_are_never_blindness() -> None:
    scenario = Scenario(counting()).traffic(blue=1, green=0)
    for _ in range(20):
        scenario.after("30s").observe(value=OK, events=3).tick()

    assert scenario.told == []


def test_one_service_has_one_blindness_for_all_its_checks() -> None:
    scenario = Scenario(rule(), rule("latency")).traffic(blue=1, green=0)
    scenario.silence("errors").after("3m").silence("latency").tick()
    assert scenario.told == [OPENED]

    scenario.after("3m").tick()

    assert scenario.told == [OPENED, OPENED], "another check is news"
    found = blind(scenario)
    assert found is not None
    assert found.checks == ("errors", "latency")
    assert len({message.incident for message in scenario.messages}) == 1


def test_another_reason_for_the_same_blindness_is_no_news() -> None:
    scenario = Scenario().traffic(blue=1, green=0).silence().after("3m").tick()
    for reason in (FailReason.QUERY_ERROR, FailReason.OUT_OF_RANGE):
        scenario.after("30s").fails(reason=reason).tick()
    scenario.after("30s").silence().tick()

    assert scenario.told == [OPENED]


def test_a_check_that_sees_again_is_no_news_while_others_do_not() -> None:
    scenario = Scenario(rule(), rule("latency")).traffic(blue=1, green=0)
    scenario.silence("errors").silence("latency").after("3m").tick()

    scenario.observe("latency", value=OK).after("1s").tick()

    assert scenario.told == [OPENED]
    found = blind(scenario)
    assert found is not None
    assert (found.checks, found.summary) == (("errors",), "errors has no data (empty)")


def test_two_versions_without_data_are_one_line() -> None:
    scenario = Scenario().traffic(blue=1, green=1).silence(on="blue").silence(on="green").after("3m").tick()

    assert scenario.message(OPENED).headline.endswith(": errors has no data (empty)")


@pytest.mark.parametrize("reason", [FailReason.QUERY_ERROR, FailReason.OUT_OF_RANGE])
def test_a_refused_query_is_the_rule_s_blindness_and_not_the_source_s(reason: FailReason) -> None:
    scenario = Scenario().traffic(blue=1, green=0).fails(reason=reason).after("3m").tick()

    assert blind(scenario) is not None
    assert outage(scenario) is None
    assert scenario.world.sources["prometheus"].up is True


def test_our_own_inability_says_nothing_about_the_source() -> None:
    scenario = (
        Scenario().traffic(blue=1, green=0).observe(value=OK).after("30s").fails(reason=FailReason.UNABLE)
    )

    assert scenario.world.sources["prometheus"].up is True


def test_a_probe_that_cannot_be_tried_is_the_service_s_blindness() -> None:
    scenario = Scenario(probe()).traffic(blue=1, green=0).fails(reason=FailReason.TIMEOUT).after("3m").tick()

    assert blind(scenario) is not None
    assert scenario.world.sources == {}


def test_a_failure_of_a_rule_without_a_named_source_is_told_all_the_same() -> None:
    scenario = Scenario(rule(source=None)).traffic(blue=1, green=0).fails().after("3m").tick()

    assert blind(scenario) is not None


# -- a source


def outage_of_three() -> Scenario:
    scenario = Scenario(others=("cars", "hotels"))
    for name in ("trips", "cars", "hotels"):
        scenario.traffic(name, blue=1, green=0).fails(name=name)
    return scenario


def test_a_source_outage_is_one_incident_that_lists_the_services() -> None:
    scenario = outage_of_three().after("3m").tick()

    assert scenario.told == [OPENED]
    incident = outage(scenario)
    assert incident is not None
    assert incident.subjects == ("cars", "hotels", "trips")
    message = scenario.message(OPENED)
    assert message.headline == "source prometheus does not answer: 3 services not being watched"
    assert ("services", "cars, hotels, trips") in message.facts
    assert blind(scenario) is None


def test_one_service_is_counted_in_the_singular() -> None:
    scenario = Scenario().traffic(blue=1, green=0).fails().after("3m").tick()

    assert scenario.message(OPENED).headline.endswith("1 service not being watched")


def test_the_services_that_fail_beside_the_first_blind_one_are_in_it_at_once() -> None:
    scenario = Scenario(others=("cars",)).traffic(blue=1, green=0).traffic("cars", blue=1, green=0)
    scenario.fails().after("1m").fails(name="cars").after("2m").tick()

    incident = outage(scenario)
    assert incident is not None
    assert incident.subjects == ("cars", "trips")


def test_services_that_fail_later_join_without_another_page() -> None:
    scenario = Scenario(others=("cars",)).traffic(blue=1, green=0).traffic("cars", blue=1, green=0)
    scenario.fails().after("3m").tick()
    assert scenario.told == [OPENED]

    scenario.after("10s").fails(name="cars").tick()

    incident = outage(scenario)
    assert incident is not None
    assert incident.subjects == ("cars", "trips")
    assert scenario.told == [OPENED]
    assert scenario.recorded[-1] == "source_changed"


def test_it_closes_when_the_source_answers() -> None:
    scenario = outage_of_three().after("3m").tick()
    before = scenario.world.sources["prometheus"]
    assert (before.up, before.failing_since) == (False, scenario.now - timedelta(minutes=3))

    for name in ("trips", "cars", "hotels"):
        scenario.after("1s").observe(value=OK, name=name)
    scenario.tick()

    assert scenario.told == [OPENED, CLOSED]
    assert outage(scenario) is None
    after = scenario.world.sources["prometheus"]
    assert (after.up, after.failing_since) == (True, None)
    assert scenario.message(CLOSED).headline == "prometheus: closed: the source answers again"


def test_a_source_that_is_away_is_not_told_to_be_back_because_a_new_version_asks_it() -> None:
    scenario = Scenario().traffic(blue=1, green=0).fails().after("3m").tick()
    assert scenario.told == [OPENED]

    scenario.after("5s").traffic(blue=0, green=1).after("35s").traffic().fails().tick()

    assert scenario.told == [OPENED]
    assert outage(scenario) is not None


def test_a_source_that_is_back_after_a_long_outage_leaves_nobody_told_of_each_service() -> None:
    scenario = outage_of_three()
    scenario.looks_every = 20
    for _ in range(20):
        scenario.after("30s")
        for name in ("trips", "cars", "hotels"):
            scenario.fails(name=name)
        scenario.tick()
    for _ in range(3):
        scenario.after("10s")
        for name in ("trips", "cars", "hotels"):
            scenario.observe(value=ROLLBACK, name=name)
        assert scenario.remembers().verdict is not None
        assert scenario.tick().remembers().held is Level.OK, "quarantine: the window is half empty"

    assert scenario.told == [OPENED, CLOSED]


def test_a_person_acknowledges_and_closes_the_outage() -> None:
    scenario = Scenario().traffic(blue=1, green=0).fails().after("3m").tick()
    incident = outage(scenario)
    assert incident is not None

    reply = scenario.ask(RequestKind.ACKNOWLEDGE, incident.id)
    assert (reply.status, reply.body["acknowledged_by"]) == (200, "alice")
    assert scenario.ask(RequestKind.APPROVE, incident.id).status == 404
    reply = scenario.ask(RequestKind.CLOSE, incident.id)
    assert (reply.status, reply.body["state"]) == (200, "closed")

    scenario.after("1s").fails().tick()
    assert outage(scenario) is None, "closed means left alone for as long as it took to open"
    scenario.after("3m").fails().tick()
    assert outage(scenario) is not None


def test_a_person_closes_a_blindness_and_it_is_left_alone_for_a_while() -> None:
    scenario = Scenario().traffic(blue=1, green=0).silence().after("3m").tick()
    incident = blind(scenario)
    assert incident is not None

    assert scenario.ask(RequestKind.CLOSE, incident.id).status == 200
    scenario.after("1s").silence().tick()
    assert blind(scenario) is None
    scenario.after("3m").tick()

    assert blind(scenario) is not None


# -- a switch


def test_a_switch_that_cannot_be_read_three_times_is_told() -> None:
    scenario = Scenario().traffic(blue=1, green=0).after("5s").unreadable().unreadable()
    assert scenario.told == []

    scenario.unreadable()

    assert scenario.told == [OPENED]
    assert "its traffic switch cannot be read: connection refused" in scenario.message(OPENED).headline
    scenario.unreadable("no answer within 5.01 s").unreadable("no answer within 5.02 s")
    assert scenario.told == [OPENED]


def test_a_switch_that_can_be_read_again_closes_it() -> None:
    scenario = Scenario().traffic(blue=1, green=0)
    for _ in range(3):
        scenario.after("5s").unreadable()

    scenario.after("5s").traffic()

    assert scenario.told == [OPENED, CLOSED]
    assert of_kind(scenario, IncidentKind.SWITCH) is None
    assert scenario.service.traffic_error == ""


def test_failures_with_a_success_between_are_not_in_a_row() -> None:
    scenario = Scenario().traffic(blue=1, green=0)
    for _ in range(5):
        scenario.after("5s").unreadable().unreadable().after("1s").traffic()

    assert scenario.told == []


def test_that_nothing_takes_traffic_is_told_after_a_while() -> None:
    scenario = Scenario().stable_blue().after("5s").traffic(blue=0, green=0).tick()
    meanwhile = scenario.service.level
    assert meanwhile is Level.UNKNOWN

    scenario.after("2m59s").traffic().tick()
    assert scenario.told == []
    scenario.after("1s").tick()

    assert scenario.told == [OPENED]
    assert "no variant takes traffic" in scenario.message(OPENED).headline
    for _ in range(10):
        scenario.after("5m").traffic().tick()
    assert scenario.told == [OPENED], "one incident, told once"

    scenario.after("5s").traffic(blue=1, green=0)
    assert scenario.told == [OPENED, CLOSED]
    assert scenario.message(CLOSED).headline.endswith("traffic flows again")
    assert scenario.service.level is Level.OK


def test_the_smallest_blind_after_of_the_rules_is_how_long_nothing_may_take_traffic() -> None:
    scenario = Scenario(rule(blind_after=MINUTE), of_service()).traffic(blue=0, green=0)

    scenario.after("59s").tick()
    assert scenario.told == []
    scenario.after("1s").traffic()

    assert "no variant takes traffic" in scenario.message(OPENED).headline


def test_traffic_that_comes_back_in_between_starts_the_wait_anew() -> None:
    scenario = Scenario().traffic(blue=0, green=0).tick()
    scenario.after("2m").traffic(blue=1).after("5s").traffic(blue=0).after("2m").tick()

    assert scenario.told == []


def test_that_nothing_takes_traffic_stays_open_over_a_restart() -> None:
    scenario = Scenario().traffic(blue=0, green=0).after("1s").tick().after("3m").tick()

    scenario.restart().after("5s").traffic().tick()

    assert scenario.told == [OPENED]


def test_a_switch_that_shows_nothing_live_when_it_can_be_read_again_is_another_incident() -> None:
    scenario = Scenario().traffic(blue=0, green=0).tick()
    for _ in range(3):
        scenario.after("1m10s").unreadable()
    scenario.after("5s").traffic()

    assert scenario.told == [OPENED, CLOSED, OPENED]
    assert "no variant takes traffic" in scenario.messages[-1].headline


def test_a_person_closes_that_nothing_takes_traffic_and_it_is_left_alone_for_as_long_again() -> None:
    scenario = Scenario().traffic(blue=0, green=0).tick().after("3m").tick()
    incident = of_kind(scenario, IncidentKind.SWITCH)
    assert incident is not None
    scenario.ask(RequestKind.CLOSE, incident.id)

    scenario.after("2m").tick()
    assert of_kind(scenario, IncidentKind.SWITCH) is None
    scenario.after("1m").tick().after("3m").tick()
    assert of_kind(scenario, IncidentKind.SWITCH) is not None


def test_a_breach_of_the_whole_service_is_still_its_level_when_nothing_takes_traffic() -> None:
    scenario = Scenario(of_service()).traffic(blue=1, green=0).after("5s").observe(value=CRITICAL)

    scenario.after("5s").traffic(blue=0)

    assert scenario.service.level is Level.CRITICAL


def test_a_person_closes_it_and_it_takes_three_more() -> None:
    scenario = Scenario().traffic(blue=1, green=0)
    for _ in range(3):
        scenario.after("5s").unreadable()
    incident = of_kind(scenario, IncidentKind.SWITCH)
    assert incident is not None
    scenario.ask(RequestKind.CLOSE, incident.id)

    scenario.after("5s").unreadable().unreadable()
    assert of_kind(scenario, IncidentKind.SWITCH) is None
    scenario.unreadable()
    assert of_kind(scenario, IncidentKind.SWITCH) is not None


def test_an_acknowledged_blindness_stays_acknowledged_when_more_is_missing() -> None:
    scenario = Scenario(rule(), rule("latency")).traffic(blue=1, green=0).silence("errors").after("3m").tick()
    incident = blind(scenario)
    assert incident is not None
    scenario.ask(RequestKind.ACKNOWLEDGE, incident.id)

    scenario.silence("latency").after("3m").tick()

    found = blind(scenario)
    assert found is not None
    assert found.acknowledged_by == "alice"


def test_a_breach_is_not_hidden_by_blindness() -> None:
    scenario = Scenario(rule(), rule("latency")).traffic(blue=1, green=0).silence("latency").after("3m")
    scenario.observe("errors", value=CRITICAL).tick()

    assert {one.kind for one in scenario.service.incidents.values()} == {
        IncidentKind.BREACH,
        IncidentKind.BLIND,
    }
