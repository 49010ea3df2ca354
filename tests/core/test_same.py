from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tests.core.scenario import rule
from watchdog.core.rule import Direction, Evidence, Holds, Lasting, Severities, Severity, Thresholds
from watchdog.core.same import same_judgement, same_question


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"summary": "words"},
        {"runbook": "https://runbooks.example.com/x"},
        {"dashboard": "https://grafana.example.com/x"},
        {"tags": ("web",)},
        {"interval": timedelta(seconds=1)},
        {"blind_after": timedelta(hours=1)},
        {"severity": Severities(critical=Severity.LOW)},
    ],
)
def test_words_and_pace_are_no_judgement(changes: dict[str, Any]) -> None:
    assert same_judgement(rule(), rule(**changes))
    assert same_question(rule(), rule(**changes))
    assert rule().question == rule(**changes).question
    assert rule().judgement == rule(**changes).judgement


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
    assert rule().judgement != rule(**changes).judgement


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"clear": 9}, True),
        ({"hold": Holds(warning=Lasting(timedelta(hours=1)))}, True),
        ({"thresholds": Thresholds(critical=19.0)}, True),
        ({"evidence": Evidence(min_events=1)}, True),
        ({"window": timedelta(minutes=9)}, False),
        ({"source": "other"}, False),
        ({"direction": Direction.BELOW}, False),
        ({"query": "up"}, False),
    ],
)
def test_a_question_is_the_same_whatever_is_called_critical(changes: dict[str, Any], same: bool) -> None:
    assert same_question(rule(), rule(**changes)) is same
    assert (rule().question == rule(**changes).question) is same


def test_a_rule_without_a_dashboard_has_the_hash_that_old_records_have() -> None:
    old = {
        name: value
        for name, value in rule().plain.items()
        if name not in ("dashboard", "baseline", "match", "slo")
    }
    assert rule().hash == hashlib.sha256(msgspec.json.encode(old, order="sorted")).hexdigest()[:16]
    assert rule(dashboard="https://grafana.example.com/x").hash != rule().hash
