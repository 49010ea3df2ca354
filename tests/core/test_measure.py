"""What is measured in memory, at the edges. Against Prometheus itself: `tests.contracts.test_forms`."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.series import ALWAYS_THE_SAME
from watchdog.core.measure import Measurable, Measured, measure, selectors_of
from watchdog.core.rule import Aggregate, Gauge, Quantile, Rate, Ratio
from watchdog.core.series import Memory, Scraped

FORMS: list[Measurable] = [
    Ratio(bad="a_total", total="a_total"),
    Quantile(of="a", q=0.9),
    Rate(of="a_total"),
    *(Gauge(of="depth", by=by) for by in Aggregate),
]


def remembered(form: Measurable, *pages: str, every: float = 10.0) -> Memory:
    memory = Memory()
    for selector in selectors_of(form).values():
        memory.want(selector.name, window=60, now=0)
    for number, page in enumerate(pages, 1):
        memory.add(Scraped(text=page, at=every * number, origin="one"))
    return memory


def measured(form: Measurable, *pages: str) -> Measured:
    return measure(remembered(form, *pages), form, after=0, until=10.0 * len(pages))


def histogram(*counts: object, extra: str = "") -> str:
    bounds = ("0.1", "0.5", "+Inf")
    return "".join(
        f'a_bucket{{le="{bound}"{extra}}} {count}\n' for bound, count in zip(bounds, counts, strict=True)
    )


@pytest.mark.parametrize("form", FORMS)
def test_where_nothing_is_there_every_part_is_empty(form: Measurable) -> None:
    assert set(measured(form, "other 1\n", "other 2\n").parts.values()) == {()}


def test_a_bucket_whose_bound_is_no_number_is_left_out() -> None:
    page = 'a_bucket{le="many"} 5\na_bucket{le="1_0"} 7\na_bucket 9\n'
    form = Quantile(of="a", q=0.9)
    odd = measured(form, page + histogram(100, 100, 100), page + histogram(109, 110, 110))

    assert odd == measured(form, histogram(100, 100, 100), histogram(109, 110, 110))
    assert odd.parts["value"] == pytest.approx((0.1,))


def test_histograms_of_several_series_are_added_up() -> None:
    form = Quantile(of="a", q=0.5)
    fast, slow = ',v="fast"', ',v="slow"'
    both = measured(
        form,
        histogram(100, 100, 100, extra=fast) + histogram(100, 100, 100, extra=slow),
        histogram(110, 110, 110, extra=fast) + histogram(100, 110, 110, extra=slow),
    )

    assert both.parts["value"] == pytest.approx((0.1,))
    assert both.record["buckets"].keys() == {"0.1", "0.5", "+Inf"}


def test_a_page_that_lost_a_series_shows_its_gauge_no_more() -> None:
    form = Gauge(of="depth", by=Aggregate.SUM)
    parts = measured(form, 'depth{q="a"} 3\ndepth{q="b"} 4\n', 'depth{q="a"} 5\n').parts

    assert (parts["value"], parts["newest"]) == ((5.0,), (20.0,))


@pytest.mark.parametrize(
    ("by", "expected"), [("max", 4.0), ("min", 3.0), ("sum", math.nan), ("avg", math.nan)]
)
def test_nan_is_left_out_of_the_extremes_only(by: Aggregate, expected: float) -> None:
    page = 'depth{q="a"} 3\ndepth{q="b"} 4\ndepth{q="c"} NaN\n'
    (value,) = measured(Gauge(of="depth", by=Aggregate(by)), page).parts["value"]
    (nothing,) = measured(Gauge(of="depth", by=Aggregate(by)), "depth NaN\n").parts["value"]

    assert value == pytest.approx(expected, nan_ok=True)
    assert math.isnan(nothing)


_NUMBERS = st.sampled_from(["0", "1", "7.5", "NaN", "+Inf", "-Inf", "-3", "1e308", "5e-324"])


@ALWAYS_THE_SAME
@given(rows=st.lists(st.lists(_NUMBERS, min_size=5, max_size=5), min_size=1, max_size=5))
def test_whatever_pages_say_there_is_an_answer(rows: list[list[str]]) -> None:
    pages = [
        histogram(*row[:3]) + f'a_total{{b="1"}} {row[3]}\na_total{{b="2"}} {row[4]}\ndepth {row[3]}\n'
        for row in rows
    ]
    for form in FORMS:
        for values in measured(form, *pages).parts.values():
            assert all(isinstance(value, float) for value in values)
