from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from tests.core.scenario import CRITICAL, MINUTE, OK, WARNING, Scenario
from watchdog.core.addressing import addressees, labels_of, outgoing
from watchdog.core.incident import Incident, IncidentKind, IncidentState
from watchdog.core.ladder import Climb, Policy, ReportTime, Step
from watchdog.core.message import Message, MessageKind, OutgoingState
from watchdog.core.request import RequestKind
from watchdog.core.routing import Route
from watchdog.core.rule import Level, Severity

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
HEAD = "ab" * 32
MESSAGE = Message(
    key="incident_opened:inc-1",
    kind=MessageKind.INCIDENT_OPENED,
    severity=Severity.HIGH,
    headline="trips: error-rate is critical",
    created_at=NOW,
    service="trips",
    environment="production",
    version="v2",
    labels={"team": "booking"},
)
EVERYBODY = Route(to=("ops",))


def test_a_route_can_match_what_the_message_says_of_itself_and_the_services_labels() -> None:
    assert labels_of(MESSAGE) == {
        "service": "trips",
        "environment": "production",
        "severity": "high",
        "kind": "incident_opened",
        "version": "v2",
        "team": "booking",
        "label.team": "booking",
    }


def test_a_label_of_a_service_does_not_pass_for_what_the_message_is() -> None:
    labels = labels_of(replace(MESSAGE, labels={"severity": "low", "environment": "staging"}))
    assert (labels["severity"], labels["environment"]) == ("high", "production")
    assert (labels["label.severity"], labels["label.environment"]) == ("low", "staging")


def test_every_channel_of_the_first_matching_route_gets_one_row() -> None:
    routes = (
        Route(match={"environment": "staging"}, to=("quiet",)),
        Route(match={"label.team": "booking", "severity": "high"}, to=("ops", "oncall")),
        EVERYBODY,
    )
    rows = outgoing([MESSAGE], routes, head=HEAD)
    assert [(row.key, row.channel) for row in rows] == [
        ("incident_opened:inc-1@ops", "ops"),
        ("incident_opened:inc-1@oncall", "oncall"),
    ]


def test_a_row_is_due_when_the_message_was_made_and_tied_to_the_chain() -> None:
    (row,) = outgoing([MESSAGE], (EVERYBODY,), head=HEAD)
    assert row.due_at == NOW
    assert row.state is OutgoingState.PENDING
    assert row.attempts == 0
    assert row.message == replace(MESSAGE, audit_head=HEAD)


def test_a_channel_named_twice_gets_a_message_once() -> None:
    rows = outgoing([MESSAGE], (Route(to=("ops", "ops")),), head=HEAD)
    assert [row.channel for row in rows] == ["ops"]


def test_messages_keep_their_order() -> None:
    later = replace(MESSAGE, key="second")
    rows = outgoing([MESSAGE, later], (Route(to=("a", "b")),), head=HEAD)
    assert [row.key for row in rows] == [
        "incident_opened:inc-1@a",
        "incident_opened:inc-1@b",
        "second@a",
        "second@b",
    ]


def test_news_of_a_broken_channel_goes_to_every_other_one_whatever_the_routes_say() -> None:
    news = replace(MESSAGE, kind=MessageKind.CHANNEL_FAILED, labels={"channel": "ops"})
    routes = (Route(match={"kind": "channel_failed"}, to=("ops",)), Route(to=("oncall", "ops", "mail")))
    rows = outgoing([news], routes, head=HEAD)
    assert [row.channel for row in rows] == ["oncall", "mail"]


def test_news_of_the_only_channel_goes_nowhere() -> None:
    news = replace(MESSAGE, kind=MessageKind.CHANNEL_FAILED, labels={"channel": "ops"})
    assert outgoing([news], (EVERYBODY,), head=HEAD) == ()


def test_nothing_to_tell_is_nothing_to_send() -> None:
    assert outgoing([], (EVERYBODY,), head=HEAD) == ()


BY_SEVERITY = (
    Route(match={"severity": "high"}, to=("oncall",)),
    Route(match={"severity": "medium"}, to=("ops",)),
    Route(to=("log",)),
)


