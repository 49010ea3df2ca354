"""References over a whole track: those that a source would have given at each sample, and none from later ones."""

from __future__ import annotations

from datetime import timedelta
from statistics import NormalDist, median
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.lab.tracks import BEGIN, NAN, QUEUE, track
from watchdog.core.baseline import LEAST_SAMPLES, USUAL_FLOOR, USUAL_QUANTILE, usual_spread
from watchdog.core.rule import Against, Baseline, Direction, Rule, Thresholds, Unit
from watchdog.lab.track import Track
from watchdog.lab.usual import References, references_of, usual

HOUR = timedelta(hours=1)
MARGINS = Thresholds(critical=5, rollback=7.5)


def compared(against: Against, **changes: Any) -> Rule:
    """The rule of a queue, with a baseline in place of its thresholds."""
    return replace(
        QUEUE, thresholds=Thresholds(), baseline=Baseline(against=against, margins=MARGINS, **changes)
    )


def known(found: References | None) -> References:
    """What was found."""
    assert found is not None
    return found


def hourly(*values: float) -> Track:
    """A value an hour."""
    return track(*values, step=3600.0)


def test_what_is_usual_is_the_median_of_the_time_before_without_the_value_itself() -> None:
    values = [float(number) for number in (5, 1, 4, 2, 3, 9, 8, 7, 6, 10, 30, 11, 12)]
    found = usual(hourly(*values), over=12 * HOUR)
    assert np.isnan(found.values[:LEAST_SAMPLES]).all(), "fewer than ten say nothing"
    assert found.samples.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    for index in (10, 11, 12):
        assert found.values[index] == median(values[:index])


def test_one_deviation_is_that_of_the_daemon() -> None:
    values = np.random.default_rng(1).gamma(2.0, 5.0, 60)
    found = usual(hourly(*values), over=24 * HOUR)
    assert found.spreads is not None
    for index in (12, 30, 59):
        before = values[max(0, index - 24) : index]
        outer = float(np.quantile(before, USUAL_QUANTILE))
        assert found.values[index] == pytest.approx(np.median(before))
        assert found.spreads[index] == pytest.approx(usual_spread(float(np.median(before)), outer))


def test_where_smaller_is_worse_the_other_side_counts() -> None:
    values = np.random.default_rng(2).gamma(2.0, 50.0, 40)
    found = usual(hourly(*values), over=40 * HOUR, direction=Direction.BELOW)
    outer = float(np.quantile(values[:39], 1 - USUAL_QUANTILE))
    assert found.spreads is not None
    assert found.spreads[39] == pytest.approx(usual_spread(float(np.median(values[:39])), outer))


def test_the_floor_of_a_share_of_what_went_well_is_one_of_what_went_wrong() -> None:
    rule = replace(compared(Against.USUAL, over=24 * HOUR), unit=Unit.RATIO, direction=Direction.BELOW)
    found = known(references_of(rule, hourly(*[0.99] * 20)))
    assert found.spreads is not None
    assert found.spreads[-1] == pytest.approx(USUAL_FLOOR * 0.01)


def test_an_idle_service_is_held_against_the_times_at_which_it_was_not() -> None:
    values = [0.0, 0.0, 40.0] * 12
    found = usual(hourly(*values), over=36 * HOUR)
    assert found.values[-1] == 40.0
    assert found.samples[-1] == 35, "hours without anything to do were looked at, too"
    assert np.isnan(usual(hourly(*[0.0, 0.0, 0.0, 40.0] * 9), over=36 * HOUR).values[-1]), "eight are too few"


def test_missing_values_and_failed_polls_are_left_out() -> None:
    values = [NAN, 10.0, 10.0, 500.0] * 8
    failed = np.array([value == 500.0 for value in values])
    found = usual(replace(hourly(*values), failed=failed), over=40 * HOUR)
    assert found.values[-1] == 10.0
    assert found.samples[-1] == 16


