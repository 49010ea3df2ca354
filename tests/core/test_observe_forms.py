"""Quantiles, rates and gauges: what becomes a value, what no data, what an error; and what a check makes of it."""

from __future__ import annotations

import math
from datetime import timedelta

import msgspec
import pytest

from tests.core.test_observe import NOW, answer, at, failed, no_data, rule, value
from watchdog.core.check import CheckState, Reason, Verdict
from watchdog.core.evaluate import Evaluated, blind, evaluate
from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason, Observation, Value
from watchdog.core.observe import observe
from watchdog.core.rule import (
    Aggregate,
    Direction,
    Evidence,
    Form,
    Gauge,
    Level,
    Quantile,
    Rate,
    Rule,
    Thresholds,
    Unit,
)

P95 = Quantile(of="seconds", q=0.95)
REQUESTS = Rate(of="requests_total")
QUEUE = Gauge(of="queue_depth", by=Aggregate.MAX)
LIMITS = Thresholds(warning=0.5, critical=1.0, rollback=1.5)


def latency(evidence: Evidence | None = Evidence(bound=False), **changes: object) -> Rule:  # noqa: B008  frozen
    made = msgspec.structs.replace(rule(P95, unit=Unit.SECONDS), thresholds=LIMITS, evidence=evidence)
    return msgspec.structs.replace(made, **changes)


def seen(which: Rule, **parts: float | None) -> Value | NoData:
    """What an answer says, sampled now."""
    known: dict[str, float | None] = {"newest": at(0), "samples": 12.0, **parts}
    found = observe(which, answer(warnings=(), since=None, **known), now=NOW)
    assert isinstance(found, Value | NoData), found
    return found


def judged(which: Rule, observation: Observation) -> Evaluated:
    """The same after JSON, as it stands in a record."""
    again = msgspec.json.decode(msgspec.json.encode(observation), type=Value | NoData)
    assert again == observation
    return evaluate(which, CheckState(), again, now=NOW)


def verdict(which: Rule, **parts: float | None) -> Verdict:
    return judged(which, seen(which, **parts)).verdict


# -- rates and gauges


@pytest.mark.parametrize("form", [REQUESTS, QUEUE])
@pytest.mark.parametrize("number", [0.0, 12.5])
def test_a_number_is_a_value_zero_included(form: Form, number: float) -> None:
    found = value(
        observe(rule(form, unit=Unit.COUNT), answer(value=number, newest=at(-5), samples=12), now=NOW)
    )

    assert (found.value, found.events, found.bad, found.more) == (number, None, None, False)
    assert found.at == NOW - timedelta(seconds=5)
    assert found.scrape_interval == timedelta(seconds=55 / 12)


@pytest.mark.parametrize("form", [REQUESTS, QUEUE, P95])
def test_nothing_is_no_data(form: Form) -> None:
    nothing = answer(value=None, highest=None, events=None, newest=None, samples=None)

    assert no_data(observe(rule(form, unit=Unit.COUNT), nothing, now=NOW)) is NoDataReason.EMPTY


@pytest.mark.parametrize("form", [REQUESTS, QUEUE, P95])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_no_data(form: Form, number: float) -> None:
    odd = answer(value=number, highest=1.0, events=100.0, newest=at(0), samples=12)

    assert no_data(observe(rule(form, unit=Unit.COUNT), odd, now=NOW)) is NoDataReason.NOT_A_NUMBER


@pytest.mark.parametrize("form", [REQUESTS, QUEUE, P95])
def test_a_series_that_nobody_shows_any_more_is_stale(form: Form) -> None:
    left = answer(value=1.0, highest=2.0, events=5.0, newest=None, samples=3)
    old = answer(value=1.0, highest=2.0, events=5.0, newest=at(-31), samples=None)

    for gone in (left, old):
        assert no_data(observe(rule(form, unit=Unit.COUNT), gone, now=NOW)) is NoDataReason.STALE


@pytest.mark.parametrize("form", [REQUESTS, QUEUE, P95])
def test_with_unit_ratio_a_value_is_a_share(form: Form) -> None:
    def share(number: float) -> Value | NoData | Failed:
        given = answer(value=number, highest=9.0, events=5.0, newest=at(0), samples=3)
        return observe(rule(form, unit=Unit.RATIO), given, now=NOW)

    assert isinstance(share(0.5), Value)
    for wrong in (1.5, -0.1):
        assert failed(share(wrong)) is FailReason.OUT_OF_RANGE


def test_a_rate_is_never_negative_and_a_gauge_may_be() -> None:
    below = answer(value=-3.0, newest=at(0), samples=12)

    assert failed(observe(rule(REQUESTS, unit=Unit.COUNT), below, now=NOW)) is FailReason.OUT_OF_RANGE
    assert value(observe(rule(QUEUE, unit=Unit.COUNT), below, now=NOW)).value == -3


def test_a_total_outage_is_a_rate_of_zero_and_known() -> None:
    outage = msgspec.structs.replace(
        rule(REQUESTS, unit=Unit.COUNT), direction=Direction.BELOW, thresholds=Thresholds(critical=2.0)
    )

    assert verdict(outage, value=0.0).level is Level.CRITICAL


