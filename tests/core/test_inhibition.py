"""A source outage inhibits what depends on it, and only that; what is still wrong afterwards is told then."""

from __future__ import annotations

import pytest

from tests.core.scenario import CRITICAL, OK, ROLLBACK, Scenario, of_service, probe, rule
from watchdog.core.incident import IncidentKind
from watchdog.core.message import MessageKind
from watchdog.core.observation import FailReason

OPENED, WORSENED, CLOSED = (
    MessageKind.INCIDENT_OPENED,
    MessageKind.INCIDENT_WORSENED,
    MessageKind.INCIDENT_CLOSED,
)
NAMES = ("trips", "cars", "hotels", "flights", "trains")


def services() -> Scenario:
    """Five services that are well, each with one rule of the same source."""
    scenario = Scenario(others=NAMES[1:])
    scenario.looks_every = 50
    for name in NAMES:
        scenario.traffic(name, blue=1, green=0)
        scenario.observe(value=OK, name=name)
    return scenario


def away(scenario: Scenario, *, rounds: int = 20, names: tuple[str, ...] = NAMES) -> Scenario:
    """The source answers nobody, for ten minutes by default."""
    for _ in range(rounds):
        scenario.after("30s")
        for name in names:
            scenario.fails(reason=FailReason.TIMEOUT, name=name)
        scenario.tick()
    return scenario


def answers(
    scenario: Scenario, *, rounds: int = 12, silent: tuple[str, ...] = (), **values: float
) -> Scenario:
    """The source is back: numbers for all but the `silent`, of whom it knows nothing any more."""
    for _ in range(rounds):
        scenario.after("30s")
        for name in NAMES:
            if name in silent:
                scenario.silence(name=name)
            else:
                scenario.observe(value=values.get(name, OK), name=name)
        scenario.tick()
    return scenario


def opened(scenario: Scenario) -> list[str]:
    """What people were told to have begun: services, and sources."""
    return [one.service or one.labels["source"] for one in scenario.messages if one.kind is OPENED]


def test_an_outage_is_one_incident_of_the_source_and_nothing_else() -> None:
    scenario = away(services())

    assert opened(scenario) == ["prometheus"]
    assert scenario.told == [OPENED]
    assert all(not scenario.world.services[name].incidents for name in NAMES)
    source = scenario.world.sources["prometheus"].incident
    assert source is not None
    assert source.subjects == tuple(sorted(NAMES))


@pytest.mark.parametrize("reason", [FailReason.UNREACHABLE, FailReason.HTTP_STATUS, FailReason.MALFORMED])
def test_in_whatever_way_the_source_fails(reason: FailReason) -> None:
    scenario = services()
    for _ in range(10):
        scenario.after("30s")
        for name in NAMES:
            scenario.fails(reason=reason, name=name)
        scenario.tick()

    assert opened(scenario) == ["prometheus"]


def test_what_is_well_after_the_outage_is_told_with_one_message() -> None:
    scenario = answers(away(services()))

    assert scenario.told == [OPENED, CLOSED]


def test_what_is_still_without_data_after_the_outage_is_told_then() -> None:
    scenario = answers(away(services()), silent=("cars",))

    assert opened(scenario) == ["prometheus", "cars"]
    incident = scenario.world.services["cars"].incident_of(IncidentKind.BLIND)
    assert incident is not None
    assert incident.checks == ("errors",)


def test_what_is_bad_after_the_outage_is_told_then() -> None:
    scenario = answers(away(services()), hotels=CRITICAL)

    assert opened(scenario) == ["prometheus", "hotels"]
    assert scenario.world.services["hotels"].breaching


def test_what_was_bad_before_is_not_told_again_and_its_end_is() -> None:
    scenario = services().after("30s").observe(value=CRITICAL)
    away(scenario)
    assert opened(scenario) == ["trips", "prometheus"]

    answers(scenario, rounds=4, trips=CRITICAL)
    assert opened(scenario) == ["trips", "prometheus"]
    assert WORSENED not in scenario.told

    answers(scenario)
    ended = [one.incident for one in scenario.messages if one.kind is CLOSED]
    assert len(ended) == 2
    assert all(not scenario.world.services[name].incidents for name in NAMES)


def test_what_depends_on_something_else_is_told_all_the_same() -> None:
    scenario = Scenario(rule(), probe(), of_service("queue", source="graphite"), others=("cars",))
    scenario.looks_every = 25
    for name in ("trips", "cars"):
        scenario.traffic(name, blue=1, green=0)
    for number in range(14):
        scenario.after("30s")
        for name in ("trips", "cars"):
            scenario.fails("errors", name=name)
        scenario.probed(alive=number < 4)
        scenario.silence("queue")
        scenario.observe("queue", value=OK, name="cars")
        scenario.tick()

    assert sorted(opened(scenario)) == ["prometheus", "trips", "trips"]
    blind = scenario.service.incident_of(IncidentKind.BLIND)
    assert blind is not None
    assert blind.checks == ("queue",), "what the source should have told is not in it"
    assert scenario.service.incident_of(IncidentKind.BREACH) is not None
    assert not scenario.world.services["cars"].incidents


def test_a_service_with_two_sources_is_told_of_the_one_that_fails_and_of_no_blindness() -> None:
    scenario = Scenario(rule(), of_service("queue", source="graphite"))
    scenario.traffic(blue=1, green=0)
    for _ in range(12):
        scenario.after("30s").fails("errors").observe("queue", value=OK).tick()

    assert opened(scenario) == ["prometheus"]
    assert not scenario.service.incidents


def test_a_new_version_that_comes_during_the_outage_is_not_told_to_be_unwatched() -> None:
    scenario = away(Scenario().stable_blue(), rounds=10, names=("trips",))
    scenario.after("10s").traffic(blue=0, green=1)
    away(scenario, rounds=10, names=("trips",))

    assert opened(scenario) == ["prometheus"]
    assert not scenario.service.incidents


def test_nothing_is_rolled_back_while_the_source_is_away_and_it_is_afterwards() -> None:
    scenario = Scenario().green_deployed()
    scenario.after("10s").observe(value=ROLLBACK, on="green")
    away(scenario, names=("trips",), rounds=8)
    assert not scenario.service.rollbacks

    for _ in range(8):
        scenario.after("30s").traffic().observe(value=ROLLBACK, on="green").tick()

    assert scenario.service.rollbacks
    assert sorted(opened(scenario)) == ["prometheus", "trips"]
