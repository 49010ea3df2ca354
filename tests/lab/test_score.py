"""Scores of small series, worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from tests.lab.tracks import NAN, QUEUE, track
from watchdog.core.errors import ConfigError
from watchdog.core.rule import Against, Baseline, Direction, Holds, Lasting, Rule, Samples, Thresholds
from watchdog.lab.score import Card, Scored, score
from watchdog.lab.score_figures import Figures
from watchdog.lab.score_rules import (
    calibrating,
    critical_of,
    for_rule,
    learnt_rule,
    naive_rule,
    rule_in,
)
from watchdog.lab.track import Track

HOUR = 3600.0
#: Beyond 10, 20 and 30, each at once; clear after one sample.
AT_ONCE = replace(QUEUE, hold=Holds(warning=Samples(1), critical=Samples(1), rollback=Samples(1)), clear=1)


def series(values: str, labels: str, *, name: str = "a.csv", step: float = HOUR) -> Track:
    """One letter a sample: `.` is 5, `w` 15, `c` 25, `r` 35, `-` nothing; labels as `..1`."""
    numbers = {".": 5.0, "w": 15.0, "c": 25.0, "r": 35.0, "-": NAN}
    found = track(*(numbers[letter] for letter in values), step=step)
    marked = np.array([letter == "1" for letter in labels], dtype=np.int8)
    return replace(found, name=name, labels=marked)


def figures(card: Card) -> dict[str, Figures]:
    """All figures by name."""
    levels, baselines = card.total.figures
    return {**levels, **baselines}


def test_levels_are_scored_one_by_one() -> None:
    """The first four of twenty samples calibrate."""
    values = "....r..w...rr....c.."
    labels = ".......1...11......1"
    found = figures(score([series(values, labels)], rule=AT_ONCE))
    assert (found["warning"].precision, found["warning"].recall) == (0.5, 0.6667)
    assert (found["critical"].precision, found["critical"].recall) == (0.3333, 0.3333)
    assert (found["rollback"].precision, found["rollback"].recall) == (0.5, 0.3333)
    assert found["rollback"].false_per_week == pytest.approx(1 / (16 / 168), abs=1e-3)


def test_the_first_fifth_is_never_scored_and_what_lasts_is_cut_there() -> None:
    values = "rrrrrrr............." + "." * 10
    labels = "1111111............." + "." * 10
    found = figures(score([series(values, labels)], rule=AT_ONCE))
    assert found["rollback"].recall == 1.0, "its last sample is the first that is scored"
    assert (found["rollback"].precision, found["rollback"].delay_samples_median) == (1.0, 0.0)
    silent = score([series("rrrr......" + "." * 10, "1111......" + "." * 10)], rule=AT_ONCE)
    assert silent.total.events == 0
    assert figures(silent)["rollback"].precision is None, "nor is an alert there"


def test_an_alert_lasts_until_its_check_is_clear() -> None:
    """Two breaches with a pause shorter than `clear` are one alert."""
    patient = replace(AT_ONCE, clear=3)
    card = score([series("....." + ".r..r.........." + ".....", "." * 25)], rule=patient)
    assert card.total.levels["rollback"].false == 1
    card = score([series("....." + ".r...r........." + ".....", "." * 25)], rule=patient)
    assert card.total.levels["rollback"].false == 2


def test_delays_are_told_in_samples_and_seconds() -> None:
    values = "....." + "......rr..." + "........."
    labels = "....." + "...111....." + "........."
    found = figures(score([series(values, labels, step=300.0)], rule=AT_ONCE))["rollback"]
    assert (found.recall, found.delay_samples_median, found.delay_seconds_median) == (1.0, 3.0, 900.0)
    assert found.delay_seconds_p95 == 900.0


def test_what_has_no_verdict_is_told() -> None:
    found = figures(score([series("....." + "-----" + "." * 15, "." * 25)], rule=AT_ONCE))
    assert found["critical"].abstention == 0.25
    assert found["naive"].abstention == 0.25


def test_folders_are_scored_apart_and_together() -> None:
    one = series("....." + "...r......" + ".....", "....." + "...1......" + ".....", name="a/one.csv")
    two = series("....." + "...r......" + ".....", "." * 20, name="b/two.csv")
    card = score([one, two, replace(two, name="b/three.csv")], rule=AT_ONCE)
    assert {name: (folder.series, folder.events) for name, folder in card.folders.items()} == {
        "a": (1, 1),
        "b": (2, 0),
    }
    assert (card.total.series, card.total.events) == (3, 1)
    assert figures(card)["rollback"].precision == 0.3333


def test_the_score_as_json_has_these_keys_and_no_nan() -> None:
    card = score([series("....." + "...r......" + ".....", "....." + "...1......" + ".....")])
    plain = json.loads(json.dumps(card.plain, allow_nan=False))
    keys = {
        *("precision", "recall", "f1", "false_per_week", "false_per_week_ci"),
        *("delay_samples_median", "delay_seconds_median", "delay_seconds_p95", "abstention"),
    }
    assert set(plain) == {"series", "events", "levels", "baselines", "folders"}
    assert (plain["series"], plain["events"]) == (1, 1)
    assert {name: set(one) for name, one in plain["levels"].items()} == {
        "warning": keys,
        "critical": keys,
        "rollback": keys,
    }
    assert {name: set(one) for name, one in plain["baselines"].items()} == {
        "naive": keys,
        "for3": keys,
        "burn_rate": keys,
    }
    assert set(plain["baselines"]["burn_rate"].values()) == {None}, "5 is no share"
    assert set(plain["folders"]) == {"."}


def test_nothing_at_all_is_a_score_too() -> None:
    assert json.dumps(Card(folders={}).plain, allow_nan=False)
    assert Card(folders={}).total == Scored()


@pytest.mark.parametrize("length", [1, 2, 4, 5, 9])
def test_series_that_are_too_short_are_no_mistake(length: int) -> None:
    card = score([series("." * length, "1" * length)])
    assert json.dumps(card.plain, allow_nan=False)
    assert figures(card)["critical"].abstention == 1.0


def test_a_series_without_a_value_has_no_verdict() -> None:
    found = figures(score([series("-" * 30, "." * 15 + "1" + "." * 14)]))
    assert (found["critical"].abstention, found["naive"].abstention) == (1.0, 1.0)
    assert found["naive"].recall == 0.0


# -- what is learnt


def noisy(length: int, seed: int = 0, *, name: str = "a.csv") -> Track:
    """Values around 100."""
    values = np.random.default_rng(seed).normal(100, 10, length)
    return replace(track(*values, step=HOUR), name=name, labels=np.zeros(length, dtype=np.int8))


def with_event(bare: Track, first: int, last: int, by: float) -> Track:
    values, marked = bare.values.copy(), np.zeros(len(bare), dtype=np.int8)
    values[first : last + 1] *= by
    marked[first : last + 1] = 1
    return replace(bare, values=values, labels=marked)


def test_the_learnt_rule_finds_what_is_far_from_usual_and_nothing_else() -> None:
    found = figures(score([with_event(noisy(400), 200, 203, 5.0)]))
    for level in ("warning", "critical", "rollback"):
        assert (found[level].precision, found[level].recall, found[level].delay_samples_median) == (
            1.0,
            1.0,
            0.0,
        )
    assert found["warning"].abstention == 0.0


def test_where_smaller_is_worse_the_learnt_rule_looks_the_other_way() -> None:
    fell = with_event(noisy(400), 200, 203, 0.02)
    found = figures(score([fell], direction=Direction.BELOW))
    assert (found["rollback"].precision, found["rollback"].recall) == (1.0, 1.0)
    assert figures(score([fell]))["rollback"].recall == 0.0


def test_neither_names_nor_labels_change_what_is_judged() -> None:
    bare = with_event(noisy(300), 150, 151, 6.0)
    one = score([bare]).total
    other = score([replace(bare, name="latency/crash.csv", labels=np.zeros(300, dtype=np.int8))]).total
    assert one.levels["rollback"].true == other.levels["rollback"].false == 1


def test_what_comes_later_changes_nothing_of_what_was_said_before() -> None:
    """The score of the first part is that of the whole up to there: thresholds know nothing of the future."""
    bare = noisy(400)
    early = with_event(bare, 120, 121, 6.0)
    values = early.values.copy()
    values[300:] = 10_000.0
    marked = early.labels
    assert marked is not None
    changed = score([replace(early, values=values, labels=marked)]).total.levels["critical"]
    assert changed.delays == (0.0,)
    assert changed.false == 1, "the new height is one more alert"


def test_what_is_usual_is_that_of_no_longer_than_what_the_calibration_can_tell() -> None:
    hourly = learnt_rule(noisy(175), Direction.ABOVE)
    assert hourly.baseline is not None
    assert hourly.baseline.over is not None
    assert hourly.baseline.over.total_seconds() == 3 * 35 * HOUR
    assert hourly.hold == Holds(warning=Samples(1), critical=Samples(1), rollback=Samples(1))
    months = learnt_rule(noisy(2000), Direction.ABOVE)
    assert months.baseline is not None
    assert months.baseline.over is not None
    assert months.baseline.over.days == 14


def test_samples_that_come_often_have_the_holds_of_the_daemon() -> None:
    often = learnt_rule(track(*[1.0] * 100, step=10.0), Direction.ABOVE)
    assert isinstance(often.hold.critical, Lasting)
    assert often.hold.rollback == Samples(2)


def test_rollback_is_150_percent_of_critical() -> None:
    for direction in Direction:
        baseline = learnt_rule(noisy(100), direction).baseline
        assert baseline is not None
        margins = baseline.margins
        assert margins.critical is not None
        assert margins.rollback == 1.5 * margins.critical


# -- the plain rules beside it


def test_the_naive_rule_is_one_sample_above_150_percent_of_what_the_calibration_hardly_exceeds() -> None:
    values = [float(number) for number in range(101)] + [0.0] * 404
    bare = track(*values, step=HOUR)
    assert calibrating(bare) == 101
    assert critical_of(bare, Direction.ABOVE) == 99.0
    naive, three = naive_rule(bare, Direction.ABOVE), for_rule(bare, Direction.ABOVE)
    assert naive is not None
    assert three is not None
    assert (naive.thresholds, naive.hold.critical, naive.clear) == (Thresholds(critical=148.5), Samples(1), 1)
    assert (three.thresholds, three.hold.critical, three.clear) == (Thresholds(critical=99.0), Samples(3), 1)
    below = naive_rule(bare, Direction.BELOW)
    assert below is not None
    assert below.thresholds.critical == pytest.approx(1.0 / 1.5)


def test_the_plain_rules_are_scored_by_the_same_events() -> None:
    values = [10.0] * 20 + [10.0] * 10 + [16.0, 10.0, 12.0, 12.0, 12.0, 12.0, 10.0] + [10.0] * 63
    marked = np.zeros(100, dtype=np.int8)
    marked[30] = 1
    found = figures(score([replace(track(*values, step=HOUR), labels=marked)]))
    assert (found["naive"].precision, found["naive"].recall) == (1.0, 1.0), "16 is beyond 15"
    assert (found["for3"].precision, found["for3"].recall) == (0.0, 0.0), "three of 12 come too late"


def test_nothing_can_be_learnt_from_a_calibration_without_values() -> None:
    bare = track(*[NAN] * 20, *[1.0] * 80, step=HOUR)
    assert naive_rule(bare, Direction.ABOVE) is None
    assert for_rule(bare, Direction.ABOVE) is None


def test_burn_rates_are_looked_at_where_values_are_shares() -> None:
    values = [0.01] * 100 + [0.9] * 10 + [0.01] * 90
    marked = np.zeros(200, dtype=np.int8)
    marked[100:110] = 1
    found = figures(score([replace(track(*values, step=HOUR), labels=marked)]))
    assert (found["burn_rate"].precision, found["burn_rate"].recall) == (1.0, 1.0)
    assert found["burn_rate"].delay_samples_median == 0.0
    below = score([replace(track(*values, step=HOUR), labels=marked)], direction=Direction.BELOW)
    assert figures(below)["burn_rate"] == Figures()


# -- rules of a file


RULES = """version: 1
rules:
  - {name: queue, query: 'max(q)', evidence: none, threshold: {critical: 20, rollback: 150%}}
  - {name: other, query: 'max(o)', threshold: {critical: 20}}
"""


def test_a_rule_of_a_file_is_scored(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    assert rule_in(file, "queue").thresholds.rollback == 30.0


def test_which_rule_must_be_said_where_there_are_several(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    with pytest.raises(ConfigError, match="say which with --rule: queue, other"):
        rule_in(file, None)
    with pytest.raises(ConfigError, match="did you mean 'queue'"):
        rule_in(file, "queu")
    file.write_text("\n".join(RULES.splitlines()[:3]))
    assert rule_in(file, None).name == "queue"


def test_a_rule_that_one_series_cannot_answer_is_refused() -> None:
    other: Rule = replace(
        QUEUE,
        thresholds=Thresholds(),
        baseline=Baseline(against=Against.PREVIOUS_VERSION, margins=Thresholds(critical=0.5)),
    )
    with pytest.raises(ValueError, match="previous version"):
        score([noisy(30)], rule=other)
