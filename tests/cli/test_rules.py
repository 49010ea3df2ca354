"""`watchdog rules test`: what it prints, writes and answers, with real tests of real rules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.cli.conftest import invoke
from watchdog.cli import completing

RULES = """version: 1
rules:
  - name: errors
    ratio: {bad: 'bad{version="$version"}', total: 'all{version="$version"}'}
    threshold: {warning: 1%, critical: 5%, rollback: 150%}
  - name: alive
    probe: {kind: http, url: "http://$service/"}
    threshold: {critical: 3 failures, rollback: 5 failures}
"""
GOOD = """version: 1
rules: [rules.yaml]
every: 30s
tests:
  - name: a bad version is rolled back
    series:
      errors@v1: 0.1% x30
      errors@v2: {samples: 20% x8, starts: 5m}
    events: [{at: 5m, deploy: v2}]
    expect:
      - {switch: {from: v2, to: v1}, within: [6m, 8m], times: 1}
      - {rollback: completed}
"""
BAD = """version: 1
rules: [rules.yaml]
every: 30s
tests:
  - name: a blip is no reason
    series:
      errors@v1: 0.1% x20
      errors@v2: {samples: "0.1% x4, 20%, none, error, 0.1% x8", starts: 5m}
    events: [{at: 5m, deploy: v2}]
    expect:
      - {switch: any}
      - {verdict: {rule: errors, level: warning}, never: true}
  - name: this one is good
    series: {errors@v1: 0.1% x5}
    strict: true
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "good.test.yaml").write_text(GOOD)
    (tmp_path / "bad.test.yaml").write_text(BAD)
    return tmp_path


def played(*words: str | Path, code: int = 0, **env: str) -> str:
    result = invoke("rules", "test", *map(str, words), env=env)
    assert result.exit_code == code, result.output
    return result.stdout


def answered(*words: str | Path, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(played(*words, "--json", code=code))
    return found


def test_a_test_that_comes_out_as_expected_is_one_line(folder: Path) -> None:
    lines = played(folder / "good.test.yaml").splitlines()
    assert lines[:2] == [str(folder / "good.test.yaml"), "  ok    a bad version is rolled back"]
    assert lines[2].startswith("1 test, 0 failed, ")
    assert lines[2].endswith(" s")


def test_a_failure_shows_what_was_expected_what_came_and_a_chart_of_it(folder: Path) -> None:
    out = played(folder / "bad.test.yaml", code=1)
    lines = out.splitlines()
    assert lines[1] == "  FAIL  a blip is no reason"
    assert lines[2] == f"      {folder}/bad.test.yaml:11:9: expected switch, at any time"
    assert lines[3] == "        there was no switch at all"
    assert "  ok    this one is good" in lines
    assert "2 tests, 1 failed, " in lines[-1]
    for piece in ("errors@v1", "errors@v2", "rollback 7.5%", "critical 5%", "warning 1%", "█", "·", "!", "▲"):
        assert piece in out, piece
    assert any(line.strip().startswith("5m  > v2 is deployed on green") for line in lines)
    assert any(line.strip().startswith("7m  errors@v2 is critical: 20% of 10000 events") for line in lines)


def test_every_file_is_played_and_one_failure_is_enough_to_fail(folder: Path) -> None:
    out = played(folder / "bad.test.yaml", folder / "good.test.yaml", code=1)
    assert "3 tests, 1 failed" in out


def test_a_folder_stands_for_all_tests_in_it(folder: Path) -> None:
    (folder / "deeper").mkdir()
    (folder / "deeper/other.test.yml").write_text(GOOD.replace("[rules.yaml]", "[../rules.yaml]"))
    assert "4 tests, 1 failed" in played(folder, code=1)
    assert "1 test, 0 failed" in played(folder / "deeper")
    (folder / "deeper/other.test.yml").unlink()
    assert "there is no *.test.yaml in" in invoke("rules", "test", str(folder / "deeper")).stderr


def test_a_filter_chooses_tests_by_their_names(folder: Path) -> None:
    out = played(folder, "--filter", "ROLLED")
    assert "1 test, 0 failed" in out
    assert "bad.test.yaml" not in out
    assert "1 test, 1 failed" in played(folder, "-k", "blip", code=1)


def test_a_filter_that_chooses_nothing_is_no_success(folder: Path) -> None:
    result = invoke("rules", "test", str(folder), "-k", "nosuch")
    assert result.exit_code == 1
    assert "no test's name contains 'nosuch'" in result.stderr


def test_coverage_lists_levels_that_no_test_reached(folder: Path) -> None:
    out = played(folder / "good.test.yaml", "--coverage")
    assert "2 of 5 levels of 2 rules reached" in out
    assert "  errors: never warning" in out
    assert "  alive: never critical, rollback" in out
    (folder / "more.test.yaml").write_text(
        "version: 1\nrules: [rules.yaml]\ntests:\n  - {name: x, strict: true, series: {errors@v1: 3%, alive: ok}}\n"
    )
    out = played(folder / "good.test.yaml", folder / "more.test.yaml", "--coverage")
    assert "3 of 5 levels of 2 rules reached" in out
    assert "errors: never" not in out


def test_json_says_everything(folder: Path) -> None:
    found = answered(folder / "bad.test.yaml", "--coverage", code=1)
    assert (found["ok"], found["tests"], found["failed"]) == (False, 2, 1)
    first, second = found["files"][0]["tests"]
    assert (first["name"], first["line"], first["ok"]) == ("a blip is no reason", 5, False)
    assert [one["expected"] for one in first["failures"]] == ["switch, at any time"]
    assert first["failures"][0]["place"] == f"{folder}/bad.test.yaml:11:9"
    assert {"verdict", "deployment", "reply"} <= {one["what"] for one in first["happenings"]}
    assert any(one["what"] == "verdict" and one["at_seconds"] == 300 for one in first["happenings"])
    assert (second["ok"], second["failures"]) == (True, [])
    assert found["coverage"]["missing"]["alive"] == ["critical", "rollback"]
    assert answered(folder / "good.test.yaml")["ok"] is True


def test_junit_is_written_for_ci_services(folder: Path) -> None:
    (folder / "empty.test.yaml").write_text("")
    out = played(folder, "--junit", folder / "report.xml", code=1)
    assert "1 file with mistakes" in out
    root = ET.parse(folder / "report.xml").getroot()  # noqa: S314 - we wrote it
    assert root.tag == "testsuites"
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "1")
    assert [suite.get("name") for suite in root] == [
        str(folder / name) for name in ("bad.test.yaml", "empty.test.yaml", "good.test.yaml")
    ]
    failed = root.findall(".//failure")
    assert [one.get("message") for one in failed] == ["expected switch, at any time"]
    assert "there was no switch at all" in (failed[0].text or "")
    (error,) = root.findall(".//error")
    assert "empty.test.yaml:1:1: is empty" in (error.text or "")
    names = [case.get("name") for case in root.iter("testcase")]
    assert names[-1] == "a bad version is rolled back"
    assert all(float(case.get("time", "")) >= 0 for case in root.iter("testcase"))


