"""`watchdog lab`: series and rules in, figures out; mistakes are told where they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import invoke

HEADER = "TimeStamp,Value,Label\n"


def write(path: Path, values: list[float], marked: set[int] | None = None) -> None:
    """Hourly values, of which some are marked."""
    lines = [
        f"2026-03-{1 + hour // 24:02}T{hour % 24:02}:00:00Z,{value},{int(hour in (marked or set()))}"
        for hour, value in enumerate(values)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "\n".join(lines) + "\n")


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Two folders of one series each; only the first has an event, which every rule finds."""
    steady = [10.0, 11.0] * 60
    write(tmp_path / "crashes" / "a.csv", [*steady[:80], 90.0, 90.0, 90.0, *steady[83:]], {80, 81, 82})
    write(tmp_path / "latency" / "b.csv", steady)
    return tmp_path


def test_a_table_for_every_folder_and_one_for_all(series: Path) -> None:
    said = invoke("lab", "score", str(series))
    assert said.exit_code == 0, said.output
    lines = said.stdout.splitlines()
    assert lines[0] == "crashes: 1 series, 1 events"
    assert lines[1].split()[:3] == ["level", "precision", "recall"]
    assert lines[4].split()[:4] == ["rollback", "1.00", "1.00", "1.00"]
    assert "latency: 1 series, 0 events" in lines
    assert "in all: 2 series, 1 events" in lines
    assert "NaN" not in said.stdout
    assert "nan" not in said.stdout


def test_a_file_with_mistakes_is_told_and_the_rest_is_scored(series: Path) -> None:
    broken = series / "crashes" / "broken.csv"
    broken.write_text(HEADER + "2026-03-01T00:00:00Z,high,0\n")
    said = invoke("lab", "score", str(series), "--json")
    assert said.exit_code == 1
    assert f"{broken}:2:22: " in said.stderr
    assert "left out" in said.stderr
    assert json.loads(said.stdout)["series"] == 2


def test_the_same_as_json(series: Path) -> None:
    said = invoke("lab", "score", str(series), "--json")
    found = json.loads(said.stdout)
    assert (found["series"], found["events"]) == (2, 1)
    assert found["levels"]["rollback"]["recall"] == 1.0
    assert found["baselines"]["naive"]["precision"] == 1.0
    assert found["baselines"]["burn_rate"]["precision"] is None
    assert set(found["folders"]) == {"crashes", "latency"}
    assert json.loads(invoke("lab", "score", str(series), "--json").stdout) == found


def test_a_rule_of_a_file_is_scored_instead(series: Path) -> None:
    rules = series / "rules.yaml"
    rules.write_text(
        "version: 1\nrules:\n"
        "  - {name: high, query: max(q), unit: count, threshold: {critical: 95}, hold: {critical: 1 samples}}\n"
        "  - {name: low, query: max(q), unit: count, threshold: {critical: 50}, hold: {critical: 1 samples}}\n"
    )
    found = {
        name: json.loads(
            invoke("lab", "score", str(series), "--rules", str(rules), "--rule", name, "--json").stdout
        )["levels"]["critical"]["recall"]
        for name in ("high", "low")
    }
    assert found == {"high": 0.0, "low": 1.0}
    many = invoke("lab", "score", str(series), "--rules", str(rules))
    assert many.exit_code == 1
    assert "say which with --rule: high, low" in many.output


def test_where_smaller_is_worse(tmp_path: Path) -> None:
    steady = [100.0, 101.0] * 60
    write(tmp_path / "a.csv", [*steady[:80], 1.0, *steady[81:]], {80})
    said = invoke("lab", "score", str(tmp_path), "--direction", "below", "--json")
    assert json.loads(said.stdout)["levels"]["rollback"]["recall"] == 1.0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("TimeStamp,Value,Label\n2026-03-01T00:00:00Z,much,0\n", "a.csv:2:22: "),
        ("TimeStamp,Label\n2026-03-01T00:00:00Z,0\n", "a.csv:1:1: no column Value"),
        ("TimeStamp,Value\n2026-03-01T00:00:00Z,1\n", "a.csv:1:1: no column Label"),
        ("TimeStamp,Value,Label\n2026-03-01T00:00:00Z,1,2\n", "a.csv:2:24: "),
        ("TimeStamp,Value,Label\nyesterday,1,0\n", "a.csv:2:1: "),
        ("", "no series"),
    ],
)
def test_mistakes_in_series_are_told_where_they_are(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    said = invoke("lab", "score", str(tmp_path))
    assert said.exit_code == 1
    assert told in said.output


def test_a_folder_that_is_not_there_or_holds_nothing(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        said = invoke("lab", "score", str(folder))
        assert said.exit_code == 1
        assert str(folder) in said.output


def test_what_was_decided_while_reading_is_told_beside_the_answer(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", [10.0] * 30)
    path = tmp_path / "a.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    said = invoke("lab", "score", str(tmp_path), "--json")
    assert "twice" in said.stderr
    assert json.loads(said.stdout)["series"] == 1


def test_a_simulation_says_how_often_and_how_soon() -> None:
    said = invoke("lab", "simulate", "--weeks", "1", "--faults", "4", "--rate", "10", "--jobs", "1")
    assert said.exit_code == 0, said.output
    assert "100 % fail" in said.stdout
    assert said.stdout.splitlines()[-1].startswith("in all")


def test_the_same_seed_gives_the_same_figures_and_another_one_others() -> None:
    words = (
        "lab",
        "simulate",
        "--weeks",
        "1",
        "--faults",
        "10",
        "--rate",
        "10",
        "--fault",
        "10%",
        "--jobs",
        "1",
    )
    one, same, other = (
        json.loads(invoke(*words, "--json", "--seed", seed).stdout) for seed in ("1", "1", "2")
    )
    assert one == same
    assert {**one, "seed": 2} != other
    assert one["rates"][0]["faults"][0]["share"] == 0.1
    assert {"false_per_week", "false_per_week_ci", "faults", "rates", "seed", "rule"} <= set(one)


def test_blips_are_simulated() -> None:
    words = ("--blips", "2", "--blip-length", "10m", "--blip-share", "50%", "--fault", "100%")
    said = invoke(
        "lab", "simulate", "--weeks", "1", "--faults", "1", "--rate", "10", "--jobs", "1", *words, "--json"
    )
    found = json.loads(said.stdout)
    assert found["noise"]["blip_seconds"] == 600
    assert found["false_rollbacks"] > 9, "ten minutes of half the requests failing are no noise"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--fault", "300%"), "--fault: '300%' is no share"),
        (("--fault", "some"), "--fault"),
        (("--base", "-1%"), "--base"),
        (("--rate", "0"), "--rate: 0 is not within"),
        (("--weeks", "0"), "--weeks: 0 is not within"),
        (("--blip-length", "long"), "--blip-length"),
        (("--rule", "x"), "no file is given"),
    ],
)
def test_what_cannot_be_simulated_is_a_wrong_call(words: tuple[str, ...], told: str) -> None:
    said = invoke("lab", "simulate", *words)
    assert said.exit_code == 2
    assert told in said.output


def test_a_rule_that_counts_no_requests_is_refused(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("version: 1\nrules:\n  - {name: q, query: max(q), threshold: {critical: 1}}\n")
    said = invoke("lab", "simulate", str(rules))
    assert said.exit_code == 1
    assert "no `ratio`" in said.output
    rules.write_text("version: 1\nrules:\n  - {name: q, qery: max(q), threshold: {critical: 1}}\n")
    assert f"{rules}:3:" in invoke("lab", "simulate", str(rules)).output
