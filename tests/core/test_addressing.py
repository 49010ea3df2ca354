from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace

from watchdog.core.addressing import labels_of, outgoing
from watchdog.core.message import Message, MessageKind, OutgoingState
from watchdog.core.routing import Route
from watchdog.core.rule import Severity

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