def test_a_report_that_cannot_be_written_is_a_failure(folder: Path) -> None:
    result = invoke(
        "rules", "test", str(folder / "good.test.yaml"), "--junit", str(folder / "nosuch/report.xml")
    )
    assert result.exit_code == 1
    assert "cannot be written: No such file or directory" in result.stderr


def test_a_strict_test_fails_for_what_nobody_expected(folder: Path) -> None:
    (folder / "strict.test.yaml").write_text(GOOD.replace("every: 30s", "every: 30s\nstrict: true"))
    out = played(folder / "strict.test.yaml", code=1)
    assert "expected nothing else (strict)" in out
    assert "notification service=app kind=incident_opened" in out
    more = "      - {incident: any}\n      - {rollback: any}\n      - {notification: {channel: log}}\n"
    (folder / "strict.test.yaml").write_text(GOOD.replace("every: 30s", "every: 30s\nstrict: true") + more)
    assert "1 test, 0 failed" in played(folder / "strict.test.yaml")


def test_mistakes_are_lines_as_check_has_them_and_nothing_of_that_file_is_played(folder: Path) -> None:
    (folder / "bad.test.yaml").write_text(
        BAD.replace("switch: any", "swich: any").replace("errors@v1", "erors@v1")
    )
    out = played(folder / "bad.test.yaml", folder / "good.test.yaml", code=1)
    lines = out.splitlines()
    assert (
        lines[0]
        == f"{folder}/bad.test.yaml:7:7: unknown rule 'erors'; did you mean 'errors'? (known: alive, errors)"
    )
    assert f"{folder}/bad.test.yaml:11:10: unknown key 'swich'; did you mean 'switch'?" in lines
    assert "ok    this one is good" not in out
    assert "  ok    a bad version is rolled back" in lines
    assert "1 test, 0 failed, 1 file with mistakes" in lines[-1]
    (problem, *_) = answered(folder / "bad.test.yaml", code=1)["files"][0]["problems"]
    assert (problem["line"], problem["column"]) == (7, 7)


