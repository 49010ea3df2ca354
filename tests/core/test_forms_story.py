"""A version with a bad 95th percentile: from a source's answers to the rollback that helped, and again by record."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.core.scenario import AT_ONCE, Scenario
from tests.core.test_replay import records
from watchdog.core.checks import filled_form, values_for
from watchdog.core.events import OutcomeKind
from watchdog.core.observation import Answer
from watchdog.core.observe import observe
from watchdog.core.promql import parts_of
from watchdog.core.replay import DECISIONS, replay
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import (
    Aggregate,
    Evidence,
    Form,
    Gauge,
    Level,
    ProbeForm,
    Quantile,
    Query,
    Rate,
    Ratio,
    Rule,
    Thresholds,
    Unit,
)

LATENCY = Rule(
    name="latency",
    form=Quantile(of='seconds{service="$service",version="$version"}', q=0.95),
    unit=Unit.SECONDS,
    thresholds=Thresholds(warning=0.5, critical=1.0, rollback=1.5),
    evidence=Evidence(min_events=20, bound=False),
    hold=AT_ONCE,
    clear=2,
    source="prometheus",
    window=timedelta(seconds=30),
)
#: The bound of the histogram's last finite bucket.
LAST = 2.5


class Story(Scenario):
    """`Scenario` with answers as a source gives them."""

    def answers(self, on: str, **parts: float) -> Story:
        known = {"newest": self.now.timestamp(), "samples": 6.0, "highest": LAST, **parts}
        answer = Answer(
            parts={part: (number,) for part, number in known.items()}, evaluated_at=self.now, asked="…"
        )
        self.sees(self.check(on=on), observe(self.rules[0], answer, now=self.now))
        return self

    def green_answers(self, times: int, **parts: float) -> Story:
        for _ in range(times):
            self.after("10s")
            self.answers("green", **parts)
        return self


def green() -> Story:
    story = Story(LATENCY)
    story.traffic(blue=1, green=0).healthy_for("11m", value=0.2, events=500.0)
    story.after("5s").traffic(blue=0, green=1).after("35s").traffic()
    return story


@pytest.mark.parametrize("slow", [1.8, LAST])
def test_a_slow_version_is_rolled_back_and_the_good_one_proves_it(slow: float) -> None:
    story = green()
    story.green_answers(1, value=0.3, events=400.0)
    assert story.remembers(on="green").held is Level.OK
    story.green_answers(2, value=slow, events=400.0)
    story.rollback_is(RollbackState.INTENDED)
    assert story.rollback.to_version == "blue"
    shown = "1.8s" if slow < LAST else "more than 2.5s"
    assert f"{shown} from 400 events in 30s, above 1.5s" in story.incident.summary

    story.after("1s").outcome(OutcomeKind.APPLIED, state=story.state(blue=1, green=0))
    story.after("2s").traffic().after("5s")
    for _ in range(20):
        story.after("10s").traffic()
        story.answers("blue", value=0.2, events=400.0)
    story.rollback_is(RollbackState.COMPLETED)
    assert "400 events of latency on blue" in [passage.why for passage in story.rollback.history]

    for record in records(story):
        again = replay(record)
        assert again is None or again.faithful, record.kind
        if record.kind in DECISIONS and "observation" in record.body:
            assert again is not None
            assert again.rule == LATENCY


@pytest.mark.parametrize(
    "parts",
    [
        {"value": 9.0, "events": 19.0, "highest": 9.5},
        {"value": float("nan"), "events": 0.0, "highest": float("nan")},
        {"value": 0.4, "events": 400.0, "highest": 0.4},
        {"value": float("nan"), "events": 400.0},
    ],
    ids=["few events", "no events", "the last bucket ends below every threshold", "no number"],
)
def test_what_is_not_known_never_rolls_back(parts: dict[str, float]) -> None:
    story = green().green_answers(5, **parts)

    assert not story.service.rollbacks
    assert story.remembers(on="green").known is None


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (LATENCY.form, Quantile(of='seconds{service="tr\\"ips",version="v\\\\1"}', q=0.95)),
        (Rate(of='x{a="$service"}'), Rate(of='x{a="tr\\"ips"}')),
        (
            Gauge(of='x{a="$label.team"}', by=Aggregate.MAX),
            Gauge(of='x{a="b}{"}', by=Aggregate.MAX),
        ),
    ],
)
def test_variables_are_quoted_in_the_selector_of_every_form(form: Form, expected: Form) -> None:
    values = {"service": 'tr"ips', "version": "v\\1", "label.team": "b}{"}
    filled = filled_form(Rule(name="x", form=form, thresholds=Thresholds(critical=1)), values)

    assert filled == expected
    assert not isinstance(filled, ProbeForm)
    assert all("$" not in text for text in parts_of(filled, timedelta(minutes=1)).values())


@pytest.mark.parametrize(
    ("form", "per_version"),
    [
        (LATENCY.form, True),
        (Quantile(of="seconds", q=0.5), False),
        (Rate(of='x{v="$variant"}'), True),
        (Rate(of='x{v="$service"}'), False),
        (Gauge(of='x{v="$version"}', by=Aggregate.SUM), True),
    ],
)
def test_a_form_that_names_the_version_is_one_check_for_each(form: Form, *, per_version: bool) -> None:
    assert Rule(name="x", form=form, thresholds=Thresholds(critical=1)).per_version is per_version


def test_every_form_has_an_identity_of_its_own() -> None:
    forms: list[Form] = [
        Quantile(of="x", q=0.95),
        Quantile(of="x", q=0.99),
        Rate(of="x"),
        Gauge(of="x", by=Aggregate.MAX),
        Gauge(of="x", by=Aggregate.MIN),
        Query(query="x"),
        Ratio(bad="x", total="y"),
    ]
    hashes = {Rule(name="x", form=form, thresholds=Thresholds(critical=1)).hash for form in forms}

    assert len(hashes) == len(forms)


def test_a_rule_is_asked_with_the_values_of_its_check() -> None:
    story = green()
    check = story.check(on="green")

    filled = filled_form(LATENCY, values_for(story.service, check))

    assert filled == Quantile(of='seconds{service="trips",version="green"}', q=0.95)
