from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.config.thresholds import metric_thresholds, probe_thresholds
from watchdog.core.rule import Direction, Thresholds, Unit

ABOVE, BELOW = Direction.ABOVE, Direction.BELOW


def _limits(unit: Unit, direction: Direction, **written: str) -> Thresholds:
    thresholds, mistakes = metric_thresholds(written, unit=unit, direction=direction)
    assert mistakes == []
    return thresholds


def _mistakes(unit: Unit, direction: Direction, **written: str) -> list[tuple[str, str]]:
    return [(it.level, it.message) for it in metric_thresholds(written, unit=unit, direction=direction)[1]]


@pytest.mark.parametrize(
    ("unit", "direction", "critical", "rollback", "limit"),
    [
        (Unit.RATIO, ABOVE, "1%", "150%", 0.015),
        (Unit.RATIO, ABOVE, "0.01", "150%", 0.015),
        (Unit.RATIO, ABOVE, "0.7%", "150%", 0.0105),
        (Unit.RATIO, ABOVE, "1%", "0.02", 0.02),
        (Unit.RATIO, ABOVE, "66%", "150%", 0.99),
        (Unit.RATIO, BELOW, "99%", "150%", 0.985),
        (Unit.RATIO, BELOW, "99.9%", "150%", 0.9985),
        (Unit.RATIO, BELOW, "99%", "0.98", 0.98),
        (Unit.SECONDS, ABOVE, "1s", "150%", 1.5),
        (Unit.SECONDS, ABOVE, "300ms", "150%", 0.45),
        (Unit.SECONDS, ABOVE, "1s", "2100ms", 2.1),
        (Unit.BYTES, ABOVE, "500Mi", "150%", 786432000),
        (Unit.COUNT, ABOVE, "1k", "150%", 1500),
        (Unit.COUNT, BELOW, "100", "40", 40),
        (Unit.NONE, ABOVE, "-5", "-2", -2),
        (Unit.NONE, ABOVE, "0.1", "150%", 0.15),
    ],
)
def test_a_rollback_limit_is_absolute_or_a_share_of_critical(
    unit: Unit, direction: Direction, critical: str, rollback: str, limit: float
) -> None:
    assert _limits(unit, direction, critical=critical, rollback=rollback).rollback == limit


@pytest.mark.parametrize(
    ("unit", "direction", "written", "level", "said"),
    [
        (Unit.RATIO, ABOVE, {"critical": "70%", "rollback": "150%"}, "rollback", "can never be reached"),
        (Unit.RATIO, ABOVE, {"critical": "100%"}, "critical", "can never be reached: no ratio is above 100%"),
        (Unit.RATIO, ABOVE, {"critical": "-1%"}, "critical", "must be between 0 and 1"),
        (Unit.RATIO, BELOW, {"critical": "0"}, "critical", "can never be reached: no ratio is below 0%"),
        (Unit.RATIO, BELOW, {"critical": "101%"}, "critical", "must be between 0 and 1"),
        (Unit.RATIO, BELOW, {"critical": "20%", "rollback": "150%"}, "rollback", "can never be reached"),
        (Unit.RATIO, ABOVE, {"critical": "0.7", "rollback": "150%"}, "rollback", "can never be reached"),
        (
            Unit.RATIO,
            BELOW,
            {"critical": "100%", "rollback": "150%"},
            "rollback",
            "critical is 100%, of which no percentage is worse; write an absolute limit, for example 0.985",
        ),
        (Unit.SECONDS, BELOW, {"critical": "1s", "rollback": "150%"}, "rollback", "for example 500ms"),
        (Unit.RATIO, BELOW, {"warning": "98%", "critical": "99%"}, "critical", "must be below warning"),
        (
            Unit.RATIO,
            ABOVE,
            {"critical": "0", "rollback": "150%"},
            "rollback",
            "of which no percentage is worse",
        ),
        (Unit.RATIO, ABOVE, {"critical": "1%", "rollback": "100%"}, "rollback", "must be above critical"),
        (Unit.RATIO, ABOVE, {"warning": "2%", "rollback": "0.01"}, "rollback", "must be above warning"),
        (Unit.RATIO, ABOVE, {"critical": "1"}, "critical", "did you mean 1%?"),
        (Unit.COUNT, BELOW, {"critical": "100", "rollback": "150%"}, "rollback", "write an absolute limit"),
        (Unit.NONE, ABOVE, {"critical": "-5", "rollback": "150%"}, "rollback", "critical is -5"),
        (Unit.COUNT, ABOVE, {"critical": "10", "rollback": "50%"}, "rollback", "more than 100% is needed"),
        (Unit.COUNT, ABOVE, {"critical": "10%"}, "critical", "does not fit unit count"),
        (Unit.BYTES, ABOVE, {"critical": "10s"}, "critical", "does not fit unit bytes"),
        (Unit.SECONDS, ABOVE, {"critical": "2"}, "critical", "has no unit"),
        (Unit.SECONDS, ABOVE, {"critical": "soon"}, "critical", "is not a number"),
        (Unit.NONE, ABOVE, {"critical": "5", "warning": "5"}, "critical", "must be above warning"),
        (Unit.NONE, ABOVE, {"critical": "1e300", "rollback": "1e300%"}, "rollback", "too large"),
        (Unit.NONE, ABOVE, {"rollback": "150%"}, "rollback", "there is no critical"),
    ],
)
def test_limits_that_cannot_work_are_refused_at_their_level(
    unit: Unit, direction: Direction, written: dict[str, str], level: str, said: str
) -> None:
    ordered = {it: written[it] for it in ("warning", "critical", "rollback") if it in written}
    ((where, message),) = _mistakes(unit, direction, **ordered)

    assert where == level
    assert said in message


