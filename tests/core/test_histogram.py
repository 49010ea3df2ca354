"""Quantiles, edge by edge. `tests.contracts.test_forms` holds the same arithmetic against Prometheus itself."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.series import ALWAYS_THE_SAME
from watchdog.core.histogram import buckets_of, quantile

INF = math.inf
#: 10 up to 100 ms, 30 more up to 200 ms, 10 more up to 400 ms, none beyond.
LATENCY = {0.1: 10.0, 0.2: 40.0, 0.4: 50.0, INF: 50.0}


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        (0.1, 0.05),  # the lowest bucket begins at 0
        (0.2, 0.1),  # just at a bound
        (0.5, 0.15),
        (0.8, 0.2),
        (0.9, 0.3),
        (1.0, 0.4),
    ],
)
def test_inside_a_bucket_observations_lie_evenly(q: float, expected: float) -> None:
    assert quantile(q, LATENCY) == pytest.approx(expected)


def test_beyond_the_last_finite_bucket_its_bound_is_all_that_is_known() -> None:
    assert quantile(0.95, {0.1: 9.0, 0.5: 9.0, INF: 10.0}) == 0.5
    assert quantile(0.95, {0.1: 0.0, 0.5: 0.0, INF: 10.0}) == 0.5
    assert quantile(0.9, {0.1: 9.0, 0.5: 9.0, INF: 10.0}) == pytest.approx(0.1)


def test_a_lowest_bucket_without_a_lower_end_gives_its_bound() -> None:
    assert quantile(0.1, {-1.0: 10.0, 1.0: 10.0, INF: 10.0}) == -1.0
    assert quantile(0.5, {0.0: 10.0, 1.0: 10.0, INF: 10.0}) == 0.0
    assert quantile(0.75, {-1.0: 5.0, 1.0: 10.0, INF: 10.0}) == pytest.approx(0.0)


@pytest.mark.parametrize(
    "buckets",
    [
        {},
        {INF: 10.0},
        {0.1: 10.0},
        {0.1: 5.0, 0.5: 10.0},
        {0.1: 0.0, INF: 0.0},
        {0.1: 0.0, INF: 5e-324},
        {0.1: 1.0, INF: math.nan},
        {0.1: math.nan, 0.5: 2.0, INF: 3.0},
    ],
    ids=[
        "nothing",
        "only +Inf",
        "one",
        "no +Inf",
        "no observations",
        "next to none",
        "NaN in all",
        "NaN inside",
    ],
)
def test_where_no_quantile_can_be_told_there_is_none(buckets: dict[float, float]) -> None:
    assert math.isnan(quantile(0.5, buckets))


def test_counts_that_fall_are_read_as_if_they_stayed() -> None:
    assert quantile(0.5, {0.1: 10.0, 0.2: 8.0, 0.4: 20.0, INF: 20.0}) == quantile(
        0.5, {0.1: 10.0, 0.2: 10.0, 0.4: 20.0, INF: 20.0}
    )
    # Rounding alone puts nothing into a bucket.
    rounded = 3.0 * (1 + 1e-13)
    assert quantile(1, {0.1: 3.0, 0.5: rounded, INF: rounded}) == pytest.approx(0.1)
    assert quantile(1, {0.1: 3.0, 0.5: 3.1, INF: 3.1}) == pytest.approx(0.5)


def test_the_order_of_buckets_does_not_matter() -> None:
    assert quantile(0.9, dict(reversed(LATENCY.items()))) == quantile(0.9, LATENCY)


@ALWAYS_THE_SAME
@given(
    observed=st.lists(st.floats(min_value=0.001, max_value=0.999), min_size=1, max_size=200),
    q=st.floats(min_value=0.01, max_value=0.99),
)
def test_a_quantile_lies_in_the_bucket_of_the_true_one(observed: list[float], q: float) -> None:
    bounds = [0.01, 0.05, 0.1, 0.3, 0.6, 1.0]
    buckets: dict[float, float] = {bound: float(sum(it <= bound for it in observed)) for bound in bounds}
    buckets[INF] = float(len(observed))
    true = sorted(observed)[max(math.ceil(q * len(observed)) - 1, 0)]
    upper = min(bound for bound in bounds if bound >= true)
    lower = max([0.0, *(bound for bound in bounds if bound < upper)])

    assert lower - 1e-9 <= quantile(q, buckets) <= upper + 1e-9


@ALWAYS_THE_SAME
@given(
    buckets=st.dictionaries(st.floats(allow_nan=False) | st.just(INF), st.floats(), max_size=6),
    q=st.floats(min_value=0, max_value=1, exclude_min=True),
)
def test_whatever_a_page_says_there_is_an_answer(buckets: dict[float, float], q: float) -> None:
    assert isinstance(quantile(q, buckets), float)
    assert isinstance(quantile(q, {**buckets, INF: 5.0}), float)


@pytest.mark.parametrize(
    ("selector", "buckets"),
    [
        ("seconds", "seconds_bucket"),
        (' seconds{a="b"} ', 'seconds_bucket{a="b"}'),
        ('seconds {a="b"}', 'seconds_bucket{a="b"}'),
        ('seconds_bucket{a="b"}', 'seconds_bucket{a="b"}'),
        ("my:seconds", "my:seconds_bucket"),
    ],
)
def test_the_buckets_of_a_histogram_are_named_after_it(selector: str, buckets: str) -> None:
    assert buckets_of(selector) == buckets


def test_a_histogram_is_named_in_front_of_its_braces() -> None:
    with pytest.raises(ValueError, match="in front of the braces"):
        buckets_of('{__name__="seconds"}')
