"""Silence: no data, errors, too few events, quarantine. It never starts, confirms, resets or cancels anything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from tests.core.series import Check, at, errors, number, one_sample_each, query_rule, ratio_rule
from watchdog.core.check import Reason
from watchdog.core.evaluate import blind, unwatched
from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason, Observation, Value
from watchdog.core.rule import Evidence, Holds, Level, Samples, Thresholds

LEVELS = Thresholds(warning=10, critical=20, rollback=30)
DOWN = Failed(reason=FailReason.UNREACHABLE)
NOTHING = NoData(reason=NoDataReason.EMPTY)
NOT_NUMBERS = (float("nan"), float("inf"), float("-inf"))


# What is unknown ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "observation",
    [*(NoData(reason=reason) for reason in NoDataReason), *(Failed(reason=reason) for reason in FailReason)],
    ids=lambda observation: str(observation.reason),
)
def test_no_data_and_errors_are_unknown_with_their_own_reason(observation: NoData | Failed) -> None:
    verdict = Check(query_rule(LEVELS)).verdict(observation, now=0)
    assert (verdict.level, verdict.reason) == (Level.UNKNOWN, Reason(observation.reason.value))
    assert (verdict.value, verdict.limit, verdict.at) == (None, None, at(0))


@pytest.mark.parametrize("value", NOT_NUMBERS)
@pytest.mark.parametrize("part", ["value", "events", "bad"])
def test_what_is_no_finite_number_is_never_compared(part: str, value: float) -> None:
    broken = msgspec.structs.replace(errors(0.5, 0), **{part: value})
    for rule in (ratio_rule(), ratio_rule(evidence=None)):
        check = Check(rule)
        verdict = check.verdict(broken)
        assert (verdict.level, verdict.reason, verdict.value) == (Level.UNKNOWN, Reason.NOT_A_NUMBER, None)
        assert check.state.sampled_at is None


@pytest.mark.parametrize(("events", "bad"), [(None, 5.0), (500.0, None)])
def test_evidence_that_did_not_come_is_no_data(events: float | None, bad: float | None) -> None:
    verdict = Check(ratio_rule()).verdict(Value(value=1.0, at=at(0), events=events, bad=bad))
    assert (verdict.level, verdict.reason) == (Level.UNKNOWN, Reason.EMPTY)


def test_a_query_whose_events_did_not_come_has_no_data() -> None:
    rule = query_rule(LEVELS, evidence=Evidence(min_events=50, bound=False))
    assert Check(rule).verdict(number(99, 0)).reason is Reason.EMPTY


@pytest.mark.parametrize(
    ("value", "bad"),
    [(1.01, 5.0), (-0.01, 5.0), (0.5, -1.0), (0.5, 101.0)],
    ids=["over", "under", "minus", "more"],
)
def test_an_impossible_ratio_is_never_judged(value: float, bad: float) -> None:
    impossible = Value(value=value, at=at(0), events=100.0, bad=bad)
    verdict = Check(ratio_rule()).verdict(impossible)
    assert (verdict.level, verdict.reason) == (Level.UNKNOWN, Reason.OUT_OF_RANGE)


# What unknown does ----------------------------------------------------------------------------------------------


def too_few(seconds: float) -> Observation:
    return errors(1.0, seconds, events=3)


def not_a_number(seconds: float) -> Observation:
    return Value(value=float("nan"), at=at(seconds), events=100.0, bad=1.0)


@pytest.mark.parametrize(
    "silence",
    [lambda _: DOWN, lambda _: NOTHING, too_few, not_a_number],
    ids=["failed", "no data", "too few events", "not a number"],
)
def test_unknown_never_starts_confirms_resets_or_cancels(silence: Callable[[float], Observation]) -> None:
    check = Check(ratio_rule(hold=Holds(rollback=Samples(3))))
    check.live_through([errors(0.0, 0), errors(1.0, 30), errors(1.0, 60)])
    before = check.state
    for second in (70, 80):
        after = check.see(silence(second), now=second)
        assert after.verdict.level is Level.UNKNOWN
        assert not after.counted
    after_state = check.state
    for field in ("streaks", "held", "latched", "clears", "excess", "sampled_at", "breached_at", "known"):
        assert getattr(after_state, field) == getattr(before, field), field
    assert check.see(errors(1.0, 90)).state.held is Level.ROLLBACK


def test_unknown_starts_nothing() -> None:
    check = Check(query_rule(LEVELS))
    for second in range(0, 3600, 30):
        state = check.see(DOWN, now=second).state
        assert (state.streaks, state.held, state.latched, state.breached_at) == ({}, Level.OK, Level.OK, None)


def test_unknown_does_not_clear() -> None:
    check = Check(query_rule(LEVELS, hold=one_sample_each()))
    check.live_through([number(99, 0), number(0, 30), number(0, 60)])
    for second in range(61, 4000, 30):
        check.see(NOTHING, now=second)
    assert (check.state.latched, check.state.clears) == (Level.ROLLBACK, 2)
    check.see(number(0, 4000), now=4000)
    assert check.state.latched is Level.OK


@pytest.mark.parametrize(("interval", "longest"), [(5, 60), (30, 90), (None, 90)])
def test_unknown_for_longer_than_a_window_and_three_intervals_resets_a_pending_hold(
    interval: float | None, longest: float
) -> None:
    every = None if interval is None else timedelta(seconds=interval)
    check = Check(query_rule(LEVELS), interval=every)
    check.see(number(99, 0))
    check.see(NOTHING, now=10)
    pending = check.see(NOTHING, now=10 + longest).state
    assert pending.streaks["rollback"].count == 1
    assert pending.breached_at == at(0)
    reset = check.see(NOTHING, now=10 + longest + 0.1).state
    assert (reset.streaks, reset.breached_at) == ({}, None)


def test_a_hold_that_was_met_must_be_met_again_after_a_long_silence_and_stays_latched() -> None:
    check = Check(query_rule(LEVELS))
    check.live_through([number(99, 0), number(99, 5)])
    check.see(NOTHING, now=10)
    assert check.see(NOTHING, now=100).state.held is Level.ROLLBACK
    state = check.see(NOTHING, now=100.1).state
    assert (state.held, state.latched, state.breached_at) == (Level.OK, Level.ROLLBACK, at(0))
    assert check.see(number(99, 105)).state.held is Level.OK
    assert check.see(number(99, 110)).state.held is Level.ROLLBACK


def test_a_long_silence_ends_a_pending_hold_even_when_the_next_thing_seen_is_a_sample() -> None:
    check = Check(query_rule(LEVELS))
    check.see(number(99, 0))
    check.see(NOTHING, now=10)
    state = check.see(number(99, 200)).state
    assert (state.held, state.streaks["rollback"].count, state.breached_at) == (Level.OK, 1, at(200))


def test_time_in_which_nobody_polled_is_unknown_time() -> None:
    check = Check(query_rule(LEVELS))
    check.see(number(99, 0))
    check.state = unwatched(check.state, at(5))
    assert check.see(number(99, 95)).state.held is Level.ROLLBACK
    check.state = unwatched(check.state, at(100))
    state = check.see(number(99, 200)).state
    assert (state.held, state.latched) == (Level.OK, Level.ROLLBACK)


def test_time_that_was_unknown_before_stays_so() -> None:
    check = Check(query_rule(LEVELS))
    check.see(NOTHING, now=10)
    assert unwatched(check.state, at(50)).unknown_since == at(10)


def test_a_known_sample_ends_unknown_time() -> None:
    check = Check(query_rule(LEVELS))
    check.see(number(99, 0))
    for second in range(30, 600, 60):
        check.see(NOTHING, now=second)
        assert check.state.unknown_since == at(second)
        check.see(number(99, second + 30))
        assert check.state.unknown_since is None
    assert check.state.streaks["rollback"].count == 11


# Blindness ------------------------------------------------------------------------------------------------------


def test_blindness_begins_with_the_first_missing_data_and_ends_with_a_known_verdict() -> None:
    check = Check(query_rule(LEVELS))
    assert check.see(NOTHING, now=30).state.blind_since == at(30)
    assert check.see(DOWN, now=60).state.blind_since == at(30)
    assert check.see(number(0, 90)).state.blind_since is None


def test_people_are_told_after_the_time_of_the_rule() -> None:
    check = Check(query_rule(LEVELS))
    assert not blind(check.rule, check.state, at(9999))
    check.see(DOWN, now=0)
    assert not blind(check.rule, check.state, at(179.9))
    assert blind(check.rule, check.state, at(180))


def test_people_can_be_told_at_the_first_unknown() -> None:
    check = Check(msgspec.structs.replace(query_rule(LEVELS), blind_after=timedelta(0)))
    check.see(DOWN, now=0)
    assert blind(check.rule, check.state, at(0))


def test_too_few_events_are_never_blindness_and_end_it() -> None:
    check = Check(ratio_rule())
    for second in range(0, 600, 30):
        assert check.see(too_few(second), now=second).state.blind_since is None
    check.see(DOWN, now=600)
    state = check.see(too_few(630), now=630).state
    assert (state.blind_since, state.unknown_since) == (None, at(0))


# Quarantine -----------------------------------------------------------------------------------------------------


def after_an_absence(failures: int, *, then: Observation | None = None) -> Check:
    """A breaching check whose source then fails that many times, from 40 s on, every 10 s."""
    check = Check(query_rule(LEVELS, hold=Holds(rollback=Samples(9))))
    check.see(number(99, 0))
    for index in range(failures):
        check.see(DOWN, now=40 + 10 * index)
    if then is not None:
        check.see(then, now=95)
    return check


def test_two_failed_polls_are_no_absence() -> None:
    assert after_an_absence(2).verdict(number(99, 100)).level is Level.ROLLBACK


@pytest.mark.parametrize("then", [None, NOTHING, number(99, 0), number(float("nan"), 95)])
def test_after_three_failed_polls_a_full_window_of_samples_must_come_first(then: Observation | None) -> None:
    check = after_an_absence(3, then=then)
    for second in (100, 130, 159):
        seen = check.see(number(99, second))
        assert (seen.verdict.level, seen.verdict.reason) == (Level.UNKNOWN, Reason.QUARANTINE)
        assert seen.state.quarantine_until == at(160)
    seen = check.see(number(99, 160))
    assert (seen.verdict.level, seen.state.quarantine_until) == (Level.ROLLBACK, None)


def test_failed_polls_must_be_in_a_row() -> None:
    check = after_an_absence(2)
    check.see(NOTHING, now=60)
    check.see(DOWN, now=70)
    assert check.verdict(number(99, 100)).level is Level.ROLLBACK


def test_a_repeated_scrape_after_an_absence_shows_the_quarantine_and_does_not_begin_it() -> None:
    check = after_an_absence(3)
    seen = check.see(number(99, 0), now=70)
    assert (seen.verdict.reason, seen.verdict.fresh) == (Reason.QUARANTINE, False)
    assert seen.state.quarantine_until is None
    check.see(number(99, 100))
    seen = check.see(number(99, 0), now=105)
    assert (seen.verdict.reason, seen.verdict.fresh) == (Reason.QUARANTINE, False)
    assert (seen.state.quarantine_until, seen.state.failures) == (at(160), 0)


def test_quarantine_itself_neither_begins_nor_ends_blindness() -> None:
    check = after_an_absence(3)
    assert check.see(number(99, 100)).state.blind_since == at(40)
    assert check.see(number(99, 160)).state.blind_since is None
    fresh_source = Check(query_rule(LEVELS))
    state = fresh_source.see(Value(value=1.0, at=at(0), since=at(0))).state
    assert (state.blind_since, state.unknown_since) == (None, at(0))


def test_a_long_quarantine_resets_a_pending_hold() -> None:
    check = after_an_absence(3)
    assert check.state.streaks
    assert check.see(number(99, 131)).state.streaks == {}


def test_a_source_that_has_just_begun_is_quarantined_until_its_window_is_full() -> None:
    check = Check(query_rule(LEVELS))
    for second in (10, 40, 59):
        verdict = check.verdict(Value(value=99.0, at=at(second), since=at(0)))
        assert verdict.reason is Reason.QUARANTINE
    assert check.verdict(Value(value=99.0, at=at(60), since=at(0))).level is Level.ROLLBACK
    assert check.state.source_since == at(0)


def test_a_source_that_was_there_long_before_is_adopted_without_quarantine() -> None:
    check = Check(query_rule(LEVELS))
    assert check.verdict(Value(value=99.0, at=at(0), since=at(-60))).level is Level.ROLLBACK
    assert check.state.source_since == at(-60)


def test_a_restart_of_the_source_is_quarantined() -> None:
    check = Check(query_rule(LEVELS))
    check.see(Value(value=99.0, at=at(0), since=at(-600)))
    assert check.see(number(99, 10)).state.source_since == at(-600)
    verdict = check.verdict(Value(value=99.0, at=at(30), since=at(20)))
    assert (verdict.reason, check.state.quarantine_until) == (Reason.QUARANTINE, at(80))
    assert check.state.source_since == at(20)


def test_the_scrape_interval_is_learnt_in_quarantine_too() -> None:
    check = Check(query_rule(LEVELS))
    check.see(Value(value=1.0, at=at(0), since=at(0), scrape_interval=timedelta(seconds=15)))
    assert check.state.scrape_interval == timedelta(seconds=15)
