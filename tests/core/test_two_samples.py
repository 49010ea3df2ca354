"""The Mann-Whitney test against published cases, brute force, and what must hold for any two samples."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchdog.core.two_samples import Difference, TwoSample, certain_from, difference

#: Small whole numbers, so that there are ties.
SAMPLES = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=12)
WILD = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


def test_the_published_example_of_the_exact_test() -> None:
    """The example in SciPy's documentation of `mannwhitneyu`: U = 17, two-sided p = 0.1111."""
    males, females = (19.0, 22.0, 16.0, 29.0, 24.0), (20.0, 11.0, 17.0, 12.0)
    found = difference(males, females)

    assert found.larger == 17 / 20
    assert found.chance == pytest.approx(0.1111111111111111 / 2)
    assert difference(females, males).larger == pytest.approx(3 / 20)


@pytest.mark.parametrize(
    ("first", "second", "critical"),
    [(5, 5, 2), (5, 10, 8), (10, 10, 23), (10, 20, 55), (20, 20, 127), (7, 3, 1), (8, 8, 13)],
)
def test_the_tables_of_critical_values_are_met(first: int, second: int, critical: int) -> None:
    """Two-sided 5 %, as printed in every textbook: the largest smaller U that is still significant."""

    def two_sided(u: int) -> float:
        """Two samples without ties whose U is that: so many of the pairs have the first one larger."""
        ranks = list(range(first))
        left, place = u, first - 1
        while left:
            step = min(left, second)
            ranks[place] += step
            left, place = left - step, place - 1
        others = [rank for rank in range(first + second) if rank not in ranks]
        return 2 * difference([float(rank) for rank in others], [float(rank) for rank in ranks]).chance

    assert two_sided(critical) <= 0.05
    assert two_sided(critical + 1) > 0.05


@pytest.mark.parametrize(("first", "second"), [(1, 1), (2, 5), (3, 4), (5, 5)])
def test_without_ties_chance_is_counted_out(first: int, second: int) -> None:
    orders = list(combinations(range(first + second), first))

    def larger(chosen: tuple[int, ...]) -> int:
        return sum(one > other for one in chosen for other in range(first + second) if other not in chosen)

    for chosen in orders:
        others = [float(rank) for rank in range(first + second) if rank not in chosen]
        found = difference([float(rank) for rank in chosen], others)
        as_much = sum(larger(order) >= larger(chosen) for order in orders)
        assert found.chance == pytest.approx(as_much / len(orders))
        assert found.larger == larger(chosen) / (first * second)


def test_with_ties_it_is_the_normal_approximation_corrected_for_them_and_for_continuity() -> None:
    """By hand: U = 14 of 16, ties of 2 and 3, a variance of 16/12 (9 - (6 + 24)/56)."""
    found = difference([3.0, 4.0, 4.0, 5.0], [1.0, 1.0, 2.0, 4.0])
    assert found.larger == 14 / 16
    sigma = math.sqrt(16 / 12 * (9 - (6 + 24) / 56))
    assert found.chance == pytest.approx(0.5 * math.erfc((14 - 8 - 0.5) / sigma / math.sqrt(2)))


def test_two_large_samples_are_as_the_exact_count_would_have_them() -> None:
    """31 values are the first to be approximated; the difference to counting is far below what decides."""
    evens, odds = [2.0 * number for number in range(31)], [2.0 * number - 9.0 for number in range(31)]
    approximated = difference(evens, odds)
    exact = difference(evens[:30], odds[:30])
    assert approximated.chance == pytest.approx(exact.chance, rel=0.1)


def test_equal_samples_are_no_difference() -> None:
    assert difference([1.0] * 20, [1.0] * 20) == Difference(larger=0.5, chance=1.0)
    same = difference([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    assert same.larger == 0.5
    assert same.chance > 0.5


def test_how_many_values_it_takes_to_be_certain_of_the_plainest_difference() -> None:
    assert [certain_from(one) for one in (0.5, 0.95, 0.99, 0.999, 0.999999)] == [2, 3, 5, 7, 12]
    for confidence in (0.95, 0.99, 0.999):
        least = certain_from(confidence)
        new = [float(number + least) for number in range(least)]
        assert difference(new, [float(number) for number in range(least)]).chance < 1 - confidence


def test_half_of_the_values_are_enough() -> None:
    assert TwoSample().least == 10
    assert TwoSample(samples=7).least == 4


@given(SAMPLES, SAMPLES)
def test_each_is_larger_as_often_as_the_other_is_not(first: list[float], second: list[float]) -> None:
    one, other = difference(first, second), difference(second, first)
    assert one.larger + other.larger == pytest.approx(1)
    assert 0 <= one.larger <= 1
    assert 0 < one.chance <= 1 + 1e-12
    assert one.chance + other.chance >= 1 - 1e-12  # both count the orders that are as good as this one


@given(WILD, WILD)
def test_only_the_order_of_the_values_counts(first: list[float], second: list[float]) -> None:
    """Any unit, any scale, and one wild value weighs no more than a large one."""
    order = {value: float(place) ** 3 for place, value in enumerate(sorted({*first, *second}))}
    assert difference([order[one] for one in first], [order[one] for one in second]) == difference(
        first, second
    )


@given(WILD, WILD)
def test_the_order_in_which_values_came_does_not_count(first: list[float], second: list[float]) -> None:
    assert difference(list(reversed(first)), sorted(second)) == difference(first, second)


@given(SAMPLES, SAMPLES, st.integers(0, 11))
def test_a_larger_value_never_makes_it_less(first: list[float], second: list[float], place: int) -> None:
    more = list(first)
    more[place % len(first)] += 20.0
    assert difference(more, second).larger >= difference(first, second).larger
