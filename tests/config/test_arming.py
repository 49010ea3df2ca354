"""The arming gate: records of back-tests, what is said of rules without good ones, and who must have them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.config.conftest import Draft
from tests.config.tiny_providers import TINY
from watchdog.config.arming import has_history
from watchdog.config.backtests import BackTest, RecordFile
from watchdog.config.check import check
from watchdog.core.arming import Proof

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=30)


def written(draft: Draft, *, file: str = "backtests.json", **changes: Any) -> Draft:
    """A good record of the one rule that can roll back, changed where a test wants it."""
    rule = draft.load().rules["error-rate"]
    record = BackTest(
        service="trips",
        rule="error-rate",
        judgement=rule.judgement,
        since=BEGIN,
        until=END,
        made_at=END,
        step_seconds=30,
        samples=86_400,
        known=1.0,
        incidents=3,
        incidents_per_week=0.7,
        rollbacks=1,
    )
    whole = RecordFile(backtests=(msgspec.structs.replace(record, **changes),))
    (draft.folder / file).write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=2))
    return draft


def proof(draft: Draft) -> Proof | None:
    """What is compiled of `error-rate` for the guard."""
    proofs = draft.load().services["trips"].service.proofs
    return None if proofs is None else proofs["error-rate"]


RULE = "rules.yaml:3:11: error-rate "
SO = ": it will not roll back by itself"


def test_where_nobody_speaks_of_back_tests_check_says_one_word_about_them(draft: Draft) -> None:
    assert draft.notes() == []
    assert proof(draft) is None
    (note,) = check(draft.path, {}, registries=TINY).notes
    assert str(note).endswith(
        "watchdog.yaml:1:1: 1 rule that may roll back was never back-tested: error-rate; "
        "see `watchdog backtest --help`"
    )


def test_a_configured_gate_names_each_rule_at_its_place(draft: Draft) -> None:
    draft.insert("backtest: {max_rollbacks: 0}\n")
    assert draft.notes() == [RULE + "was never back-tested (on trips)"]
    assert proof(draft) is None
    assert len(check(draft.path, {}, registries=TINY).notes) == 1


@pytest.mark.parametrize(
    ("changes", "words", "reason"),
    [
        ({}, "", ""),
        ({"rollbacks": 2}, "", ""),
        (
            {"rollbacks": 3},
            "would have asked for 3 rollbacks in 30d, at most 2 are allowed",
            "beyond_budget",
        ),
        ({"incidents_per_week": 1.0}, "", ""),
        (
            {"incidents_per_week": 1.26},
            "would have made 1.26 incidents a week, at most 1 are allowed",
            "beyond_budget",
        ),
        ({"since": END - timedelta(days=7)}, "", ""),
        (
            {"since": END - timedelta(days=6)},
            "was back-tested over 6d, at least 7d are wanted",
            "too_short",
        ),
        (
            {"samples": 0, "known": 0.0},
            "was back-tested on 0 samples, and none of them had a verdict",
            "too_short",
        ),
        (
            {"known": 0.0},
            "was back-tested on 86400 samples, and none of them had a verdict",
            "too_short",
        ),
        ({"judgement": "another"}, "was changed since it was back-tested on 2026-10-31", "changed_since"),
        ({"service": "shop"}, "was never back-tested", "never_backtested"),
        ({"rule": "healthy"}, "was never back-tested", "never_backtested"),
    ],
)
def test_a_record_is_good_up_to_its_limits(
    draft: Draft, changes: dict[str, Any], words: str, reason: str
) -> None:
    written(draft.insert("backtest: {max_rollbacks: 2, max_noise: 4 per 4w, min_span: 7d}\n"), **changes)
    assert draft.notes() == ([f"{RULE}{words} (on trips)"] if words else [])
    draft.insert("require_backtest: true\n")
    assert draft.notes() == ([f"{RULE}{words} (on trips){SO}"] if words else [])
    found = proof(draft)
    assert found is not None
    assert found.reason == reason
    assert bool(found.detail) == bool(reason)


def test_a_change_of_what_judges_needs_another_back_test_and_one_of_words_does_not(draft: Draft) -> None:
    written(draft)
    assert draft.notes() == []
    draft.replace("    tags: [web]\n  - name: healthy", "    tags: [web]\n    summary: x\n  - name: healthy")
    assert draft.notes() == []
    draft.replace("warning: 0.5%", "warning: 0.4%")
    assert draft.notes() == [
        RULE + "was changed since it was back-tested on 2026-10-31 (on trips)",
    ]


@pytest.mark.parametrize(
    ("top", "profile", "own", "wanted"),
    [
        (None, None, None, False),
        (True, None, None, True),
        (True, False, None, False),
        (True, False, True, True),
        (None, True, None, True),
        (None, True, False, False),
        (False, None, True, True),
    ],
)
def test_the_nearest_word_says_whether_a_record_is_required(
    draft: Draft, top: bool | None, profile: bool | None, own: bool | None, wanted: bool
) -> None:
    if top is not None:
        draft.insert(f"require_backtest: {str(top).lower()}\n")
    if profile is not None:
        draft.insert(f"environments: {{production: {{require_backtest: {str(profile).lower()}}}}}\n")
    if own is not None:
        draft.replace("    labels:", f"    require_backtest: {str(own).lower()}\n    labels:")
    assert (proof(draft) is not None) is wanted


@pytest.mark.parametrize("mode", ["observe", "approve"])
def test_what_never_acts_by_itself_is_not_named(draft: Draft, mode: str) -> None:
    draft.replace("    labels:", f"    mode: {mode}\n    labels:").insert("require_backtest: true\n")
    assert draft.notes() == []


def test_a_record_grows_too_old(draft: Draft) -> None:
    written(draft.insert("backtest: {max_age: 30d}\nrequire_backtest: true\n"))
    found = proof(draft)
    assert found is not None
    assert found.until == END + timedelta(days=30)
    path = draft.path
    assert check(path, {}, registries=TINY, now=END + timedelta(days=30)).notes == ()
    (note,) = check(path, {}, registries=TINY, now=END + timedelta(days=31)).notes
    assert str(note).removeprefix(f"{draft.folder}/") == (
        "backtests.json:1:1: the last back-test of error-rate counted until 2026-11-30 00:00 UTC (on trips)"
        + SO
    )


def test_what_leaves_no_history_needs_no_record(draft: Draft) -> None:
    draft.replace(
        "threshold: {critical: 3 failures}", "threshold: {critical: 3 failures, rollback: 5 failures}"
    )
    written(draft.insert("require_backtest: true\n"))
    assert draft.notes() == []
    assert not has_history(draft.load().rules["healthy"])
    draft.rule(
        """
