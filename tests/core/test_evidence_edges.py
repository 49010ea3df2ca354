"""Evidence that is not asked for, or cannot be asked for, is not missed."""

from __future__ import annotations

import pytest

from tests.core.scenario import T0, rule
from watchdog.core.evidence import shortfall
from watchdog.core.observation import Value
from watchdog.core.rule import Evidence, Level, Ratio

RATIO = Ratio(bad="bad", total="all")


@pytest.mark.parametrize(
    ("evidence", "value"),
    [
        (None, Value(value=0.5, at=T0, events=2, bad=1)),
        (Evidence(bound=False), Value(value=0.5, at=T0, events=2, bad=1)),
        (Evidence(bound=True), Value(value=0.5, at=T0, events=None, bad=1)),
        (Evidence(bound=True), Value(value=0.5, at=T0, events=2, bad=None)),
    ],
)
def test_where_no_bound_can_be_asked_for_nothing_is_missing(evidence: Evidence | None, value: Value) -> None:
    made = rule(form=RATIO, evidence=evidence)

    assert shortfall(made, Level.CRITICAL, 0.4999, value, ()) is None


def test_where_it_can_be_asked_for_two_events_are_not_enough() -> None:
    made = rule(form=RATIO, evidence=Evidence(bound=True))

    assert shortfall(made, Level.CRITICAL, 0.4999, Value(value=0.5, at=T0, events=2, bad=1), ()) is not None