@pytest.mark.parametrize(
    ("direction", "written", "said"),
    [
        (
            ABOVE,
            {"critical": "1%", "rollback": "100%"},
            (
                "rollback (1%) must be above critical (1%); a percentage here is a share of critical, so more than "
                "100% is needed, not 100%"
            ),
        ),
        (
            ABOVE,
            {"critical": "50%", "rollback": "40%"},
            (
                "rollback (20%) must be above critical (50%); a percentage here is a share of critical, so more than "
                "100% is needed, not 40%"
            ),
        ),
        (
            ABOVE,
            {"critical": "1%", "rollback": "5%"},
            (
                "rollback (0.05%) must be above critical (1%); a percentage here is a share of critical; write 0.05 "
                "for an absolute ratio"
            ),
        ),
        (
            BELOW,
            {"critical": "99%", "rollback": "95%"},
            (
                "rollback (99.05%) must be below critical (99%); a percentage here is a share of critical; write 0.95 "
                "for an absolute ratio"
            ),
        ),
        (
            ABOVE,
            {"critical": "70%", "rollback": "150%"},
            "'150%' of critical is 105%, which can never be reached: no ratio is above 100%",
        ),
        (ABOVE, {"critical": "150%"}, "'150%' can never be reached: no ratio is above 100%"),
        (ABOVE, {"critical": "100"}, "'100' can never be reached: no ratio is above 100%"),
        (ABOVE, {"critical": "5"}, "'5' can never be reached: no ratio is above 100%; did you mean 5%?"),
    ],
)
def test_advice_is_given_only_where_it_would_be_taken(
    direction: Direction, written: dict[str, str], said: str
) -> None:
    ((_, message),) = _mistakes(Unit.RATIO, direction, **written)

    assert message == said


def test_a_share_of_a_critical_with_a_mistake_is_not_a_second_mistake() -> None:
    assert [level for level, _ in _mistakes(Unit.SECONDS, ABOVE, critical="2", rollback="150%")] == [
        "critical"
    ]


@pytest.mark.parametrize(
    ("critical", "rollback", "limit"),
    [("3", "150%", 5), ("2", "150%", 3), ("4", "150%", 6), ("1", "101%", 2)],
)
def test_a_share_of_failures_is_rounded_up(critical: str, rollback: str, limit: int) -> None:
    thresholds, mistakes = probe_thresholds({"critical": f"{critical} failures", "rollback": rollback})

    assert mistakes == []
    assert thresholds.rollback == limit


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"critical": "3"}, "is not a count such as 3 failures"),
        ({"critical": "3 samples"}, "is not a count such as 3 failures"),
        ({"critical": "0 failures"}, "at least 1 is needed"),
        ({"critical": "3 failures", "rollback": "100%"}, "must be more than critical (3 failures)"),
        ({"rollback": "150%"}, "there is no critical; write for example 5 failures"),
        ({"critical": "1 failure", "rollback": "1e300%"}, "too large"),
        ({"warning": "3 failures", "rollback": "2 failures"}, "must be more than warning (3 failures)"),
    ],
)
def test_failures_that_cannot_work_are_refused(written: dict[str, str], said: str) -> None:
    (mistake,) = probe_thresholds(written)[1]

    assert said in mistake.message


@settings(derandomize=True, deadline=None)
@given(critical=st.decimals("0.01", "66", places=2), share=st.decimals("100.1", "151", places=1))
def test_a_share_is_what_decimal_arithmetic_on_paper_gives(critical: Decimal, share: Decimal) -> None:
    limits = _limits(Unit.RATIO, ABOVE, critical=f"{critical}%", rollback=f"{share}%")

    assert limits.rollback == float(critical * share / 10_000)
