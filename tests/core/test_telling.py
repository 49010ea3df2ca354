"""What people read: what is wrong, what was done, why, and the one thing to do next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tests.channels.messages import message as some_message
from tests.core.scenario import CRITICAL, OK, T0, Scenario, rule
from watchdog.core import rollback_news, telling
from watchdog.core.addressing import outgoing
from watchdog.core.events import ChannelDead
from watchdog.core.incident import IncidentKind
from watchdog.core.message import MessageKind
from watchdog.core.rollback import ENDS, Passage, RollbackState
from watchdog.core.rollback_news import ENDED_AS
from watchdog.core.routing import Route
from watchdog.core.rule import Severities, Severity, Unit
from watchdog.core.service import Mode
from watchdog.core.wording import number

SCENARIO = Scenario().decided()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, Unit.RATIO, "no value"),
        (0.0821, Unit.RATIO, "8.21%"),
        (0.25, Unit.SECONDS, "250ms"),
        (2.5, Unit.SECONDS, "2.5s"),
        (512.0, Unit.BYTES, "512B"),
        (2048.0, Unit.BYTES, "2Ki"),
        (3 * 2.0**20, Unit.BYTES, "3Mi"),
        (-3 * 2.0**30, Unit.BYTES, "-3Gi"),
        (1234.0, Unit.COUNT, "1234"),
        (0.5, Unit.NONE, "0.5"),
    ],
)
def test_numbers_are_shown_in_their_unit(value: float | None, unit: Unit, text: str) -> None:
    assert number(value, unit) == text


def test_an_incident_shows_every_rule_its_number_and_its_limit() -> None:
    scenario = Scenario(rule(runbook="https://runbooks.example.com/errors"), rule("latency"))
    scenario.traffic(blue=1, green=0).after("30s").observe("errors", value=CRITICAL)
    message = scenario.message(MessageKind.INCIDENT_OPENED)

    (name, text), *others = message.facts
    assert name == "errors"
    assert text.startswith("critical, 25 (limit 20) since 2026-03-02 10:00:30 UTC: ")
    assert others == [("traffic", "not moved; a rollback begins at errors beyond 30")]
    assert message.runbook == "https://runbooks.example.com/errors"
    assert message.next_step.startswith(f"Take it: watchdog ack {scenario.incident.id}. ")
    assert (message.service, message.environment, message.version) == ("trips", "production", "blue")


def test_a_closed_incident_says_how_long_it_lasted() -> None:
    scenario = Scenario().traffic(blue=1, green=0).after("30s").observe(value=CRITICAL)
    for _ in range(2):
        scenario.after("1m").observe(value=OK)

    facts = dict(scenario.message(MessageKind.INCIDENT_CLOSED).facts)
    assert facts["lasted"] == "2m"
    assert facts["errors"].startswith("over, 25")


@pytest.mark.parametrize("state", sorted(ENDS))
def test_every_end_of_a_rollback_says_why_and_what_to_do(state: RollbackState) -> None:
    ended = replace(
        SCENARIO.rollback,
        state=state,
        applied_at=T0,
        history=(Passage(state=state, at=T0, why="because of this"),),
    )

    message = rollback_news.rollback_ended(SCENARIO.service.service, ended, now=T0 + timedelta(minutes=2))

    done = state is RollbackState.COMPLETED
    assert message.kind is (MessageKind.ROLLBACK_COMPLETED if done else MessageKind.ROLLBACK_ENDED)
    assert ("why", "because of this") in message.facts
    assert message.next_step
    assert "{" not in message.next_step
    assert message.needs_human is (state not in {RollbackState.COMPLETED, RollbackState.SUPERSEDED})
    assert message.severity is (
        Severity.CRITICAL if message.needs_human else Severity.HIGH if done else Severity.MEDIUM
    )
    if not done:
        assert message.headline == f"trips: the rollback to blue {ENDED_AS[state]}: because of this"


def test_an_end_that_nothing_asks_for_any_more_needs_nobody() -> None:
    ended = replace(SCENARIO.rollback, state=RollbackState.EXPIRED)

    message = rollback_news.rollback_ended(SCENARIO.service.service, ended, now=T0, wanted=False)

    assert (message.needs_human, message.severity) == (False, Severity.MEDIUM)


def test_whoever_heard_of_the_incident_hears_of_the_rollback_s_end() -> None:
    """Routes can match the severity, and most ends are quieter than what they end."""
    scenario = Scenario()
    loud = (Route(match={"severity": "critical"}, to=("oncall",)), Route(to=("ops",)))
    scenario.world = replace(scenario.world, routes=loud)
    scenario.verified().blue_recovers().after("60s").traffic()

    message = scenario.message(MessageKind.ROLLBACK_COMPLETED)
    assert message.severity is not Severity.CRITICAL
    assert {row.channel for row in outgoing([message], loud, head="")} == {"oncall", "ops"}


def test_a_completed_rollback_says_how_long_it_took() -> None:
    done = replace(SCENARIO.rollback, state=RollbackState.COMPLETED, applied_at=T0)

    message = rollback_news.rollback_ended(SCENARIO.service.service, done, now=T0 + timedelta(seconds=75))

    assert message.headline == "trips: recovered on blue after 1m15s"
    assert message.next_step.startswith("Traffic stays on blue. Find out what is wrong with green ")


def test_the_severity_of_an_incident_is_that_of_its_worst_rule_still_breached() -> None:
    scenario = Scenario(rule(severity=Severities(critical=Severity.LOW)), rule("latency"))
    scenario.traffic(blue=1, green=0).after("30s").observe("errors", value=CRITICAL)
    assert telling.severity_of(scenario.incident) is Severity.LOW

    scenario.observe("latency", value=CRITICAL)
    assert telling.severity_of(scenario.incident) is Severity.HIGH

    blind = replace(scenario.incident, kind=IncidentKind.BLIND)
    assert telling.severity_of(blind) is Severity.HIGH


def test_a_dead_channel_says_what_did_not_arrive_and_where() -> None:
    scenario = Scenario()
    scenario.feed(
        ChannelDead(
            channel="ops",
            key="incident_opened:1@ops",
            message=some_message(headline="trips is critical"),
            reason="gone",
        )
    )

    message = scenario.message(MessageKind.CHANNEL_FAILED)
    assert message.headline == "channel ops failed for good: gone"
    assert message.facts[0] == ("not delivered", "trips is critical")
    assert message.labels["channel"] == "ops"
    assert "ops" in message.next_step


def test_a_dead_channel_s_headline_begins_with_what_somebody_must_act_on() -> None:
    lost = replace(some_message(headline="trips is critical"), needs_human=True)
    scenario = Scenario()
    scenario.feed(ChannelDead(channel="ops", key="incident_opened:1@ops", message=lost, reason="gone"))

    message = scenario.message(MessageKind.CHANNEL_FAILED)
    assert message.headline == "trips is critical (channel ops failed for good: gone)"


def test_a_broken_store_is_the_same_news_as_long_as_it_is_the_same() -> None:
    now = datetime(2026, 3, 2, tzinfo=UTC)

    first = telling.store_failed("disk full", "free some space", now=now)
    again = telling.store_failed("disk full", "free some space", now=now + timedelta(hours=1))

    assert first.key == again.key
    assert (first.next_step, first.needs_human) == ("free some space", True)
    assert telling.store_failed("corrupt", "", now=now).key != first.key


def test_a_blocked_rollback_without_a_named_guard_can_still_be_told() -> None:
    blocked = replace(SCENARIO.rollback, vetoes=())

    message = rollback_news.rollback_blocked(SCENARIO.service.service, blocked, now=T0)

    assert message.headline.endswith("a guard said no")


def test_a_summary_without_an_explanation_is_the_rule_s_name() -> None:
    breach = next(iter(SCENARIO.incident.breaches.values()))

    assert telling.summary_of(replace(breach, reason="")) == "errors"


def test_an_approval_says_until_when() -> None:
    scenario = Scenario(mode=Mode.APPROVE, approve_within=timedelta(minutes=3)).decided()

    assert scenario.message(MessageKind.APPROVAL_WANTED).next_step.startswith("Within 3m: ")