def routed(*routes: Route) -> Scenario:
    """A service that is well, with these routes."""
    scenario = Scenario()
    scenario.world = replace(scenario.world, routes=routes)
    return scenario.stable_blue().after("30s")


def sent(scenario: Scenario, kind: MessageKind) -> set[str]:
    rows = outgoing(scenario.messages, scenario.world.routes, head=HEAD)
    return {row.channel for row in rows if row.message.kind is kind}


def recovers(scenario: Scenario) -> Scenario:
    for _ in range(2):
        scenario.after("30s").observe(value=OK)
    return scenario


def test_the_end_of_an_incident_is_told_wherever_anything_of_it_was() -> None:
    scenario = routed(*BY_SEVERITY).observe(value=WARNING).after("30s").observe(value=CRITICAL)
    assert sent(scenario, MessageKind.INCIDENT_OPENED) == {"ops"}
    assert sent(scenario, MessageKind.INCIDENT_WORSENED) == {"oncall"}
    recovers(scenario.restart())
    assert sent(scenario, MessageKind.INCIDENT_CLOSED) == {"ops", "oncall"}


def test_who_was_paged_for_blindness_hears_that_there_is_data_again_and_who_took_it() -> None:
    scenario = routed(*BY_SEVERITY)
    for _ in range(8):
        scenario.after("30s").silence().tick()
    assert sent(scenario, MessageKind.INCIDENT_OPENED) == {"oncall"}
    (incident,) = scenario.service.incidents
    scenario.ask(RequestKind.ACKNOWLEDGE, incident)
    assert "oncall" in sent(scenario, MessageKind.INCIDENT_ACKNOWLEDGED)
    recovers(scenario).tick()
    assert "oncall" in sent(scenario, MessageKind.INCIDENT_CLOSED)


def test_what_was_told_late_because_of_a_silence_ends_where_it_was_told() -> None:
    scenario = routed(*BY_SEVERITY)
    scenario.ask(RequestKind.SILENCE, matchers={"service": "trips"}, reason="load test", for_seconds=60)
    scenario.observe(value=WARNING).after("61s").tick()
    assert sent(scenario, MessageKind.INCIDENT_OPENED) == {"ops"}
    (incident,) = scenario.service.incidents.values()
    assert incident.heard_by == ("ops",)


def test_a_channel_that_is_gone_from_the_routes_hears_no_end() -> None:
    scenario = routed(*BY_SEVERITY).observe(value=WARNING)
    scenario.world = replace(scenario.world, routes=(EVERYBODY,))
    assert scenario.incident.heard_by == ("ops",)
    scenario.world = replace(scenario.world, routes=(Route(to=("log",)),))
    recovers(scenario)
    assert sent(scenario, MessageKind.INCIDENT_CLOSED) == {"log"}


# -- ladders

PAGED = Policy(
    name="paged",
    ladders={
        Severity.CRITICAL: (Step(to=("oncall", "ops")), Step(after=MINUTE, to=("lead",))),
        Severity.HIGH: (Step(to=("ops", "mail")), Step(after=MINUTE, to=("lead",))),
        Severity.LOW: (Step(to=("mail",)), Step(after=MINUTE, digest=ReportTime())),
    },
)
LADDERED = (Route(policy=PAGED, notices=("feed",)),)
EVERYONE = Route(match={"service": "nobody"}, to=("chat",))


def to(message: Message, routes: tuple[Route, ...] = LADDERED, incident: Incident | None = None) -> list[str]:
    return list(addressees(message, routes, incident))


def climbing_by(policy: Policy, **changes: Any) -> Incident:
    made = Incident(
        id="inc-1",
        kind=IncidentKind.BREACH,
        state=IncidentState.OPEN,
        subject="trips",
        opened_at=NOW,
        level=Level.CRITICAL,
        severity=Severity.HIGH,
        climb=Climb(policy=policy, severity=Severity.HIGH, began_at=NOW),
    )
    return replace(made, **changes)


