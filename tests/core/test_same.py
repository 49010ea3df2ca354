from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.core.scenario import rule
from watchdog.core.rule import Direction, Evidence, Holds, Lasting, Severities, Severity, Thresholds
from watchdog.core.same import same_judgement, speaks_for


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"summary": "words"},
        {"runbook": "https://runbooks.example.com/x"},
        {"tags": ("web",)},
        {"interval": timedelta(seconds=1)},
        {"blind_after": timedelta(hours=1)},
        {"severity": Severities(critical=Severity.LOW)},
    ],
)
def test_words_and_pace_are_no_judgement(changes: dict[str, Any]) -> None:
    assert same_judgement(rule(), rule(**changes))
    assert speaks_for(rule(), rule(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"query": "up"},
        {"window": timedelta(minutes=9)},
        {"source": "other"},
        {"direction": Direction.BELOW},
        {"thresholds": Thresholds(critical=1.0)},
        {"hold": Holds(warning=Lasting(timedelta(hours=1)))},
        {"clear": 9},
        {"evidence": Evidence(min_events=1)},
        {"max_age": timedelta(seconds=1)},
    ],
)
def test_everything_else_is(changes: dict[str, Any]) -> None:
    assert not same_judgement(rule(), rule(**changes))


@pytest.mark.parametrize(
    ("changes", "speaks"),
    [
        ({"clear": 9}, True),
        ({"hold": Holds(warning=Lasting(timedelta(hours=1)))}, True),
        ({"thresholds": Thresholds(warning=1.0, critical=20.0)}, True),
        ({"thresholds": Thresholds(critical=21.0)}, True),
        ({"thresholds": Thresholds(critical=19.0)}, False),
        ({"thresholds": Thresholds(warning=10.0)}, False),
        ({"evidence": Evidence(min_events=1)}, False),
        ({"window": timedelta(minutes=9)}, False),
        ({"query": "up"}, False),
    ],
)
def test_a_rule_speaks_for_one_that_calls_less_critical(changes: dict[str, Any], speaks: bool) -> None:
    assert speaks_for(rule(), rule(**changes)) is speaks


@pytest.mark.parametrize(("critical", "speaks"), [(19.0, True), (20.0, True), (21.0, False)])
def test_below_is_the_other_way_round(critical: float, speaks: bool) -> None:
    changed = rule(direction=Direction.BELOW, thresholds=Thresholds(critical=critical))
    assert speaks_for(rule(direction=Direction.BELOW), changed) is speaks
