from __future__ import annotations

import pytest

from watchdog.core.rule import Aggregate, Gauge, MetricForm, Quantile, Query, Rate, Ratio
from watchdog.core.selector import compile_pattern, parse_selector
from watchdog.core.variables import fill, quote_promql
from watchdog.core.widening import widened


@pytest.mark.parametrize(
    ("selector", "wide"),
    [
        ('x{service="$service",version="$version"}', 'x{service="$service",version=~".+"}'),
        ('x{version="${version}",status=~"5.."}', 'x{version=~".+",status=~"5.."}'),
        ('x{pod="web-$variant"}', 'x{pod=~"web\\\\-.+"}'),
        ('x{pod=~"web-$variant-.*"}', 'x{pod=~"web-(?:.+)-.*"}'),
        ('x{at="$deployment/$version"}', 'x{at=~".+/.+"}'),
        ('x{path="a\\"b\\\\c",version="$version"}', 'x{path="a\\"b\\\\c",version=~".+"}'),
    ],
)
def test_the_condition_on_the_version_takes_any_version_and_the_rest_stays(selector: str, wide: str) -> None:
    assert widened(Rate(of=selector)) == Rate(of=wide)


def test_every_selector_of_a_form_is_widened() -> None:
    narrow, wide = 'x{version="$version"}', 'x{version=~".+"}'
    forms: list[tuple[MetricForm, MetricForm]] = [
        (Ratio(bad=narrow, total=narrow), Ratio(bad=wide, total=wide)),
        (Quantile(of=narrow, q=0.9), Quantile(of=wide, q=0.9)),
        (Gauge(of=narrow, by=Aggregate.MAX), Gauge(of=wide, by=Aggregate.MAX)),
    ]
    for form, expected in forms:
        assert widened(form) == expected


@pytest.mark.parametrize(
    "form",
    [Rate(of='x{service="$service"}'), Rate(of="{__name__='x'}"), Query(query='x{service="$service"}')],
)
def test_what_names_no_version_stays_as_it_is(form: MetricForm) -> None:
    assert widened(form) == form


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (Query(query="x", events='y{version="$version"}'), "a `query` that names $version"),
        (Rate(of='x{version!="$version"}'), "what is left of 'version' without $version is not certain"),
        (Rate(of='x{version!~"$variant"}'), "what is left of 'version' without $variant is not certain"),
        (Rate(of='x{pod="$service-$version"}'), "'pod' names $version beside another variable"),
    ],
)
def test_where_it_is_not_certain_what_is_left_nothing_is_guessed(form: MetricForm, why: str) -> None:
    with pytest.raises(ValueError, match=r"version|variant") as caught:
        widened(form)
    assert why in str(caught.value)


def test_a_widened_selector_takes_every_version_and_no_other_service() -> None:
    wide = widened(Rate(of='x{pod="$version.web",service="$service"}'))
    assert isinstance(wide, Rate)
    selector = parse_selector(fill(wide.of, {"service": "trips"}, quote_promql))

    assert selector.accepts({"pod": "v1.web", "service": "trips"})
    assert not selector.accepts({"pod": "v1-web", "service": "trips"})  # a dot is a dot
    assert not selector.accepts({"pod": ".web", "service": "trips"})
    assert not selector.accepts({"pod": "v1.web", "service": "cars"})
    for matcher in selector.matchers:
        compile_pattern(matcher.value)
