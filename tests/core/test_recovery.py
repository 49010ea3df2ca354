"""What to do with an intent follows from what is on disk and what the switched object shows, and from nothing else."""

from __future__ import annotations

from itertools import product

import pytest
from msgspec.structs import replace

from tests.core.scenario import Scenario
from watchdog.core.recovery import Next, next_move
from watchdog.core.rollback import Rollback
from watchdog.core.traffic import TrafficState, VariantState

SCENARIO = Scenario().decided()
INTENT = SCENARIO.rollback


def shows(green: int | None, blue: int | None, *, mark: str | None = None) -> TrafficState:
    weights = {"green": green, "blue": blue}
    variants = {name: VariantState(weight=weight) for name, weight in weights.items() if weight is not None}
    return TrafficState(variants=variants, revision="7", read_at=SCENARIO.now, mark=mark)


def move(
    state: TrafficState, *, expired: bool = False, ours: bool = False, rollback: Rollback = INTENT
) -> Next:
    return next_move(rollback, state, expired=expired, ours=ours)


def beside() -> Rollback:
    """An intent that was decided while the target took a part of the traffic."""
    assert INTENT.change is not None
    return replace(INTENT, change=replace(INTENT.change, beside=True))


def test_the_state_it_was_decided_on_is_written() -> None:
    assert move(shows(green=1, blue=0)) is Next.WRITE
    assert move(shows(green=1, blue=0), ours=True) is Next.WRITE


def test_the_end_state_is_done_when_it_may_be_ours() -> None:
    assert move(shows(green=0, blue=1), ours=True) is Next.DONE
    assert move(shows(green=0, blue=1), ours=True, expired=True) is Next.DONE


def test_the_end_state_that_carries_our_mark_is_done() -> None:
    assert move(shows(green=0, blue=1, mark=INTENT.id)) is Next.DONE


@pytest.mark.parametrize("mark", [None, "", "rb-somebody-else"])
def test_the_end_state_that_somebody_else_made_is_his(mark: str | None) -> None:
    assert move(shows(green=0, blue=1, mark=mark)) is Next.FOREIGN


def test_a_bad_variant_that_is_gone_takes_no_traffic() -> None:
    assert move(shows(green=None, blue=1), ours=True) is Next.DONE


def test_a_change_that_is_half_in_place_is_finished_while_there_is_time() -> None:
    assert move(shows(green=1, blue=1), ours=True) is Next.FINISH
    assert move(shows(green=1, blue=1, mark=INTENT.id)) is Next.FINISH


def test_a_change_that_is_half_in_place_and_too_late_is_left_to_a_person() -> None:
    assert move(shows(green=1, blue=1), ours=True, expired=True) is Next.HALF
    assert move(shows(green=1, blue=1, mark=INTENT.id), expired=True) is Next.HALF
    assert move(shows(green=1, blue=1), expired=True) is Next.FOREIGN


def test_a_half_change_that_somebody_else_made_is_his() -> None:
    assert move(shows(green=1, blue=1)) is Next.FOREIGN


def test_a_target_that_was_live_all_the_time_is_no_half_change() -> None:
    assert move(shows(green=1, blue=9), rollback=beside()) is Next.WRITE
    assert move(shows(green=1, blue=9), rollback=beside(), ours=True) is Next.WRITE
    assert move(shows(green=1, blue=9), rollback=beside(), ours=True, expired=True) is Next.LAPSED


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("expired", [False, True])
def test_what_was_switched_and_undone_since_is_not_switched_again(*, ours: bool, expired: bool) -> None:
    undone = shows(green=1, blue=0, mark=INTENT.id)
    assert move(undone, ours=ours, expired=expired) is Next.FOREIGN
    undone_beside = shows(green=9, blue=1, mark=INTENT.id)
    assert move(undone_beside, ours=ours, expired=expired, rollback=beside()) is Next.FOREIGN


def test_what_was_not_begun_in_time_is_not_begun() -> None:
    assert move(shows(green=1, blue=0), expired=True) is Next.LAPSED
    assert move(shows(green=1, blue=0), expired=True, ours=True) is Next.LAPSED


@pytest.mark.parametrize("state", [shows(0, 0), shows(None, 0), shows(0, None), shows(None, None)])
def test_that_nothing_is_live_says_nothing_until_it_is_too_late(state: TrafficState) -> None:
    for ours in (False, True):
        assert move(state, ours=ours) is Next.WAIT
        assert move(state, ours=ours, expired=True) is Next.LAPSED


def test_a_target_that_is_not_shown_is_left_to_the_guards() -> None:
    """The bad version still serves: nobody has moved traffic, and a list without the standby may be of a moment."""
    gone = shows(green=1, blue=None)
    for ours in (False, True):
        assert move(gone, ours=ours) is Next.WRITE
        assert move(gone, ours=ours, expired=True) is Next.LAPSED


def shows_red(green: int | None, blue: int | None) -> TrafficState:
    state = shows(green, blue)
    return replace(state, variants={**state.variants, "red": VariantState(weight=1)})


@pytest.mark.parametrize("state", [shows_red(0, 0), shows_red(None, 0), shows_red(0, None)])
def test_any_other_state_is_somebody_else_s(state: TrafficState) -> None:
    for expired, ours in product((False, True), repeat=2):
        assert move(state, expired=expired, ours=ours) is Next.FOREIGN


def test_every_state_has_an_answer_and_done_only_follows_from_the_end_state() -> None:
    weights = (None, 0, 1, 9)
    for green, blue, expired, ours, mark in product(
        weights, weights, (False, True), (False, True), (None, "x", INTENT.id)
    ):
        answer = move(shows(green, blue, mark=mark), expired=expired, ours=ours)
        if answer is Next.DONE:
            assert blue
            assert not green
        if answer in (Next.WRITE, Next.FINISH):
            assert not expired, "nothing is written too late"
            assert green, "nothing is written when the bad version takes no traffic"
