"""The switch of a service is another one after a start, or when the service comes back: nothing is believed of it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.core.scenario import OK, Scenario
from tests.core.test_reconfigure import change, take
from watchdog.core.deployment import DeploymentState
from watchdog.core.events import OutcomeKind, TrafficSeen
from watchdog.core.message import MessageKind
from watchdog.core.reconfigure import Reconfigured, reconfigure
from watchdog.core.relocating import started
from watchdog.core.request import RequestKind
from watchdog.core.rollback import VERIFYING, RollbackState
from watchdog.core.service import Mode
from watchdog.core.step import Stepped
from watchdog.core.switchplace import SwitchPlace, switch_place

Story = Callable[[], Scenario]

HERE = switch_place("haproxy:/run/haproxy.sock:trips", {"blue": "one", "green": "two"})
ELSEWHERE = switch_place("haproxy:/run/other.sock:trips", {"blue": "one", "green": "two"})
SWAPPED = switch_place("haproxy:/run/haproxy.sock:trips", {"blue": "two", "green": "one"})
DOWN = "the configuration of its traffic switch was changed while the watchdog was down"


def began(scenario: Scenario, place: SwitchPlace | None = HERE) -> Scenario:
    """The story was lived with this switch."""
    known = replace(scenario.service, place=place)
    scenario.world = replace(scenario.world, services={**scenario.world.services, "trips": known})
    return scenario


def starts(scenario: Scenario, place: SwitchPlace) -> Stepped:
    """The daemon starts with what it stored, and with this switch."""
    scenario.restart()
    frozen = copy.deepcopy(scenario.world)
    stepped = started(scenario.world, {"trips": place}, scenario.now)
    assert scenario.world == frozen
    for record in stepped.services:
        assert record == stepped.world.services[record.name].record()
    scenario.world = stepped.world
    scenario.messages.extend(stepped.messages)
    scenario.audit.extend(stepped.audit)
    return stepped


def deployed() -> Scenario:
    return Scenario().green_deployed()


def intended() -> Scenario:
    return began(Scenario().decided())


def at_the_switch(state: RollbackState) -> Story:
    """A rollback that is being proved, in one of the states of that."""

    def story() -> Scenario:
        scenario = began(Scenario().verified())
        scenario.world = replace(
            scenario.world,
            services={
                "trips": replace(
                    scenario.service,
                    rollbacks={scenario.rollback.id: replace(scenario.rollback, state=state)},
                )
            },
        )
        return scenario

    return story


def awaiting() -> Scenario:
    return began(Scenario(mode=Mode.APPROVE).decided().rollback_is(RollbackState.AWAITING_APPROVAL))


def blocked() -> Scenario:
    scenario = Scenario().green_deployed()
    scenario.ask(RequestKind.PAUSE, reason="lunch")
    return began(scenario.green_is_bad().rollback_is(RollbackState.BLOCKED))


# A start


@pytest.mark.parametrize("story", [deployed, intended, at_the_switch(RollbackState.APPLIED)])
def test_nothing_happens_at_a_start_with_the_same_switch(story: Story) -> None:
    scenario = began(story())
    before = copy.deepcopy(scenario.restart().world)
    stepped = starts(scenario, HERE)
    assert stepped == Stepped(world=before)


def test_a_service_that_was_never_seen_begins_with_the_switch_that_is_configured() -> None:
    scenario = Scenario()
    stepped = starts(scenario, HERE)
    assert stepped == Stepped(world=scenario.world), "nothing is stored of a switch that nobody read"
    scenario.traffic(blue=1, green=0)
    assert scenario.last.services[0].place == HERE, "the first read stores it"


def test_what_an_older_release_stored_is_believed_and_compared_from_then_on() -> None:
    scenario = Scenario().green_deployed()
    traffic, deployments = scenario.service.traffic, scenario.service.deployments
    stepped = starts(scenario, HERE)
    assert [one.place for one in stepped.services] == [HERE]
    assert stepped == Stepped(world=scenario.world, services=stepped.services)
    assert (scenario.service.traffic, scenario.service.deployments) == (traffic, deployments)
    starts(scenario, ELSEWHERE)
    assert scenario.service.traffic is None


def test_what_was_read_of_another_object_is_forgotten_at_a_start() -> None:
    """Traffic is on blue there, where it was for long: nobody deployed it, so nothing is armed."""
    scenario = began(Scenario().stable_blue())
    stepped = starts(scenario, ELSEWHERE)
    assert scenario.service.traffic is None
    assert [(one.traffic, one.place) for one in stepped.services] == [(None, ELSEWHERE)]
    assert [(note.kind, note.body) for note in stepped.audit] == [
        ("switch_changed", {"another_object": True})
    ]
    scenario.after("5s").traffic(blue=0, green=1)
    assert scenario.on("green").state is DeploymentState.ADOPTED
    assert not scenario.on("green").armed


def test_the_other_object_is_believed_at_the_start_after_that() -> None:
    scenario = began(Scenario().stable_blue())
    starts(scenario, ELSEWHERE)
    scenario.after("5s").traffic(blue=1, green=0)
    traffic = scenario.service.traffic
    assert starts(scenario, ELSEWHERE) == Stepped(world=scenario.world)
    assert scenario.service.traffic == traffic


def test_a_variant_that_names_other_servers_loses_its_deployments_at_a_start() -> None:
    """Green, where the bad version of today runs, is on the server that blue was on: nothing there was ever proved."""
    scenario = began(Scenario().green_deployed())
    ids = {scenario.on("blue").id, scenario.on("green").id}
    stepped = starts(scenario, SWAPPED)
    assert {one.id for one in stepped.deployments} == ids
    assert all(one.live_at is None for one in stepped.deployments)
    scenario.after("5s").traffic(blue=0, green=1)
    assert scenario.on("green").state is DeploymentState.ADOPTED
    scenario.green_is_bad(3)
    assert not [one for one in scenario.service.rollbacks.values() if one.intended_at is not None]


@pytest.mark.parametrize(
    "story",
    [intended, *(at_the_switch(state) for state in sorted(VERIFYING))],
    ids=["intended", *sorted(VERIFYING)],
)
@pytest.mark.parametrize("place", [ELSEWHERE, SWAPPED], ids=["elsewhere", "swapped"])
def test_a_rollback_for_another_object_ends_superseded_and_is_told(story: Story, place: SwitchPlace) -> None:
    scenario = story()
    stepped = starts(scenario, place)
    ended = scenario.rollback
    assert stepped.rollbacks == (ended,)
    assert (ended.state, ended.ended_at) == (RollbackState.SUPERSEDED, scenario.now)
    assert ended.history[-1].why.startswith(DOWN)
    told = stepped.messages
    assert [(one.kind, one.rollback) for one in told] == [(MessageKind.ROLLBACK_ENDED, ended.id)]
    assert DOWN in told[0].headline
    assert told[0].next_step
    assert [note.kind for note in stepped.audit if note.body.get("rollback")] == ["rollback_superseded"]


def test_an_answer_about_the_other_object_that_comes_late_changes_nothing() -> None:
    scenario = intended()
    starts(scenario, ELSEWHERE)
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))
    scenario.after("5s").traffic(blue=0, green=1)
    scenario.green_is_bad(3)
    scenario.rollback_is(RollbackState.SUPERSEDED)
    assert len(scenario.service.rollbacks) == 1, "the one rollback of that deployment is used up"


@pytest.mark.parametrize("story", [awaiting, blocked])
@pytest.mark.parametrize("place", [ELSEWHERE, SWAPPED], ids=["elsewhere", "swapped"])
def test_what_waits_is_left_as_a_reload_leaves_it(story: Story, place: SwitchPlace) -> None:
    restarted, reloaded = story(), story()
    starts(restarted, place)
    others = {"trips": frozenset({"blue", "green"} if place is SWAPPED else ())}
    trips = frozenset({"trips"})
    take(
        reloaded,
        change(reloaded, new_switches=trips, moved=trips, exchanged=others, switches={"trips": place}),
    )
    assert restarted.rollback == reloaded.rollback
    for scenario in (restarted, reloaded):
        scenario.after("5s").traffic(blue=1, green=0)
        scenario.rollback_is(RollbackState.SUPERSEDED, "what it would take away from has no traffic there")


def test_a_rollback_that_has_ended_stays_as_it_is() -> None:
    scenario = began(Scenario().verified())
    starts(scenario, ELSEWHERE)
    ended = scenario.rollback
    starts(scenario, HERE)
    assert scenario.rollback == ended
    assert scenario.told.count(MessageKind.ROLLBACK_ENDED) == 1


# A reload


def reload(scenario: Scenario, place: SwitchPlace, *, moved: bool = True) -> Stepped:
    trips = frozenset({"trips"})
    return take(
        scenario,
        change(
            scenario, new_switches=trips, moved=trips if moved else frozenset(), switches={"trips": place}
        ),
    )


def test_a_reload_that_changes_the_switch_stores_what_it_is_now() -> None:
    scenario = began(Scenario().stable_blue())
    stepped = reload(scenario, ELSEWHERE)
    assert [(one.traffic, one.place) for one in stepped.services] == [(None, ELSEWHERE)]
    scenario.after("5s").traffic(blue=1, green=0)
    assert starts(scenario, ELSEWHERE) == Stepped(world=scenario.world)


def test_a_reload_that_waits_for_a_rollback_keeps_the_switch_that_it_is_proved_at() -> None:
    scenario = began(Scenario().verified())
    reload(scenario, ELSEWHERE)
    assert scenario.service.place == HERE
    starts(scenario, ELSEWHERE)
    scenario.rollback_is(RollbackState.SUPERSEDED)


def test_a_service_that_a_reload_adds_begins_with_its_switch() -> None:
    scenario = Scenario()
    changed = change(scenario, switches={"trips": HERE})
    scenario.world = replace(scenario.world, services={})
    take(scenario, changed)
    assert scenario.service.place == HERE


def comes_back(scenario: Scenario, place: SwitchPlace) -> Stepped:
    """The service was out of the configuration, and is in it again."""
    known = scenario.restart().service
    changed: Reconfigured = change(scenario, restored={"trips": known}, switches={"trips": place})
    scenario.world = replace(scenario.world, services={})
    return take(scenario, changed)


def test_a_service_that_comes_back_with_the_same_switch_is_what_it_was() -> None:
    scenario = began(Scenario().green_deployed())
    known = scenario.service
    stepped = comes_back(scenario, HERE)
    assert (scenario.service.traffic, scenario.service.deployments) == (known.traffic, known.deployments)
    assert [note.kind for note in stepped.audit] == ["config_reloaded", "service_added"]
    assert not stepped.services


def test_a_service_that_comes_back_with_another_switch_is_looked_at_as_if_for_the_first_time() -> None:
    scenario = began(Scenario().green_deployed())
    stepped = comes_back(scenario, SWAPPED)
    assert scenario.service.traffic is None
    assert scenario.service.place == SWAPPED
    assert [one.live_at for one in stepped.deployments] == [None, None]
    assert "switch_changed" in [note.kind for note in stepped.audit]
    assert stepped.looks == ("trips",)
    late = TrafficSeen(service="trips", state=scenario.state(), edition=scenario.world.edition - 1)
    scenario.feed(late)
    assert scenario.service.traffic is None, "a read of the switch before that was on its way"
    scenario.after("5s").traffic(blue=0, green=1).observe(value=OK, on="green")
    assert not scenario.on("green").armed


def test_a_rollback_of_a_service_that_comes_back_with_another_switch_ends_and_is_told() -> None:
    scenario = intended()
    stepped = comes_back(scenario, ELSEWHERE)
    assert [(one.state, one.ended_at) for one in stepped.rollbacks] == [
        (RollbackState.SUPERSEDED, scenario.now)
    ]
    assert [one.kind for one in stepped.messages] == [MessageKind.ROLLBACK_ENDED]
    assert "while the service was not configured" in stepped.messages[0].headline
    assert reconfigure(scenario.world, change(scenario), scenario.now).rollbacks == ()