def test_samples_that_come_often_are_thinned_out_and_the_reference_is_renewed_now_and_then() -> None:
    """336 values of a day are one every 257 s: the newest sample of each such cell."""
    often = track(*np.arange(1.0, 5761.0), step=15.0)
    found = usual(often, over=timedelta(days=1))
    assert found.samples[-1] == pytest.approx(336, abs=1)
    changes = np.flatnonzero(np.diff(found.values[1000:]) != 0)
    assert np.diff(changes).min() >= 17, "257 s are 17 samples"


@given(
    st.lists(st.floats(min_value=0, max_value=1e6) | st.just(NAN), min_size=2, max_size=60),
    st.integers(1, 59),
)
def test_nothing_is_learnt_from_the_sample_itself_or_from_later_ones(values: list[float], cut: int) -> None:
    cut = min(cut, len(values) - 1)
    other = [*values[:cut], *(value + 1000.0 for value in values[cut:])]
    for over in (12 * HOUR, timedelta(days=14)):
        one, two = usual(hourly(*values), over=over), usual(hourly(*other), over=over)
        np.testing.assert_array_equal(one.values[: cut + 1], two.values[: cut + 1])
        assert one.spreads is not None
        assert two.spreads is not None
        np.testing.assert_array_equal(one.spreads[: cut + 1], two.spreads[: cut + 1])


def test_the_quantile_is_written_as_deviations_of_a_normal_distribution() -> None:
    normal = NormalDist(1000.0, 400.0)
    values = np.array([normal.inv_cdf((number + 0.5) / 2000) for number in range(2000)])
    np.random.default_rng(0).shuffle(values)
    found = usual(hourly(*values), over=timedelta(days=14))
    assert found.spreads is not None
    assert found.spreads[-1] == pytest.approx(400.0, rel=0.15)


def test_an_earlier_value_is_the_newest_one_of_then() -> None:
    rule = compared(Against.EARLIER, ago=10 * timedelta(minutes=1))
    found = known(references_of(rule, track(*np.arange(100.0), step=30.0)))
    assert np.isnan(found.values[:20]).all()
    assert found.values[20:].tolist() == list(range(80))
    assert found.samples[20] == 1
    assert found.samples[99] == 60, "of the half hour before it"


def test_a_gap_is_no_earlier_value() -> None:
    values = [float(number) for number in range(60)]
    values[20:30] = [NAN] * 10
    found = known(
        references_of(compared(Against.EARLIER, ago=timedelta(minutes=5)), track(*values, step=30.0))
    )
    assert found.values[31] == 19.0, "as old as a window"
    assert np.isnan(found.values[35])


def test_a_deployment_is_compared_with_the_half_hour_before_it_while_it_is_young() -> None:
    values = track(*np.arange(400.0), step=30.0)
    deployed = BEGIN + 100 * 30.0
    found = known(references_of(compared(Against.BEFORE_DEPLOYMENT), values, deployments=(deployed,)))
    assert np.isnan(found.values[:100]).all()
    assert set(found.values[100:221].tolist()) == {median(range(41, 101))}
    assert found.samples[100] == 60
    assert np.isnan(found.values[221:]).all(), "an hour later it stands for itself"


def test_the_next_deployment_takes_over() -> None:
    moments = (BEGIN + 3000.0, BEGIN + 3600.0)
    found = known(
        references_of(
            compared(Against.BEFORE_DEPLOYMENT), track(*np.arange(200.0), step=30.0), deployments=moments
        )
    )
    assert found.values[119] == median(range(41, 101))
    assert found.values[120] == median(range(61, 121))


def test_another_version_is_not_in_one_track() -> None:
    with pytest.raises(ValueError, match="previous version"):
        references_of(compared(Against.PREVIOUS_VERSION), track(1.0))


def test_a_rule_without_a_baseline_needs_none() -> None:
    assert references_of(QUEUE, track(1.0)) is None


def test_a_track_with_a_gap_of_years_takes_no_memory_for_it() -> None:
    far = track(*[5.0] * 40, step=60.0, late={20: 20 * 365 * 86400.0})
    found = usual(far, over=timedelta(days=1))
    assert found.samples[19] > 3
    assert found.samples[20] == 0
