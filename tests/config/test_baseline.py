from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config.tiny_providers import TINY
from watchdog.config.load import Registries, load
from watchdog.config.loaded import Configuration
from watchdog.config.margins import margins_of, usual_margins
from watchdog.config.problems import InvalidConfiguration
from watchdog.core.rule import Against, Baseline, Direction, Rule, Thresholds
from watchdog.core.two_samples import TwoSample

ABOVE, BELOW = Direction.ABOVE, Direction.BELOW

MAIN = """
version: 1
rules: [rules.yaml]
sources:
  numbers: {source}
services:
  - name: trips
    rules: [it]
    traffic: {{kind: haproxy, socket: /run/h.sock, backend: trips, variants: {{blue: a, green: b}}}}
channels: {{log: {{kind: log}}}}
routes: [{{to: [log]}}]
"""
PROMETHEUS = '{kind: prometheus, url: "http://127.0.0.1:9090"}'
SCRAPE = '{kind: scrape, urls: ["http://127.0.0.1:8081/metrics"]}'


def _loaded(folder: Path, rule: str, *, source: str, registries: Registries | None) -> Configuration:
    (folder / "main.yaml").write_text(MAIN.format(source=source))
    lines = "".join(f"    {line}\n" for line in rule.strip().splitlines())
    (folder / "rules.yaml").write_text(f"version: 1\nrules:\n  - name: it\n{lines}")
    return load(folder / "main.yaml", environ={}, registries=registries)


def _rule(folder: Path, baseline: str, *, more: str = "", source: str = PROMETHEUS) -> Rule:
    rule = f'rate: http_requests_total{{version="$version"}}\nbaseline: {baseline}\n{more}'
    return _loaded(folder, rule, source=source, registries=TINY).rules["it"]


def test_the_example_of_the_language_reads_as_it_says(tmp_path: Path) -> None:
    written = "{against: before-deployment, worse_by: {warning: 30%, critical: 50%, rollback: 150%}}"
    rule = _rule(tmp_path, written, more="unit: count\ndirection: below")

    margins = Thresholds(warning=0.3, critical=0.5, rollback=0.75)
    assert rule.baseline == Baseline(against=Against.BEFORE_DEPLOYMENT, margins=margins)
    assert rule.thresholds == Thresholds()
    assert rule.can_roll_back


def test_a_duration_and_another_version_can_be_compared_with(tmp_path: Path) -> None:
    for written, against, ago in (
        ("24h", Against.EARLIER, timedelta(hours=24)),
        ("1m", Against.EARLIER, timedelta(minutes=1)),
        ("previous-version", Against.PREVIOUS_VERSION, None),
    ):
        baseline = _rule(tmp_path, f"{{against: {written}, worse_by: {{rollback: 2}}}}").baseline
        assert baseline == Baseline(against=against, ago=ago, margins=Thresholds(rollback=2.0))


def test_what_is_usual_is_that_of_two_weeks_and_is_counted_in_deviations(tmp_path: Path) -> None:
    written = "worse_by: {warning: 4 deviations, critical: 5 deviations, rollback: 150%}"
    more = "match: {service: name}"
    margins = Thresholds(warning=4.0, critical=5.0, rollback=7.5)
    for over, days in (("", 14.0), ("over: 3d12h, ", 3.5)):
        rule = f"rate: http_requests_total\nbaseline: {{against: usual, {over}{written}}}\n{more}"
        loaded = _loaded(tmp_path, rule, source=PROMETHEUS, registries=TINY).rules["it"]
        assert loaded.baseline == Baseline(against=Against.USUAL, margins=margins, over=timedelta(days=days))


@pytest.mark.parametrize(
    "form",
    [
        "ratio: {bad: 'x{version=\"$version\"}', total: 'y{version=\"$version\"}'}",
        "quantile: {of: 'x{version=\"$version\"}', q: 0.95}",
        "gauge: {of: 'x{pod=~\"web-$variant-.*\"}', by: max}",
    ],
)
def test_what_is_usual_of_any_version_is_known_where_it_is_no_sum_of_them(tmp_path: Path, form: str) -> None:
    written = "baseline: {against: usual, worse_by: {rollback: 6 deviations}}"
    rule = _loaded(tmp_path, f"{form}\n{written}", source=PROMETHEUS, registries=TINY).rules["it"]
    assert rule.per_version
    assert rule.can_roll_back


def test_the_test_of_two_samples_has_defaults_and_takes_others(tmp_path: Path) -> None:
    for written, test in (
        ("mann-whitney", TwoSample()),
        ("{}", TwoSample()),
        (
            "{confidence: 95%, effect: 64%, samples: 12}",
            TwoSample(confidence=0.95, effect=0.64, samples=12),
        ),
    ):
        rule = _rule(tmp_path, f"{{against: previous-version, test: {written}, worse_by: {{rollback: 0.5}}}}")
        assert rule.baseline is not None
        assert rule.baseline.test == test


