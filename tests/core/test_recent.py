"""Two versions that serve at the same time, told apart by their newest values: what is kept, asked and told."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.core.history import PER_VERSION, History, Measured, baseline
from tests.core.scenario import T0, of_service
from watchdog.core.audit import AuditRecord
from watchdog.core.check import CheckState, Reason
from watchdog.core.evaluate import evaluate
from watchdog.core.events import OutcomeKind
from watchdog.core.incident import IncidentKind
from watchdog.core.observation import Reference, Value
from watchdog.core.recent import Recent, newest, told_apart, with_value
from watchdog.core.replay import replay
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import (
    Against,
    Aggregate,
    Baseline,
    Direction,
    Evidence,
    Gauge,
    Level,
    Rule,
    Thresholds,
)
from watchdog.core.two_samples import TwoSample

MINUTE = timedelta(minutes=1)
#: A rule of the whole service that nothing here breaches.
LOAD = of_service("load", thresholds=Thresholds(rollback=10_000.0))
DEFAULT = TwoSample()
MARGINS = Thresholds(warning=0.2, critical=0.5, rollback=0.75)


def compared_with_blue(test: TwoSample = DEFAULT, **changes: Any) -> Rule:
    """`requests` of a version against the one before it, by default more is worse and a window is a minute."""
    against = Baseline(against=Against.PREVIOUS_VERSION, margins=MARGINS, test=test)
    settings: dict[str, Any] = {
        "form": PER_VERSION,
        "baseline": against,
        "direction": Direction.ABOVE,
        "window": MINUTE,
    }
    return baseline(**(settings | changes))


def canary(measured: Measured) -> History:
    """Blue serves alone for a while and proves itself by another rule, then green takes a part of its traffic."""
    story = History(compared_with_blue(), LOAD, measured=measured)
    story.traffic(blue=1, green=0)
    story.live_for("31m")
    story.after("5s").traffic(blue=9, green=1)
    story.after("30s").traffic()
    return story


def swinging(version: str, at: datetime) -> float:
    """Blue swings between 80 and 120, green between 160 and 240."""
    swing = (at.timestamp() // 30 * 7 % 10) / 10
    return (160 + 80 * swing) if version == "green" else 80 + 40 * swing


def test_a_version_that_is_worse_is_rolled_back_when_enough_of_its_values_say_so() -> None:
    story = canary(swinging)
    verdict = story.poll("requests", on="green")
    assert (verdict.level, verdict.reason) == (Level.UNKNOWN, Reason.NO_REFERENCE)
    assert verdict.explanation.endswith(
        "which may be chance: there are 1 values of it and 20 of blue, and it takes 10 of each"
    )
    assert not story.remembers("requests", on="green").streaks
    story.live_for("11m")

    story.rollback_is(RollbackState.INTENDED)
    assert "beyond the limit of" in story.rollback.reason
    assert ", and its 10 values are higher than 20 of blue in 100% of pairs" in story.rollback.reason
    assert "blue" in story.rollback.to_version


def test_the_older_version_is_not_judged_but_its_values_are_kept() -> None:
    story = canary(swinging)
    verdict = story.poll("requests", on="blue")
    assert (verdict.level, verdict.reason) == (Level.UNKNOWN, Reason.NO_REFERENCE)
    assert verdict.explanation == (
        "there is nothing to compare it with: no earlier version takes traffic beside it"
    )
    kept = story.remembers("requests", on="blue").recent
    assert len(kept) == 20
    gaps = {later[0] - earlier[0] for earlier, later in pairwise(kept)}
    assert min(gaps) >= MINUTE * 0.9
    assert IncidentKind.BLIND not in {one.kind for one in story.service.incidents.values()}


def test_a_single_wild_value_is_no_breach_although_it_is_beyond_every_margin() -> None:
    wild: list[datetime] = []

    def requests(version: str, at: datetime) -> float:
        return 900.0 if version == "green" and at in wild else swinging("blue", at)

    story = canary(requests)
    story.live_for("15m")
    story.after("1m")
    wild.append(story.now)
    verdict = story.poll("requests", on="green")

    assert (verdict.level, verdict.reason) == (Level.OK, Reason.NOT_SIGNIFICANT)
    assert "which is not significant: its 16 values are higher than 20 of blue in 5" in verdict.explanation
    assert verdict.explanation.endswith("% of pairs (71% needed)")
    assert not story.service.incidents


def test_better_than_the_margin_is_ok_at_once() -> None:
    story = canary(lambda version, at: 100.0)
    verdict = story.poll("requests", on="green")
    assert (verdict.level, verdict.reason) == (Level.OK, Reason.WITHIN)


def test_a_verdict_follows_from_its_record_alone() -> None:
    story = canary(swinging)
    story.live_for("11m")
    drafts = [draft for draft in story.audit if draft.kind in ("incident_opened", "rollback_intended")]
    assert drafts
    for number, draft in enumerate(drafts):
        record = AuditRecord(
            seq=number,
            at=draft.at,
            kind=draft.kind,
            subject=draft.subject,
            body=draft.body,
            previous="",
            hash="",
        )
        again = replay(record)
        assert again is not None
        assert again.faithful
        assert again.again is not None
        assert "of pairs" in again.again.explanation


def test_after_the_rollback_the_older_version_is_held_against_the_values_by_which_the_newer_was_bad() -> None:
    story = canary(swinging)
    story.live_for("11m")
    known = story.rollback.references["requests"]
    assert len(known.sample) == 20
    assert max(known.sample) <= 120
    story.after("1s").outcome(OutcomeKind.APPLIED, state=story.state(blue=1, green=0))
    story.after("2s").traffic(blue=1, green=0).after("5s")
    for _ in range(3):
        verdict = story.after("5s").poll("requests", on="blue")
        story.poll("load")
        assert (verdict.level, verdict.reason) == (Level.OK, Reason.WITHIN)
    story.live_for("2m")
    story.rollback_is(RollbackState.COMPLETED)


@pytest.mark.parametrize("direction", list(Direction))
def test_the_words_name_the_side_and_what_is_missing(direction: Direction) -> None:
    rule = compared_with_blue(TwoSample(samples=8), direction=direction)
    worse = [10.0, 11.0, 12.0, 13.0, 14.0] if direction is Direction.ABOVE else [-1.0, -2.0, -3.0, -4.0, -5.0]
    reference = Reference(
        value=1, samples=30, at=T0, learnt_at=T0, version="v1", sample=(1.0, 2.0, 3.0, 4.0, 5.0)
    )
    test = rule.baseline.test if rule.baseline else None
    assert test is not None

    def told(values: list[float]) -> tuple[bool | None, str]:
        found = told_apart(rule, test, tuple((T0, value) for value in values), reference)
        return found.worse, found.words

    side = "higher" if direction is Direction.ABOVE else "lower"
    assert told(worse) == (True, f"its 5 values are {side} than 5 of v1 in 100% of pairs")
    assert told(worse[:4]) == (
        True,
        f"its 4 values are {side} than 5 of v1 in 100% of pairs",
    )
    assert told(worse[:3]) == (None, "there are 3 values of it and 5 of v1, and it takes 4 of each")
    assert told([3.0] * 4) == (
        False,
        f"its 4 values are {side} than 5 of v1 in 50% of pairs (71% needed)",
    )
    mixed = [5.5, 4.5, 3.5, 2.5] if direction is Direction.ABOVE else [0.5, 1.5, 2.5, 3.5]
    worse_but = told(mixed)
    assert worse_but[0] is False
    assert worse_but[1].startswith(f"its 4 values are {side} than 5 of v1 in ")
    assert "which chance gives in" in worse_but[1] or "needed)" in worse_but[1]


def test_a_large_effect_may_still_be_chance() -> None:
    rule = compared_with_blue(TwoSample(samples=8, confidence=0.999))
    test = rule.baseline.test if rule.baseline else None
    assert test is not None
    reference = Reference(value=1, samples=30, at=T0, learnt_at=T0, sample=(1.0, 2.0, 3.0, 4.0))
    found = told_apart(rule, test, tuple((T0, value) for value in (5.0, 6.0, 7.0, 8.0)), reference)
    assert found.words == (
        "its 4 values are higher than 4 of the other version in 100% of pairs, "
        "which chance gives in 1.43% of cases (less than 0.1% needed)"
    )
    assert found.worse is False


def seen(value: float, after: float, **more: Any) -> Value:
    return Value(value=value, at=T0 + timedelta(seconds=after), **more)


def kept(rule: Rule, *values: Value) -> Recent:
    recent: Recent = ()
    for value in values:
        recent = with_value(rule, recent, value)
    return recent


def test_values_are_kept_a_window_apart_and_a_scrape_counts_once() -> None:
    every = [seen(float(number), 15.0 * number) for number in range(13)]
    assert [value for _, value in kept(compared_with_blue(), *every)] == [0.0, 4.0, 8.0, 12.0]
    late = [seen(1.0, 0), seen(2.0, 59.5), seen(3.0, 59.5), seen(4.0, 30.0)]
    assert [value for _, value in kept(compared_with_blue(), *late)] == [1.0, 2.0]
    gauge = compared_with_blue(form=Gauge(of='x{version="$version"}', by=Aggregate.MAX))
    assert [value for _, value in kept(gauge, *every[:3], every[2])] == [0.0, 1.0, 2.0]


def test_only_so_many_are_kept_and_none_that_is_old_or_of_too_few_events() -> None:
    rule = compared_with_blue(TwoSample(samples=5), evidence=Evidence(min_events=20, bound=False))
    many = [seen(float(number), 60.0 * number, events=100) for number in range(9)]
    assert [value for _, value in kept(rule, *many)] == [4.0, 5.0, 6.0, 7.0, 8.0]
    assert kept(rule, many[0], seen(9.0, 60, events=19)) == kept(rule, many[0])
    assert [value for _, value in kept(rule, *many, seen(99.0, 60 * 17, events=100))] == [7.0, 8.0, 99.0]
    assert newest(rule, kept(rule, *many), now=T0 + 15 * MINUTE) == (5.0, 6.0, 7.0, 8.0)
    assert newest(rule, kept(rule, *many), now=T0 + timedelta(hours=1)) == ()


def test_a_clock_that_was_set_back_begins_anew() -> None:
    assert [value for _, value in kept(compared_with_blue(), seen(1.0, 3600), seen(2.0, 0))] == [2.0]


def test_rules_without_a_test_keep_nothing() -> None:
    rule = baseline(Against.PREVIOUS_VERSION, form=PER_VERSION)
    assert kept(rule, seen(1.0, 0)) == ()
    assert newest(rule, ((T0, 1.0),), now=T0) == ()
    state = evaluate(rule, CheckState(), seen(1.0, 0), now=T0).state
    assert state.recent == ()


def test_after_an_absence_of_the_source_half_a_window_is_not_kept() -> None:
    state = CheckState(failures=3)
    for number in range(3):
        value = seen(float(number), 30.0 * number, uncompared="nothing serves beside it")
        state = evaluate(compared_with_blue(), state, value, now=value.at).state
    assert [value for _, value in state.recent] == [2.0]