- name: slower
  rate: 'a{version="$version"}'
  baseline: {against: previous-version, worse_by: {critical: 50%, rollback: 150%}}
""".replace("- name", "name")
        .replace("  rate", "rate")
        .replace("  base", "base")
    )
    assert not has_history(draft.load().rules["slower"])


def test_the_file_stands_beside_the_configuration_or_where_it_says(draft: Draft) -> None:
    assert draft.load().backtest.file == draft.folder / "backtests.json"
    (draft.folder / "kept").mkdir()
    written(draft.insert("backtest: {record: kept/a.json}\n"), file="kept/a.json")
    assert draft.load().backtest.file == draft.folder / "kept" / "a.json"
    assert draft.notes() == []


def test_a_file_that_comes_is_noticed(draft: Draft) -> None:
    trail = draft.load().trail
    assert trail.again() == trail
    written(draft)
    assert trail.again() != trail


UNREADABLE = "is not valid JSON; mend it, or move it away, and `watchdog backtest --record` makes a new one"
BROKEN = [
    ('{"version": 1,\n "backtests": [}', f"2:16: {UNREADABLE}"),
    ("", f"1:1: {UNREADABLE}"),
    ('{"version": 2}', "1:13: is no back-test record: expected `int` <= 1"),
    ('{"backtest": []}', "1:1: is no back-test record: object contains unknown field `backtest`"),
    ("[]", "1:1: is no back-test record: expected `object`, got `array`"),
    (
        '{"backtests": [\n  {"service": 3}\n]}',
        "2:15: is no back-test record: expected `str`, got `int`",
    ),
]


@pytest.mark.parametrize(("text", "problem"), BROKEN)
def test_a_broken_file_is_a_mistake_at_its_place(draft: Draft, text: str, problem: str) -> None:
    (draft.folder / "backtests.json").write_text(text)
    assert draft.problems() == []
    assert f"backtests.json:{problem}" in draft.notes()
    draft.insert("require_backtest: true\n")
    assert draft.problems() == [f"backtests.json:{problem}"]


@pytest.mark.parametrize("where", ["profile", "service"])
def test_a_broken_file_disarms_nobody_who_must_have_a_record(draft: Draft, where: str) -> None:
    (draft.folder / "backtests.json").write_text("{ <<<<<<< HEAD")
    if where == "profile":
        draft.insert("environments: {production: {require_backtest: true}}\n")
    else:
        draft.replace("  - name: trips\n", "  - name: trips\n    require_backtest: true\n")
    (problem,) = draft.problems()
    assert problem.startswith("backtests.json:1:3: is not valid JSON")


def test_a_share_that_is_none_is_named_at_its_number(draft: Draft) -> None:
    written(draft.insert("backtest: {}\n"))
    file: Path = draft.folder / "backtests.json"
    file.write_text(file.read_text().replace('"known": 1.0', '"known": 1.5'))
    line = next(i for i, text in enumerate(file.read_text().splitlines(), 1) if "known" in text)
    assert draft.problems() == [f"backtests.json:{line}:16: is no back-test record: expected `float` <= 1.0"]
    assert json.loads(file.read_text())["version"] == 1


def test_a_file_that_cannot_be_read_is_told(draft: Draft) -> None:
    (draft.folder / "backtests.json").mkdir()
    draft.insert("backtest: {}\n")
    assert draft.problems() == ["backtests.json:1:1: cannot be read: Is a directory"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("backtest: {max_rollback: 1}", "unknown key 'max_rollback'; did you mean 'max_rollbacks'?"),
        ("backtest: {max_noise: 3}", "expected a rate such as 3 per 10m, found 3"),
        ("backtest: {max_noise: 0 per 1w}", "'0 per 1w': both numbers must be above 0"),
        ("backtest: {max_age: 0}", "more than 0s is needed"),
        ("backtest: 3", "expected a mapping, found the number 3"),
        ("require_backtest: yes", "'yes' is true or false to some YAML readers"),
        ("require_backtests: true", "unknown key 'require_backtests'; did you mean 'require_backtest'?"),
    ],
)
def test_bad_keys_are_told_at_their_place(draft: Draft, text: str, problem: str) -> None:
    line = draft.main.count("\n") + 1
    (said,) = draft.insert(text + "\n").problems()
    assert said.startswith(f"watchdog.yaml:{line}:")
    assert problem in said


def test_a_record_of_a_time_that_is_not_over_yet_is_as_old_as_itself(draft: Draft) -> None:
    written(
        draft.insert("require_backtest: true\nbacktest: {max_age: 10d}\n"), until=END + timedelta(days=400)
    )
    found = proof(draft)
    assert found is not None
    assert found.until == END + timedelta(days=10)


def test_a_record_from_the_end_of_all_time_is_no_traceback(draft: Draft) -> None:
    last = datetime.max.replace(tzinfo=UTC)
    written(draft.insert("require_backtest: true\nbacktest: {max_age: 10d}\n"), until=last, made_at=last)
    assert check(draft.path, {}, registries=TINY, now=END).ok


def test_a_second_record_of_the_same_is_a_mistake_and_neither_counts(draft: Draft) -> None:
    written(draft)
    file = draft.folder / "backtests.json"
    known = msgspec.json.decode(file.read_bytes(), type=RecordFile).backtests[0]
    worse = msgspec.structs.replace(known, rollbacks=9)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(RecordFile(backtests=(worse, known))), indent=2))
    notes = draft.notes()
    assert any("backtests.json:20:5: a second record of 'error-rate' on 'trips'" in note for note in notes)
    draft.insert("require_backtest: true\n")
    assert not check(draft.path, {}, registries=TINY).ok