def test_a_ladders_first_step_gets_a_message_of_its_severity() -> None:
    assert to(MESSAGE) == ["ops", "mail"]
    assert to(replace(MESSAGE, severity=Severity.CRITICAL)) == ["oncall", "ops"]
    assert to(replace(MESSAGE, severity=Severity.MEDIUM)) == ["ops", "mail"], "the next louder one"
    assert to(replace(MESSAGE, severity=Severity.LOW)) == ["mail"]


def test_a_step_goes_to_its_own_channels_and_to_none_that_is_gone() -> None:
    step = replace(MESSAGE, kind=MessageKind.ESCALATED, only_to=("lead", "gone", "lead"))
    assert to(step) == ["lead"]


def test_a_frozen_policy_counts_whatever_the_routes_say_now() -> None:
    now = (Route(to=("chat",)), *LADDERED)
    assert to(MESSAGE, now, climbing_by(PAGED)) == ["ops", "mail"]
    assert to(MESSAGE, now) == ["chat"]


def test_a_frozen_policy_without_anything_as_loud_asks_the_routes_anew() -> None:
    quiet = replace(PAGED, name="quiet", ladders={Severity.LOW: (Step(to=("mail",)),)})
    loud = replace(MESSAGE, severity=Severity.CRITICAL)
    assert to(loud, LADDERED, climbing_by(quiet)) == ["oncall", "ops"]
    assert to(replace(MESSAGE, severity=Severity.LOW), LADDERED, climbing_by(quiet)) == ["mail"]


def test_where_everybody_whom_a_frozen_policy_names_is_gone_the_routes_say_who() -> None:
    gone = replace(PAGED, name="gone", ladders={Severity.HIGH: (Step(to=("pager",)),)})
    assert to(MESSAGE, LADDERED, climbing_by(gone)) == ["ops", "mail"]


def test_what_only_follows_goes_to_those_who_heard_and_not_to_a_ladder_of_its_own() -> None:
    for kind in (MessageKind.INCIDENT_CLOSED, MessageKind.INCIDENT_ACKNOWLEDGED):
        end = replace(MESSAGE, kind=kind, severity=Severity.LOW, also_to=("oncall", "ops"))
        assert to(end) == ["oncall", "ops"]
        assert to(replace(end, also_to=())) == ["mail"], "where nobody is known to have heard"


def test_what_ends_something_that_is_no_incident_goes_where_that_was_told() -> None:
    again = replace(MESSAGE, kind=MessageKind.REACHABLE_AGAIN, severity=Severity.LOW, service="")
    assert to(again) == ["oncall", "ops"]
    by_severity = (Route(match={"severity": "critical"}, to=("oncall",)), Route(to=("log",)))
    assert to(again, by_severity) == ["log", "oncall"]
    repaired = replace(again, kind=MessageKind.CONFIG_REPAIRED)
    assert to(repaired) == ["ops", "mail"]


def test_notices_go_to_where_the_route_wants_them_and_nowhere_else() -> None:
    notice = replace(MESSAGE, kind=MessageKind.DEPLOYMENT_STABLE)
    assert to(notice) == ["feed"]
    assert to(notice, (EVERYBODY,)) == []


def test_news_of_a_broken_channel_go_to_every_channel_of_every_ladder_but_not_to_those_for_notices() -> None:
    for kind in (MessageKind.CHANNEL_FAILED, MessageKind.CHANNEL_LATE):
        news = replace(MESSAGE, kind=kind, labels={"channel": "ops"})
        assert set(to(news, (EVERYONE, *LADDERED))) == {"chat", "oncall", "lead", "mail"}
        only = (Route(to=("ops",), notices=("feed",)),)
        assert to(news, only) == ["feed"], "where there is nobody else"


def test_a_ladder_that_is_nothing_but_a_report_tells_nobody_at_once() -> None:
    report = Policy(name="r", ladders={Severity.LOW: (Step(to=("mail",), digest=ReportTime()),)})
    assert to(replace(MESSAGE, severity=Severity.LOW), (Route(policy=report),)) == []