@pytest.mark.parametrize(
    ("form", "unit", "said"),
    [
        (REQUESTS, Unit.COUNT, "12.5 a second in 1m, above 10"),
        (REQUESTS, Unit.BYTES, "12.5B a second in 1m, above 10B"),
        (REQUESTS, Unit.NONE, "12.5 a second in 1m, above 10"),
        (REQUESTS, Unit.SECONDS, "12.5s, above 10s"),
        (QUEUE, Unit.COUNT, "12.5, above 10"),
        (QUEUE, Unit.BYTES, "12.5B, above 10B"),
    ],
)
def test_a_number_is_said_in_its_unit(form: Form, unit: Unit, said: str) -> None:
    which = msgspec.structs.replace(rule(form, unit=unit), thresholds=Thresholds(critical=10.0))

    assert verdict(which, value=12.5).explanation == said


# -- quantiles


def test_a_quantile_has_the_events_of_its_histogram() -> None:
    found = value(observe(latency(), answer(value=0.3, highest=1.0, events=412.0, newest=at(-5)), now=NOW))

    assert (found.value, found.events, found.bad, found.more) == (0.3, 412.0, None, False)
    assert verdict(latency(), value=0.8, highest=1.0, events=412.0).explanation == (
        "800ms from 412 events in 1m, above 500ms"
    )


@pytest.mark.parametrize("nothing", [math.nan, None])
def test_a_quantile_of_nothing_is_too_few_events_and_never_blindness(nothing: float | None) -> None:
    silent = latency(blind_after=timedelta())
    result = judged(silent, seen(silent, value=nothing, highest=nothing, events=0.0))

    assert (result.verdict.level, result.verdict.reason) == (Level.UNKNOWN, Reason.TOO_FEW_EVENTS)
    assert result.verdict.explanation == "there are too few events: no events in the window"
    assert not blind(silent, result.state, NOW)
    assert verdict(latency(), value=9.0, highest=10.0, events=19.0).reason is Reason.TOO_FEW_EVENTS


@pytest.mark.parametrize("evidence", [None, Evidence(min_events=0, bound=False)])
def test_where_no_events_are_wanted_a_quantile_of_nothing_is_no_data(evidence: Evidence | None) -> None:
    silent = latency(evidence, blind_after=timedelta())
    result = judged(silent, seen(silent, value=math.nan, highest=math.nan, events=0.0))

    assert result.verdict.reason is Reason.EMPTY
    assert blind(silent, result.state, NOW)


def test_events_that_are_no_number_are_no_data() -> None:
    for odd in (math.nan, math.inf):
        found = seen(latency(), value=0.3, highest=1.0, events=odd)
        assert isinstance(found, NoData)
        assert found.reason is NoDataReason.NOT_A_NUMBER


def test_negative_events_are_impossible() -> None:
    wrong = answer(value=0.3, highest=1.0, events=-5.0, newest=at(0), samples=12)

    assert failed(observe(latency(), wrong, now=NOW)) is FailReason.OUT_OF_RANGE


@pytest.mark.parametrize(
    ("bound", "level"),
    [
        (0.5, Level.WARNING),
        (0.75, Level.WARNING),
        (1.0, Level.CRITICAL),
        (1.5, Level.ROLLBACK),
        (10, Level.ROLLBACK),
    ],
)
def test_a_quantile_beyond_the_last_bucket_is_worse_than_that_buckets_bound(
    bound: float, level: Level
) -> None:
    said = verdict(latency(), value=bound, highest=bound, events=412.0)

    assert (said.level, said.reason) == (level, Reason.BEYOND)
    assert said.explanation.startswith("more than ")
    assert "just" not in said.explanation  # nobody knows that


@pytest.mark.parametrize(
    ("bound", "direction", "known"),
    [
        (0.49, Direction.ABOVE, False),
        (0.5, Direction.ABOVE, True),
        (0.49, Direction.BELOW, False),
        (0.5, Direction.BELOW, True),
        (2.0, Direction.BELOW, True),
    ],
)
def test_where_the_last_bucket_does_not_reach_the_mildest_threshold_nobody_can_tell(
    bound: float, direction: Direction, *, known: bool
) -> None:
    limits = LIMITS if direction is Direction.ABOVE else Thresholds(warning=0.5, critical=0.2)
    which = latency(direction=direction, thresholds=limits, blind_after=timedelta())
    result = judged(which, seen(which, value=bound, highest=bound, events=412.0))

    if known:
        expected = Level.WARNING if direction is Direction.ABOVE else Level.OK
        assert result.verdict.level is expected
        return
    assert (result.verdict.level, result.verdict.reason) == (Level.UNKNOWN, Reason.BEYOND_BUCKETS)
    assert result.verdict.explanation == (
        "more than 490ms from 412 events in 1m: the histogram has no bucket up to 500ms, so nobody can tell"
    )
    assert blind(which, result.state, NOW)


def test_too_few_events_are_said_before_buckets_that_are_too_small() -> None:
    assert verdict(latency(), value=0.1, highest=0.1, events=5.0).reason is Reason.TOO_FEW_EVENTS


def test_a_lowest_bucket_up_to_zero_is_not_the_last_one() -> None:
    found = seen(latency(), value=-1.0, highest=-1.0, events=100.0)

    assert isinstance(found, Value)
    assert not found.more
