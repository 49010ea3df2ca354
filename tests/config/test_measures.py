"""The forms `quantile`, `rate` and `gauge` as rules: what arrives, and what is only remarked on."""

from __future__ import annotations

import pytest

from tests.config.conftest import Draft
from watchdog.core.rule import Aggregate, Evidence, Form, Gauge, Quantile, Rate, Rule, Thresholds, Unit

LATENCY = """
name: some
unit: seconds
quantile: {of: 'http_request_duration_seconds{service="$service",version="$version"}', q: 0.95}
threshold: {warning: 500ms, critical: 1s, rollback: 150%}
"""
REQUESTS = 'name: some\nrate: http_requests_total{{service="$service"}}\nthreshold: {{critical: 5{more}}}\n'
QUEUE = "name: some\ngauge: {of: 'queue_depth{service=\"$service\"}', by: max}\nthreshold: {critical: 5}\n"


def _notes(draft: Draft, text: str) -> list[str]:
    """What is remarked on, beside that no service uses the rule."""
    return [
        note.message for note in draft.rule(text).load().notes if "used by no service" not in note.message
    ]


def _rule(draft: Draft, text: str) -> Rule:
    return draft.rule(text).load().rules["some"]


def test_a_quantile_is_judged_by_the_events_of_its_histogram(draft: Draft) -> None:
    rule = _rule(draft, LATENCY)

    assert rule.form == Quantile(
        of='http_request_duration_seconds{service="$service",version="$version"}', q=0.95
    )
    assert rule.evidence == Evidence(min_events=20, bound=False)
    assert rule.thresholds == Thresholds(warning=0.5, critical=1.0, rollback=1.5)
    assert (rule.unit, rule.source, rule.per_version) == (Unit.SECONDS, "prometheus", True)


@pytest.mark.parametrize("written", ["0.99", '"0.99"', "99%", '"99%"', "0.990"])
def test_a_quantile_is_written_as_a_number_or_a_percentage(draft: Draft, written: str) -> None:
    form = _rule(draft, LATENCY.replace("q: 0.95", f"q: {written}")).form

    assert isinstance(form, Quantile)
    assert form.q == 0.99


@pytest.mark.parametrize(
    ("written", "evidence"),
    [
        ("{min_events: 100}", Evidence(min_events=100, bound=False)),
        ("{}", Evidence(min_events=20, bound=False)),
        ("none", None),
    ],
)
def test_the_evidence_of_a_quantile_is_a_number_of_events_or_none(
    draft: Draft, written: str, evidence: Evidence | None
) -> None:
    assert _rule(draft, f"{LATENCY}evidence: {written}\n").evidence == evidence


def test_a_histogram_may_be_named_by_its_buckets(draft: Draft) -> None:
    form = _rule(draft, LATENCY.replace("_seconds{", "_seconds_bucket{")).form

    assert isinstance(form, Quantile)
    assert form.of.startswith("http_request_duration_seconds_bucket{")


@pytest.mark.parametrize("evidence", ["", "evidence: none\n"])
@pytest.mark.parametrize("unit", ["", "unit: count\n"])
def test_a_rate_is_a_selector_and_may_roll_back_on_its_threshold(
    draft: Draft, evidence: str, unit: str
) -> None:
    rule = _rule(draft, REQUESTS.format(more=", rollback: 150%") + evidence + unit)

    assert rule.form == Rate(of='http_requests_total{service="$service"}')
    assert rule.evidence is None
    assert rule.thresholds == Thresholds(critical=5, rollback=7.5)


@pytest.mark.parametrize("by", list(Aggregate))
def test_a_gauge_says_how_its_series_become_one_number(draft: Draft, by: Aggregate) -> None:
    rule = _rule(draft, QUEUE.replace("by: max", f"by: {by}"))

    assert rule.form == Gauge(of='queue_depth{service="$service"}', by=by)
    assert (rule.evidence, rule.unit) == (None, Unit.NONE)


@pytest.mark.parametrize("text", [LATENCY, REQUESTS.format(more=""), QUEUE])
def test_the_forms_are_read_without_a_remark(draft: Draft, text: str) -> None:
    assert _notes(draft, text) == []


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("rate: request_seconds_bucket", "its number of events is request_seconds_count"),
        ("gauge: {of: requests_total, by: sum}", "requests_total looks like a counter"),
    ],
)
def test_a_selector_of_another_kind_of_metric_is_remarked_on(draft: Draft, form: str, said: str) -> None:
    (note,) = _notes(draft, f"name: some\n{form}\nthreshold: {{critical: 5}}")

    assert said in note


def test_one_bucket_may_have_a_rate(draft: Draft) -> None:
    text = "name: some\nrate: 'request_seconds_bucket{le=\"0.5\"}'\nthreshold: {critical: 5}"

    assert _notes(draft, text) == []


@pytest.mark.parametrize("text", [LATENCY, REQUESTS.format(more=""), QUEUE])
def test_a_window_in_which_a_source_never_has_data_is_refused_for_every_form(draft: Draft, text: str) -> None:
    draft.rule(f"{text}window: 61s\n").replace(
        'prometheus: {kind: prometheus, url: "http://127.0.0.1:9090"}', "pages: {kind: scrape, urls: [u]}"
    )

    assert [it.partition(": ")[2] for it in draft.problems()] == ["more than 0:00:05"]


def _form(draft: Draft, text: str) -> Form:
    return _rule(draft, text).form


def test_spaces_around_a_selector_are_no_part_of_it(draft: Draft) -> None:
    spaced = "name: some\nrate: ' http_requests_total{ } '\nthreshold: {critical: 5}"

    assert _form(draft, spaced) == Rate(of="http_requests_total{ }")
