from __future__ import annotations

from datetime import timedelta

import pytest

from tests.core.series import at, query_rule
from watchdog.core.check import Streak
from watchdog.core.hold import extended, held, met
from watchdog.core.rule import Hold, Holds, Lasting, Level, Samples, Thresholds

LEVELS = Thresholds(warning=10, critical=20, rollback=30)


def streak(count: int, lasting: float = 0.0) -> Streak:
    return Streak(count=count, since=at(0), last=at(lasting))


@pytest.mark.parametrize(
    ("hold", "samples", "lasting", "is_met"),
    [
        (Samples(1), 1, 0.0, True),
        (Samples(2), 1, 0.0, False),
        (Samples(2), 2, 0.1, True),
        (Samples(3), 2, 600.0, False),
        (Lasting(timedelta(seconds=60)), 2, 60.0, True),
        (Lasting(timedelta(seconds=60)), 2, 59.9, False),
        (Lasting(timedelta(seconds=60)), 20, 59.9, False),
        (Lasting(timedelta(seconds=0)), 1, 0.0, False),
        (Lasting(timedelta(seconds=0)), 2, 1.0, True),
    ],
)
def test_a_hold_wants_its_samples_or_two_samples_that_far_apart(
    hold: Hold, samples: int, lasting: float, *, is_met: bool
) -> None:
    assert met(hold, streak(samples, lasting)) is is_met


@pytest.mark.parametrize("hold", [Samples(1), Lasting(timedelta(0))])
def test_no_samples_meet_no_hold(hold: Hold) -> None:
    assert not met(hold, Streak())


def test_a_duration_needs_to_know_both_ends() -> None:
    assert not met(Lasting(timedelta(0)), Streak(count=5, since=at(0)))


def test_a_sample_extends_its_level_and_the_milder_ones() -> None:
    streaks = extended(query_rule(LEVELS), {}, Level.CRITICAL, at(0))
    streaks = extended(query_rule(LEVELS), streaks, Level.ROLLBACK, at(5))
    assert streaks == {
        "warning": Streak(count=2, since=at(0), last=at(5)),
        "critical": Streak(count=2, since=at(0), last=at(5)),
        "rollback": Streak(count=1, since=at(5), last=at(5)),
    }


def test_a_milder_sample_ends_the_worse_streaks_only() -> None:
    streaks = extended(query_rule(LEVELS), {}, Level.ROLLBACK, at(0))
    streaks = extended(query_rule(LEVELS), streaks, Level.WARNING, at(5))
    assert streaks == {"warning": Streak(count=2, since=at(0), last=at(5))}


def test_a_good_sample_ends_every_streak() -> None:
    streaks = extended(query_rule(LEVELS), {}, Level.ROLLBACK, at(0))
    assert extended(query_rule(LEVELS), streaks, Level.OK, at(5)) == {}


def test_levels_without_a_threshold_have_no_streak() -> None:
    rule = query_rule(Thresholds(critical=20))
    assert set(extended(rule, {}, Level.ROLLBACK, at(0))) == {"critical"}


def test_the_streaks_before_are_left_alone() -> None:
    before = extended(query_rule(LEVELS), {}, Level.ROLLBACK, at(0))
    copy = dict(before)
    extended(query_rule(LEVELS), before, Level.OK, at(5))
    extended(query_rule(LEVELS), before, Level.ROLLBACK, at(5))
    assert before == copy


def test_the_worst_level_whose_hold_is_met_is_held() -> None:
    rule = query_rule(LEVELS, hold=Holds(warning=Samples(1), critical=Samples(2), rollback=Samples(3)))
    streaks: dict[str, Streak] = {}
    levels = []
    for index in range(4):
        streaks = extended(rule, streaks, Level.ROLLBACK, at(index))
        levels.append(held(rule, streaks))
    assert levels == [Level.WARNING, Level.CRITICAL, Level.ROLLBACK, Level.ROLLBACK]


def test_a_worse_level_can_be_held_before_a_milder_one() -> None:
    rule = query_rule(LEVELS, hold=Holds(rollback=Samples(1)))
    assert held(rule, extended(rule, {}, Level.ROLLBACK, at(0))) is Level.ROLLBACK


def test_nothing_is_held_without_streaks() -> None:
    assert held(query_rule(LEVELS), {}) is Level.OK


def test_the_default_holds_are_a_minute_a_minute_and_two_samples() -> None:
    assert Holds() == Holds(
        warning=Lasting(timedelta(minutes=1)), critical=Lasting(timedelta(minutes=1)), rollback=Samples(2)
    )
