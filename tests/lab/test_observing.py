"""Whole arrays of answers become what `observe` makes of each of them: the one promise, over any answers."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

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
ODD = (0.0, 1.0, -1.0, 1 + 5e-7, 1 + 5e-6, -5e-7, 100.0, math.nan, math.inf, -math.inf, 1e300)
AGES = (-20.0, -5.0, -4.9, 0.0, 29.9, 30.0, 30.1, 60.0, 60.1, math.nan)
SAMPLES = (0.0, 0.5, 1.0, 2.0, 4.0, 1e7, math.nan)
#: The series of every part at one moment, and how it was answered.
Given = tuple[dict[str, list[float]], int]


def number(chance: random.Random) -> float:
    """Mostly something plausible."""
    pick = chance.random()
    return chance.choice(ODD) if pick < 0.2 else chance.random() if pick < 0.6 else 1e4 * chance.random()


def given(chance: random.Random, rule: Rule, now: float) -> Given:
    """One answer: mostly one series a part, mostly fresh, with whatever can be odd about it now and then."""
    assert not isinstance(rule.form, ProbeForm)
    parts: dict[str, list[float]] = {}
    for part in parts_of(rule.form, rule.window):
        count = chance.choice((0, 1, 1, 1, 1, 1, 1, 1, 1, 2 if chance.random() < 0.2 else 1))
        parts[part] = [number(chance) for _ in range(count)]
    odd = chance.random() < 0.4
    for part, choices, usual in (("newest", AGES, 5 * chance.random()), ("samples", SAMPLES, 4.0)):
        if part in parts:
            drawn = chance.choice(choices) if odd else usual
            parts[part] = [now - drawn if part == "newest" else drawn] * min(len(parts[part]), 1)
    if parts.get("highest") and parts["value"] and chance.random() < 0.5:
        parts["highest"] = list(parts["value"])
    if parts.get("bad") and parts["total"] and chance.random() < 0.5:
        parts["bad"] = [parts["total"][0] * chance.choice((0.0, 0.3, 1.0, 1 + 5e-7, 2.0))]
    if parts.get("events") and "value" in parts and chance.random() < 0.2:
        parts["events"] = [0.0]
        parts["value"] = [chance.choice((math.nan, 0.5))]
    return parts, chance.choice((FINE,) * 12 + (PARTIAL, FAILED))


def points(series: Sequence[Sequence[float]], flags: Sequence[int]) -> Points:
    return Points(
        values=np.array([one[0] if len(one) == 1 else math.nan for one in series], dtype=np.float64),
        series=np.array([len(one) for one in series], dtype=np.uint16),
        flags=np.array(flags, dtype=np.uint8),
    )


def one_by_one(rule: Rule, asked: Sequence[Given]) -> list[Value | NoData | Failed]:
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


def together(rule: Rule, asked: Sequence[Given]) -> Seen:
    times = BEGIN + STEP * np.arange(len(asked), dtype=np.float64)
    parts = {
        part: points([parts[part] for parts, _ in asked], [flag for _, flag in asked]) for part in asked[0][0]
    }
    return observed(rule, parts, times)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("unit", [Unit.RATIO, Unit.SECONDS])
@pytest.mark.parametrize("evidence", [None, Evidence(), Evidence(min_events=0)], ids=["none", "some", "any"])
@pytest.mark.parametrize("max_age", [None, timedelta(seconds=45)], ids=["learnt", "45s"])
def test_arrays_of_answers_become_what_each_would_have_become_alone(
    form: Form, unit: Unit, evidence: Evidence | None, max_age: timedelta | None
) -> None:
    chance = random.Random(f"{form}{unit}{evidence}{max_age}")
    rule = Rule(
        name="rule",
        form=form,
        unit=unit,
        window=timedelta(seconds=chance.choice((30, 60, 300))),
        max_age=max_age,
        evidence=evidence,
        thresholds=Thresholds(critical=0.5),
    )
    asked = [given(chance, rule, float(BEGIN + STEP * index)) for index in range(250)]
    seen = together(rule, asked)
    alone = one_by_one(rule, asked)
    for index, one in enumerate(alone):
        told = (asked[index], one)
        assert bool(seen.failed[index]) == isinstance(one, Failed), told
        if not isinstance(one, Value):
            assert math.isnan(seen.values[index]), told
            continue
        assert seen.values[index] == one.value, told
        assert abs(seen.sampled[index] - one.at.timestamp()) < 1e-6, told
        assert (seen.events is None) == (one.events is None), told
        assert seen.events is None or seen.events[index] == one.events, told
        assert (seen.bad is None) == (one.bad is None), told
        assert seen.bad is None or seen.bad[index] == one.bad, told
        assert bool(seen.more[index]) == one.more, told
    assert sum(isinstance(one, Value) for one in alone) > 20, "mostly values, or little is held"
    plain = [({part: numbers[:1] for part, numbers in parts.items()}, flag) for parts, flag in asked]
    reasons = Counter(str(one.reason) for one in one_by_one(rule, plain) if not isinstance(one, Value))
    assert together(rule, plain).reasons == reasons


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
