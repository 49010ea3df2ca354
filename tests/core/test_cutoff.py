"""When nothing at all answers, the watchdog suspects its own network before it calls anything dead."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.core.scenario import OK, Scenario, of_service, probe
from watchdog.core.cutoff import wants_references
from watchdog.core.events import References
from watchdog.core.incident import IncidentKind
from watchdog.core.message import Message, MessageKind
from watchdog.core.observation import Failed, FailReason, Observation, Pulse
from watchdog.core.reach import NOTHING_ANSWERS, SourcePlace, is_here, place_of, probes_here
from watchdog.core.rule import Level, ProbeForm
from watchdog.core.service import Limits

FLEET = ("trips", "cars", "hotels")


class Fleet(Scenario):
    """Services with a probe and a rule on a Prometheus beyond this machine, all well so far."""

    def __init__(self, *others: str, limits: Limits = Limits(), here: bool = False) -> None:  # noqa: B008
        healthy = probe()
        if here:
            healthy = msgspec.structs.replace(
                healthy, form=ProbeForm(kind="http", settings={"url": "http://127.0.0.1:80/"})
            )
        super().__init__(healthy, of_service(), others=others or FLEET[1:], limits=limits)
        self.looks_every = 25
        self.fleet = (self.name, *(others or FLEET[1:]))
        for name in self.fleet:
            self.traffic(name, blue=1, green=0)
            self.said(name, passed=True).answers(name)

    def after(self, text: str) -> Fleet:
        super().after(text)
        return self

    def said(self, name: str, *, passed: bool = False, answered: bool = False) -> Fleet:
        """A probe ended."""
        pulse = Pulse(passed=passed, at=self.now, answered=answered, asked=f"GET http://{name}/")
        self.sees(self.check("healthy", name=name), pulse)
        return self

    def unable(self, name: str) -> Fleet:
        failed = Failed(reason=FailReason.UNABLE, detail="no route", asked=f"GET http://{name}/")
        self.sees(self.check("healthy", name=name), failed)
        return self

    def answers(self, name: str = "trips", **facts: Any) -> Fleet:
        """The source answered."""
        self.observe("load", value=OK, name=name, **facts)
        return self

    def cut(self, rounds: int, every: str = "5s") -> Fleet:
        """Every probe of every service fails, and the source with them, round after round."""
        for _ in range(rounds):
            self.after(every)
            for name in self.fleet:
                self.said(name)
                self.fails("load", name=name)
            self.tick()
        return self

    def failures(self, name: str) -> int:
        return self.world.services[name].checks[self.check("healthy", name=name)].probe_failures

    def verdict(self, name: str) -> tuple[Level, str]:
        verdict = self.world.services[name].checks[self.check("healthy", name=name)].verdict
        assert verdict is not None
        return verdict.level, verdict.explanation

    def of_kind(self, kind: MessageKind) -> list[Message]:
        return [message for message in self.messages if message.kind is kind]


def test_when_nothing_answers_nothing_is_dead_and_people_hear_of_it_once() -> None:
    fleet = Fleet().cut(60)

    level, words = fleet.verdict("hotels")
    assert level is Level.UNKNOWN
    assert NOTHING_ANSWERS in words
    assert fleet.told == [MessageKind.CUT_OFF], "neither services nor their source are told one by one"
    message = fleet.message(MessageKind.CUT_OFF)
    assert message.headline == (
        "the watchdog may be cut off: nothing answers, 4 targets of 3 services at once; they are not being watched"
    )
    assert ("services", "cars, hotels, trips") in message.facts
    assert message.needs_human
    assert all(not one.rollbacks and not one.incidents for one in fleet.world.services.values())
    assert "cut_off" in fleet.recorded


def test_the_first_failures_of_a_cut_are_taken_back() -> None:
    fleet = Fleet().after("5s")
    fleet.said("trips").said("cars")
    assert (fleet.failures("trips"), fleet.failures("cars")) == (1, 1)
    fleet.said("hotels")
    assert fleet.failures("hotels") == 0

    fleet.cut(1)

    assert [fleet.failures(name) for name in fleet.fleet] == [0, 0, 0]


def test_when_something_answers_again_verdicts_count_from_fresh_answers() -> None:
    fleet = Fleet().cut(20)
    fleet.after("1s").answers().tick()
    assert fleet.told == [MessageKind.CUT_OFF, MessageKind.REACHABLE_AGAIN]
    for _ in range(5):
        fleet.after("5s").said("trips")
        assert fleet.verdict("trips")[0] is Level.UNKNOWN, "not everything was asked again yet"
    fleet.after("5s")
    for name in ("cars", "hotels"):
        fleet.said(name, passed=True).answers(name)

    for count in range(1, 6):
        fleet.said("trips").answers("cars").after("5s")
        assert fleet.failures("trips") == count

    assert fleet.verdict("trips")[0] is Level.ROLLBACK
    assert fleet.verdict("cars")[0] is Level.OK


def test_nobody_is_told_of_missing_data_right_after_a_cut_before_it_was_asked_for_again() -> None:
    fleet = Fleet().cut(60)
    fleet.after("1s").answers()
    for _ in range(40):
        fleet.after("1s").tick()
    for name in fleet.fleet:
        fleet.said(name, passed=True).answers(name)
    fleet.after("5m").tick()

    assert fleet.told == [MessageKind.CUT_OFF, MessageKind.REACHABLE_AGAIN]


def test_a_source_that_stays_away_after_a_cut_is_told_as_ever() -> None:
    fleet = Fleet().cut(60)
    for _ in range(20):
        fleet.after("15s")
        for name in fleet.fleet:
            fleet.said(name, passed=True)
            fleet.fails("load", name=name)
        fleet.tick()

    assert fleet.told == [MessageKind.CUT_OFF, MessageKind.REACHABLE_AGAIN, MessageKind.INCIDENT_OPENED]
    assert fleet.messages[-1].headline.startswith("source prometheus does not answer")


def test_a_dead_target_is_judged_at_once_while_others_answer() -> None:
    fleet = Fleet()
    for count in range(1, 6):
        fleet.after("5s").said("trips")
        assert fleet.failures("trips") == count
        fleet.said("cars", passed=True)

    assert fleet.verdict("trips")[0] is Level.ROLLBACK


def test_one_service_alone_is_never_taken_for_a_cut() -> None:
    fleet = Fleet().after("5s")
    for _ in range(5):
        fleet.said("trips").fails("load").after("5s")
    assert fleet.verdict("trips")[0] is Level.ROLLBACK


def test_a_mass_of_dead_targets_is_judged_while_anything_else_answers() -> None:
    fleet = Fleet("cars", "hotels", "boats")
    for _ in range(6):
        fleet.after("5s").said("trips")
        for name in ("cars", "hotels"):
            fleet.answers("boats").said(name)
        fleet.tick()

    assert [fleet.verdict(name)[0] for name in FLEET] == [Level.ROLLBACK] * 3
    assert fleet.of_kind(MessageKind.CUT_OFF) == []


def test_several_that_die_between_two_answers_are_judged_soon_after_the_second() -> None:
    fleet = Fleet("cars", "hotels", "boats").after("1s")
    fleet.said("trips").said("cars").said("hotels")
    assert fleet.verdict("hotels")[0] is Level.UNKNOWN
    elapsed = 0
    while fleet.verdict("hotels")[0] is not Level.ROLLBACK:
        fleet.after("5s")
        elapsed += 5
        for name in FLEET:
            fleet.said(name)
        if elapsed % 15 == 0:
            fleet.answers("boats")
        fleet.tick()
        assert elapsed <= 90, "a rare answer speaks for all"


def test_a_wrong_answer_is_an_answer() -> None:
    fleet = Fleet()
    for _ in range(5):
        fleet.after("5s")
        for name in fleet.fleet:
            fleet.said(name, answered=True)
            fleet.fails("load", name=name)

    assert [fleet.verdict(name)[0] for name in fleet.fleet] == [Level.ROLLBACK] * 3


def test_a_wrong_answer_speaks_for_the_network() -> None:
    fleet = Fleet("cars", "hotels", "boats")
    for _ in range(6):
        fleet.after("5s").said("trips")
        for name in ("cars", "hotels"):
            fleet.said("boats", answered=True).said(name)

    assert fleet.verdict("trips")[0] is Level.ROLLBACK


@pytest.mark.parametrize("reason", [FailReason.HTTP_STATUS, FailReason.MALFORMED])
def test_a_source_that_answers_with_nonsense_speaks_for_nobody(reason: FailReason) -> None:
    fleet = Fleet()
    for _ in range(5):
        fleet.after("5s")
        for name in fleet.fleet:
            fleet.said(name)
            fleet.fails("load", reason=reason, name=name)

    assert fleet.verdict("trips")[0] is Level.UNKNOWN


def test_what_answers_on_this_machine_says_nothing_of_what_lies_beyond_it() -> None:
    fleet = Fleet()
    fleet.world = msgspec.structs.replace(fleet.world, places={"prometheus": SourcePlace(here=True)})
    for _ in range(10):
        fleet.after("5s")
        for name in fleet.fleet:
            fleet.answers(name).said(name)
        fleet.tick()

    assert fleet.verdict("trips")[0] is Level.UNKNOWN
    headline = fleet.message(MessageKind.CUT_OFF).headline
    assert "nothing beyond this machine answers, 3 targets of 3 services" in headline


def test_a_target_on_this_machine_is_dead_when_this_machine_answers_otherwise() -> None:
    fleet = Fleet(here=True)
    fleet.world = msgspec.structs.replace(fleet.world, places={"prometheus": SourcePlace(here=True)})
    for _ in range(6):
        fleet.after("5s")
        for name in fleet.fleet:
            fleet.said(name).answers("cars")

    assert fleet.verdict("trips")[0] is Level.ROLLBACK


def test_an_answer_from_memory_is_as_old_as_its_sample() -> None:
    fleet = Fleet()
    fleet.world = msgspec.structs.replace(fleet.world, places={"prometheus": SourcePlace(recalls=True)})
    fleet.after("10s")
    for _ in range(3):
        for name in fleet.fleet:
            fleet.said(name).answers("cars", sampled="9s")
        fleet.after("1s")

    assert fleet.verdict("trips")[0] is Level.UNKNOWN


def test_what_a_source_remembers_from_before_the_cut_does_not_end_it() -> None:
    fleet = Fleet()
    fleet.world = msgspec.structs.replace(fleet.world, places={"prometheus": SourcePlace(recalls=True)})
    fleet.after("5s")
    for seconds in range(5, 125, 5):
        for name in fleet.fleet:
            fleet.said(name).answers("cars", sampled=f"{seconds - 1}s")
        fleet.after("5s").tick()

    assert {fleet.verdict(name)[0] for name in fleet.fleet} == {Level.UNKNOWN}
    assert {fleet.failures(name) for name in fleet.fleet} == {0}
    assert fleet.told == [MessageKind.CUT_OFF]


def test_that_the_resolver_is_down_is_one_message_too() -> None:
    fleet = Fleet()
    for _ in range(50):
        fleet.after("5s")
        for name in fleet.fleet:
            fleet.unable(name).fails("load", name=name)
        fleet.tick()

    assert fleet.told == [MessageKind.CUT_OFF]


def test_a_cut_that_comes_and_goes_is_told_every_ten_minutes_at_most() -> None:
    fleet = Fleet()
    for _ in range(10):
        fleet.cut(12).after("1s").answers().after("31s").tick()
        for name in fleet.fleet:
            fleet.said(name, passed=True).answers(name)

    assert len(fleet.of_kind(MessageKind.CUT_OFF)) == 2
    assert all(not one.rollbacks for one in fleet.world.services.values())


def test_an_incident_that_was_told_before_the_cut_stays_what_it_is() -> None:
    fleet = Fleet()
    for _ in range(14):
        fleet.after("15s").unable("trips").answers("cars").said("cars", passed=True).tick()
    assert fleet.told == [MessageKind.INCIDENT_OPENED]
    for _ in range(20):
        fleet.after("5s").unable("trips").said("cars").said("hotels").fails("load", name="cars").tick()

    assert fleet.told == [MessageKind.INCIDENT_OPENED, MessageKind.CUT_OFF]
    assert fleet.service.incident_of(IncidentKind.BLIND) is not None


# -- configured references


def test_a_reference_that_answers_speaks_for_the_network() -> None:
    fleet = Fleet().cut(2)
    assert wants_references(fleet.world)
    for _ in range(15):
        fleet.feed(References(answered=True))
        fleet.cut(1)

    assert fleet.verdict("trips")[0] is Level.ROLLBACK
    assert fleet.of_kind(MessageKind.CUT_OFF) == []


def test_references_that_do_not_answer_outweigh_whatever_else_does() -> None:
    names = tuple(f"s{number}" for number in range(9))
    fleet = Fleet(*names, limits=Limits(max_share=0.3, at_least=5))
    dead = names[:6]
    for _ in range(8):
        fleet.after("5s")
        for name in dead:
            fleet.answers(names[-1]).said(name)
        if wants_references(fleet.world):
            fleet.feed(References(answered=False))
        fleet.tick()

    assert [fleet.verdict(name)[0] for name in dead] == [Level.UNKNOWN] * 6
    assert len(fleet.of_kind(MessageKind.CUT_OFF)) == 1
    fleet.feed(References(answered=None))
    fleet.tick()
    assert fleet.told[-1] is MessageKind.REACHABLE_AGAIN


def test_references_that_are_gone_for_good_excuse_no_failure_once_the_mass_is_well_again() -> None:
    names = tuple(f"s{number}" for number in range(9))
    fleet = Fleet(*names, limits=Limits(max_share=0.3, at_least=5))

    def turn(*dead: str) -> None:
        fleet.after("5s")
        for name in fleet.fleet:
            fleet.said(name, passed=name not in dead).answers(name)
        # What the engine does (`watchdog.engine.references`): it asks, or says once that it asks no more.
        if wants_references(fleet.world):
            fleet.feed(References(answered=False))
        elif fleet.world.reach.denied_since is not None:
            fleet.feed(References(answered=None))
        fleet.tick()

    for _ in range(8):
        turn(*names[:6])
    assert fleet.verdict(names[0])[0] is Level.UNKNOWN, "it may be us"
    for _ in range(20):
        turn()
    assert fleet.told[-1] is MessageKind.REACHABLE_AGAIN

    for _ in range(10):
        turn("trips")
    assert fleet.verdict("trips")[0] is Level.ROLLBACK, "one that is dead while all others answer"


def test_references_are_asked_only_while_many_targets_fail() -> None:
    names = tuple(f"s{number}" for number in range(9))
    fleet = Fleet(*names, limits=Limits(max_share=0.3, at_least=5))
    for name in names[:4]:
        fleet.after("1s").said(name).answers(names[-1])
    assert not wants_references(fleet.world)
    fleet.said(names[4])
    assert wants_references(fleet.world)
    service = fleet.world.services[names[4]]
    retired = msgspec.structs.replace(service, checks={})
    world = msgspec.structs.replace(fleet.world, services={**fleet.world.services, names[4]: retired})
    assert not wants_references(world), "what is asked no more does not fail for ever"


# -- where things are


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://127.0.0.1:9090", True),
        ("https://user:word@localhost/x", True),
        ("http://[::1]:80/", True),
        ("localhost:80", True),
        ("[::1]:80", True),
        ("http://prometheus.localhost", True),
        ("http://10.0.0.1/127.0.0.1", False),
        ("http://127.0.0.1.example.com/", False),
        ("http://$service.internal/", False),
        ("localhosts:80", False),
        ("", False),
        (None, False),
    ],
)
def test_an_address_on_this_machine_is_told_from_others(address: object, here: bool) -> None:
    assert is_here(address) is here


def test_a_program_runs_on_this_machine_and_pages_make_a_source_that_recalls() -> None:
    assert probes_here({"argv": ["true"]})
    assert not probes_here({"url": "http://a/", "timeout": 3})
    assert place_of("scrape", {"urls": ["http://127.0.0.1/"]}) == SourcePlace(here=True, recalls=True)
    assert place_of("scrape", {"urls": ["http://127.0.0.1/", "http://a/"]}) == SourcePlace(recalls=True)
    assert place_of("prometheus", {"url": "http://localhost:9090"}) == SourcePlace(here=True)


@pytest.mark.parametrize("observation", [Pulse(passed=False, at=Scenario().now)])
def test_a_check_that_is_gone_says_nothing(observation: Observation) -> None:
    fleet = Fleet()
    gone = msgspec.structs.replace(fleet.check("healthy"), rule="gone")
    before = fleet.world.reach
    fleet.sees(gone, observation)
    assert fleet.world.reach == before
