"""Whole arrays of answers become what `observe` makes of each of them: the one promise, over any answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.core.burning import Slo
from watchdog.core.observation import Answer, Failed, FailReason, NoData, NoDataReason, Value
from watchdog.core.observe import observe
from watchdog.core.promql import parts_of
from watchdog.core.rule import (
    Aggregate,
    Evidence,
    Form,
    Gauge,
    ProbeForm,
    Quantile,
    Query,
    Rate,
    Ratio,
    Rule,
    Thresholds,
    Unit,
)
from watchdog.lab.observing import Seen, observed
from watchdog.lab.range_points import FAILED, FINE, PARTIAL, Points

BEGIN, STEP = 1_767_225_600, 30
FORMS: tuple[Form, ...] = (
    Ratio(bad="bad", total="total"),
    Quantile(of="seconds", q=0.95),
    Rate(of="requests_total"),
    Gauge(of="queue", by=Aggregate.MAX),
    Query(query="x"),
    Query(query="x", events="y"),
    Query(query="x", events="y", freshness="z"),
)
NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 1 + 5e-7, 1 + 5e-6, -5e-7, 100.0, math.nan, math.inf, -math.inf, 1e300]),
    st.floats(0, 1),
    st.floats(0, 1e6),
)
AGES = st.one_of(st.floats(-20, 200), st.sampled_from([0.0, -5.0, 30.0, 60.0, 60.1, math.nan]))
SAMPLES = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 2.0, 4.0, 1e7, math.nan]), st.floats(0, 100))


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    form = draw(st.sampled_from(FORMS))
    evidence = draw(st.sampled_from([None, Evidence(), Evidence(min_events=0)]))
    return Rule(
        name="rule",
        form=form,
        unit=draw(st.sampled_from([Unit.RATIO, Unit.SECONDS])),
        window=timedelta(seconds=draw(st.sampled_from([30, 60, 300]))),
        max_age=draw(st.sampled_from([None, None, timedelta(seconds=45)])),
        evidence=evidence,
        thresholds=Thresholds(critical=0.5),
    )


@st.composite
def answers(draw: st.DrawFn, rule: Rule) -> tuple[dict[str, list[float]], int]:
    """The series of every part at one moment (ages in place of times), and how it was answered."""
    assert not isinstance(rule.form, ProbeForm)
    parts: dict[str, list[float]] = {}
    for part in parts_of(rule.form, rule.window):
        numbers = {"newest": AGES, "samples": SAMPLES}.get(part, NUMBERS)
        parts[part] = draw(
            st.lists(numbers, max_size=1) if draw(st.integers(0, 9)) else st.lists(numbers, max_size=2)
        )
    if "highest" in parts and parts["value"] and draw(st.booleans()):
        parts["highest"] = list(parts["value"])
    if "bad" in parts and parts["total"] and draw(st.booleans()):
        parts["bad"] = [parts["total"][0] * draw(st.sampled_from([0.0, 0.3, 1.0, 1 + 5e-7, 2.0]))]
    return parts, draw(st.sampled_from([FINE, FINE, FINE, FINE, FINE, PARTIAL, FAILED]))


def points(series: Sequence[Sequence[float]], flags: Sequence[int]) -> Points:
    return Points(
        values=np.array([one[0] if len(one) == 1 else math.nan for one in series], dtype=np.float64),
        series=np.array([len(one) for one in series], dtype=np.uint16),
        flags=np.array(flags, dtype=np.uint8),
    )


def one_by_one(
    rule: Rule, asked: Sequence[tuple[dict[str, list[float]], int]]
) -> list[Value | NoData | Failed]:
    found: list[Value | NoData | Failed] = []
    for index, (parts, flag) in enumerate(asked):
        now = datetime.fromtimestamp(BEGIN + STEP * index, UTC)
        answer: Answer | Failed = Answer(
            parts={part: tuple(numbers) for part, numbers in parts.items()},
            evaluated_at=now,
            warnings=("half of it is missing",) if flag == PARTIAL else (),
        )
        if flag == FAILED:
            answer = Failed(reason=FailReason.QUERY_ERROR)
        found.append(observe(rule, answer, now=now))
    return found


def together(rule: Rule, asked: Sequence[tuple[dict[str, list[float]], int]]) -> Seen:
    times = BEGIN + STEP * np.arange(len(asked), dtype=np.float64)
    parts = {
        part: points([parts[part] for parts, _ in asked], [flag for _, flag in asked]) for part in asked[0][0]
    }
    return observed(rule, parts, times)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rule, list[tuple[dict[str, list[float]], int]]]:
    rule = draw(rules())
    asked = draw(st.lists(answers(rule), min_size=1, max_size=12))
    for index, (parts, _) in enumerate(asked):
        if "newest" in parts:
            parts["newest"] = [BEGIN + STEP * index - age for age in parts["newest"]]
    return rule, asked


@given(case=cases())
@settings(max_examples=300, deadline=None)
def test_arrays_of_answers_become_what_each_would_have_become_alone(
    case: tuple[Rule, list[tuple[dict[str, list[float]], int]]],
) -> None:
    rule, asked = case
    seen = together(rule, asked)
    reasons: dict[str, int] = {}
    for index, alone in enumerate(one_by_one(rule, asked)):
        told = (asked[index], alone)
        if not isinstance(alone, Value):
            reasons[alone.reason] = reasons.get(alone.reason, 0) + 1
        match alone:
            case Value():
                assert seen.values[index] == alone.value, told
                assert abs(seen.sampled[index] - alone.at.timestamp()) < 1e-6, told
                assert (seen.events is None) == (alone.events is None), told
                assert seen.events is None or seen.events[index] == alone.events, told
                assert (seen.bad is None) == (alone.bad is None), told
                assert seen.bad is None or seen.bad[index] == alone.bad, told
                assert bool(seen.more[index]) == alone.more, told
                assert not seen.failed[index], told
            case NoData():
                assert math.isnan(seen.values[index]), told
                assert not seen.failed[index], told
            case Failed():
                assert math.isnan(seen.values[index]), told
                assert seen.failed[index], told
    if all(len(numbers) < 2 for parts, _ in asked for numbers in parts.values()):
        assert seen.reasons == reasons


def test_where_nothing_happened_there_are_no_events_and_no_value() -> None:
    rule = Rule(
        name="errors",
        form=FORMS[0],
        unit=Unit.RATIO,
        evidence=Evidence(),
        thresholds=Thresholds(critical=0.1),
    )
    fine: dict[str, list[float]] = {"bad": [], "total": [100.0], "newest": [BEGIN], "samples": [2.0]}
    seen = together(rule, [(fine, FINE), ({**fine, "total": [0.0]}, FINE), ({**fine, "total": []}, FINE)])
    assert seen.events is not None
    assert seen.events.tolist()[:2] == [100, 0]
    assert math.isnan(seen.events[2])
    assert seen.reasons == {NoDataReason.EMPTY: 2}


def test_a_quantile_of_nothing_is_too_few_events() -> None:
    rule = Rule(
        name="slow", form=FORMS[1], unit=Unit.SECONDS, evidence=Evidence(), thresholds=Thresholds(critical=1)
    )
    parts = {
        "value": [math.nan],
        "highest": [math.nan],
        "events": [0.0],
        "newest": [float(BEGIN)],
        "samples": [2.0],
    }
    seen = together(rule, [(parts, FINE)])
    assert seen.reasons == {NoDataReason.TOO_FEW_EVENTS: 1}
    assert seen.events is not None
    assert seen.events.tolist() == [0]


def test_counts_of_another_window_that_cannot_be_true_make_the_answer_an_error() -> None:
    slo = Slo(objective=0.99)
    rule = Rule(
        name="errors",
        form=FORMS[0],
        unit=Unit.TIMES,
        slo=slo,
        window=slo.windows[0],
        thresholds=Thresholds(critical=6),
    )
    names = parts_of(Ratio(bad="bad", total="total"), rule.window, windows=rule.windows)
    fine = {name: [10.0 if name.startswith("bad") else 100.0] for name in names} | {
        "newest": [float(BEGIN)],
        "samples": [9.0],
    }
    longer = next(name for name in names if name.startswith("bad_"))
    asked = [(fine, FINE), ({**fine, longer: [500.0], "newest": [float(BEGIN + STEP)]}, FINE)]
    assert [type(one) for one in one_by_one(rule, asked)] == [Value, Failed]
    seen = together(rule, asked)
    assert seen.values[0] == 0.1, "the share of the shortest window"
    assert seen.failed.tolist() == [False, True]


def test_a_probe_is_not_answered_by_a_source() -> None:
    probe = Rule(name="up", form=ProbeForm(kind="http", settings={}), thresholds=Thresholds(critical=1))
    with pytest.raises(ValueError, match="is a probe"):
        observed(probe, {}, np.array([float(BEGIN)]))
