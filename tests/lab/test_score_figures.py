"""Figures of a score: worked out by hand, and nothing where nothing is defined."""

from __future__ import annotations

import json

import pytest

from watchdog.lab.score_figures import Counted, Figures, figures_of, poisson_interval, quantile


def test_figures_are_those_of_their_definitions() -> None:
    found = figures_of(
        Counted(
            events=5,
            found=4,
            true=6,
            false=2,
            scored=200,
            judged=150,
            weeks=4.0,
            delays=(0.0, 0.0, 1.0, 3.0),
            seconds=(0.0, 0.0, 60.0, 180.0),
        )
    )
    assert found.precision == 0.75, "of alerts"
    assert found.recall == 0.8, "of events"
    assert found.f1 == pytest.approx(2 * 0.75 * 0.8 / 1.55, abs=1e-4)
    assert found.false_per_week == 0.5
    assert found.false_per_week_ci == pytest.approx((0.2422 / 4, 7.2247 / 4), abs=1e-4)
    assert (found.delay_samples_median, found.delay_seconds_median) == (0.5, 30.0)
    assert found.delay_seconds_p95 == pytest.approx(162.0)
    assert found.abstention == 0.25


def test_nothing_is_defined_of_nothing() -> None:
    assert figures_of(Counted()) == Figures()


def test_without_alerts_there_is_no_precision_and_without_events_no_recall() -> None:
    silent = figures_of(Counted(events=2, scored=10, judged=10, weeks=1.0))
    assert (silent.precision, silent.recall, silent.f1) == (None, 0.0, None)
    assert silent.false_per_week_ci == pytest.approx((0.0, 3.6889), abs=1e-4)
    healthy = figures_of(Counted(false=1, scored=10, judged=10, weeks=1.0))
    assert (healthy.precision, healthy.recall, healthy.f1) == (0.0, None, None)
    assert figures_of(Counted(events=1, false=1)).f1 == 0.0


def test_figures_are_valid_json() -> None:
    text = json.dumps(figures_of(Counted(events=1)).plain, allow_nan=False)
    assert set(json.loads(text)) == set(Figures.__struct_fields__)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        (0, 0.0, 3.6889),
        (1, 0.0253, 5.5716),
        (2, 0.2422, 7.2247),
        (10, 4.7954, 18.3904),
        (100, 81.3640, 121.6268),
    ],
)
def test_the_interval_of_a_count_is_that_of_the_tables(count: int, low: float, high: float) -> None:
    """Garwood's exact limits."""
    assert poisson_interval(count) == pytest.approx((low, high), abs=1e-4)


def test_the_interval_of_a_large_count_is_nearly_that_of_a_normal_distribution() -> None:
    low, high = poisson_interval(2_500)
    assert low == pytest.approx(2_500 - 98, abs=3)
    assert high == pytest.approx(2_500 + 98, abs=3)


def test_quantiles_lie_between_two_numbers() -> None:
    assert quantile([], 0.5) is None
    assert quantile([7.0], 0.95) == 7.0
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([1.0, 2.0], 0.75) == 1.75
    assert quantile([1.0, float("inf"), float("inf")], 0.75) == float("inf")