def test_where_less_is_worse_only_as_many_deviations_as_can_be_reached_are_taken() -> None:
    (mistake,) = usual_margins({"critical": "4 deviations"}, most=4.0)[1]
    assert mistake.message == (
        "'4 deviations' can never be reached: with `direction: below` a deviation is at least 25% of what is usual; "
        "write fewer than 4"
    )
    assert usual_margins({"critical": "3.99 deviations"}, most=4.0)[1] == []
    assert usual_margins({"critical": "4 deviations"}, most=None)[1] == []


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        ("rate: x\ndirection: below", True),
        ("rate: x\ndirection: above", False),
        ("query: x\ndirection: below\nevidence: none", False),
        ("ratio: {bad: x, total: y}\ndirection: below", False),
    ],
)
def test_what_cannot_be_negative_is_never_so_many_deviations_below(
    tmp_path: Path, more: str, *, refused: bool
) -> None:
    rule = f"{more}\nbaseline: {{against: usual, worse_by: {{rollback: 9 deviations}}}}"
    if not refused:
        assert _loaded(tmp_path, rule, source=PROMETHEUS, registries=TINY).rules["it"].can_roll_back
        return
    with pytest.raises(InvalidConfiguration) as caught:
        _loaded(tmp_path, rule, source=PROMETHEUS, registries=TINY)
    assert "can never be reached" in caught.value.problems[0].message


@given(st.text(max_size=12), st.sampled_from([None, 3.0]))
def test_no_text_of_deviations_is_a_traceback(text: str, most: float | None) -> None:
    usual_margins({"warning": text, "critical": text + " deviations", "rollback": text + "%"}, most=most)


def test_a_rule_without_a_margin_for_rollback_never_rolls_back(tmp_path: Path) -> None:
    armed = 'rate: x{version="$version"}\nbaseline: {against: 24h, worse_by: {critical: 50%}}'
    with pytest.raises(InvalidConfiguration) as caught:
        _loaded(tmp_path, armed, source=PROMETHEUS, registries=TINY)

    assert [it.message for it in caught.value.problems] == [
        "no rule is armed: no service uses a rule with a `rollback` threshold"
    ]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "{against: 24h, worse_by: {rollback: 0.75}}",
            "1d ago, and the samples before that, is more than a scrape source remembers",
        ),
        ("{against: 31m, worse_by: {rollback: 0.75}}", "; write at most 30m"),
        (
            "{against: usual, over: 1h, worse_by: {rollback: 2 deviations}}",
            "what is usual in 1h is more than a scrape source remembers (1h); ask a source of kind prometheus",
        ),
        (
            "{against: before-deployment, worse_by: {rollback: 0.75}}\nwindow: 30m",
            "; write a window of at most",
        ),
    ],
)
def test_a_scrape_source_refuses_what_it_cannot_remember(tmp_path: Path, written: str, said: str) -> None:
    rule = f"rate: x\nbaseline: {written}\ndirection: below"
    with pytest.raises(InvalidConfiguration) as caught:
        _loaded(tmp_path, rule, source=SCRAPE, registries=None)

    (problem,) = caught.value.problems
    assert said in problem.message
    assert (problem.at.line, problem.at.column) == (5, 25)


@pytest.mark.parametrize("against", ["before-deployment", "previous-version", "30m", "15m"])
def test_a_scrape_source_takes_what_it_remembers(tmp_path: Path, against: str) -> None:
    rule = f'rate: x{{version="$version"}}\nbaseline: {{against: {against}, worse_by: {{rollback: 0.75}}}}'
    rules = _loaded(tmp_path, rule, source=SCRAPE, registries=None).rules

    assert rules["it"].can_roll_back


def _said(direction: Direction, **written: str) -> list[str]:
    return [it.message for it in margins_of(written, direction=direction)[1]]


def test_the_rollback_percentage_is_a_share_of_criticals_margin() -> None:
    margins, mistakes = margins_of({"critical": "0.2", "rollback": "150%"}, direction=BELOW)

    assert mistakes == []
    assert margins == Thresholds(critical=0.2, rollback=0.3)
    assert margins_of({"critical": "80%", "rollback": "150%"}, direction=ABOVE)[0].rollback == 1.2
    assert margins_of({"critical": "80%", "rollback": "1.1"}, direction=ABOVE)[0].rollback == 1.1


def test_only_what_would_be_taken_is_proposed() -> None:
    (said,) = _said(BELOW, critical="60%", rollback="100%")
    assert said.startswith(
        "rollback (60%) must be above critical (60%); a percentage here is a share of critical"
    )
    assert said.endswith(", so more than 100% is needed, not 100%")
    assert "write 0.9 for a margin of its own" in _said(BELOW, critical="60%", rollback="90%")[0]
    (said,) = _said(BELOW, critical="1")
    assert said.startswith("'1' can never be reached: with `direction: below` nothing is that much below")
    assert said.endswith("; did you mean 1%?")
    assert _said(ABOVE, critical="100%", rollback="-150%")[0].startswith("rollback (-150%) must be above")


@given(
    st.sampled_from([ABOVE, BELOW]),
    st.floats(min_value=0.001, max_value=0.6),
    st.floats(min_value=1.01, max_value=1.6),
)
def test_margins_that_are_taken_get_worse_and_can_be_reached(
    direction: Direction, critical: float, share: float
) -> None:
    written = {"critical": f"{critical:.4f}", "rollback": f"{share * 100:.2f}%"}
    margins, mistakes = margins_of(written, direction=direction)

    assert margins.critical is not None
    if mistakes:
        return
    assert margins.rollback is not None
    assert margins.rollback > margins.critical > 0
    assert direction is ABOVE or margins.rollback < 1


@given(st.text(max_size=8))
def test_no_text_is_a_traceback(text: str) -> None:
    margins_of({"warning": text, "critical": text, "rollback": text + "%"}, direction=BELOW)
