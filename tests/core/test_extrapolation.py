from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.series import ALWAYS_THE_SAME
from watchdog.core.extrapolation import extrapolated

WINDOW = {"after": 0.0, "until": 60.0}


def test_steady_samples_stand_for_the_whole_window() -> None:
    times = [5.0, 15.0, 25.0, 35.0, 45.0, 55.0]
    assert extrapolated(times, [1000.0 + 2 * at for at in times], **WINDOW) == pytest.approx(120)


def test_a_series_that_began_or_ended_inside_is_not_stretched_to_the_edges() -> None:
    times = [20.0, 25.0, 30.0]
    values = [1000.0, 1010.0, 1020.0]
    # 20 in 10 s, and half a sample interval at each end.
    assert extrapolated(times, values, **WINDOW) == pytest.approx(20 * 15 / 10)


def test_no_counter_was_ever_below_zero() -> None:
    times = [5.0, 15.0, 25.0, 35.0, 45.0, 55.0]
    assert extrapolated(times, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0], **WINDOW) == pytest.approx(50 * 55 / 50)
    assert extrapolated(times, [2.0, 12.0, 22.0, 32.0, 42.0, 52.0], **WINDOW) == pytest.approx(50 * 57 / 50)


def test_a_reset_is_no_fall() -> None:
    times = [0.5, 20.0, 40.0, 59.5]
    assert (extrapolated(times, [500.0, 510.0, 3.0, 8.0], **WINDOW) or 0) == pytest.approx(18 * 60 / 59)


def test_a_counter_that_stands_still_rose_by_nothing() -> None:
    assert extrapolated([5.0, 15.0], [7.0, 7.0], **WINDOW) == 0


@pytest.mark.parametrize("times", [[], [30.0]])
def test_fewer_than_two_samples_say_nothing(times: list[float]) -> None:
    assert extrapolated(times, [1.0] * len(times), **WINDOW) is None


def test_nan_stays_nan() -> None:
    assert math.isnan(extrapolated([5.0, 15.0, 25.0], [1.0, math.nan, 2.0], **WINDOW) or 0)


@ALWAYS_THE_SAME
@given(values=st.lists(st.floats(), min_size=2, max_size=8))
def test_whatever_a_page_says_there_is_an_answer(values: list[float]) -> None:
    times = [1.0 + 7 * index for index in range(len(values))]

    assert isinstance(extrapolated(times, values, **WINDOW), float)
