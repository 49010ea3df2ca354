"""`watchdog rules suggest`: from files and from a real Prometheus to YAML that can be pasted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import Result

from tests.cli.conftest import invoke
from tests.lab.configured import ERRORS, QUEUE, configured
from tests.servers.backfill import shop
from tests.servers.prometheus import Prometheus


def series(path: Path, *, number: int = 600, around: float = 100.0) -> Path:
    values = np.random.default_rng(0).normal(around, around / 10, number)
    moments = (datetime.fromtimestamp(1_767_225_600 + 600 * index, UTC) for index in range(number))
    lines = [f"{at:%Y-%m-%dT%H:%M:%SZ},{value:.4f}" for at, value in zip(moments, values, strict=True)]
    path.write_text("\n".join(["TimeStamp,Value", *lines]) + "\n")
    return path


def suggest(*args: object) -> Result:
    return invoke("rules", "suggest", *(str(one) for one in args))


def test_a_file_gives_yaml_to_paste(tmp_path: Path) -> None:
    result = suggest("--csv", series(tmp_path / "a.csv"), "--unit", "count", "--direction", "above")
    assert result.exit_code == 0, result.stderr
    pasted = yaml.safe_load(result.stdout)
    assert pasted["unit"] == "count"
    assert pasted["threshold"]["rollback"] == "150%"
    assert set(pasted["hold"]) == {"warning", "critical", "rollback"}
    assert result.stdout.startswith("# a.csv: 600 samples in 4d3h50m ")


def test_unit_and_direction_are_asked_for_with_what_the_values_look_like(tmp_path: Path) -> None:
    file = series(tmp_path / "a.csv")
    result = suggest("--csv", file)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "a.csv: values lie between 6" in result.stderr
    assert "--unit (ratio, seconds, bytes, count or none) says what that is and --direction" in result.stderr
    result = suggest("--csv", file, "--unit", "count")
    assert result.exit_code == 1
    assert "--direction (above or below) says which values are worse" in result.stderr
    assert "says what that is" not in result.stderr


def test_a_folder_gives_one_suggestion_a_series_and_says_what_it_cannot(tmp_path: Path) -> None:
    series(tmp_path / "a.csv")
    series(tmp_path / "b.csv", around=3)
    series(tmp_path / "c.csv", number=20)
    result = suggest("--csv", tmp_path, "--unit", "count", "--direction", "above", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["suggestions"]
    assert [one["name"] for one in found] == ["a.csv", "b.csv"]
    assert all(one["noise"]["critical"]["count"] == 0 for one in found)
    assert yaml.safe_load(found[0]["yaml"])["threshold"] == {
        level: yaml.safe_load(text) for level, text in found[0]["threshold"].items()
    }
    assert "note: c.csv: too little history: 20 samples" in result.stderr


def test_nothing_to_suggest_is_exit_1(tmp_path: Path) -> None:
    file = series(tmp_path / "a.csv", around=0.0)
    result = suggest("--csv", file, "--unit", "ratio", "--direction", "above")
    assert result.exit_code == 1
    assert result.stderr == "Error: a.csv: every value is 0: that says nothing of how much would be bad\n"


def test_a_broken_file_is_told_at_its_place(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("TimeStamp,Value\n2026-01-01T00:00:00Z,much\n")
    result = suggest("--csv", file, "--unit", "count", "--direction", "above")
    assert result.exit_code == 1
    assert "a.csv:2:22: 'much' is not a number" in result.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "learn from what? Give -c FILE and --rule NAME, or --csv PATH"),
        (["--csv", "CSV", "--last", "3d"], "--service and --last are for a source that is asked"),
        (["--csv", "CSV", "--rule", "queue"], "a rule is named by both -c FILE and --rule NAME"),
        (["-c", "FILE"], "a rule is named by both -c FILE and --rule NAME"),
        (["--csv", "CSV", "--unit", "secs", "--direction", "above"], "'secs' is not one of ratio, seconds"),
        (["--csv", "CSV", "--unit", "count", "--direction", "up"], "'up' is not one of above or below"),
        (["-c", "FILE", "--rule", "queue", "--unit", "count"], "the rule has its own"),
        (["-c", "FILE", "--rule", "queue", "--last", "soon"], "--last: 'soon' is not a duration"),
        (["-c", "FILE", "--rule", "queue", "--last", "0"], "--last: it must last"),
    ],
)
def test_who_calls_it_wrongly_is_told(tmp_path: Path, args: list[str], words: str) -> None:
    file = series(tmp_path / "a.csv")
    configured(tmp_path, "http://127.0.0.1:1", QUEUE)
    names = {"CSV": str(file), "FILE": str(tmp_path / "watchdog.yaml")}
    result = suggest(*(names.get(one, one) for one in args))
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--rule", "quue"], "unknown rule 'quue'; did you mean 'queue'?"),
        (["--rule", "queue", "--service", "trip"], "unknown service 'trip'; did you mean 'trips'?"),
        (["--rule", "queue"], "2 services use queue: say which with --service (trips, shop)"),
        (["--rule", "budget"], "budget has an `slo`: its limits follow from the objective, not from history"),
        (["--rule", "healthy"], "healthy is a probe: its limits are counts of failures"),
    ],
)
def test_a_rule_that_cannot_have_limits_is_told(tmp_path: Path, args: list[str], words: str) -> None:
    budget = {key: value for key, value in ERRORS.items() if key not in ("threshold", "window")}
    budget |= {"name": "budget", "slo": {"objective": "99.9%"}}
    probe = {
        "name": "healthy",
        "probe": {"kind": "http", "url": "http://$service/"},
        "threshold": {"critical": "3 failures"},
    }
    path = configured(tmp_path, "http://127.0.0.1:1", QUEUE, budget, probe).path
    main = json.loads(path.read_text())
    (trips,) = main["services"]
    other = {**trips, "name": "shop", "traffic": {**trips["traffic"], "read": ["false"]}}
    path.write_text(json.dumps({**main, "services": [trips, other]}))
    result = suggest("-c", tmp_path / "watchdog.yaml", *args)
    assert result.exit_code == 1
    assert words in result.stderr


def test_a_rule_of_a_configuration_takes_its_meaning_along_to_a_file(tmp_path: Path) -> None:
    configured(tmp_path, "http://127.0.0.1:1", QUEUE)
    file = series(tmp_path / "a.csv")
    result = suggest("-c", tmp_path / "watchdog.yaml", "--rule", "queue", "--csv", file)
    assert result.exit_code == 0, result.stderr
    assert "unit: count  # the rule's\ndirection: above  # the rule's\n" in result.stdout


@pytest.mark.timeout(60)
def test_a_prometheus_is_asked_for_what_the_rule_measured(
    tmp_path: Path, start_prometheus: Callable[..., Prometheus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    past = shop(int(time.time()) - 60, days=1)
    prometheus = start_prometheus(history=past.text, blocks="24h")
    configured(tmp_path, prometheus.url, ERRORS)
    result = suggest("-c", tmp_path / "watchdog.yaml", "--rule", "error-rate", "--last", "1d", "--json")
    assert result.exit_code == 0, result.stderr
    assert "note: asked of all versions together" in result.stderr
    (found,) = json.loads(result.stdout)["suggestions"]
    assert found["name"] == "trips/error-rate"
    assert (found["unit"], found["unit_from"]) == ("ratio", "the rule's")
    assert found["evidence"] == {"min_events": 20, "min_bad": 10, "confidence": 0.99, "excess": 0.2}
    assert found["step_seconds"] == 30


def test_a_prometheus_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    configured(tmp_path, "http://127.0.0.1:1", QUEUE)
    result = suggest("-c", tmp_path / "watchdog.yaml", "--rule", "queue")
    assert result.exit_code == 1
    assert "source 'prometheus' does not answer" in result.stderr
    assert "Traceback" not in result.stderr
