"""Replays of small tracks whose answers can be worked out by hand."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from msgspec.structs import replace

from tests.lab.tracks import BEGIN, ERRORS, NAN, QUEUE, track
from watchdog.core.rule import (
    Against,
    Baseline,
    Direction,
    Holds,
    Lasting,
    Level,
    ProbeForm,
    Rule,
    Thresholds,
)
from watchdog.lab.replay import Blindness, Episode, replay, verdicts
from watchdog.lab.usual import References


def test_an_episode_begins_where_its_hold_is_met_and_ends_where_the_check_is_clear_again() -> None:
    told = replay(QUEUE, track(1, 1, 12, 15, 11, 1, 1, 1, 1))
    assert told.episodes[Level.WARNING] == (
        Episode(
            level=Level.WARNING,
            breached=BEGIN + 60,
            began=BEGIN + 90,
            ended=BEGIN + 210,
            first=3,
            end=7,
            peak=15.0,
        ),
    )
    assert told.episodes[Level.CRITICAL] == told.episodes[Level.ROLLBACK] == ()
    assert (told.known, told.unknown, told.reasons) == (9, 0, {"within": 6, "beyond": 3})


def test_what_became_worse_is_in_the_episodes_of_milder_levels_too() -> None:
    told = replay(QUEUE, track(12, 12, 40, 40, 12, 1, 1, 1))
    spans = {
        level: [(one.first, one.end, one.peak) for one in found] for level, found in told.episodes.items()
    }
    assert spans == {
        Level.WARNING: [(1, 7, 40.0)],
        Level.CRITICAL: [(3, 7, 40.0)],
        Level.ROLLBACK: [(3, 7, 40.0)],
    }
    assert told.episodes[Level.ROLLBACK][0].breached == BEGIN + 60


def test_a_level_without_a_threshold_has_the_episodes_of_the_next_worse_one() -> None:
    told = replay(replace(QUEUE, thresholds=Thresholds(critical=20)), track(1, 25, 25, 25))
    assert [one.began for one in told.episodes[Level.WARNING]] == [BEGIN + 60]
    assert [one.breached for one in told.episodes[Level.WARNING]] == [BEGIN + 30]
    assert told.episodes[Level.CRITICAL][0].ended is None
    assert told.episodes[Level.CRITICAL][0].end == 4
    assert told.episodes[Level.ROLLBACK] == ()


def test_samples_that_never_come_twice_in_a_row_hold_nothing() -> None:
    told = replay(QUEUE, track(*[12.0, 1.0] * 20))
    assert told.episodes == {Level.WARNING: (), Level.CRITICAL: (), Level.ROLLBACK: ()}


def test_nothing_before_the_first_index_is_judged() -> None:
    told = replay(QUEUE, track(12, 12, 12, 1, 1, 12, 12), first=3)
    assert [(one.first, one.breached) for one in told.episodes[Level.WARNING]] == [(6, BEGIN + 150)]
    assert told.known == 4


def test_silence_is_blind_once_it_lasts_as_long_as_the_rule_says() -> None:
    told = replay(QUEUE, track(1, NAN, NAN, NAN, NAN, NAN, 1, NAN, NAN, 1))
    assert told.blind == (Blindness(began=BEGIN + 30, ended=BEGIN + 180, reason="empty"),)
    assert (told.known, told.unknown) == (3, 7)


def test_a_question_that_failed_is_an_error_and_quarantines_what_follows() -> None:
    failed = np.array([False, True, True, True, True, True, False, False, False])
    told = replay(QUEUE, track(*[1.0] * 9, failed=failed))
    assert told.reasons == {"within": 2, "unreachable": 5, "quarantine": 2}
    assert told.blind == (Blindness(began=BEGIN + 30, ended=BEGIN + 240, reason="unreachable"),)


def test_a_gap_is_polls_that_got_nothing() -> None:
    told = replay(QUEUE, track(1, 12, 12, 1, late={2: 300.0}))
    assert told.episodes[Level.WARNING] == ()
    assert told.missed == 10
    assert told.blind == (Blindness(began=BEGIN + 60, ended=BEGIN + 360, reason="empty"),)
    assert (told.known, told.unknown) == (4, 0)


def test_samples_that_come_a_little_late_leave_no_gap() -> None:
    assert replay(QUEUE, track(1, 12, 12, 1, late={2: 14.0})).missed == 0


def test_the_events_behind_a_value_are_its_evidence() -> None:
    few = np.array([1000.0, 5.0, 5.0, 1000.0, 1000.0, 1000.0])
    told = replay(ERRORS, track(0.0, 0.2, 0.2, 0.2, 0.2, 0.2, events=few, bad=few * 0.2))
    assert told.reasons == {"within": 1, "too_few_events": 2, "beyond": 3}
    assert told.episodes[Level.CRITICAL][0].first == 4
    assert told.episodes[Level.CRITICAL][0].peak == 0.2
    assert told.notes == ()


def test_a_share_of_so_many_events_says_how_many_were_bad() -> None:
    events = np.full(4, 1000.0)
    assert replay(ERRORS, track(0.0, 0.2, 0.2, 0.2, events=events)).episodes[Level.CRITICAL]


def test_a_rule_whose_evidence_nobody_knows_is_judged_without_it_and_that_is_said() -> None:
    told = replay(ERRORS, track(0.0, 0.02, 0.02, 0.0))
    assert [one.first for one in told.episodes[Level.ROLLBACK]] == [2]
    (note,) = told.notes
    assert note.startswith(
        "error-rate is judged without its evidence, for hand.csv does not say how many events"
    )


def test_a_duration_is_held_between_samples() -> None:
    rule = replace(QUEUE, hold=Holds(warning=Lasting(timedelta(minutes=2))))
    told = replay(rule, track(1, 12, 12, 12, 12, 12, 12))
    assert [one.first for one in told.episodes[Level.WARNING]] == [5]


def test_a_baseline_is_compared_with_its_references() -> None:
    rule = replace(
        QUEUE,
        thresholds=Thresholds(),
        baseline=Baseline(
            against=Against.EARLIER, ago=timedelta(days=1), margins=Thresholds(warning=0.5, critical=1.0)
        ),
    )
    references = References(
        values=np.array([NAN, 10.0, 10.0, 10.0, 10.0]), samples=np.array([0.0, 30.0, 30.0, 30.0, 5.0])
    )
    told = replay(rule, track(16, 14, 16, 16, 16), references=references)
    assert told.reasons == {"no_reference": 2, "within": 1, "beyond": 2}
    assert [one.first for one in told.episodes[Level.WARNING]] == [3]


def test_the_worst_value_below_is_the_smallest() -> None:
    rule = replace(QUEUE, direction=Direction.BELOW, thresholds=Thresholds(warning=10, critical=5))
    assert replay(rule, track(12, 8, 7, 9)).episodes[Level.WARNING][0].peak == 7.0


def test_verdicts_are_what_is_held_at_each_sample() -> None:
    held = verdicts(QUEUE, track(1, 12, 12, NAN, 12, 1))
    assert [level for _, level in held] == [
        Level.OK,
        Level.OK,
        Level.WARNING,
        Level.UNKNOWN,
        Level.WARNING,
        Level.OK,
    ]
    assert [at.timestamp() for at, _ in held] == [BEGIN + 30 * index for index in range(6)]


def test_an_empty_track_says_nothing() -> None:
    told = replay(QUEUE, track())
    assert (told.known, told.unknown, told.missed, told.blind, dict(told.reasons)) == (0, 0, 0, (), {})


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (replace(QUEUE, form=ProbeForm(kind="http", settings={})), "queue is a probe"),
        (
            replace(
                QUEUE, baseline=Baseline(against=Against.PREVIOUS_VERSION, margins=Thresholds(critical=1))
            ),
            "queue compares with the previous version",
        ),
        (
            replace(QUEUE, baseline=Baseline(against=Against.EARLIER, margins=Thresholds(critical=1))),
            "no references",
        ),
    ],
)
def test_what_one_track_cannot_answer_is_refused(rule: Rule, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replay(rule, track(1, 2))
