"""Evidence that lies, is old, or is not there: whatever it says, nothing is judged on it and nothing is switched.

The rows of part A of the failure catalogue, each as its acceptance check says it, in virtual time. What real servers
do is tested where they are: `tests/sources`, `tests/contracts`, `tests/faults`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.scenario import AT_ONCE, OK, ROLLBACK, T0, WARNING, Scenario, of_service, probe, rule
from watchdog.core.check import CheckState, Reason, Verdict
from watchdog.core.deployment import DeploymentState
from watchdog.core.evaluate import evaluate
from watchdog.core.incident import IncidentKind
from watchdog.core.measure import measure
from watchdog.core.observation import Answer, FailReason, Value
from watchdog.core.observe import observe
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import (
    Aggregate,
    Gauge,
    Level,
    MetricForm,
    Quantile,
    Query,
    Rate,
    Ratio,
    Rule,
    Thresholds,
    Unit,
)
from watchdog.core.series import Memory, Scraped

#: Every form, with an answer that is ten times as bad as critical.
AWFUL: dict[str, tuple[MetricForm, dict[str, float]]] = {
    "ratio": (Ratio(bad="bad_total", total="all_total"), {"bad": 200.0, "total": 1000.0}),
    "quantile": (Quantile(of="seconds", q=0.95), {"value": 0.2, "highest": 9.0, "events": 1000.0}),
    "rate": (Rate(of="bad_total"), {"value": 0.2}),
    "gauge": (Gauge(of="depth", by=Aggregate.MAX), {"value": 0.2}),
    "query": (Query(query="depth", freshness="age"), {"value": 0.2}),
    "query with events": (Query(query="d", freshness="a", events="e"), {"value": 0.2, "events": 1000.0}),
}
LIMITS = Thresholds(warning=0.01, critical=0.02, rollback=0.03)


def of_form(name: str) -> Rule:
    unit = Unit.RATIO if name == "ratio" else Unit.NONE
    return rule("errors", form=AWFUL[name][0], unit=unit, thresholds=LIMITS, window=timedelta(minutes=1))


def verdict(
    name: str,
    *,
    age: float = 0.0,
    warnings: tuple[str, ...] = (),
    changed: Mapping[str, tuple[float, ...]] | None = None,
) -> Verdict:
    """What an awful answer means whose newest sample (of one each 15 s) is so many seconds old."""
    known = {**AWFUL[name][1], "newest": T0.timestamp() - age, "samples": 4.0}
    parts = {part: (number,) for part, number in known.items()}
    if name.startswith("query"):
        del parts["samples"]
    answer = Answer(parts=parts | dict(changed or {}), evaluated_at=T0, warnings=warnings)
    seen = observe(of_form(name), answer, now=T0)
    return evaluate(of_form(name), CheckState(), seen, now=T0).verdict


forms = pytest.mark.parametrize("name", AWFUL)


@forms
def test_the_awful_answers_would_roll_back(name: str) -> None:
    assert verdict(name).level is Level.ROLLBACK


# -- A1


@pytest.mark.parametrize("reason", [FailReason.HTTP_STATUS, FailReason.UNREACHABLE, FailReason.TIMEOUT])
def test_an_hour_of_errors_after_a_very_bad_sample_is_one_page_within_90_s_and_no_switch(
    reason: FailReason,
) -> None:
    scenario = Scenario(rule(blind_after=timedelta(minutes=1)), of_service()).green_deployed()
    scenario.after("10s").observe("errors", value=10 * ROLLBACK, on="green")
    scenario.looks_every = 100
    began, before = scenario.now, len(scenario.messages)
    while scenario.now < began + timedelta(hours=1):
        scenario.after("10s").fails("errors", reason=reason).fails("load", reason=reason).tick()
        known = scenario.remembers("errors").verdict
        assert known is not None
        assert known.level is Level.UNKNOWN

    (page,) = scenario.messages[before:]
    assert page.needs_human
    assert page.headline.startswith("source prometheus does not answer")
    assert page.created_at - began <= timedelta(seconds=90)
    assert scenario.service.rollbacks == {}


def test_an_hour_of_silence_proves_no_version_and_takes_no_proof_away() -> None:
    scenario = Scenario().green_deployed()
    scenario.looks_every = 50
    soaked = scenario.healthy_for("5m").on("green").soaked_for
    assert soaked > timedelta(minutes=3)
    for _ in range(120):
        scenario.after("30s").silence(on="green").traffic()

    assert scenario.on("green").state is DeploymentState.WATCHING
    assert scenario.on("green").soaked_for == soaked
    scenario.healthy_for("9m")
    assert scenario.on("green").state is DeploymentState.STABLE


# -- A2, A13


@forms
def test_a_sample_of_six_minutes_ago_is_unknown_and_one_of_20_s_is_judged(name: str) -> None:
    old, fresh = verdict(name, age=360), verdict(name, age=20)

    assert (old.level, old.reason) == (Level.UNKNOWN, Reason.STALE)
    assert fresh.level is Level.ROLLBACK


@forms
@pytest.mark.parametrize("ahead", [6.0, 3600.0, 200_000_000.0])
def test_a_sample_of_the_future_is_unknown(name: str, ahead: float) -> None:
    found = verdict(name, age=-ahead)

    assert (found.level, found.reason) == (Level.UNKNOWN, Reason.FUTURE)


# -- A3


@pytest.mark.parametrize("reset_at", range(1, 12))
def test_a_counter_that_starts_again_within_the_window_is_no_breach(reset_at: int) -> None:
    memory = Memory()
    for metric in ("bad_total", "all_total"):
        memory.want(metric, window=120, now=T0.timestamp())
    for scrape in range(13):
        since = scrape if scrape < reset_at else scrape - reset_at
        page = f"bad_total {since // 2}\nall_total {since * 100}\n"
        memory.add(Scraped(text=page, at=T0.timestamp() + scrape * 5 - 60, origin="a", labels={}))
    for name in ("ratio", "rate"):
        form, checked = AWFUL[name][0], of_form(name)
        if name == "rate":
            checked = msgspec.structs.replace(checked, thresholds=Thresholds(critical=0.3, rollback=0.45))
        assert not isinstance(form, Query)
        found = measure(memory, form, after=T0.timestamp() - 60, until=T0.timestamp())
        seen = observe(checked, Answer(parts=found.parts, evaluated_at=T0), now=T0)
        judged = evaluate(checked, CheckState(), seen, now=T0).verdict
        assert judged.level is Level.OK, (name, judged.explanation)


# -- A4


@forms
@given(data=st.data())
def test_whatever_is_no_finite_number_in_any_part_is_unknown(name: str, data: st.DataObject) -> None:
    part = data.draw(st.sampled_from([*AWFUL[name][1], "newest"]))
    number = data.draw(st.sampled_from([math.nan, math.inf, -math.inf, float("1e999"), -float("1e999")]))

    assert verdict(name, changed={part: (number,)}).level is Level.UNKNOWN


# -- A6, A7


@forms
def test_two_series_in_either_order_are_the_same_unknown(name: str) -> None:
    for part, number in AWFUL[name][1].items():
        one, other = (
            verdict(name, changed={part: (number, 0.0)}),
            verdict(name, changed={part: (0.0, number)}),
        )

        assert (one.level, one.reason) == (Level.UNKNOWN, Reason.SEVERAL_SERIES)
        assert one == other


@forms
def test_an_answer_with_a_warning_is_unknown_however_bad(name: str) -> None:
    found = verdict(name, warnings=("fetching from store 3: connection refused",))

    assert (found.level, found.reason) == (Level.UNKNOWN, Reason.PARTIAL)


# -- A9


def test_after_an_outage_of_10_minutes_there_is_no_rollback_before_a_whole_window_of_5() -> None:
    scenario = Scenario(rule(window=timedelta(minutes=5), hold=AT_ONCE)).green_deployed()
    scenario.looks_every = 20
    for _ in range(20):
        scenario.after("30s").fails().tick()
    returned = scenario.now + timedelta(seconds=10)
    decided: datetime | None = None
    while decided is None and scenario.now < returned + timedelta(minutes=10):
        scenario.after("10s").observe(value=10 * ROLLBACK, on="green").tick()
        verdict = scenario.remembers(on="green").verdict
        assert verdict is not None
        if scenario.now < returned + timedelta(minutes=5):
            assert (verdict.level, verdict.reason) == (Level.UNKNOWN, Reason.QUARANTINE)
        if scenario.service.rollbacks:
            decided = scenario.now

    assert decided is not None, "the rule does fire when its window is whole"
    assert decided - returned >= timedelta(minutes=5)
    assert scenario.service.incident_of(IncidentKind.BLIND) is None


AWAY = "source prometheus does not answer: 1 service not being watched"


@pytest.mark.parametrize(
    ("fails", "outages"),
    [
        (0, []),
        (
            2,
            2
            * [
                "source prometheus does not answer: 1 service not being watched",
                "prometheus: closed: the source answers again",
            ],
        ),
    ],
    ids=["no-poll-fails", "polls-fail-in-between"],
)
def test_a_source_that_starts_anew_again_and_again_is_told_once_as_missing_data(
    fails: int, outages: list[str]
) -> None:
    scenario = Scenario(rule(window=timedelta(minutes=5), hold=AT_ONCE)).green_deployed()
    before = len(scenario.messages)
    check = scenario.check("", "green", "")
    for _ in range(13):
        since = scenario.now
        for poll in range(18):
            scenario.after("10s")
            if poll >= 18 - fails:
                scenario.fails()
            else:
                scenario.sees(check, Value(value=10 * ROLLBACK, at=scenario.now, since=since))
            scenario.tick()
        if since < T0 + timedelta(minutes=4):
            assert scenario.messages[before:] == [], "to start anew once is no news"

    told = scenario.messages[before:]
    (own,) = [message for message in told if message.service]
    assert own.headline.startswith("trips in production is not being watched: errors has no data")
    assert [message.headline for message in told if message is not own] == outages
    assert scenario.service.rollbacks == {}


# -- A14


def test_a_probe_that_alone_says_dead_ten_times_is_told_and_switches_nothing_where_a_metric_must_confirm() -> (
    None
):
    scenario = Scenario(rule(), probe(), confirm=("errors",)).green_deployed()
    for _ in range(10):
        scenario.after("10s").probed(alive=False).observe("errors", value=OK, on="green").tick()

    scenario.rollback_is(RollbackState.BLOCKED)
    assert [guard for guard, _ in scenario.vetoes] == ["confirmed"]


# -- F12


def test_one_forged_signal_is_told_and_switches_nothing_where_another_must_confirm() -> None:
    scenario = Scenario(rule(), rule("latency"), confirm=("latency",)).green_deployed()
    for _ in range(20):
        scenario.after("10s").observe("errors", value=10 * ROLLBACK, on="green")
        scenario.observe("latency", value=OK, on="green").tick()

    scenario.rollback_is(RollbackState.BLOCKED)
    assert [guard for guard, _ in scenario.vetoes] == ["confirmed"]
    assert not any(one.switched for one in scenario.service.rollbacks.values())

    for _ in range(2):
        scenario.after("10s").observe("latency", value=WARNING, on="green")
        scenario.observe("errors", value=10 * ROLLBACK, on="green")
    scenario.rollback_is(RollbackState.INTENDED, "with a second witness it is done")
