from __future__ import annotations

from datetime import timedelta

import pytest

from tests.config.conftest import Draft
from watchdog.core.rule import (
    Direction,
    Evidence,
    Holds,
    Lasting,
    ProbeForm,
    Query,
    Ratio,
    Rule,
    Samples,
    Severities,
    Severity,
    Thresholds,
    Unit,
)

QUEUE = """
name: queue
query: max(queue_depth{service="$service"})
freshness: max(timestamp(queue_depth{service="$service"}))
"""


def _rule(draft: Draft, text: str) -> Rule:
    name = text.strip().splitlines()[0].removeprefix("name: ")
    return draft.rule(text).load().rules[name]


def test_a_ratio_gets_every_default_of_the_language(draft: Draft) -> None:
    assert draft.load().rules["error-rate"] == Rule(
        name="error-rate",
        form=Ratio(
            bad='http_requests_total{service="$service",version="$version",status=~"5.."}',
            total='http_requests_total{service="$service",version="$version"}',
        ),
        thresholds=Thresholds(warning=0.005, critical=0.01, rollback=0.015),
        unit=Unit.RATIO,
        source="prometheus",
        interval=timedelta(seconds=30),
        window=timedelta(minutes=1),
        direction=Direction.ABOVE,
        hold=Holds(),
        clear=3,
        evidence=Evidence(min_events=20, min_bad=10, confidence=0.99, excess=0.2, bound=True),
        blind_after=timedelta(minutes=3),
        max_age=None,
        severity=Severities(),
        tags=("web",),
    )


def test_every_key_of_a_rule_arrives(draft: Draft) -> None:
    rule = _rule(
        draft,
        """
name: availability
summary: share of good answers
unit: ratio
interval: 15s
source: prometheus
ratio: {bad: 'good{a="b"}', total: 'all'}
window: 2m
direction: below
threshold: {warning: 99.5%, critical: 99%, rollback: 150%}
hold: {warning: 5m, critical: 4 samples, rollback: 90s}
clear: 5 samples
evidence: {min_events: 1, min_bad: 2, confidence: 95%, excess: 0%}
blind_after: 0s
max_age: 45s
severity: {warning: low, critical: medium, rollback: high}
tags: [web, slo]
runbook: https://runbooks.example.com/availability
""",
    )

    assert rule == Rule(
        name="availability",
        summary="share of good answers",
        form=Ratio(bad='good{a="b"}', total="all"),
        thresholds=Thresholds(warning=0.995, critical=0.99, rollback=0.985),
        unit=Unit.RATIO,
        source="prometheus",
        interval=timedelta(seconds=15),
        window=timedelta(minutes=2),
        direction=Direction.BELOW,
        hold=Holds(
            warning=Lasting(timedelta(minutes=5)),
            critical=Samples(4),
            rollback=Lasting(timedelta(seconds=90)),
        ),
        clear=5,
        evidence=Evidence(min_events=1, min_bad=2, confidence=0.95, excess=0.0),
        blind_after=timedelta(),
        max_age=timedelta(seconds=45),
        severity=Severities(warning=Severity.LOW, critical=Severity.MEDIUM, rollback=Severity.HIGH),
        tags=("web", "slo"),
        runbook="https://runbooks.example.com/availability",
    )


def test_a_query_has_its_events_and_needs_nothing_but_their_number(draft: Draft) -> None:
    rule = _rule(
        draft,
        QUEUE
        + """
unit: count
evidence: {events: 'sum(increase(queue_in_total[1m]))', min_events: 50}
threshold: {warning: 1000, critical: 5k, rollback: 10000}
""".strip(),
    )

    assert rule.form == Query(
        query='max(queue_depth{service="$service"})',
        events="sum(increase(queue_in_total[1m]))",
        freshness='max(timestamp(queue_depth{service="$service"}))',
    )
    assert rule.evidence == Evidence(min_events=50, bound=False)
    assert rule.thresholds == Thresholds(warning=1000, critical=5000, rollback=10000)


@pytest.mark.parametrize(
    ("written", "evidence"),
    [
        ("threshold: {critical: 5}", None),
        ("evidence: none\nthreshold: {critical: 5, rollback: 10}", None),
        ("evidence: {events: sum(x)}\nthreshold: {critical: 5}", Evidence(min_events=20, bound=False)),
    ],
)
def test_a_query_without_rollback_may_go_without_evidence(
    draft: Draft, written: str, evidence: Evidence | None
) -> None:
    assert _rule(draft, QUEUE + written).evidence == evidence


def test_evidence_none_leaves_a_ratio_with_its_bare_threshold(draft: Draft) -> None:
    rule = _rule(
        draft, "name: bare\nratio: {bad: 'x{a=\"b\"}', total: x}\nevidence: none\nthreshold: {critical: 1%}"
    )

    assert rule.evidence is None


