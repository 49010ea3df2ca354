"""Mute windows hold back what a silence could, and nothing else; and what is open when one ends is told then."""

from __future__ import annotations

from msgspec.structs import replace

from tests.core.scenario import CRITICAL, MINUTE, OK, WARNING, Scenario
from watchdog.core.incident import IncidentState
from watchdog.core.ladder import Policy, Step
from watchdog.core.message import MessageKind
from watchdog.core.mute import MuteWindow
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.routing import Route
from watchdog.core.rule import Severity
from watchdog.core.service import Mode

OPENED, CLOSED = MessageKind.INCIDENT_OPENED, MessageKind.INCIDENT_CLOSED
#: The stories begin on a Monday at 10:00 UTC.
MORNING = MuteWindow(name="morning", zone="UTC", start=9 * 60, end=11 * 60)
SOON = MuteWindow(name="soon", zone="UTC", start=10 * 60 + 5, end=11 * 60)
LADDER = Policy(
    name="p", ladders=dict.fromkeys(Severity, (Step(to=("ops",)), Step(to=("lead",), after=5 * MINUTE)))
)


def with_routes(scenario: Scenario, *routes: Route) -> Scenario:
    scenario.world = replace(scenario.world, routes=routes)
    return scenario


def muted(*windows: MuteWindow) -> Scenario:
    return with_routes(Scenario(), Route(to=("ops",), mutes=windows or (MORNING,)))


def bad(scenario: Scenario, value: float = CRITICAL) -> Scenario:
    return scenario.traffic(blue=1, green=0).after("30s").observe(value=value)


def well(scenario: Scenario) -> Scenario:
    return scenario.after("30s").observe(value=OK).after("30s").observe(value=OK).tick()


def test_what_is_muted_is_recorded_and_not_told() -> None:
    scenario = bad(muted())

    assert scenario.told == []
    incident = scenario.incident
    assert (incident.silenced_by, incident.silenced_messages, incident.told) == (("mute:morning",), 1, False)
    held = next(draft for draft in scenario.audit if draft.kind == "message_silenced")
    assert held.body["silences"] == ["mute:morning"]


def test_what_is_still_open_when_the_window_ends_is_told_once() -> None:
    scenario = bad(muted()).at("59m").tick()
    assert scenario.told == []

    scenario.at("1h").tick().after("1m").tick()

    message = scenario.message(OPENED)
    assert ("muted", "until now; 1 message held back") in message.facts
    assert message.needs_human
    assert (scenario.incident.silenced_by, scenario.incident.told) == ((), True)
    assert well(scenario).told == [OPENED, CLOSED]


def test_what_ended_meanwhile_is_never_told_where_nobody_had_heard_of_it() -> None:
    scenario = well(bad(muted())).at("1h").tick()

    assert scenario.told == []
    assert scenario.recorded.count("incident_closed") == 1


def test_the_end_of_what_people_heard_of_is_told_in_the_window() -> None:
    scenario = bad(muted(SOON), WARNING)
    assert scenario.told == [OPENED]

    scenario.at("6m").observe(value=CRITICAL)
    assert scenario.told == [OPENED], "that it is worse waits"

    assert well(scenario).told == [OPENED, CLOSED]


def test_a_window_of_another_route_mutes_nothing() -> None:
    routes = (Route(match={"service": "cart"}, to=("ops",), mutes=(MORNING,)), Route(to=("ops",)))

    assert bad(with_routes(Scenario(), *routes)).told == [OPENED]


def test_a_silence_beside_a_window_is_named_too_and_both_must_end() -> None:
    scenario = muted()
    made = scenario.ask(RequestKind.SILENCE, matchers={"service": "trips"}, for_seconds=7200, reason="x").body
    bad(scenario)
    assert scenario.incident.silenced_by == (made["id"], "mute:morning")

    scenario.at("1h").tick()
    assert scenario.told == []

    scenario.at("2h").tick()
    assert ("silenced", "until now; 1 message held back") in scenario.message(OPENED).facts


def test_rollbacks_are_made_and_told_in_every_window() -> None:
    scenario = muted().verified().blue_recovers().after("2m").traffic().tick()

    assert MessageKind.ROLLBACK_SWITCHED in scenario.told
    assert OPENED not in scenario.told


def test_a_ladder_waits_for_the_end_of_the_window() -> None:
    scenario = bad(with_routes(Scenario(), Route(policy=LADDER, mutes=(SOON,))))
    assert scenario.told == [OPENED]

    scenario.at("6m").tick().at("59m").tick()
    assert scenario.told == [OPENED]

    scenario.at("1h").tick()
    assert scenario.told == [OPENED, MessageKind.ESCALATED]


def test_a_ladder_about_a_rollback_waits_for_no_window() -> None:
    scenario = with_routes(Scenario(mode=Mode.APPROVE), Route(policy=LADDER, mutes=(MORNING,)))
    scenario.decided().rollback_is(RollbackState.AWAITING_APPROVAL)
    assert MessageKind.APPROVAL_WANTED in scenario.told
    assert OPENED not in scenario.told

    scenario.after("6m").tick()

    assert MessageKind.ESCALATED in scenario.told


def test_a_person_may_take_what_nobody_heard_of() -> None:
    scenario = bad(muted())
    scenario.ask(RequestKind.ACKNOWLEDGE, scenario.incident.id)

    assert scenario.incident.state is IncidentState.ACKNOWLEDGED
    assert scenario.told == []
