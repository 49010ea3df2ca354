from __future__ import annotations

import pytest

from tests.core.series import at, errors, query_rule, ratio_rule
from watchdog.core.check import Reason
from watchdog.core.judge import Judgement, beyond, judge
from watchdog.core.observation import Value
from watchdog.core.rule import Direction, Level, Thresholds

PLENTY = ((at(0), 1000.0),)


@pytest.mark.parametrize(
    ("value", "direction", "is_beyond"),
    [
        (1.1, Direction.ABOVE, True),
        (1.0, Direction.ABOVE, False),
        (0.9, Direction.ABOVE, False),
        (0.9, Direction.BELOW, True),
        (1.0, Direction.BELOW, False),
        (1.1, Direction.BELOW, False),
    ],
)
def test_beyond_is_strict_on_both_sides(value: float, direction: Direction, *, is_beyond: bool) -> None:
    assert beyond(value, 1.0, direction) is is_beyond


def test_a_sample_within_all_thresholds_names_the_mildest() -> None:
    within = Judgement(level=Level.OK, reason=Reason.WITHIN, limit=0.005)
    assert judge(ratio_rule(), errors(0.005, 0), PLENTY) == within


def test_a_sample_beyond_all_thresholds_names_the_worst() -> None:
    breached = Judgement(level=Level.ROLLBACK, reason=Reason.BEYOND, limit=0.015)
    assert judge(ratio_rule(), errors(0.5, 0), PLENTY) == breached


def test_a_level_that_was_not_believed_is_named_beside_the_one_that_was() -> None:
    # 2 % of 1000 is beyond rollback, and only known to be beyond 1.2 %.
    found = judge(ratio_rule(), errors(0.02, 0), PLENTY)
    assert (found.level, found.limit, found.worse) == (Level.CRITICAL, 0.01, 0.015)
    assert found.lacking == "with 99% confidence it is only known to be beyond 1.2%"


def test_of_several_levels_that_were_not_believed_the_worst_is_named() -> None:
    found = judge(ratio_rule(), Value(value=0.025, at=at(0), events=40.0, bad=1.0), PLENTY)
    assert (found.level, found.reason, found.limit) == (Level.OK, Reason.NOT_SIGNIFICANT, 0.015)
    assert found.worse == 0.015


def test_levels_without_thresholds_are_passed_over() -> None:
    rule = query_rule(Thresholds(warning=1, rollback=9))
    assert judge(rule, Value(value=5.0, at=at(0)), ()).level is Level.WARNING
    assert judge(rule, Value(value=9.5, at=at(0)), ()).level is Level.ROLLBACK
