"""Suggestions: limits learnt on the first part of a history, and the noise that they make on the rest."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.lab.tracks import BEGIN, NAN
from watchdog.core.rule import (
    Against,
    Aggregate,
    Direction,
    Evidence,
    Form,
    Gauge,
    Level,
    Quantile,
    Query,
    Ratio,
    Rule,
    Samples,
    Unit,
)
from watchdog.core.units import parse_number
from watchdog.lab.replay import replay
from watchdog.lab.score_rules import rule_in
from watchdog.lab.suggest import TEACHES, Suggestion, Unsuggestable, suggest
from watchdog.lab.suggest_levels import NOISE, written
from watchdog.lab.suggest_look import look
from watchdog.lab.suggest_words import Origins, plain, snippet
from watchdog.lab.track import Floats, Track
from watchdog.lab.usual import references_of

ORIGINS = Origins(unit="from --unit", direction="from --direction", pasted=True)
GAUGE = Gauge(of="a", by=Aggregate.MAX)
DAY = 86_400.0


def of(values: Floats | list[float], *, step: float = 300.0, **changed: Any) -> Track:
    made = np.asarray(values, dtype=np.float64)
    times = BEGIN + step * np.arange(len(made), dtype=np.float64)
    return replace(Track(name="trips.csv", times=times, values=made, step=step), **changed)


def asking(
    unit: Unit = Unit.NONE, direction: Direction = Direction.ABOVE, *, form: Form = GAUGE, step: float = 300.0
) -> Rule:
    every = timedelta(seconds=step)
    return Rule(name="made", form=form, unit=unit, direction=direction, interval=every, window=every)


def usual(days: float = 10, *, step: float = 300.0, seed: int = 0, around: float = 100.0) -> Floats:
    """Values around one number, a tenth of it to either side."""
    return np.random.default_rng(seed).normal(around, around / 10, int(days * DAY / step))


def loaded(folder: Path, suggestion: Suggestion, form: str, origins: Origins = ORIGINS) -> Rule:
    """The rule that a configuration makes of what is pasted under a form."""
    pasted = "".join(f"    {line}\n" for line in snippet(suggestion, origins).splitlines())
    file = folder / "rules.yaml"
    file.write_text(f"version: 1\nrules:\n  - name: made\n    {form}\n{pasted}")
    return rule_in(file, "made")


def same(pasted: Rule, suggestion: Suggestion) -> None:
    """Whether what was pasted judges as what was measured."""
    meant = suggestion.proposal.rule
    assert pasted.thresholds == meant.thresholds
    assert pasted.baseline == meant.baseline
    assert (pasted.unit, pasted.direction) == (meant.unit, meant.direction)
    for level in suggestion.proposal.limits:
        assert pasted.hold.of(Level(level)) == meant.hold.of(Level(level))


# -- what is proposed


def test_limits_lie_beyond_what_is_usual_and_the_noise_is_that_of_the_rest(tmp_path: Path) -> None:
    track = of(usual())
    found = suggest(asking(Unit.COUNT), track)
    limits = found.proposal.rule.thresholds
    assert limits.warning is not None
    assert limits.critical is not None
    assert limits.rollback == 1.5 * limits.critical
    assert 135 <= limits.warning <= 150 < limits.critical <= 175
    assert {level: one.count for level, one in found.proposal.noise.items()} == dict.fromkeys(
        found.proposal.limits, 0
    )
    same(loaded(tmp_path, found, "gauge: {of: a, by: max}"), found)


def test_the_snippet_has_a_reason_beside_every_number() -> None:
    text = snippet(suggest(asking(Unit.SECONDS), of(usual(around=0.3))), ORIGINS)
    values = yaml.safe_load(text)
    assert list(values) == ["unit", "direction", "threshold", "hold"]
    keys = [
        line for line in text.splitlines() if line and not line.startswith("#") and not line.endswith(":")
    ]
    assert len(keys) == 8
    assert all("  # " in line for line in keys), keys
    assert "unit: seconds  # from --unit\ndirection: above  # from --direction\n" in text
    assert "0 times in 4d: 0 a week, at most 6.5 (95 %)" in text


def test_the_same_history_gives_the_same_suggestion() -> None:
    first, again = (suggest(asking(), of(usual())) for _ in range(2))
    assert plain(first, ORIGINS) == plain(again, ORIGINS)


def test_what_was_held_out_moves_no_limit() -> None:
    calm = usual()
    cut = int(len(calm) * TEACHES)
    wild = np.concatenate([calm[:cut], np.where(np.arange(len(calm) - cut) % 7 < 3, 500.0, 100.0)])
    one, other = suggest(asking(), of(calm)), suggest(asking(), of(wild))
    assert one.proposal.rule.baseline is None
    fixed = other.proposal if other.proposal.rule.baseline is None else other.other
    assert fixed is not None
    assert fixed.limits == one.proposal.limits
    assert fixed.rule == one.proposal.rule
    assert fixed.noise["critical"].per_week > 100
    assert any("critical is noisy" in note for note in other.notes)


def test_an_incident_while_learning_does_not_make_its_own_height_usual() -> None:
    values = usual()
    values[500:512] = 400.0
    found = suggest(asking(), of(values))
    assert found.proposal.rule.thresholds.critical is not None
    assert found.proposal.rule.thresholds.critical < 200


def test_what_somebody_marked_is_neither_learnt_nor_noise() -> None:
    values, labels = usual(), np.zeros(2880, dtype=np.int8)
    bad = np.arange(2880) % 240 < 12
    values[bad], labels[bad] = 400.0, 1
    found = suggest(asking(), of(values, labels=labels))
    assert found.proposal.rule.thresholds.warning is not None
    assert found.proposal.rule.thresholds.warning < 160
    assert all(one.count == 0 for one in found.proposal.noise.values())
    assert "144 samples are marked as anomalous: neither learnt from nor counted as noise" in found.notes


def test_blips_of_one_sample_ask_for_a_longer_hold() -> None:
    values = usual(step=60.0, days=4)
    values[::300] = 1000.0
    found = suggest(asking(step=60.0), of(values, step=60.0))
    assert found.proposal.rule.hold.critical == Samples(2)
    assert found.proposal.rule.thresholds.critical is not None
    assert found.proposal.rule.thresholds.critical < 200


def test_what_falls_is_worse_below(tmp_path: Path) -> None:
    found = suggest(asking(Unit.COUNT, Direction.BELOW), of(usual()))
    limits = found.proposal.rule.thresholds
    assert limits.warning is not None
    assert limits.critical is not None
    assert limits.rollback is not None
    assert 0 < limits.rollback < limits.critical < limits.warning < 80
    same(loaded(tmp_path, found, "gauge: {of: a, by: max}"), found)


def test_shares_of_what_went_well_are_judged_by_what_did_not(tmp_path: Path) -> None:
    good = 1 - np.abs(np.random.default_rng(2).normal(0.01, 0.002, 2880))
    events = np.full(2880, 500.0)
    form = Ratio(bad="a", total="b")
    found = suggest(asking(Unit.RATIO, Direction.BELOW, form=form), of(good, events=events))
    pasted = loaded(tmp_path, found, "ratio: {bad: a, total: b}")
    same(pasted, found)
    assert pasted.evidence == found.proposal.rule.evidence == Evidence()


def test_a_share_of_critical_that_no_ratio_reaches_becomes_a_limit_of_its_own(tmp_path: Path) -> None:
    values = np.clip(np.random.default_rng(3).normal(0.6, 0.03, 2880), 0, 1)
    found = suggest(asking(Unit.RATIO), of(values))
    limits = found.proposal.rule.thresholds
    assert limits.critical is not None
    assert limits.critical > 2 / 3
    assert found.proposal.limits["rollback"] != "150%"
    assert limits.rollback is not None
    assert limits.critical < limits.rollback < 1
    same(loaded(tmp_path, found, "gauge: {of: a, by: max}"), found)


def test_where_values_drift_learnt_limits_are_better(tmp_path: Path) -> None:
    values = np.geomspace(100, 3000, 2880) * np.random.default_rng(4).normal(1, 0.03, 2880)
    found = suggest(asking(), of(values))
    baseline = found.proposal.rule.baseline
    assert baseline is not None
    assert (baseline.against, baseline.over) == (Against.USUAL, timedelta(days=6))
    assert found.other is not None
    assert found.other.rule.baseline is None
    assert any(
        note.startswith("values drift: in the last quarter they lie higher by ") for note in found.notes
    )
    assert "# tried beside it: fixed limits, told in a week: " in snippet(found, ORIGINS)
    same(loaded(tmp_path, found, "gauge: {of: a, by: max}"), found)


def test_a_daily_pattern_is_said() -> None:
    values = usual() * (1 + 0.5 * np.sin(2 * math.pi * np.arange(2880) * 300 / DAY))
    notes = suggest(asking(), of(values)).notes
    assert any(note.startswith("values follow the hour of the day, which explains 9") for note in notes)


def test_short_and_gapped_history_is_said() -> None:
    values = usual(days=3)
    values[::5] = NAN
    notes = suggest(asking(), of(values)).notes
    assert "only 2d23h55m of history: what differs by weekday was not seen" in notes
    assert "20% of the samples have no value: nothing was learnt from them" in notes


def test_a_history_rarer_than_the_polls_is_said() -> None:
    notes = suggest(asking(step=30.0), of(usual())).notes
    assert "one sample every 5m, and the rule is polled every 30s: shorter peaks were not seen" in notes


# -- evidence


@pytest.mark.parametrize(
    ("form", "events", "evidence"),
    [
        (Ratio(bad="a", total="b"), 500.0, Evidence()),
        (Quantile(of="a", q=0.95), 500.0, Evidence(min_events=100, bound=False)),
        (Quantile(of="a", q=0.95), 60.0, Evidence(min_events=20, bound=False)),
        (Query(query="a", events="it's"), 500.0, Evidence(min_events=20, bound=False)),
        (Query(query="a"), 500.0, None),
        (GAUGE, 500.0, None),
    ],
)
def test_evidence_is_what_the_form_can_have(form: Form, events: float, evidence: Evidence | None) -> None:
    track = of(np.abs(usual(around=0.01)), events=np.full(2880, events))
    found = suggest(asking(Unit.RATIO, form=form), track)
    assert found.proposal.rule.evidence == evidence
    text = snippet(found, Origins(unit="the rule's", direction="the rule's"))
    asked = yaml.safe_load(text).get("evidence")
    if evidence is None:
        assert asked == ("none" if isinstance(form, Query) else None)
    else:
        assert asked["min_events"] == evidence.min_events
        assert asked.get("events") == (form.events if isinstance(form, Query) else None)


def test_where_traffic_is_thin_that_is_said() -> None:
    events = np.where(np.arange(2880) % 2, 10.0, 30.0)
    share = np.random.default_rng(5).normal(0.02, 0.001, 2880)
    notes = suggest(asking(Unit.RATIO, form=Ratio(bad="a", total="b")), of(share, events=events)).notes
    assert any(
        note.startswith("50% of the windows have fewer than 20 events and no verdict") for note in notes
    )
    assert any("for the 10 bad ones that a rollback needs" in note for note in notes)


# -- what teaches nothing


@pytest.mark.parametrize(
    ("values", "unit", "words"),
    [
        ([], Unit.NONE, "too little history: 0 samples with a value, at least 100 are needed"),
        ([1.0] * 99, Unit.NONE, "too little history: 99 samples with a value, at least 100 are needed"),
        ([NAN] * 500, Unit.NONE, "too little history: 0 samples with a value"),
        ([0.0] * 500, Unit.RATIO, "every value is 0: that says nothing of how much would be bad"),
        ([7.0] * 500, Unit.COUNT, "every value is the same (between 7 and 7, half of them below 7)"),
        ([5.0, 60.0] * 300, Unit.RATIO, "which is no ratio: a ratio lies between 0 and 1"),
    ],
)
def test_a_history_that_teaches_nothing_is_refused_in_words(
    values: list[float], unit: Unit, words: str
) -> None:
    with pytest.raises(Unsuggestable, match=r"^trips\.csv: ") as refused:
        suggest(asking(unit), of(values))
    assert words in str(refused.value)


def test_values_that_fall_to_nothing_in_good_times_have_no_limit_below() -> None:
    values = np.where(np.arange(720) % 30 < 20, 0.0, 1.0) * usual(2.5)
    with pytest.raises(Unsuggestable, match="no limit below is quiet"):
        suggest(asking(Unit.COUNT, Direction.BELOW), of(values))


# -- properties

_SHAPES = st.sampled_from(["normal", "long", "counts", "shares", "steps", "negative"])


def shaped(shape: str, seed: int, scale: float, number: int) -> Floats:
    chance = np.random.default_rng(seed)
    match shape:
        case "normal":
            values = chance.normal(10, 1, number) * scale
        case "long":
            values = chance.lognormal(0, 1, number) * scale
        case "counts":
            values = chance.poisson(3, number).astype(np.float64)
        case "shares":
            values = chance.beta(2, 20, number)
        case "steps":
            values = np.where(np.arange(number) < number // 3, 1.0, 2.0) * scale + chance.normal(
                0, 0.01, number
            )
        case _:
            values = chance.normal(-5, 2, number) * scale
    values[chance.random(number) < 0.02] = NAN
    return values


@given(
    shape=_SHAPES,
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1e-3, 0.37, 1.0, 5e4]),
    unit=st.sampled_from([Unit.SECONDS, Unit.BYTES, Unit.COUNT, Unit.NONE, Unit.RATIO]),
    direction=st.sampled_from(list(Direction)),
    step=st.sampled_from([30.0, 3600.0]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_proposed_loads_and_makes_the_noise_that_was_told(
    tmp_path_factory: pytest.TempPathFactory,
    shape: str,
    seed: int,
    scale: float,
    unit: Unit,
    direction: Direction,
    step: float,
) -> None:
    track = of(shaped(shape, seed, scale, 700), step=step)
    try:
        found = suggest(asking(unit, direction, step=step), track)
    except Unsuggestable:
        return
    proposal, rule = found.proposal, found.proposal.rule
    same(loaded(tmp_path_factory.mktemp("pasted"), found, "gauge: {of: a, by: max}"), found)
    ladder = [limit for level in Level if (limit := rule.thresholds.of(level)) is not None]
    assert ladder == sorted(ladder, reverse=direction is Direction.BELOW)
    assert len(set(ladder)) == len(ladder)
    cut = int(len(track) * TEACHES)
    told = replay(rule, track, references=references_of(rule, track), first=cut).episodes
    weeks = (len(track) - cut) * step / (7 * DAY)
    assert set(proposal.noise) == set(proposal.limits)
    for level, one in proposal.noise.items():
        assert one.count == len(told.get(Level(level), ()))
        assert one.per_week == pytest.approx(one.count / weeks)
        assert one.most_per_week > one.per_week
    assert proposal.quiet == all(one.per_week <= NOISE[Level(level)] for level, one in proposal.noise.items())


@given(
    limit=st.floats(1e-6, 0.999999),
    unit=st.sampled_from(list(Unit)),
    direction=st.sampled_from(list(Direction)),
    scale=st.sampled_from([1.0, 1e3, 1e9]),
)
def test_a_limit_is_written_in_two_figures_and_never_nearer_to_health(
    limit: float, unit: Unit, direction: Direction, scale: float
) -> None:
    if unit in (Unit.RATIO, Unit.TIMES):
        scale, unit = 1.0, Unit.RATIO
    text = written(limit * scale, unit, direction)
    again = parse_number(text, unit)
    slack = 1e-9 * scale
    assert again >= limit * scale - slack if direction is Direction.ABOVE else again <= limit * scale + slack
    mirrored = unit is Unit.RATIO and direction is Direction.BELOW
    apart, size = abs(again - limit * scale), (1 - limit) if mirrored else limit * scale
    assert apart <= 0.11 * size + slack
    figures = [letter for letter in text if letter.isdigit()]
    assert mirrored or len("".join(figures).strip("0")) <= 3


def test_the_figures_of_a_history_are_those_of_its_values() -> None:
    seen = look(of([1.0, 2.0, NAN, 0.0, 4.0], step=60.0))
    assert (seen.samples, seen.usable, seen.known) == (5, 4, 0.8)
    assert (seen.least, seen.median, seen.most, seen.zeros) == (0.0, 1.5, 4.0, 0.25)
    assert not seen.constant
    assert seen.span == timedelta(minutes=4)
