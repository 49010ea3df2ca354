"""Many services turn bad at once: a handful of pages, one message for the rest, and each of them an end."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tests.core.ladders import PRODUCTION
from tests.core.scenario import CRITICAL, OK, ROLLBACK, WARNING, Scenario
from watchdog.core.addressing import outgoing
from watchdog.core.events import OutcomeKind, TrafficUnseen
from watchdog.core.incident import Incident, IncidentKind, IncidentState
from watchdog.core.message import Message, MessageKind
from watchdog.core.request import RequestKind
from watchdog.core.restore import restore_service
from watchdog.core.rollback import RollbackState
from watchdog.core.routing import Route
from watchdog.core.rule import Severity
from watchdog.core.service import Limits, Mode
from watchdog.core.step import memory
from watchdog.core.storm import SINGLY
from watchdog.core.storming import restored
from watchdog.core.world import World

NONE_MADE = Limits(max_rollbacks=0)


class Fleet(Scenario):
    """Services `s00`, `s01` and so on, all of them live on blue and well."""

    def __init__(self, count: int, **changes: Any) -> None:
        self.names = [f"s{number:02}" for number in range(count)]
        super().__init__(name=self.names[0], others=tuple(self.names[1:]), **changes)
        self.looks_every = 25
        for name in self.names:
            self.traffic(name, blue=1, green=0)

    def all_are(self, value: float, *names: str, times: int = 1) -> Fleet:
        """Every service (or these) is seen with this value, so often, 10 s apart; then the clock ticks."""
        for _ in range(times):
            self.after("10s")
            for name in names or self.names:
                self.observe(value=value, name=name)
        self.tick()
        return self

    def later(self, text: str) -> Fleet:
        """So much later, the clock ticks."""
        self.after(text).tick()
        return self

    def deployed(self) -> Fleet:
        """Blue proved itself everywhere; then everything moved to green, and the warm-up is over."""
        for _ in range(22):
            self.after("30s")
            for name in self.names:
                self.observe(value=OK, name=name).traffic(name, blue=1, green=0)
        self.after("5s")
        for name in self.names:
            self.traffic(name, blue=0, green=1)
        self.after("35s")
        return self

    def process_restarts(self) -> Fleet:
        """Everything but what is stored is forgotten."""
        known = self.world
        services = {
            name: restore_service(
                one.service,
                one.rules,
                record=one.record(),
                deployments=one.deployments.values(),
                incidents=one.incidents.values(),
                rollbacks=one.rollbacks.values(),
                checks=memory(one),
            )
            for name, one in known.services.items()
        }
        storms = [known.storm.incident] if known.storm.incident is not None else []
        self.world = World(
            services=services, limits=known.limits, routes=known.routes, storm=restored(storms, services)
        )
        return self

    @property
    def storm(self) -> Incident:
        assert self.world.storm.incident is not None
        return self.world.storm.incident

    def news(self) -> list[Message]:
        """What was told since the last look."""
        found, self.messages = self.messages, []
        return found

    def kinds(self) -> list[str]:
        """The same: kind and service of each, in order."""
        return [f"{one.kind} {one.service}".strip() for one in self.news()]


def alone(kind: str, names: list[str]) -> list[str]:
    return [f"{kind} {name}" for name in names]


def test_the_first_few_are_told_one_by_one_and_the_rest_as_one() -> None:
    fleet = Fleet(12).all_are(CRITICAL)

    first, rest = fleet.names[:SINGLY], fleet.names[SINGLY:]
    told = fleet.news()
    assert [one.service for one in told[:-1]] == first
    message = told[-1]
    assert message.kind is MessageKind.BREAKER_OPEN, "all of them: nothing is rolled back on that"
    assert "12 of 12 services are in trouble at once" in message.headline
    assert "12 of 12 services are breaching" in message.headline
    assert message.needs_human
    assert "watchdog ack" in message.next_step
    assert "Suspect what the services share" in message.next_step
    facts = dict(message.facts)
    assert facts["how bad"] == "12 critical"
    assert facts["rules"] == "errors on 12"
    assert facts["services"].endswith("s09 and 2 more")
    assert fleet.storm.subjects == tuple(rest)
    assert {one for one, service in fleet.world.services.items() if service.incidents} == set(fleet.names)


def test_as_many_as_can_be_told_one_by_one_are_no_storm() -> None:
    fleet = Fleet(SINGLY).all_are(CRITICAL)

    assert [one.service for one in fleet.news() if one.kind is MessageKind.INCIDENT_OPENED] == fleet.names
    assert fleet.world.storm.incident is None


def test_many_that_only_warn_are_one_message_too_and_nothing_is_said_of_rollbacks() -> None:
    fleet = Fleet(12).all_are(WARNING)

    told = fleet.news()
    assert len(told) == SINGLY + 1
    assert told[-1].kind is MessageKind.INCIDENT_OPENED
    assert told[-1].headline.startswith("12 of 12 services are in trouble at once")
    assert told[-1].severity is Severity.MEDIUM


def test_everybody_hears_the_end_of_what_he_heard_the_beginning_of() -> None:
    fleet = Fleet(12).all_are(CRITICAL)
    fleet.news()
    identity = fleet.storm.id

    fleet.all_are(OK, times=2)

    *singly, last = fleet.news()
    assert [f"{one.kind} {one.service}" for one in singly] == alone("incident_closed", fleet.names[:SINGLY])
    assert (last.kind, last.incident) == (MessageKind.INCIDENT_CLOSED, identity)
    assert "all 7 of them are well again" in last.headline
    assert fleet.world.storm.incident is None
    assert fleet.all_are(OK, times=2).kinds() == []


def test_what_is_over_before_it_was_told_is_never_told() -> None:
    fleet = Fleet(12)
    for value in (CRITICAL, OK, OK):
        fleet.after("100ms")
        for name in fleet.names:
            fleet.observe(value=value, name=name)
    fleet.tick()

    first = fleet.names[:SINGLY]
    assert fleet.kinds() == [*alone("incident_opened", first), *alone("incident_closed", first)]
    assert fleet.world.storm.incident is None


def test_those_who_join_are_told_together_once_a_minute() -> None:
    fleet = Fleet(20)
    fleet.all_are(CRITICAL, *fleet.names[:8])
    fleet.news()
    fleet.all_are(CRITICAL, *fleet.names[8:12])
    fleet.all_are(CRITICAL, *fleet.names[12:16])
    assert fleet.kinds() == [], "not twice within a minute"

    fleet.after("40s").tick()

    (message,) = fleet.news()
    assert message.kind is MessageKind.BREAKER_OPEN
    assert message.incident == fleet.storm.id
    assert "16 of 20 services are in trouble" in message.headline
    fleet.after("10m").tick()
    assert fleet.kinds() == [], "no news"


def test_one_that_turns_bad_long_after_the_storm_began_is_told_on_its_own() -> None:
    fleet = Fleet(20)
    fleet.all_are(CRITICAL, *fleet.names[:12])
    fleet.later("5m").all_are(CRITICAL, "s19")
    assert "incident_opened s19" in fleet.kinds()

    fleet.all_are(OK, "s19", times=2)

    assert fleet.kinds() == ["incident_closed s19"]
    assert fleet.world.storm.incident is not None


def test_one_in_the_storm_that_becomes_worse_is_not_told_on_its_own() -> None:
    fleet = Fleet(12).all_are(WARNING)
    fleet.news()
    fleet.after("5m")

    fleet.all_are(CRITICAL, "s10")

    (message,) = fleet.news()
    assert (message.kind, message.service) == (MessageKind.INCIDENT_WORSENED, "")
    assert dict(message.facts)["how bad"] == "1 critical, 11 warning"


def test_many_that_were_told_on_their_own_and_become_worse_at_once_are_one_message_with_ends_of_their_own() -> (
    None
):
    fleet = Fleet(12)
    for name in fleet.names:
        fleet.later("2m").all_are(WARNING, name)
    assert fleet.kinds() == alone("incident_opened", fleet.names)
    fleet.after("2m")

    fleet.all_are(CRITICAL)
    assert len(fleet.kinds()) == SINGLY + 1
    fleet.all_are(OK, times=2)

    assert fleet.kinds() == [*alone("incident_closed", fleet.names), "incident_closed"]


def test_the_few_that_stay_bad_become_matters_of_their_own() -> None:
    fleet = Fleet(12).all_are(CRITICAL)
    fleet.all_are(OK, *(name for name in fleet.names if name not in ("s10", "s11")), times=2)
    fleet.news()

    fleet.after("1m").tick()
    assert fleet.kinds() == [], "the others recovered a moment ago; these may, too"
    fleet.after("90s").tick()

    over, *singly = sorted(fleet.news(), key=lambda one: one.service)
    assert "5 of 7 are well again; told on their own now: s10, s11" in over.headline
    assert over.kind is MessageKind.INCIDENT_CLOSED
    assert [f"{one.kind} {one.service}" for one in singly] == alone("incident_opened", ["s10", "s11"])
    assert "told with 7 services" in dict(singly[0].facts)["until now"]
    assert fleet.all_are(OK, times=2).kinds() == alone("incident_closed", ["s10", "s11"])


def test_after_a_restart_nothing_is_told_twice_and_nothing_is_left_without_its_end() -> None:
    fleet = Fleet(20).all_are(CRITICAL, *[f"s{number:02}" for number in range(12)])
    fleet.news()

    fleet.process_restarts().after("1s").tick()
    assert fleet.kinds() == []
    fleet.all_are(CRITICAL, *fleet.names[12:])
    (message,) = fleet.news()
    assert "20 of 20 services" in message.headline
    fleet.process_restarts().all_are(OK, times=2)

    assert fleet.kinds() == [*alone("incident_closed", fleet.names[:SINGLY]), "incident_closed"]


def test_a_restart_before_anybody_heard_of_the_storm_tells_it_then() -> None:
    fleet = Fleet(12)
    for name in fleet.names:
        fleet.observe(value=CRITICAL, name=name)
    fleet.process_restarts().after("1s").tick()

    assert fleet.kinds() == [*alone("incident_opened", fleet.names[:SINGLY]), "breaker_open"]


def test_that_services_of_a_storm_became_worse_before_a_restart_is_told_after_it() -> None:
    fleet = Fleet(20).all_are(WARNING, *[f"s{number:02}" for number in range(12)])
    fleet.news()
    fleet.later("90s")
    for name in fleet.names[8:12]:
        fleet.observe(value=CRITICAL, name=name)

    fleet.process_restarts().later("1s")

    (message,) = fleet.news()
    assert dict(message.facts)["how bad"] == "4 critical, 8 warning"


def test_a_person_takes_and_closes_a_storm() -> None:
    fleet = Fleet(12).all_are(CRITICAL)
    fleet.news()
    identity = fleet.storm.id

    assert fleet.ask(RequestKind.ACKNOWLEDGE, identity).status == 200
    assert fleet.storm.state is IncidentState.ACKNOWLEDGED
    assert fleet.ask(RequestKind.ACKNOWLEDGE, identity, by="bob").status == 200
    assert fleet.storm.acknowledged_by == "alice"
    assert fleet.kinds() == ["incident_acknowledged"]
    assert fleet.ask(RequestKind.APPROVE, identity).status == 404
    assert fleet.ask(RequestKind.CLOSE, identity, reason="we know").status == 200
    (message,) = fleet.news()
    assert "closed by alice: we know" in message.headline
    assert fleet.world.storm.incident is None
    assert fleet.ask(RequestKind.CLOSE, identity).status == 404
    assert len(fleet.world.services["s10"].incidents) == 1, "its services are as they were"


def test_a_person_takes_and_closes_one_that_is_in_a_storm() -> None:
    fleet = Fleet(12).all_are(CRITICAL)
    fleet.news()
    (incident,) = fleet.world.services["s10"].incidents

    assert fleet.ask(RequestKind.ACKNOWLEDGE, incident).status == 200
    assert fleet.ask(RequestKind.CLOSE, incident).status == 200
    fleet.tick()

    assert fleet.kinds() == [], "nobody heard of it on its own"
    assert fleet.world.storm.left == 6


def test_the_storm_goes_wherever_its_services_would_have_gone() -> None:
    fleet = Fleet(12)
    routes = (Route(match={"service": "s10"}, to=("team",)), Route(to=("ops",)))
    fleet.world = replace(fleet.world, routes=routes)
    fleet.all_are(CRITICAL)

    *_, opened = fleet.news()
    assert {row.channel for row in outgoing((opened,), routes, head="")} == {"ops", "team"}
    fleet.all_are(OK, times=2)
    *_, closed = fleet.news()
    assert {row.channel for row in outgoing((closed,), routes, head="")} == {"ops", "team"}


def test_switches_that_nobody_can_read_are_one_message_too() -> None:
    fleet = Fleet(12)
    for _ in range(40):
        fleet.after("10s")
        for name in fleet.names:
            fleet.feed(TrafficUnseen(service=name, error="refused", edition=0))
            fleet.observe(value=OK, name=name)
        fleet.tick()

    assert fleet.kinds() == [*alone("incident_opened", fleet.names[:SINGLY]), "incident_opened"]
    assert {one.kind for one in fleet.world.services["s10"].incidents.values()} == {IncidentKind.SWITCH}


def test_the_end_of_a_silence_of_many_is_one_message() -> None:
    fleet = Fleet(12)
    fleet.ask(RequestKind.SILENCE, matchers={"label.none": ""}, reason="none", for_seconds=60)
    for name in fleet.names:
        fleet.ask(RequestKind.SILENCE, matchers={"service": name}, reason="works", for_seconds=60)
    fleet.all_are(CRITICAL)
    assert fleet.kinds() == []

    fleet.after("2m").tick()

    assert fleet.kinds() == [*alone("incident_opened", fleet.names[:SINGLY]), "breaker_open"]


def test_the_limits_and_the_storm_are_one_message() -> None:
    fleet = Fleet(12).deployed().all_are(ROLLBACK, times=2)

    told = fleet.news()
    assert [one.kind for one in told].count(MessageKind.BREAKER_OPEN) == 1
    assert len(told) == SINGLY + 1
    assert "12 of 12 services are breaching" in told[-1].headline
    assert all(one.intended_at is None for one in fleet.world.rollbacks())
    fleet.after("5m").tick()
    assert fleet.kinds() == []


def test_limits_that_open_after_the_storm_was_told_are_told_once_more() -> None:
    fleet = Fleet(12, limits=NONE_MADE).deployed().all_are(WARNING)
    assert fleet.kinds()[-1] == "incident_opened"
    fleet.all_are(ROLLBACK, times=2)

    assert fleet.kinds() == ["breaker_open"]


def test_what_guards_stop_in_a_storm_is_not_told_for_each_service_nor_how_it_ended() -> None:
    fleet = Fleet(12, mode=Mode.OBSERVE, limits=Limits(max_share=1.0)).deployed()
    fleet.all_are(ROLLBACK).all_are(ROLLBACK).all_are(ROLLBACK)

    assert [one for one in fleet.kinds() if "blocked" in one] == []
    fleet.after("1m").tick()
    (message,) = fleet.news()
    assert dict(message.facts)["stopped by guards"] == "mode on 12"
    assert len(fleet.world.services["s10"].rollbacks) == 1
    fleet.all_are(OK, times=2).after("2h").tick()

    assert [one for one in fleet.kinds() if "ended" in one] == []
    states = {one.state for one in fleet.world.rollbacks()}
    assert states == {RollbackState.EXPIRED}


def test_approvals_in_a_storm_are_not_asked_for_each_service() -> None:
    fleet = Fleet(12, mode=Mode.APPROVE, limits=Limits(max_share=1.0)).deployed()
    fleet.all_are(ROLLBACK).all_are(ROLLBACK).all_are(ROLLBACK)

    assert [one for one in fleet.kinds() if "approval" in one] == []
    fleet.after("1m").tick()
    (message,) = fleet.news()
    assert dict(message.facts)["wait for approval"].startswith("s00 (inc-")
    assert dict(message.facts)["wait for approval"].endswith(" and 2 more")
    (incident,) = fleet.world.services["s10"].incidents
    assert fleet.ask(RequestKind.APPROVE, incident).status == 202, "but it can be given"


def test_what_joined_a_storm_that_was_told_is_told_after_a_restart() -> None:
    fleet = Fleet(12, mode=Mode.APPROVE, limits=Limits(max_share=1.0)).deployed().all_are(WARNING, times=8)
    fleet.news()
    for _ in range(3):
        fleet.after("10s")
        for name in fleet.names:
            fleet.observe(value=ROLLBACK, name=name)
    fleet.news()

    fleet.process_restarts().later("1s")

    (message,) = fleet.news()
    assert message.kind is MessageKind.INCIDENT_WORSENED
    assert "s10" in dict(message.facts)["services"] or "2 more" in dict(message.facts)["services"]
    assert dict(message.facts)["wait for approval"].startswith("s05 (inc-")
    fleet.process_restarts().later("2m")
    assert fleet.kinds() == [], "once"


def test_approvals_that_nobody_gave_in_a_storm_are_told_with_it() -> None:
    fleet = Fleet(12, mode=Mode.APPROVE, limits=Limits(max_share=1.0)).deployed()
    fleet.all_are(ROLLBACK, times=3).later("1m").news()
    for _ in range(16):
        fleet.all_are(ROLLBACK, times=6)

    late = [one for one in fleet.news() if "nobody approved in time" in dict(one.facts)]
    assert {one.state for one in fleet.world.rollbacks()} == {RollbackState.EXPIRED}
    assert [one.service for one in late] == [""]
    assert dict(late[0].facts)["nobody approved in time"].endswith(" and 2 more")


def test_the_few_that_stay_bad_are_asked_about_and_told_to_have_expired_on_their_own() -> None:
    fleet = Fleet(12, mode=Mode.APPROVE, limits=Limits(max_share=1.0)).deployed()
    fleet.all_are(ROLLBACK, times=3).later("1m").news()
    few = fleet.names[10:]
    told = list[str]()
    for _ in range(120):
        fleet.after("10s")
        for name in fleet.names:
            fleet.observe(value=ROLLBACK if name in few else OK, name=name)
        fleet.tick()
        told += [one for one in fleet.kinds() if one.endswith(tuple(few))]

    kinds = ("incident_opened", "approval_wanted", "rollback_ended")
    assert sorted(told) == sorted(f"{kind} {name}" for kind in kinds for name in few)
    assert not any(one.folded for name in few for one in fleet.world.services[name].rollbacks.values())


def test_the_end_of_a_storm_writes_no_intent_a_second_time() -> None:
    fleet = Fleet(12, mode=Mode.APPROVE, limits=Limits(max_share=1.0)).deployed()
    fleet.all_are(ROLLBACK, times=3).later("1m")
    (incident,) = fleet.world.services["s10"].incidents
    assert fleet.ask(RequestKind.APPROVE, incident).status == 202
    fleet.news()
    while fleet.world.storm.incident is not None:
        fleet.after("10s")
        for name in fleet.names:
            fleet.observe(value=ROLLBACK if name == "s10" else OK, name=name)
        fleet.tick()
        assert fleet.last is not None
        assert fleet.last.rollbacks == () or fleet.world.storm.incident is not None

    assert [one.state for one in fleet.world.services["s10"].rollbacks.values()] == [RollbackState.INTENDED]
    assert "incident_opened s10" in fleet.kinds()


def test_a_rollback_that_was_made_is_always_told() -> None:
    fleet = Fleet(12, limits=Limits(max_share=1.0, max_rollbacks=12)).deployed().all_are(ROLLBACK, times=2)
    fleet.news()
    (rollback,) = fleet.world.services["s10"].rollbacks.values()
    assert rollback.state is RollbackState.INTENDED
    fleet.name = "s10"

    fleet.outcome(OutcomeKind.APPLIED, state=fleet.state(blue=1, green=0), rollback=rollback.id)

    assert fleet.kinds() == ["rollback_switched s10"]


def test_services_that_left_the_configuration_hold_no_storm_open() -> None:
    fleet = Fleet(12).all_are(CRITICAL)
    fleet.news()
    few = {name: one for name, one in fleet.world.services.items() if name in fleet.names[:SINGLY]}
    fleet.world = replace(fleet.world, services=few)

    fleet.tick()

    assert fleet.kinds() == ["incident_closed"]


def test_what_was_in_a_storm_that_a_person_closed_climbs_by_what_is_told_of_it_next() -> None:
    fleet = Fleet(12)
    fleet.world = replace(fleet.world, routes=(Route(policy=PRODUCTION),))
    fleet.all_are(WARNING)
    fleet.ask(RequestKind.CLOSE, fleet.storm.id, reason="we know")
    fleet.news()
    fleet.later("10m")
    assert fleet.kinds() == [], "closed is closed: nobody is told again of what did not change"

    fleet.all_are(CRITICAL, "s10")
    assert fleet.kinds() == ["incident_worsened s10"]
    (incident,) = fleet.world.services["s10"].incidents.values()
    assert not incident.folded
    assert incident.climb is not None
    fleet.later("16m")
    assert "escalated s10" in fleet.kinds()


def test_what_was_told_before_it_joined_a_storm_goes_on_climbing_when_a_person_closes_that() -> None:
    fleet = Fleet(12)
    fleet.world = replace(fleet.world, routes=(Route(policy=PRODUCTION),))
    fleet.all_are(WARNING)
    (first,) = fleet.world.services["s00"].incidents.values()
    fleet.all_are(CRITICAL)
    assert fleet.world.services["s00"].incidents[first.id].folded == fleet.storm.id
    fleet.ask(RequestKind.CLOSE, fleet.storm.id)
    fleet.news()
    fleet.later("61m")
    assert "escalated s00" in fleet.kinds()
