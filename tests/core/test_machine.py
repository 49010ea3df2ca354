"""Every state hears every event: it moves, ignores it on purpose, or it is a fault that says why."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from watchdog.core.deployment import DEPLOYMENT, ENDED, SOAKING, DeploymentEvent, DeploymentState
from watchdog.core.errors import TransitionError
from watchdog.core.incident import INCIDENT, IncidentEvent, IncidentState
from watchdog.core.machine import Machine, never
from watchdog.core.rollback import ENDS, ROLLBACK, RollbackEvent, RollbackState

MACHINES: list[tuple[Machine[Any, Any], type[StrEnum], type[StrEnum]]] = [
    (DEPLOYMENT, DeploymentState, DeploymentEvent),
    (INCIDENT, IncidentState, IncidentEvent),
    (ROLLBACK, RollbackState, RollbackEvent),
]
by_name = pytest.mark.parametrize(
    ("machine", "states", "events"), MACHINES, ids=lambda one: getattr(one, "name", "")
)


@by_name
def test_every_pair_is_listed_once_as_a_move_or_as_a_fault(
    machine: Machine[Any, Any], states: type[StrEnum], events: type[StrEnum]
) -> None:
    pairs = {(state, event) for state in states for event in events}

    assert set(machine.table) | set(machine.faults) == pairs
    assert not set(machine.table) & set(machine.faults)


@by_name
def test_every_fault_is_raised_with_its_reason(
    machine: Machine[Any, Any], states: type[StrEnum], events: type[StrEnum]
) -> None:
    for (state, event), why in machine.faults.items():
        assert why
        assert not machine.accepts(state, event)
        with pytest.raises(TransitionError, match=why):
            machine.step(state, event)


@by_name
def test_every_listed_move_is_made(
    machine: Machine[Any, Any], states: type[StrEnum], events: type[StrEnum]
) -> None:
    for (state, event), after in machine.table.items():
        assert machine.accepts(state, event)
        assert machine.step(state, event) is after


@by_name
def test_every_state_but_the_first_ones_can_be_reached(
    machine: Machine[Any, Any], states: type[StrEnum], events: type[StrEnum]
) -> None:
    first: dict[str, set[StrEnum]] = {
        "deployment": {DeploymentState.PENDING, DeploymentState.ADOPTED},
        "incident": {IncidentState.OPEN},
        "rollback": {RollbackState.DECIDED},
    }
    reached = set(first[machine.name])
    while new := {after for before, _, after in machine.edges() if before in reached} - reached:
        reached |= new

    assert reached == set(states)


def test_pairs_ignored_on_purpose_are_no_edges() -> None:
    assert all(before is not after for before, _, after in ROLLBACK.edges())


def test_nothing_moves_a_rollback_that_has_ended() -> None:
    assert not [edge for edge in ROLLBACK.edges() if edge[0] in ENDS]
    assert not [pair for pair in ROLLBACK.table if pair[0] in ENDS]


def test_the_happy_path_of_a_rollback_is_the_one_in_the_design() -> None:
    path = [
        RollbackEvent.INTENDED,
        RollbackEvent.APPLIED,
        RollbackEvent.OBJECT_VERIFIED,
        RollbackEvent.TRAFFIC_VERIFIED,
        RollbackEvent.UNCONTESTED,
        RollbackEvent.RECOVERED,
        RollbackEvent.COMPLETED,
    ]
    state, seen = RollbackState.DECIDED, []
    for event in path:
        state = ROLLBACK.step(state, event)
        seen.append(state.value)

    assert seen == [
        "intended",
        "applied",
        "verified_object",
        "verified_traffic",
        "uncontested",
        "recovered",
        "completed",
    ]


def test_a_deployment_without_traffic_neither_soaks_nor_comes_back_to_life_but_by_a_persons_word() -> None:
    for state in ENDED:
        assert state not in SOAKING
        after = {
            DEPLOYMENT.table[pair]
            for pair in DEPLOYMENT.table
            if pair[0] is state and pair[1] is not DeploymentEvent.VOUCHED_FOR
        }
        assert after <= ENDED


def test_a_pair_nobody_thought_of_is_a_fault_too() -> None:
    machine: Machine[IncidentState, IncidentEvent] = Machine(
        name="tiny", table={}, faults=never([IncidentState.OPEN], [IncidentEvent.CLEARED], "why not")
    )

    with pytest.raises(TransitionError, match="tiny: no transition for cleared in state open: why not"):
        machine.step(IncidentState.OPEN, IncidentEvent.CLEARED)
    with pytest.raises(TransitionError, match="not listed"):
        machine.step(IncidentState.CLOSED, IncidentEvent.CLEARED)