def test_a_probe_keeps_its_validated_settings_with_variables_unresolved(draft: Draft) -> None:
    rule = _rule(
        draft,
        'name: alive\nprobe: {kind: http, url: "http://$service/", expect: {within: 2s}, timeout: 3s}\n'
        "threshold: {critical: 3 failures, rollback: 150%}",
    )

    assert rule.form == ProbeForm(
        kind="http",
        settings={
            "url": "http://$service/",
            "timeout": "3s",
            "ca_file": None,
            "expect": {"status": 200, "within": "2s"},
            "headers": {},
        },
    )
    assert rule.thresholds == Thresholds(critical=3, rollback=5)
    assert rule.source is None
    assert rule.evidence is None


def test_a_query_without_freshness_is_worth_a_note(draft: Draft) -> None:
    draft.rule("name: queue\nquery: max(queue_depth)\nthreshold: {critical: 5}").replace(
        "[error-rate, healthy]", "[error-rate, healthy, queue]"
    )

    assert draft.notes() == [
        "rules.yaml:14:5: no `freshness` query: the evaluation time counts as the sample's, so staleness is not seen"
    ]


@pytest.mark.parametrize(
    ("interval", "blind_after"), [("30s", timedelta(minutes=3)), ("5m", timedelta(minutes=15))]
)
def test_blindness_is_told_after_three_minutes_or_three_intervals(
    draft: Draft, interval: str, blind_after: timedelta
) -> None:
    rule = _rule(draft, f"{QUEUE}interval: {interval}\nthreshold: {{critical: 5}}")

    assert rule.blind_after == blind_after


@pytest.mark.parametrize(
    ("name", "interval"),
    [("critical", 10), ("normal", 300), ("extended", 3600), ("90s", 90), ("1h30m", 5400)],
)
def test_an_interval_is_a_name_or_a_duration(draft: Draft, name: str, interval: int) -> None:
    draft.insert("intervals: {critical: 10s}\n")

    rule = _rule(draft, f"{QUEUE}interval: {name}\nthreshold: {{critical: 5}}")

    assert rule.interval == timedelta(seconds=interval)


@pytest.mark.parametrize("interval", ["0s", '"0"'])
def test_an_interval_of_nothing_is_refused(draft: Draft, interval: str) -> None:
    draft.rule(f"{QUEUE}interval: {interval}\nthreshold: {{critical: 5}}")

    assert [it.split(": ", 1)[1] for it in draft.problems()] == [
        f"'{interval.strip(chr(34))}': an interval must be longer than 0"
    ]


def test_the_source_must_be_named_when_there_are_several(draft: Draft) -> None:
    draft.replace("sources:\n", 'sources:\n  pages: {kind: scrape, urls: ["http://127.0.0.1:1/metrics"]}\n')

    assert draft.problems() == ["rules.yaml:3:5: missing key 'source': there are several (pages, prometheus)"]


def test_a_rule_that_needs_a_source_says_so_when_there_is_none(draft: Draft) -> None:
    draft.replace('sources:\n  prometheus: {kind: prometheus, url: "http://127.0.0.1:9090"}\n', "")

    assert draft.problems() == ["rules.yaml:3:5: this rule needs a source, and `sources` has none"]


def test_raw_promql_cannot_be_asked_of_scraped_pages(draft: Draft) -> None:
    draft.replace(
        'prometheus: {kind: prometheus, url: "http://127.0.0.1:9090"}', "pages: {kind: scrape, urls: [u]}"
    )
    draft.rule(QUEUE + "threshold: {critical: 5}")

    assert draft.problems() == [
        (
            "rules.yaml:14:5: source 'pages' is of kind scrape, which knows no PromQL; "
            "use `ratio`, `quantile`, `rate` or `gauge`"
        )
    ]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ('{job="web"}', "a selector begins with the name of a metric"),
        ('x{status=~"(5"}', "regular expression"),
        ('x{status=~"(?=5)."}', "regular expression"),
    ],
)
def test_a_selector_for_scraped_pages_must_be_one_that_we_can_evaluate(
    draft: Draft, bad: str, said: str
) -> None:
    rule = f"name: some\nratio: {{total: x, bad: '{bad}'}}\nthreshold: {{critical: 1%}}"
    assert draft.rule(rule).problems() == []

    draft.replace(
        'prometheus: {kind: prometheus, url: "http://127.0.0.1:9090"}', "pages: {kind: scrape, urls: [u]}"
    )
    (problem,) = draft.problems()

    assert problem.startswith("rules.yaml:14:28: ")
    assert said in problem


@pytest.mark.parametrize(
    ("form", "at"),
    [
        ("quantile: {q: 0.9, of: '{S}'}", "14:28"),
        ("rate: '{S}'", "14:11"),
        ("gauge: {by: max, of: '{S}'}", "14:26"),
    ],
)
def test_every_selector_for_scraped_pages_must_be_one_that_we_can_evaluate(
    draft: Draft, form: str, at: str
) -> None:
    selector = 'x{status=~"(?=5)."}'
    assert (
        draft.rule(f"name: some\n{form.replace('{S}', selector)}\nthreshold: {{critical: 5}}").problems()
        == []
    )

    draft.replace(
        'prometheus: {kind: prometheus, url: "http://127.0.0.1:9090"}', "pages: {kind: scrape, urls: [u]}"
    )
    (problem,) = draft.problems()

    assert problem.startswith(f"rules.yaml:{at}: ")
    assert "regular expression" in problem


