"""Samples with a number: thresholds, freshness, levels, holds, clearing. One test a sentence of the design."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from tests.core.series import (
    ERROR_LIMITS,
    Check,
    at,
    errors,
    number,
    one_sample_each,
    query_rule,
    ratio_rule,
)
from watchdog.core.check import CheckState, Reason
from watchdog.core.evaluate import wants_recheck
from watchdog.core.observation import Failed, FailReason, Value
from watchdog.core.rule import Direction, Evidence, Holds, Lasting, Level, Samples, Thresholds

LEVELS = Thresholds(warning=10, critical=20, rollback=30)
FLOORS = Thresholds(warning=30, critical=20, rollback=10)


# Strictly beyond ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "level", "limit"),
    [
        (0.0, Level.OK, 10),
        (10.0, Level.OK, 10),
        (math.nextafter(10, 11), Level.WARNING, 10),
        (20.0, Level.WARNING, 10),
        (math.nextafter(20, 21), Level.CRITICAL, 20),
        (30.0, Level.CRITICAL, 20),
        (math.nextafter(30, 31), Level.ROLLBACK, 30),
        (1e308, Level.ROLLBACK, 30),
    ],
)
def test_above_breaches_when_the_value_is_larger_and_equal_is_no_breach(
    value: float, level: Level, limit: float
) -> None:
    verdict = Check(query_rule(LEVELS)).verdict(number(value, 0))
    assert (verdict.level, verdict.limit, verdict.value) == (level, limit, value)
    assert verdict.reason is (Reason.WITHIN if level is Level.OK else Reason.BEYOND)


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (1e308, Level.OK),
        (30.0, Level.OK),
        (math.nextafter(30, 0), Level.WARNING),
        (20.0, Level.WARNING),
        (math.nextafter(20, 0), Level.CRITICAL),
        (10.0, Level.CRITICAL),
        (math.nextafter(10, 0), Level.ROLLBACK),
        (-5.0, Level.ROLLBACK),
    ],
)
def test_below_breaches_when_the_value_is_smaller_and_equal_is_no_breach(value: float, level: Level) -> None:
    rule = query_rule(FLOORS, direction=Direction.BELOW)
    assert Check(rule).verdict(number(value, 0)).level is level


def test_no_tolerance_is_added_to_a_threshold() -> None:
    limit = 1.5 * 0.01
    rule = ratio_rule(Thresholds(critical=0.01, rollback=limit), evidence=None)
    assert Check(rule).verdict(errors(limit, 0)).level is Level.CRITICAL
    assert Check(rule).verdict(errors(math.nextafter(limit, 1), 0)).level is Level.ROLLBACK


def test_a_level_without_a_threshold_is_never_reached() -> None:
    verdict = Check(query_rule(Thresholds(warning=10, critical=20))).verdict(number(1e9, 0))
    assert (verdict.level, verdict.limit) == (Level.CRITICAL, 20)
    verdict = Check(query_rule(Thresholds(rollback=30))).verdict(number(29, 0))
    assert (verdict.level, verdict.limit) == (Level.OK, 30)


# Fresh --------------------------------------------------------------------------------------------------------


def test_two_polls_that_see_the_same_scrape_are_one_sample() -> None:
    check = Check(query_rule(LEVELS))
    first = check.see(number(99, 0), now=0)
    again = check.see(number(99, 0), now=5)
    assert again.state == first.state
    assert (first.verdict.fresh, again.verdict.fresh) == (True, False)
    assert (first.counted, again.counted) == (True, False)
    assert (again.verdict.level, again.verdict.at) == (Level.ROLLBACK, at(5))


def test_looking_more_often_confirms_nothing() -> None:
    check = Check(query_rule(LEVELS))
    for second in range(60):
        assert check.see(number(99, 0), now=second).state.held is Level.OK
    assert check.see(number(99, 60), now=60).state.held is Level.ROLLBACK


def test_an_older_sample_than_the_last_one_does_not_count() -> None:
    check = Check(query_rule(LEVELS))
    before = check.see(number(99, 30), now=30).state
    assert check.see(number(0, 29), now=31).state == before


def test_a_repeated_scrape_is_a_sign_of_life_and_of_data() -> None:
    check = Check(query_rule(LEVELS))
    check.see(number(99, 0))
    blind = check.see(Failed(reason=FailReason.TIMEOUT), now=10).state
    assert (blind.failures, blind.blind_since, blind.unknown_since) == (1, at(10), at(10))
    seen = check.see(number(99, 0), now=15).state
    assert (seen.failures, seen.blind_since, seen.unknown_since) == (0, None, at(10))
    assert seen.streaks == blind.streaks


def test_a_repeated_scrape_with_too_few_events_is_shown_as_such() -> None:
    check = Check(ratio_rule())
    check.see(errors(0.0, 0))
    verdict = check.verdict(errors(0.0, 0, events=3), now=5)
    assert (verdict.reason, verdict.fresh) == (Reason.TOO_FEW_EVENTS, False)


# Level and evidence --------------------------------------------------------------------------------------------


def test_without_evidence_the_bare_threshold_decides() -> None:
    one_of_two = Value(value=0.5, at=at(0), events=2.0, bad=1.0)
    assert Check(ratio_rule(evidence=None)).verdict(one_of_two).level is Level.ROLLBACK
    assert Check(ratio_rule()).verdict(one_of_two).level is Level.UNKNOWN


def test_beyond_without_the_evidence_is_ok_and_not_significant() -> None:
    verdict = Check(ratio_rule()).verdict(Value(value=0.025, at=at(0), events=40.0, bad=1.0))
    assert (verdict.level, verdict.reason, verdict.limit) == (Level.OK, Reason.NOT_SIGNIFICANT, 0.015)


def test_the_verdict_is_the_highest_level_whose_value_and_evidence_both_pass() -> None:
    check = Check(ratio_rule())
    assert check.verdict(Value(value=0.0101, at=at(0), events=1e6, bad=10100.0)).level is Level.WARNING
    assert check.verdict(Value(value=0.0110, at=at(1), events=1e6, bad=11000.0)).level is Level.CRITICAL
    # Beyond critical, and only known to be beyond warning.
    assert check.verdict(Value(value=0.0140, at=at(2), events=1e3, bad=14.0)).level is Level.WARNING


@pytest.mark.parametrize(("events", "reason"), [(0.0, False), (19.9, False), (20.0, True), (1e9, True)])
def test_fewer_events_than_wanted_are_too_few_before_any_threshold(events: float, *, reason: bool) -> None:
    for value in (0.0, 1.0):
        verdict = Check(ratio_rule()).verdict(errors(value, 0, events=events))
        assert (verdict.reason is not Reason.TOO_FEW_EVENTS) is reason
        assert (verdict.level is not Level.UNKNOWN) is reason
        assert (verdict.value, verdict.events) == (value, events)


def test_a_query_asks_for_its_events_only() -> None:
    rule = query_rule(LEVELS, evidence=Evidence(min_events=50, bound=False))
    assert Check(rule).verdict(number(31, 0, events=49)).reason is Reason.TOO_FEW_EVENTS
    assert Check(rule).verdict(number(31, 0, events=50)).level is Level.ROLLBACK


def test_too_few_events_leave_no_excess_and_the_next_sample_stands_for_a_window_at_most() -> None:
    check = Check(ratio_rule())
    check.see(errors(0.0, 0))
    for second in (30, 60, 90):
        check.see(errors(1.0, second, events=3))
    check.see(errors(0.11, 120))
    assert [amount for _, amount in check.state.excess] == pytest.approx([-0.01 * 30, 0.1 * 60])


def test_a_total_outage_does_not_look_impossible_because_of_rounding() -> None:
    rounded = Value(value=1.0000000000000002, at=at(0), events=412.0, bad=412.0000000000001)
    assert Check(ratio_rule()).verdict(rounded).level is Level.ROLLBACK


# Hold ----------------------------------------------------------------------------------------------------------


def test_rollback_is_held_by_the_second_fresh_sample_by_default() -> None:
    check = Check(query_rule(LEVELS))
    held = [check.see(number(99, second)).state.held for second in (0, 5, 10)]
    assert held == [Level.OK, Level.ROLLBACK, Level.ROLLBACK]


def test_a_duration_is_measured_between_samples_not_between_polls() -> None:
    check = Check(query_rule(LEVELS))
    check.see(number(15, 0), now=0)
    assert check.see(number(15, 55), now=90).state.held is Level.OK
    assert check.see(number(15, 60), now=91).state.held is Level.WARNING


def test_one_good_sample_starts_a_hold_afresh() -> None:
    check = Check(query_rule(LEVELS, hold=Holds(rollback=Samples(3))))
    for second, value in enumerate((99, 99, 0, 99, 99)):
        assert check.see(number(value, second)).state.held is not Level.ROLLBACK
    assert check.see(number(99, 9)).state.held is Level.ROLLBACK


def test_a_milder_sample_keeps_the_milder_hold_running() -> None:
    check = Check(query_rule(LEVELS, hold=Holds(warning=Samples(3), critical=Samples(3))))
    held = [check.see(number(value, i)).state.held for i, value in enumerate((25, 15, 25))]
    assert held == [Level.OK, Level.OK, Level.WARNING]


def test_a_sample_that_is_not_significant_ends_a_pending_hold() -> None:
    check = Check(ratio_rule())
    check.see(errors(1.0, 0))
    thin = check.see(Value(value=0.025, at=at(30), events=40.0, bad=1.0))
    assert (thin.verdict.reason, thin.state.streaks) == (Reason.NOT_SIGNIFICANT, {})
    assert check.see(errors(1.0, 60)).state.held is Level.OK


# Latch and clear -------------------------------------------------------------------------------------------------


def test_what_was_held_is_latched_until_enough_clear_samples() -> None:
    check = Check(query_rule(LEVELS, hold=one_sample_each()))
    seen = check.live_through(number(value, i) for i, value in enumerate((25, 15, 0, 0, 0)))
    assert [each.state.held for each in seen] == [Level.CRITICAL, Level.WARNING, Level.OK, Level.OK, Level.OK]
    assert [each.state.latched for each in seen] == [Level.CRITICAL] * 4 + [Level.OK]
    assert [each.state.clears for each in seen] == [0, 0, 1, 2, 3]


def test_the_worst_held_level_is_latched() -> None:
    check = Check(query_rule(LEVELS, hold=one_sample_each()))
    seen = check.live_through(number(value, i) for i, value in enumerate((15, 35, 25)))
    assert [each.state.latched for each in seen] == [Level.WARNING, Level.ROLLBACK, Level.ROLLBACK]


def test_a_breach_that_is_not_held_latches_nothing() -> None:
    assert Check(query_rule(LEVELS)).see(number(99, 0)).state.latched is Level.OK


def test_a_worse_sample_starts_clearing_afresh() -> None:
    check = Check(query_rule(LEVELS, hold=one_sample_each()))
    seen = check.live_through(number(value, i) for i, value in enumerate((25, 0, 0, 11, 0, 0, 0)))
    assert [each.state.clears for each in seen] == [0, 1, 2, 0, 1, 2, 3]
    assert seen[-2].state.latched is Level.CRITICAL
    assert seen[-1].state.latched is Level.OK


def test_a_value_equal_to_the_mildest_threshold_is_clear() -> None:
    check = Check(query_rule(Thresholds(warning=0), hold=one_sample_each()))
    check.live_through(number(value, i) for i, value in enumerate((1, 0, 0, 0)))
    assert check.state.latched is Level.OK


def test_a_sample_that_is_not_significant_neither_clears_nor_starts_afresh() -> None:
    check = Check(ratio_rule(hold=one_sample_each()))
    check.see(errors(1.0, 0))
    clears = []
    for second, share in enumerate((0.0, 0.025, 0.0, 0.025, 0.0), start=1):
        clears.append(check.see(errors(share, second * 30, events=40)).state.clears)
    assert clears == [1, 1, 2, 2, 3]
    assert check.state.latched is Level.OK


def test_clears_are_counted_no_further_than_needed() -> None:
    check = Check(query_rule(LEVELS))
    check.live_through(number(0, second) for second in range(50))
    assert (check.state.clears, check.state.latched) == (3, Level.OK)


def test_a_value_that_swings_around_its_limit_for_an_hour_latches_once() -> None:
    check = Check(query_rule(LEVELS, hold=Holds(rollback=Samples(2))))
    shape = (31, 32, 29, 31, 31, 28, 5, 33, 31, 6, 7, 31)
    latched = [
        check.see(number(shape[index % len(shape)], 5 * index)).state.latched for index in range(12 * 60)
    ]
    changes = [
        (before, after)
        for before, after in zip([Level.OK, *latched], latched, strict=False)
        if before != after
    ]
    assert changes == [(Level.OK, Level.ROLLBACK)]


# Recheck ------------------------------------------------------------------------------------------------------


def test_a_pending_hold_wants_a_recheck_and_a_held_warning_does_not() -> None:
    check = Check(query_rule(LEVELS, hold=Holds(warning=Lasting(timedelta(seconds=60)))))
    assert not wants_recheck(check.state, at(0))
    check.see(number(15, 0))
    assert wants_recheck(check.state, at(1))
    check.see(number(15, 60))
    assert not wants_recheck(check.state, at(61))
    check.see(number(25, 90))
    assert wants_recheck(check.state, at(91))


def test_a_breached_rollback_level_wants_a_recheck_even_when_it_is_held() -> None:
    check = Check(query_rule(LEVELS))
    check.live_through([number(99, 0), number(99, 5)])
    assert check.state.held is Level.ROLLBACK
    assert wants_recheck(check.state, at(6))


def test_a_breach_is_rechecked_for_ten_minutes_at_most() -> None:
    check = Check(query_rule(LEVELS))
    for second in range(0, 1200, 30):
        check.see(number(99, second))
    assert check.state.breached_at == at(0)
    assert wants_recheck(check.state, at(600))
    assert not wants_recheck(check.state, at(600.1))


def test_an_episode_begins_at_the_first_breach_and_ends_when_nothing_is_pending_or_latched() -> None:
    check = Check(query_rule(LEVELS, hold=Holds(critical=Samples(2))))
    values = (0, 25, 0, 25, 25, 0, 25, 0, 0, 0, 25)
    begun = [state.breached_at for state in (check.see(number(v, i)).state for i, v in enumerate(values))]
    assert begun == [None, at(1), None, at(3), at(3), at(3), at(3), at(3), at(3), None, at(10)]


# What else is remembered ----------------------------------------------------------------------------------------


def test_the_newest_scrape_interval_is_remembered() -> None:
    check = Check(query_rule(LEVELS))
    fifteen = timedelta(seconds=15)
    check.see(Value(value=0.0, at=at(0), scrape_interval=fifteen))
    assert check.see(number(0, 15)).state.scrape_interval == fifteen
    check.see(Value(value=0.0, at=at(30), scrape_interval=2 * fifteen))
    assert check.state.scrape_interval == 2 * fifteen


def test_the_newest_verdict_and_the_newest_known_one_are_remembered() -> None:
    check = Check(query_rule(LEVELS))
    good = check.verdict(number(0, 0))
    lost = check.verdict(Failed(reason=FailReason.TIMEOUT), now=30)
    assert (check.state.verdict, check.state.known) == (lost, good)
    bad = check.verdict(number(99, 60))
    assert (check.state.verdict, check.state.known) == (bad, bad)


def test_a_new_check_remembers_its_first_sample() -> None:
    state = Check(ratio_rule()).see(errors(0.001, 0), now=2).state
    assert state.known is not None
    assert [amount for _, amount in state.excess] == pytest.approx([-0.009 * 30])
    assert state == CheckState(
        clears=1,
        excess=state.excess,
        sampled_at=at(0),
        verdict=state.known,
        known=state.known,
    )
    assert (state.known.at, state.known.limit) == (at(2), ERROR_LIMITS.warning)
