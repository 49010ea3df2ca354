"""Back-tests of small histories whose answers can be worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tests.lab.tracks import BEGIN, ERRORS, NAN, QUEUE, track
from watchdog.core.burning import Slo
from watchdog.core.rule import Against, Baseline, Direction, Level, ProbeForm, Rule, Thresholds
from watchdog.lab.backtest import Checked, Range, Stretch, Subject, check
from watchdog.lab.backtest_naive import naive_of
from watchdog.lab.report import Budget, Report

DAY = 2880  #: samples
#: Half an hour of warning at noon, a rollback at six, one bad sample at nine, then four minutes of nothing.
STORY = {
    **dict.fromkeys(range(1440, 1500), 15.0),
    **dict.fromkeys(range(2160, 2170), 40.0),
    2520: 45.0,
    **dict.fromkeys(range(2600, 2608), NAN),
}


def subject(rule: Rule = QUEUE, **changed: Any) -> Subject:
    values = [STORY.get(index, 5.0) for index in range(DAY)]
    return replace(Subject(service="trips", rule=rule, stretches=(Stretch(track=track(*values)),)), **changed)


def test_a_day_is_told_in_the_numbers_by_which_people_arm_a_rule() -> None:
    told = check(subject(deployments=(BEGIN + 2150 * 30.0, BEGIN + 100.0)))
    assert [(one.level, one.began, one.ended, one.peak) for one in told.incidents] == [
        (Level.WARNING, BEGIN + 1441 * 30, BEGIN + 1502 * 30, 15.0),
        (Level.ROLLBACK, BEGIN + 2161 * 30, BEGIN + 2172 * 30, 40.0),
    ]
    assert told.incidents[1].rolled_back == BEGIN + 2161 * 30
    assert told.incidents[1].armed is True
    assert told.begun == {Level.WARNING: 2, Level.CRITICAL: 1, Level.ROLLBACK: 1}
    assert (told.rollbacks, told.near_deployments) == (1, 1)
    assert told.incidents_per_week == pytest.approx(14)
    assert told.longest_blindness == 240
    assert (told.samples, told.known, told.missed) == (DAY, DAY - 8, 0)
    assert told.values == Range(min=5.0, median=5.0, p99=15.0, max=45.0)
    assert (told.since, told.until, told.step) == (BEGIN, BEGIN + (DAY - 1) * 30, 30)


def test_an_alert_on_one_sample_fires_for_the_blip_as_well() -> None:
    told = check(subject(deployments=(BEGIN + 2150 * 30.0,)))
    assert told.plain is not None
    assert (told.plain.limit, told.plain.alerts, told.plain.near_deployments) == (30.0, 2, 1)


def test_a_rollback_long_after_a_deployment_could_not_have_happened() -> None:
    late = check(subject(deployments=(BEGIN,), armed_for=timedelta(hours=1)))
    assert (late.rollbacks, late.near_deployments) == (1, 0)
    assert late.incidents[1].armed is False


def test_without_a_known_deployment_nobody_can_say_what_was_near_one() -> None:
    told = check(subject())
    assert told.near_deployments is None
    assert told.incidents[1].armed is None


def test_versions_that_were_asked_apart_are_one_check() -> None:
    values = [STORY.get(index, 5.0) for index in range(DAY)]
    whole = track(*values)
    first, second = whole.part(0, 2000), whole.part(2000, DAY)
    parted = check(
        subject(stretches=(Stretch(track=first, version="v1"), Stretch(track=second, version="v2")))
    )
    assert [one.version for one in parted.incidents] == ["v1", "v2"]
    assert parted.samples == DAY
    assert parted.rollbacks == 1


def test_what_lies_before_is_only_compared_with() -> None:
    values = [STORY.get(index, 5.0) for index in range(DAY)]
    told = check(subject(stretches=(Stretch(track=track(*values), first=2000),)))
    assert (told.samples, len(told.incidents), told.since) == (880, 1, BEGIN + 2000 * 30)


def test_evidence_that_the_history_lacks_is_said() -> None:
    values = [0.0] * 100
    told = check(subject(ERRORS, stretches=(Stretch(track=track(*values)),)))
    assert told.without_evidence
    assert "judged without its evidence" in told.notes[0]


def test_a_track_without_samples_in_this_time_is_nothing_to_replay() -> None:
    with pytest.raises(ValueError, match="no sample"):
        check(subject(stretches=(Stretch(track=track(1.0), first=1),)))


def test_a_history_without_any_value_has_no_range() -> None:
    told = check(subject(stretches=(Stretch(track=track(*[NAN] * 20)),)))
    assert told.values is None
    assert told.known == 0


def test_the_record_is_what_the_arming_gate_keeps() -> None:
    made_at = datetime(2026, 2, 1, tzinfo=UTC)
    kept = check(subject()).record(made_at)
    assert (kept.service, kept.rule, kept.judgement) == ("trips", "queue", QUEUE.judgement)
    assert (kept.incidents, kept.rollbacks, kept.near_deployments, kept.samples) == (2, 1, None, DAY)
    assert (kept.since, kept.made_at) == (datetime.fromtimestamp(BEGIN, UTC), made_at)
    assert kept.blind_seconds == 240


def test_the_values_of_an_objective_are_what_is_compared_burn_rates_and_not_shares() -> None:
    rule = replace(ERRORS, slo=Slo(objective=0.99))
    told = check(subject(rule, stretches=(Stretch(track=track(*[0.02] * 100)),)))
    assert told.values is not None
    assert told.values.min == pytest.approx(2)
    assert told.values.max == pytest.approx(2)


@pytest.mark.parametrize(
    ("rule", "limit"),
    [
        (QUEUE, 30.0),
        (replace(QUEUE, thresholds=Thresholds(critical=20)), 30.0),
        (replace(QUEUE, thresholds=Thresholds(critical=30), direction=Direction.BELOW), 20.0),
        (
            replace(ERRORS, thresholds=Thresholds(critical=0.99), direction=Direction.BELOW),
            pytest.approx(0.985),
        ),
        (replace(QUEUE, thresholds=Thresholds(warning=20)), None),
        (replace(QUEUE, thresholds=Thresholds(critical=0)), None),
        (replace(ERRORS, slo=Slo(objective=0.99)), None),
    ],
)
def test_the_plain_alert_is_150_percent_of_critical(rule: Rule, limit: float | None) -> None:
    plain = naive_of(rule)
    assert (None if plain is None else plain.thresholds.rollback) == limit


def test_the_plain_alert_of_a_baseline_is_a_margin() -> None:
    margins = Thresholds(warning=0.1, critical=0.5)
    plain = naive_of(replace(QUEUE, baseline=Baseline(against=Against.USUAL, margins=margins)))
    assert plain is not None
    assert plain.baseline is not None
    assert plain.baseline.margins == Thresholds(rollback=0.75)


def test_a_probe_is_refused() -> None:
    with pytest.raises(ValueError, match="a probe"):
        check(subject(replace(QUEUE, form=ProbeForm(kind="http", settings={}))))


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(), ()),
        (Budget(rollbacks=1, noise=14.0), ()),
        (Budget(rollbacks=0), ("rollbacks: 1, at most 0",)),
        (
            Budget(rollbacks=0, noise=2),
            ("rollbacks: 1, at most 0", "incidents a week: 14, at most 2"),
        ),
    ],
)
def test_a_budget_counts_each_rule_on_each_service(budget: Budget, words: tuple[str, ...]) -> None:
    told = check(subject())
    whole = report(told, budget=budget)
    assert whole.beyond == ({("trips", "queue"): words} if words else {})
    assert whole.plain["ok"] is not bool(words)


def report(*checks: Checked, **changed: Any) -> Report:
    return Report(made_at=datetime(2026, 2, 1, tzinfo=UTC), checks=checks, **changed)


def test_the_report_is_plain_data() -> None:
    told = report(check(subject(deployments=(BEGIN + 2150 * 30.0,)))).plain
    (one,) = told["checks"]
    assert told["made_at"] == "2026-02-01T00:00:00Z"
    assert one["begun"] == {"warning": 2, "critical": 1, "rollback": 1}
    assert one["plain_alert"] == {"limit": 30.0, "alerts": 2, "alerts_per_week": 14.0, "near_deployments": 1}
    assert one["timeline"][1] == {
        "level": "rollback",
        "version": None,
        "breached_at": "2026-01-01T18:00:00Z",
        "began_at": "2026-01-01T18:00:30Z",
        "ended_at": "2026-01-01T18:06:00Z",
        "rolled_back_at": "2026-01-01T18:00:30Z",
        "armed": True,
        "peak": 40.0,
    }
    assert one["blind"] == [{"from": "2026-01-01T21:40:00Z", "to": "2026-01-01T21:44:00Z", "reason": "empty"}]


def test_a_gap_is_in_the_weeks_that_were_looked_at() -> None:
    half = check(subject(stretches=(Stretch(track=track(*[1.0] * 1440, late={720: 1440 * 30.0})),)))
    assert half.missed == 1440
    assert half.weeks == pytest.approx(1 / 7)
    assert np.isclose(half.longest_blindness, 1440 * 30)