@pytest.mark.parametrize(("window", "at"), [("    window: 61s\n", "8:13"), ("", "")])
def test_a_window_in_which_its_source_never_has_data_is_refused(draft: Draft, window: str, at: str) -> None:
    draft.replace(
        'prometheus: {kind: prometheus, url: "http://127.0.0.1:9090"}', "pages: {kind: scrape, urls: [u]}"
    ).replace("    tags: [web]\n  - name: healthy", f"{window}    tags: [web]\n  - name: healthy")

    assert draft.problems() == ([f"rules.yaml:{at}: more than 0:00:05"] if at else [])


def test_a_number_that_readers_disagree_about_is_told_once(draft: Draft) -> None:
    draft.replace("critical: 1%, rollback: 150%", "critical: 1_000")

    (problem,) = draft.problems()

    assert problem.startswith("rules.yaml:7:42: '1_000' is a number to some YAML readers")


def test_a_mistake_in_a_source_does_not_make_rules_wrong_too(draft: Draft) -> None:
    draft.replace("kind: prometheus", "kind: promethean")

    assert len(draft.problems()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "{name: a, tags: [b, 1.10], ratio: {bad: x, total: y}}",
            "expected text, found the number 1.10; quote it",
        ),
        ("{name: a, tags: b, query: x, threshold: {critical: 1}}", "expected a list, found 'b'"),
        ("just-a-name", "expected a mapping, found 'just-a-name'"),
        ("[a, b]", "expected a mapping, found a list"),
        ("{name: a, query: [x], threshold: {critical: 1}}", "expected text, found a list"),
        ("{name: a, ratio: x, threshold: {critical: 1%}}", "expected a mapping, found 'x'"),
        ("{name: a, query: x, threshold: 1}", "expected a mapping, found the number 1"),
        ("{name: a, query: x, threshold: {critical: true}}", "expected a number, found true"),
        ("{name: a, query: x, threshold: {critical: [1]}}", "expected a number, found a list"),
        (
            "{name: a, query: x, evidence: some, threshold: {critical: 1}}",
            "expected a mapping or none, found 'some'",
        ),
        (
            "{name: a, query: x, window: 0s, threshold: {critical: 1}}",
            "'0s' is out of range: more than 0s is needed",
        ),
        (
            "{name: a, ratio: {bad: x, total: x}, threshold: {critical: 1%}}",
            "the same: everything would be bad",
        ),
        ("{name: a, ratio: {total: x}, threshold: {critical: 1%}}", "missing key 'bad'"),
        ("{name: a, query: x, match: {job: team}, threshold: {critical: 1}}", "did you mean label.team?"),
        ("{name: a, probe: {url: x}, threshold: {critical: 1 failure}}", "missing key 'kind'"),
        ("{name: a, query: $label, threshold: {critical: 1}}", "did you mean $label.NAME?"),
    ],
)
def test_the_wrong_thing_in_a_place_is_told_as_such(draft: Draft, text: str, said: str) -> None:
    draft.rules += f"  - {text}\n"

    assert any(said in problem for problem in draft.problems()), draft.problems()


def test_several_mistakes_of_one_rule_are_told_at_once(draft: Draft) -> None:
    draft.rule(
        """
name: web latency
unit: second
query: max(latency{a="b")
interval: often
hold: {warning: 1 min, critical: 1m}
treshold: {warning: 0, critical: 1, rolback: 2}
clear: three
"""
    )

    assert draft.problems() == [
        (
            "rules.yaml:13:11: 'web latency' is not a name: "
            "letters, digits, '_', '-' and '.', at most 100, none of '-.' first"
        ),
        "rules.yaml:14:11: 'second' is not one of ratio, seconds, bytes, count, times, none; did you mean 'seconds'?",
        "rules.yaml:15:12: 'max(latency{a=\"b\")': ')' closes nothing",
        "rules.yaml:16:15: unknown interval 'often' (known: critical, extended, normal), or a duration",
        "rules.yaml:17:21: '1 min' is neither a duration such as 1m nor a count such as 2 samples",
        "rules.yaml:18:5: unknown key 'treshold'; did you mean 'threshold'?",
        "rules.yaml:18:41: unknown key 'rolback'; did you mean 'rollback'?",
        "rules.yaml:19:12: 'three' is not a count such as 3 samples",
    ]


def test_a_variable_in_single_quotes_is_moved_into_double_quotes(draft: Draft) -> None:
    rule = _rule(draft, "name: one\nquery: max(x{service='$service'})\nthreshold: {critical: 1}")

    assert rule.form == Query(query='max(x{service="$service"})')
