"""Single schedules that must never come out otherwise: the interleavings behind the promises, written out.

Those that a run of the machine once found against the daemon stay here as it found them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.machine import Schedule, quiet
from tests.faults.machine_outside import Kind, Outside
from tests.faults.machine_promises import rollbacks
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.service import Mode
from watchdog.core.traffic import Tier

pytestmark = pytest.mark.timeout(120)


def nothing(_schedule: Schedule) -> None:
    """Nobody does anything."""


def play(
    *,
    trap: tuple[str, str] | None = None,
    fault: str | None = None,
    tier: Tier = Tier.A,
    lead: float = 20.0,
    corrected: bool = True,
    then: Callable[[Schedule], None] = nothing,
) -> tuple[Outside, list[RollbackState]]:
    """A bad deployment, a trap or a fault on the way of its rollback, and what comes then; all promises are judged.

    Answers the world after it and the states of all rollbacks.
    """
    with quiet():
        schedule = Schedule()
        try:
            schedule.begin(
                tier=tier,
                tells=False,
                scrape=1.0,
                mode=Mode.ENFORCE,
                bad=True,
                lead=lead,
                posted=True,
                corrected=corrected,
                trap=trap,
                fault=fault,
            )
            then(schedule)
        finally:
            schedule.teardown()
    return schedule.outside, [one.state for one in rollbacks(schedule.disk)]


def effects(outside: Outside) -> list[tuple[str, ...]]:
    """What was live after each write of a daemon that changed it."""
    return [line.live for line in outside.log if line.kind is Kind.EFFECT]


def refusals(outside: Outside) -> list[str]:
    return [line.why for line in outside.log if line.kind is Kind.REFUSED]


PLACES = ("was read", "apply", "applied", "intended", "record", "recorded")


@pytest.mark.parametrize("place", PLACES)
def test_a_second_daemon_on_the_same_store_takes_over_and_traffic_moves_once(place: str) -> None:
    outside, states = play(
        trap=(place, "taken over"), then=lambda schedule: schedule.time_passes(seconds=25.0)
    )
    assert outside.tally["second daemon: both lead"]
    assert effects(outside) == [("blue",)]
    assert states == [RollbackState.COMPLETED]


def test_what_a_deposed_daemon_remembers_never_replaces_what_the_other_was_told() -> None:
    def then(schedule: Schedule) -> None:
        schedule.a_second_daemon_starts(freeze=False, knows=False, copy=False, pause=0.0)
        schedule.asked_of_the_version(kind=RequestKind.TAINT, variant="blue", pause=2.0)
        for daemon in schedule.daemons[1:]:
            daemon.die()
        schedule.a_moment_passes(60.0)

    outside, _ = play(then=then, lead=2.0, corrected=False)

    assert effects(outside) == [], "blue is tainted"


def test_a_leader_that_stood_still_before_its_write_is_refused_when_it_wakes_up() -> None:
    """It read and decided; another one switched, and a person moved traffic back, before its write was sent."""

    def then(schedule: Schedule) -> None:
        schedule.the_frozen_one_wakes_up(pause=0.0)

    def undo(schedule: Schedule) -> None:
        schedule.a_second_daemon_starts(freeze=True, knows=False, copy=False, pause=2.0)
        assert effects(schedule.outside) == [("blue",)]
        schedule.a_person_undoes_what_was_switched(pause=0.0)
        then(schedule)
        schedule.time_passes(seconds=12.0)

    outside, states = play(trap=("apply", "freeze"), then=undo)
    assert refusals(outside) == ["SwitchConflict"]
    assert outside.tally["two daemons wrote the same rollback"]
    assert effects(outside) == [("blue",)]
    assert outside.live == ("green",), "the person wins"
    assert len(states) == 1


@pytest.mark.parametrize("tier", list(Tier))
def test_a_conflict_without_another_will_is_read_again_and_written_once(tier: Tier) -> None:
    outside, states = play(trap=("apply", "touched"), tier=tier)
    assert refusals(outside) == ["SwitchConflict"]
    assert effects(outside) == [("blue",)]
    assert states == [RollbackState.COMPLETED]


@pytest.mark.parametrize("tier", list(Tier))
def test_a_conflict_with_somebody_s_own_move_ends_the_rollback(tier: Tier) -> None:
    outside, states = play(trap=("apply", "moved away"), tier=tier)
    assert refusals(outside) == ["SwitchConflict"]
    assert effects(outside) == []
    assert outside.live == ("red",)
    assert states == [RollbackState.SUPERSEDED]


@pytest.mark.parametrize("what", ["pause file", "marked", "deposed", "target dies"])
def test_what_is_set_before_the_read_of_an_attempt_stops_its_write(what: str) -> None:
    outside, _ = play(trap=("read", what), then=lambda schedule: schedule.time_passes(seconds=12.0))
    stopped = [line.at for line in outside.log if line.kind is Kind.EFFECT]
    assert all(at > 134 for at in stopped), (
        "nothing while it lasted; what comes after it was lifted is another matter"
    )


@pytest.mark.parametrize("trap", [("applied", "crash"), ("record", "crash")])
def test_what_a_dead_daemon_switched_and_a_person_undid_is_not_switched_again(trap: tuple[str, str]) -> None:
    """Found by the machine: the target's mark says that the write was made, although nobody recorded it."""

    def undo(schedule: Schedule) -> None:
        assert effects(schedule.outside) == [("blue",)]
        schedule.a_person_undoes_what_was_switched(pause=0.0)
        schedule.a_daemon_starts_again(pause=5.0)

    outside, states = play(trap=trap, then=undo)
    assert effects(outside) == [("blue",)]
    assert outside.live == ("green",)
    assert states == [RollbackState.SUPERSEDED]


def test_what_an_unanswered_write_switched_and_a_person_undid_is_not_switched_again() -> None:
    """Found by the machine: the same without a death."""

    def undo(schedule: Schedule) -> None:
        assert effects(schedule.outside) == [("blue",)]
        schedule.a_person_undoes_what_was_switched(pause=12.0)

    outside, states = play(fault="answer lost", then=undo)
    assert effects(outside) == [("blue",)]
    assert outside.live == ("green",)
    assert states == [RollbackState.SUPERSEDED]


def test_a_person_s_taint_before_the_read_is_kept() -> None:
    def taint(schedule: Schedule) -> None:
        schedule.asked_of_the_version(kind=RequestKind.TAINT, variant="blue", pause=1.0)
        schedule.leadership_changes(leads=True, pause=12.0)

    outside, states = play(trap=("intend", "deposed"), then=taint)
    assert effects(outside) == []
    assert states == [RollbackState.BLOCKED]
