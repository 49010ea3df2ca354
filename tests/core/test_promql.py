from __future__ import annotations

from datetime import timedelta

import pytest

from watchdog.core.promql import parts_of, with_matcher, with_selectors
from watchdog.core.rule import Aggregate, Gauge, MetricForm, Quantile, Query, Rate, Ratio

MINUTE = timedelta(minutes=1)
SECONDS = 'seconds{a="b"}'
FORMS: list[MetricForm] = [
    Ratio(bad="bad", total="total"),
    Quantile(of=SECONDS, q=0.95),
    Rate(of="total"),
    Gauge(of="depth", by=Aggregate.AVG),
]


@pytest.mark.parametrize(
    ("form", "parts"),
    [
        (
            Ratio(bad="bad", total="total"),
            {
                "bad": "sum(increase(bad[60s]))",
                "total": "sum(increase(total[60s]))",
                "newest": "max(timestamp(total))",
                "samples": "max(count_over_time(total[60s]))",
            },
        ),
        (
            Quantile(of=SECONDS, q=0.95),
            {
                "value": 'histogram_quantile(0.95, sum by (le) (rate(seconds_bucket{a="b"}[60s])))',
                "highest": 'histogram_quantile(1, sum by (le) (rate(seconds_bucket{a="b"}[60s])))',
                "events": 'sum(increase(seconds_bucket{a="b",le="+Inf"}[60s]))',
                "newest": 'max(timestamp(seconds_bucket{a="b",le="+Inf"}))',
                "samples": 'max(count_over_time(seconds_bucket{a="b",le="+Inf"}[60s]))',
            },
        ),
        (
            Rate(of=SECONDS),
            {
                "value": 'sum(rate(seconds{a="b"}[60s]))',
                "newest": 'max(timestamp(seconds{a="b"}))',
                "samples": 'max(count_over_time(seconds{a="b"}[60s]))',
            },
        ),
        (
            Gauge(of=SECONDS, by=Aggregate.MIN),
            {
                "value": 'min(seconds{a="b"})',
                "newest": 'max(timestamp(seconds{a="b"}))',
                "samples": 'max(count_over_time(seconds{a="b"}[60s]))',
            },
        ),
        (Query(query="x", events="y"), {"value": "x", "events": "y"}),
        (Query(query="x", freshness="z"), {"value": "x", "newest": "z"}),
    ],
)
def test_each_part_is_one_expression(form: MetricForm, parts: dict[str, str]) -> None:
    assert parts_of(form, MINUTE) == parts


@pytest.mark.parametrize("form", FORMS)
def test_every_part_can_keep_labels(form: MetricForm) -> None:
    parts = parts_of(form, MINUTE, by=("app", "env"))

    assert parts.keys() == parts_of(form, MINUTE).keys()
    for text in parts.values():
        assert " by (app, env) (" in text or " by (app, env, le) (" in text


def test_a_query_is_what_its_author_wrote() -> None:
    assert parts_of(Query(query="sum(x)"), MINUTE, by=("app",)) == {"value": "sum(x)"}


@pytest.mark.parametrize(
    ("window", "written"),
    [(timedelta(seconds=90), "[90s]"), (timedelta(milliseconds=1500), "[1500ms]"), (timedelta(), "[1ms]")],
)
def test_a_window_is_written_in_whole_units(window: timedelta, written: str) -> None:
    assert written in parts_of(Rate(of="x"), window)["value"]


@pytest.mark.parametrize(
    ("selector", "more"),
    [
        ("x", 'x{le="1"}'),
        ("x{}", 'x{le="1"}'),
        ("x{ }", 'x{le="1"}'),
        ('x{a="b"}', 'x{a="b",le="1"}'),
        ('x{a="b", }', 'x{a="b",le="1"}'),
        ('x{a="}{,"} ', 'x{a="}{,",le="1"}'),
    ],
)
def test_a_condition_is_put_behind_the_others(selector: str, more: str) -> None:
    assert with_matcher(selector, 'le="1"') == more


@pytest.mark.parametrize("form", [*FORMS, Query(query="x", events="y", freshness="z"), Query(query="x")])
def test_every_selector_is_filled_in_and_nothing_else_changes(form: MetricForm) -> None:
    assert with_selectors(form, str) == form
    assert "?" not in "".join(parts_of(form, MINUTE).values())
    for text in parts_of(with_selectors(form, lambda text: text + "?"), MINUTE).values():
        assert "?" in text