def test_a_mistake_in_the_rules_is_shown_with_both_places(folder: Path) -> None:
    (folder / "rules.yaml").write_text(RULES.replace("threshold: {warning", "treshold: {warning"))
    out = played(folder / "good.test.yaml", code=1)
    assert f"{folder}/rules.yaml:5:5: unknown key 'treshold'" in out
    assert f"{folder}/good.test.yaml:2:9: 'rules.yaml' has a mistake at {folder}/rules.yaml:5:5: " in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "1:1: is empty"),
        ("\0", "1:1: is a character that YAML does not allow"),
        ("tests: 5\n", "1:8: expected a list"),
        ("version: 1\nrules: rules.yaml\ntests: []\n", "2:8: expected a list"),
        (RULES, "2:1: these are rules; tests of them stand beside them"),
    ],
)
def test_what_is_no_file_of_tests_is_said_without_a_traceback(folder: Path, text: str, words: str) -> None:
    (folder / "x.test.yaml").write_text(text)
    assert words in played(folder / "x.test.yaml", code=1)


def test_a_file_that_is_not_there_and_no_file_at_all(folder: Path) -> None:
    assert "1:1: cannot be read: No such file or directory" in played(folder / "nosuch.test.yaml", code=1)
    assert invoke("rules", "test").exit_code == 2
    assert invoke("rules", "test", "--nosuch").exit_code == 2


def test_more_samples_than_a_test_may_have_are_a_mistake(folder: Path) -> None:
    (folder / "good.test.yaml").write_text(GOOD.replace("0.1% x30", "0.1% x100001"))
    assert "7:18: too many samples: a test may have 100000 in all its series" in played(
        folder / "good.test.yaml", code=1
    )


def test_a_long_series_is_played_and_drawn(folder: Path) -> None:
    """As many as a test may have would take half a minute."""
    text = GOOD.replace("0.1% x30", "0.1% x1000").replace("rollback: completed", "guard: armed")
    (folder / "good.test.yaml").write_text(text)
    out = played(folder / "good.test.yaml", code=1, COLUMNS="80")
    assert max(map(len, out.splitlines()[4:])) <= 80


def test_control_characters_in_names_reach_no_terminal(folder: Path) -> None:
    (folder / "good.test.yaml").write_text(
        GOOD.replace("name: a bad", 'name: "\\e[31mred\\a'.replace("\\a", "") + ' bad"\n    #')
    )
    out = played(folder / "good.test.yaml", code=1)
    assert "\x1b" not in out


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_a_chart_fits_the_terminal(folder: Path, width: int) -> None:
    lines = played(folder / "bad.test.yaml", code=1, COLUMNS=str(width)).splitlines()
    chart = lines[lines.index("      errors@v1") :]
    assert max(map(len, chart)) <= max(width, 66)


def test_where_only_plain_letters_can_be_shown_charts_are_drawn_with_them(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "watchdog", "rules", "test", str(folder / "bad.test.yaml")],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"},
        timeout=30,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.isascii()
    assert b"#" in done.stdout
    assert b"rollback 7.5%" in done.stdout


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals_and_can_be_turned_off(folder: Path, no_color: str, coloured: bool) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as master:
        with os.fdopen(theirs, "wb", buffering=0) as terminal:
            done = subprocess.run(
                [sys.executable, "-m", "watchdog", "rules", "test", str(folder / "good.test.yaml")],
                stdout=terminal,
                stderr=subprocess.PIPE,
                env={**os.environ, "TERM": "xterm", "NO_COLOR": no_color},
                timeout=30,
                check=False,
            )
        shown = master.read(4096)
    assert done.returncode == 0, done.stderr
    assert b"a bad version is rolled back" in shown
    assert (b"\x1b[32m" in shown) is coloured


def test_tab_offers_files_with_tests_and_folders(folder: Path) -> None:
    (folder / "deeper").mkdir()
    (folder / ".hidden").mkdir()
    offered = [name for name, _ in completing.rule_tests(f"{folder}/")]
    assert offered == [f"{folder}/{name}" for name in ("bad.test.yaml", "good.test.yaml", "deeper/")]
    assert [name for name, _ in completing.rule_tests(f"{folder}/g")] == [f"{folder}/good.test.yaml"]
    assert completing.rule_tests(f"{folder}/nosuch/") == []
