from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.series import ALWAYS_THE_SAME, ERROR_LIMITS, Check, at, errors, query_rule, ratio_rule
from watchdog.core.check import Reason
from watchdog.core.evidence import deviations, lower_bound, seconds_of, shortfall, with_excess_of
from watchdog.core.observation import Value
from watchdog.core.rule import Direction, Evidence, Level, Rule, Thresholds

HALF_MINUTE = timedelta(seconds=30)


def integrate(rule: Rule, shares: list[float], *, every: float = 30.0) -> float:
    check = Check(rule, interval=timedelta(seconds=every))
    check.live_through(errors(share, every * index) for index, share in enumerate(shares))
    return seconds_of(check.state.excess)


@pytest.mark.parametrize(
    ("confidence", "quantile"),
    [(0.5, 0.0), (0.9, 1.281552), (0.95, 1.644854), (0.975, 1.959964), (0.99, 2.326348)],
)
def test_confidence_is_one_sided(confidence: float, quantile: float) -> None:
    assert deviations(confidence) == pytest.approx(quantile, abs=1e-6)


@pytest.mark.parametrize(
    ("bad", "events", "lower", "upper"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_wilson_bounds_are_those_of_newcombe_1998(
    bad: float, events: float, lower: float, upper: float
) -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3; 95 % two-sided is 97.5 % one-sided.
    assert lower_bound(bad, events, 0.975) == pytest.approx(lower, abs=6e-5)
    assert 1 - lower_bound(events - bad, events, 0.975) == pytest.approx(upper, abs=6e-5)


@given(
    events=st.floats(min_value=0, max_value=1e308),
    share=st.floats(min_value=0, max_value=1),
    confidence=st.floats(min_value=0.5, max_value=0.999999),
)
@ALWAYS_THE_SAME
def test_the_bound_is_a_share_no_larger_than_the_measured_one(
    events: float, share: float, confidence: float
) -> None:
    bound = lower_bound(share * events, events, confidence)
    assert 0 <= bound <= share + 1e-9


def test_no_events_leave_every_share_plausible() -> None:
    assert lower_bound(0, 0, 0.99) == 0.0


def test_more_events_at_the_same_share_prove_more() -> None:
    bounds = [lower_bound(0.1 * events, events, 0.99) for events in (20, 100, 1000, 100000)]
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(0.1, abs=0.003)


# Excess ------------------------------------------------------------------------------------------------------


def test_the_first_sample_stands_for_one_interval() -> None:
    assert integrate(ratio_rule(), [1.0]) == pytest.approx(0.99 * 30)


def test_the_first_sample_stands_for_no_more_than_a_window() -> None:
    assert integrate(ratio_rule(), [1.0], every=300) == pytest.approx(0.99 * 60)


def test_later_samples_stand_for_the_gap_before_them_but_no_more_than_a_window() -> None:
    check = Check(ratio_rule())
    check.live_through([errors(0.11, 0), errors(0.21, 10), errors(0.31, 500)])
    assert [amount for _, amount in check.state.excess] == pytest.approx([0.1 * 30, 0.2 * 10, 0.3 * 60])


def test_healthy_samples_count_against_the_excess() -> None:
    assert integrate(ratio_rule(), [0.0] * 10) == pytest.approx(-0.01 * 300)


def test_a_below_ratio_integrates_on_its_bad_side() -> None:
    good = ratio_rule(Thresholds(critical=0.99, rollback=0.985), direction=Direction.BELOW)
    assert integrate(good, [0.90, 0.95]) == pytest.approx((0.09 + 0.04) * 30)


def test_excess_is_measured_against_rollback_where_there_is_no_critical() -> None:
    assert integrate(ratio_rule(Thresholds(rollback=0.2)), [0.5]) == pytest.approx(0.3 * 30)


def test_the_integral_reaches_back_exactly_fifteen_windows() -> None:
    check = Check(ratio_rule())
    check.live_through(errors(0.02, 30 * index) for index in range(100))
    times = [time for time, _ in check.state.excess]
    assert (times[0], times[-1]) == (at(99 * 30 - 870), at(99 * 30))
    assert seconds_of(check.state.excess) == pytest.approx(0.01 * 900)


@pytest.mark.parametrize(
    "rule",
    [
        ratio_rule(Thresholds(critical=0.01)),
        ratio_rule(evidence=None),
        ratio_rule(evidence=Evidence(bound=False)),
        query_rule(Thresholds(rollback=1000)),
    ],
    ids=["no rollback", "no evidence", "no bound", "query"],
)
def test_rules_that_need_no_excess_keep_none(rule: Rule) -> None:
    before = ((at(0), 1.0),)
    assert with_excess_of(rule, before, errors(1.0, 30), previous=at(0), interval=HALF_MINUTE) == ()


# What is missing ----------------------------------------------------------------------------------------------


def test_nothing_is_missing_with_enough_of_everything() -> None:
    assert shortfall(ratio_rule(), Level.ROLLBACK, 0.015, errors(0.2, 0), ((at(0), 12.01),)) is None


def test_the_lower_bound_must_be_beyond_the_threshold() -> None:
    few = Value(value=0.025, at=at(0), events=40.0, bad=1.0)
    missing = shortfall(ratio_rule(), Level.CRITICAL, 0.01, few, ())
    assert missing == "with 99% confidence it is only known to be beyond 0.34%"


def test_a_bound_equal_to_the_threshold_is_not_beyond_it() -> None:
    sample = errors(0.2, 0)
    bound = lower_bound(200, 1000, 0.99)
    assert shortfall(ratio_rule(), Level.CRITICAL, bound, sample, ()) is not None
    assert shortfall(ratio_rule(), Level.CRITICAL, bound - 1e-9, sample, ()) is None


@pytest.mark.parametrize(("bad", "enough"), [(9.0, False), (10.0, True)])
def test_rollback_wants_its_number_of_bad_events(bad: float, *, enough: bool) -> None:
    sample = Value(value=bad / 20, at=at(0), events=20.0, bad=bad)
    missing = shortfall(ratio_rule(), Level.ROLLBACK, 0.015, sample, ((at(0), 100.0),))
    assert missing == (None if enough else "there are 9 bad events of the 10 it takes")


def test_only_rollback_wants_bad_events_and_excess() -> None:
    sample = Value(value=5 / 20, at=at(0), events=20.0, bad=5.0)
    assert shortfall(ratio_rule(), Level.CRITICAL, 0.01, sample, ()) is None
    assert shortfall(ratio_rule(), Level.WARNING, 0.005, sample, ()) is None


@pytest.mark.parametrize(("seconds", "enough"), [(11.9, False), (12.0, False), (12.1, True)])
def test_the_excess_must_be_more_than_its_share_of_a_window(seconds: float, *, enough: bool) -> None:
    missing = shortfall(ratio_rule(), Level.ROLLBACK, 0.015, errors(0.2, 0), ((at(0), seconds),))
    assert missing == (None if enough else f"its excess is {seconds:.3g}s and must be more than 12s")


def test_a_below_ratio_asks_the_same_questions_of_its_bad_side() -> None:
    above = ratio_rule(Thresholds(critical=0.01, rollback=0.015))
    below = ratio_rule(Thresholds(critical=0.99, rollback=0.985), direction=Direction.BELOW)
    for bad in range(0, 60, 3):
        worse = Value(value=bad / 500, at=at(0), events=500.0, bad=float(bad))
        good = Value(value=1 - bad / 500, at=at(0), events=500.0, bad=500.0 - bad)
        for level, limit, mirrored in ((Level.CRITICAL, 0.01, 0.99), (Level.ROLLBACK, 0.015, 0.985)):
            here = shortfall(above, level, limit, worse, ((at(0), 13.0),))
            there = shortfall(below, level, mirrored, good, ((at(0), 13.0),))
            assert (here is None) == (there is None)


def test_a_below_ratio_says_what_is_known_of_the_good_share() -> None:
    below = ratio_rule(Thresholds(critical=0.99), direction=Direction.BELOW)
    missing = shortfall(below, Level.CRITICAL, 0.99, errors(0.975, 0, events=40), ())
    assert missing == "with 99% confidence it is only known to be beyond 99.66%"


def test_rounding_of_a_total_outage_takes_nothing_away() -> None:
    for events in (100.0, 1e12):
        outage = Value(value=1.0, at=at(0), events=events, bad=events * (1 + 1e-9))
        assert shortfall(ratio_rule(), Level.ROLLBACK, 0.015, outage, ((at(0), 30.0),)) is None


# Together -----------------------------------------------------------------------------------------------------


def first_rollback(share: float, *, healthy_before: int = 0) -> int | None:
    """After how many polls of 30 s a rule that saw healthy polls before first says rollback, within half an hour."""
    check = Check(ratio_rule())
    check.live_through(errors(0.0, 30 * index) for index in range(healthy_before))
    for index in range(1, 61):
        seen = check.see(errors(share, 30 * (healthy_before + index - 1)))
        if seen.verdict.level is Level.ROLLBACK:
            return index
    return None


def test_a_total_outage_is_believed_at_the_first_sample() -> None:
    assert first_rollback(1.0) == 1
    assert first_rollback(1.0, healthy_before=100) == 1


@pytest.mark.parametrize(("share", "polls"), [(0.5, 2), (0.2, 4), (0.11, 7), (0.06, 12), (0.02, None)])
def test_smaller_faults_take_longer_after_a_healthy_quarter_of_an_hour(
    share: float, polls: int | None
) -> None:
    assert first_rollback(share, healthy_before=100) == polls


def test_a_rollback_without_its_excess_is_critical_and_says_why() -> None:
    verdict = Check(ratio_rule()).verdict(errors(0.05, 0))
    assert (verdict.level, verdict.reason, verdict.limit) == (
        Level.CRITICAL,
        Reason.BEYOND,
        ERROR_LIMITS.critical,
    )
    assert verdict.explanation == (
        "5% of 1000 events were bad in 1m, above 1%; above 1.5% too, "
        "but its excess is 1.2s and must be more than 12s"
    )


def test_the_default_evidence_is_that_of_the_design() -> None:
    assert Evidence() == Evidence(min_events=20, min_bad=10, confidence=0.99, excess=0.2, bound=True)
