"""Ladders of what is no incident of one service: sources, storms; and what a tick over many services costs."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from tests.core.ladders import ESCALATED, HOUR, MINUTE, PRODUCTION, REPEATED, Ladders, sent
from tests.core.scenario import CRITICAL, OK, WARNING, rule
from tests.core.test_storming import Fleet
from watchdog.core import escalation
from watchdog.core.events import Ticked
from watchdog.core.incident import Incident, IncidentState
from watchdog.core.ladder import Policy, Step
from watchdog.core.message import Message, MessageKind
from watchdog.core.request import RequestKind
from watchdog.core.routing import Route
from watchdog.core.rule import Severities, Severity
from watchdog.core.silence import Silence

OPENED, CLOSED = MessageKind.INCIDENT_OPENED, MessageKind.INCIDENT_CLOSED
ACKED, UNACKED = MessageKind.INCIDENT_ACKNOWLEDGED, MessageKind.INCIDENT_UNACKNOWLEDGED
#: Every severity has the same two steps.
TWO_STEPS = Policy(
    name="two",
    ladders=dict.fromkeys(Severity, (Step(to=("ops",)), Step(after=10 * MINUTE, to=("manager",)))),
)


def kinds(found: list[tuple[Message, set[str]]]) -> list[tuple[MessageKind, set[str]]]:
    return [(message.kind, to) for message, to in found]


def outage() -> Ladders:
    """A source does not answer, and people heard of it in the last step."""
    story = Ladders(Route(policy=TWO_STEPS)).forget()
    for _ in range(20):
        story.after("30s").fails().tick()
        if story.world.sources["prometheus"].incident is not None:
            return story
    raise AssertionError("no incident of the source")


def incident_of(story: Ladders) -> Incident:
    found = story.world.sources["prometheus"].incident
    assert found is not None
    return found


def test_the_incident_of_a_source_climbs_is_taken_given_back_and_closed_like_any_other() -> None:
    story = outage()
    incident = incident_of(story)
    assert incident.climb is not None
    story.forget().after("10m").tick()
    assert kinds(sent(story.last)) == [(ESCALATED, {"manager"})]
    assert "source prometheus" in story.messages[-1].headline
    story.ask(RequestKind.ACKNOWLEDGE, incident.id, for_seconds=3600)
    assert kinds(sent(story.last)) == [(ACKED, {"ops", "manager"})]
    story.ask(RequestKind.UNACKNOWLEDGE, incident.id, reason="not mine")
    assert kinds(sent(story.last)) == [(UNACKED, {"ops", "manager"})]
    assert incident_of(story).state is IncidentState.OPEN
    story.ask(RequestKind.CLOSE, incident.id)
    assert kinds(sent(story.last)) == [(CLOSED, {"ops", "manager"})]
    assert story.world.sources["prometheus"].incident is None


def test_an_incident_of_a_source_that_is_over_is_told_wherever_anything_of_it_was() -> None:
    story = outage()
    story.after("10m").tick()
    story.after("30s").observe(value=OK).tick()
    assert (CLOSED, {"ops", "manager"}) in kinds(sent(story.last))


def stormy() -> Fleet:
    """Twelve services turned bad at once: five were told on their own, the rest as one."""
    fleet = Fleet(12)
    fleet.world = replace(fleet.world, routes=(Route(policy=TWO_STEPS),))
    fleet.later("2m").all_are(CRITICAL)
    return fleet


def storm_of(fleet: Fleet) -> Incident:
    found = fleet.world.storm.incident
    assert found is not None
    return found


def test_a_storm_climbs_and_those_in_it_do_not() -> None:
    fleet = stormy()
    assert storm_of(fleet).climb is not None
    inside = [
        one for service in fleet.world.services.values() for one in service.incidents.values() if one.folded
    ]
    assert len(inside) == 7
    assert all(one.climb is None for one in inside)
    fleet.later("11m")
    escalated = [message for message, to in sent(fleet.last) if message.kind is ESCALATED]
    assert len(escalated) == 6, "five that were told on their own, and the storm"
    (of_storm,) = [one for one in escalated if one.incident == storm_of(fleet).id]
    assert "12 services" in of_storm.headline or "services are in trouble" in of_storm.headline


def test_a_storm_is_taken_and_given_back() -> None:
    fleet = stormy()
    storm = storm_of(fleet)
    fleet.ask(RequestKind.ACKNOWLEDGE, storm.id, for_seconds=1200)
    assert kinds(sent(fleet.last)) == [(ACKED, {"ops"})]
    fleet.later("11m")
    assert storm.id not in {message.incident for message in fleet.last.messages}
    fleet.later("10m")
    assert (UNACKED, {"ops"}) in kinds(sent(fleet.last))
    fleet.later("10m")
    told = [message.kind for message in fleet.last.messages if message.incident == storm.id]
    assert told == [ESCALATED]
    assert storm_of(fleet).state is IncidentState.OPEN


def test_when_a_storm_dissolves_each_that_is_left_begins_its_own_ladder() -> None:
    fleet = stormy()
    left = min(
        one.subject
        for service in fleet.world.services.values()
        for one in service.incidents.values()
        if one.folded
    )
    others = [name for name in fleet.names if name != left]
    fleet.all_are(OK, *others, times=2)
    fleet.later("3m")
    (incident,) = fleet.world.services[left].incidents.values()
    assert incident.folded == ""
    assert incident.climb is not None
    assert incident.climb.began_at == fleet.now
    fleet.later("10m")
    assert [(message.kind, message.service) for message in fleet.last.messages] == [(ESCALATED, left)]


def test_what_climbed_before_it_was_told_with_a_storm_waits_and_begins_anew_after_it() -> None:
    fleet = Fleet(12)
    steps = (Step(to=("ops",)), Step(after=15 * MINUTE, to=("manager",)))
    policy = Policy(name="slow", ladders=dict.fromkeys(Severity, steps))
    as_loud = rule(severity=Severities(warning=Severity.HIGH, critical=Severity.HIGH))
    services = {
        name: replace(service, rules={"errors": as_loud}) for name, service in fleet.world.services.items()
    }
    fleet.world = replace(fleet.world, services=services, routes=(Route(policy=policy),))
    for name in fleet.names:
        fleet.after("65s").observe(value=WARNING, name=name).tick()
    fleet.all_are(CRITICAL)
    inside = {
        one.subject: one.climb
        for service in fleet.world.services.values()
        for one in service.incidents.values()
        if one.folded
    }
    assert len(inside) > 5, "too many for the storm to end by itself"
    assert all(climb is not None and climb.next_at is not None for climb in inside.values())
    fleet.later("20m")
    escalated = {message.service for message in fleet.last.messages if message.kind is ESCALATED}
    assert escalated == {*fleet.names, ""} - inside.keys(), "those on their own, and the storm"
    left = min(inside)
    fleet.all_are(OK, *(name for name in fleet.names if name != left), times=2).later("3m")
    (incident,) = fleet.world.services[left].incidents.values()
    assert incident.climb is not None
    assert incident.climb.began_at == fleet.now


def test_a_clock_that_was_set_moves_every_step_with_it() -> None:
    for by in (7 * HOUR, -7 * HOUR, timedelta(days=400)):
        story = Ladders().forget()
        story.observe(value=CRITICAL)
        story.minutes(10)
        story.feed(Ticked(stepped=by))
        story.now += by
        story.tick()
        assert [kind for _, kind, _ in story.tells()] == [OPENED]
        story.after("5m").tick()
        assert [message.kind for message in story.last.messages] == [ESCALATED]
        story.after("29m").tick()
        assert not story.last.messages
        story.after("1m").tick()
        assert [message.kind for message in story.last.messages] == [ESCALATED]


def test_what_is_overdue_can_be_asked_for_and_leaves_out_what_is_held_back() -> None:
    story = Ladders().forget()
    story.observe(value=CRITICAL)
    late = story.now + 20 * MINUTE
    assert [one.id for one in escalation.overdue(story.world, late)] == [story.incident.id]
    assert list(escalation.overdue(story.world, story.now + 10 * MINUTE)) == []
    silence = Silence(
        id="sil-1",
        matchers={"service": "trips"},
        by="alice",
        created_at=story.now,
        ends_at=late + HOUR,
        reason="known",
    )
    silenced = replace(story.world, silences={"sil-1": silence})
    assert list(escalation.overdue(silenced, late)) == []


def test_a_quiet_tick_over_many_open_incidents_looks_at_each_and_changes_nothing() -> None:
    names = tuple(f"s{number:03}" for number in range(200))
    story = Ladders(Route(policy=TWO_STEPS), others=names).forget()
    story.observe(value=WARNING)
    incident = story.incident
    services = {
        name: replace(service, incidents={f"{name}-1": replace(incident, id=f"{name}-1", subject=name)})
        for name, service in story.world.services.items()
    }
    world = replace(story.world, services=services)
    looked = escalation.look(world, story.now + 9 * MINUTE)
    assert looked.world is world
    assert looked.incidents == ()
    due = escalation.look(world, story.now + 10 * MINUTE)
    assert len(due.messages) == 201
    assert {one.kind for one in due.messages} == {ESCALATED}
    again = escalation.look(due.world, story.now + 10 * MINUTE)
    assert again.messages == ()


def test_every_kind_of_step_leaves_a_record() -> None:
    story = Ladders(policy=PRODUCTION).forget()
    story.audit.clear()
    story.observe(value=CRITICAL)
    story.minutes(50, every=5).at_minute(50 + 240)
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id)
    story.after("1h").tick()
    story.after("8h").tick()
    assert [one for one in story.recorded if "check" not in one] == [
        "incident_opened",
        "ladder_begun",
        "incident_escalated",
        "incident_escalated",
        "incident_repeated",
        "incident_acknowledged",
        "acknowledgement_reminded",
        "incident_unacknowledged",
    ]
    escalated = next(one for one in story.audit if one.kind == "incident_escalated")
    assert escalated.body["incident"] == story.incident.id
    assert list(escalated.body["channels"]) == ["manager"]
    assert escalated.body["step"] == 2
    assert REPEATED in story.told


def test_news_of_a_blocked_rollback_are_what_is_escalated() -> None:
    story = Ladders(policy=TWO_STEPS)
    story.forget()
    story.world = replace(story.world, paused_by_file="the pause file exists")
    story.after("5s").traffic(blue=0, green=1).after("35s").traffic().green_is_bad()
    blocked = story.newest(MessageKind.ROLLBACK_BLOCKED)
    assert blocked.severity is Severity.CRITICAL
    assert story.climb.severity is Severity.CRITICAL
    story.after("10m").tick(paused="the pause file exists")
    message = story.newest(ESCALATED)
    assert blocked.headline in message.headline
    assert message.next_step == blocked.next_step
