"""What an attempt at a switch decides after each look; the executor's tests hold the whole way with its waiting."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.engine.worlds import intent, service, traffic, world
from watchdog.core.attempt import FIRST_PAUSE, GRACE, LONGEST_PAUSE, WRITES, Attempt, begin, handed_over
from watchdog.core.events import OutcomeKind
from watchdog.core.facts import facts_before_write
from watchdog.core.recovery import Next
from watchdog.core.rollback import RollbackState
from watchdog.testing.clock import BASE

LATE = timedelta(minutes=5).total_seconds()


def begun(**changes: object) -> Attempt:
    return begin(intent(**changes), resumed=False, now=BASE, boot=0.0)


def test_an_intent_lives_no_longer_than_when_it_was_written_whatever_the_clock_says() -> None:
    set_back = begin(intent(), resumed=False, now=BASE - timedelta(hours=1), boot=100.0)

    assert begun().ends == LATE
    assert set_back.ends == 100.0 + LATE
    assert begun(expires_at=None).ends is None
    assert not begun(expires_at=None).expired(1e9)


def test_pauses_double_up_to_the_longest() -> None:
    attempt = begun()
    pauses = []
    for _ in range(8):
        pauses.append(attempt.pause)
        attempt.rested()

    assert pauses[0] == FIRST_PAUSE
    assert pauses == sorted(pauses)
    assert attempt.pause == LONGEST_PAUSE


def test_what_is_to_be_written_cannot_be_settled() -> None:
    attempt, state = begun(), traffic()

    assert attempt.move(state, boot=0.0) is Next.WRITE
    with pytest.raises(ValueError, match="carried out"):
        attempt.settled(Next.WRITE, state, boot=0.0, now=BASE)


def test_nothing_is_written_that_the_guards_were_not_asked_about() -> None:
    attempt, state = begun(), traffic()
    with pytest.raises(ValueError, match="nobody asked"):
        attempt.change(state, epoch=7)

    facts = facts_before_write(world(), attempt.rollback, state, now=BASE, paused_by_file="")
    assert attempt.refused(facts, state, halfway=False, now=BASE) is None
    change = attempt.change(replace(state, revision="r9"), epoch=9)
    assert (change.expect, change.epoch, attempt.writes, attempt.ours) == ("r9", 9, 1, True)


@pytest.mark.parametrize(("halfway", "kind"), [(False, OutcomeKind.VETOED), (True, OutcomeKind.HALF_DONE)])
def test_a_guard_ends_it_right_before_the_write(halfway: bool, kind: OutcomeKind) -> None:
    attempt, state = begun(), traffic()
    facts = facts_before_write(world(), attempt.rollback, state, now=BASE, paused_by_file="it exists")
    found = attempt.refused(facts, state, halfway=halfway, now=BASE)

    assert found is not None
    assert found.kind is kind
    assert [veto.guard for veto in found.vetoes] == ["paused"]


def test_it_gives_up_after_so_many_writes() -> None:
    attempt = begun()
    attempt.writes = WRITES - 1
    assert attempt.worn_out(traffic(), halfway=False, now=BASE) is None
    attempt.writes = WRITES
    over = attempt.worn_out(traffic(), halfway=True, now=BASE)

    assert over is not None
    assert over.kind is OutcomeKind.HALF_DONE


def test_what_may_be_in_place_is_looked_at_for_longer_than_what_is_not() -> None:
    ours, foreign = begun(), begun()
    ours.ours = True

    assert foreign.later("no answer", boot=LATE - 1, now=BASE) is None
    lapsed = foreign.later("no answer", boot=LATE, now=BASE)
    assert lapsed is not None
    assert lapsed.kind is OutcomeKind.LAPSED
    assert ours.later("no answer", boot=LATE, now=BASE) is None
    given_up = ours.later("no answer", boot=LATE + GRACE.total_seconds(), now=BASE)
    assert given_up is not None
    assert given_up.kind is OutcomeKind.HALF_DONE


def test_an_intent_is_handed_over_once() -> None:
    before = world(service(rollbacks={"rb-1": intent()}))

    assert handed_over(before, intent())
    assert not handed_over(world(), intent())
    assert not handed_over(before, replace(intent(), service="other"))
    waiting = replace(intent(), state=RollbackState.BLOCKED)
    assert not handed_over(world(service(rollbacks={"rb-1": waiting})), intent())
