"""`watchdog backtest`: histories in, what rules would have done, and an exit code for a budget."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import invoke
from tests.lab.test_backtest import DAY, STORY
from tests.lab.tracks import BEGIN
from watchdog.lab.record import read_records

RULES = """version: 1
rules:
  - name: queue
    unit: count
    gauge: {of: 'queue_depth{service="$service"}', by: max}
    threshold: {warning: 10, critical: 20, rollback: 150%}
    hold: {warning: 2 samples, critical: 2 samples, rollback: 2 samples}
    blind_after: 2m
  - name: error-rate
    unit: ratio
    ratio: {bad: 'e{service="$service"}', total: 't{service="$service"}'}
    threshold: {critical: 1%, rollback: 150%}
  - name: healthy
    probe: {kind: http, url: "http://127.0.0.1:9/", expect: {status: 200}}
    threshold: {critical: 3 failures}
"""
MAIN = """version: 1
rules: [rules.yaml]
store: {url: "sqlite:///%s/none.db"}
sources: {prometheus: {kind: prometheus, url: "http://127.0.0.1:9", timeout: 1s}}
services:
  - {name: trips, rules: [queue, error-rate, healthy], mode: observe,
     traffic: {kind: command, read: [x], apply: [x, "{variant}"]}}
channels: {log: {kind: log}}
routes: [{to: [log]}]
"""
DEPLOYMENTS = """service,version,variant,started_at
trips,v1,blue,2026-01-01T17:50:00Z
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "w.yaml").write_text(MAIN % tmp_path)
    (tmp_path / "deployments.csv").write_text(DEPLOYMENTS)
    lines = [f"{BEGIN + 30 * index:.0f},{STORY.get(index, 5.0)}" for index in range(DAY)]
    (tmp_path / "queue.csv").write_text("\n".join(["TimeStamp,Value", *lines]) + "\n")
    return str(tmp_path / "w.yaml")


def series(file: str) -> list[str]:
    return ["backtest", "-c", file, "--rule", "queue", "--csv", str(Path(file).parent / "queue.csv")]


def test_a_series_is_told_in_a_table(file: str) -> None:
    told = invoke(
        *series(file), "--service", "trips", "--deployments", str(Path(file).parent / "deployments.csv")
    )
    assert told.exit_code == 0, told.output
    assert [re.split(r"  +", line) for line in told.stdout.splitlines()] == [
        ["SERVICE", "RULE", "INCIDENTS", "A WEEK", "ROLLBACKS", "ARMED", "BLIND", "VALUES", "PLAIN ALERTS"],
        ["trips", "queue", "2", "14.00", "1", "1", "4m", "5, at most 45", "2 (14.00 a week)"],
    ]


def test_the_same_is_there_as_json(file: str) -> None:
    told = invoke(*series(file), "--json")
    assert told.exit_code == 0
    (one,) = json.loads(told.stdout)["checks"]
    assert (one["service"], one["incidents"], one["rollbacks"], one["near_deployments"]) == (
        "queue",
        2,
        1,
        None,
    )
    assert "deployments are not known" in told.stderr


@pytest.mark.parametrize(
    ("budget", "code"),
    [
        (("--max-rollbacks", "1"), 0),
        (("--max-rollbacks", "0"), 1),
        (("--max-noise", "14"), 0),
        (("--max-noise", "13.9"), 1),
        (("--max-rollbacks", "1", "--max-noise", "1"), 1),
    ],
)
def test_a_rule_beyond_its_budget_fails(file: str, budget: tuple[str, ...], code: int) -> None:
    told = invoke(*series(file), *budget)
    assert told.exit_code == code
    assert ("Beyond the budget: queue/queue:" in told.stdout) is bool(code)


def test_a_page_is_written_where_it_is_wanted(file: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert invoke(*series(file), "--html", str(page)).exit_code == 0
    assert "<svg" in page.read_text()
    nowhere = tmp_path / "nowhere" / "report.html"
    told = invoke(*series(file), "--html", str(nowhere))
    assert (told.exit_code, told.stderr) == (
        1,
        f"Error: {nowhere} cannot be written: No such file or directory\n",
    )


def test_a_part_of_a_series_can_be_looked_at(file: str) -> None:
    told = invoke(*series(file), "--from", "2026-01-01T15:00:00Z", "--to", "2026-01-01T20:00", "--json")
    (one,) = json.loads(told.stdout)["checks"]
    assert (one["from"], one["to"], one["incidents"]) == ("2026-01-01T15:00:00Z", "2026-01-01T20:00:00Z", 1)
    told = invoke(*series(file), "--last", "5h", "--to", "2026-01-01T20:00:00+00:00", "--json")
    assert json.loads(told.stdout)["checks"][0]["from"] == "2026-01-01T15:00:00Z"


def test_the_window_after_a_deployment_can_be_another(file: str) -> None:
    deployed = ["--service", "trips", "--deployments", str(Path(file).parent / "deployments.csv"), "--json"]
    (one,) = json.loads(invoke(*series(file), *deployed, "--window-after", "5m").stdout)["checks"]
    assert one["near_deployments"] == 0


def test_figures_are_recorded_for_the_arming_gate(file: str) -> None:
    kept = Path(file).parent / "backtests.json"
    told = invoke(*series(file), "--service", "trips", "--record")
    assert told.exit_code == 0
    (one,) = read_records(kept)
    assert (one.service, one.rule, one.rollbacks) == ("trips", "queue", 1)
    assert f"recorded 1 in {kept}" in told.stderr


def test_what_nobody_could_arm_by_is_not_recorded(file: str) -> None:
    told = invoke(*series(file), "--record")
    assert "not recorded: queue/queue: --service does not say whose series it is" in told.stderr
    shares = ["backtest", "-c", file, "--rule", "error-rate", "--csv", str(Path(file).parent / "shares.csv")]
    (Path(file).parent / "shares.csv").write_text("TimeStamp,Value\n1767225600,0.1\n1767225630,0.1\n")
    told = invoke(*shares, "--service", "trips", "--record")
    assert "not recorded: trips/error-rate: it was judged without its evidence" in told.stderr
    assert not (Path(file).parent / "backtests.json").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--rule", "queu"), 1, "unknown rule 'queu'; did you mean 'queue'?"),
        (("--service", "trps"), 1, "unknown service 'trps'; did you mean 'trips'?"),
        (("--from", "yesterday"), 1, "--from: 'yesterday' is not a time such as"),
        (("--from", "2026-02-01", "--to", "2026-01-01"), 1, "is not before --to 2026-01-01T00:00:00Z"),
        (("--from", "2026-02-01", "--last", "1d"), 2, "say the same"),
        (("--last", "soon"), 1, "--last: 'soon' is not a duration"),
        (("--last", "0s"), 1, "--last: it must last"),
        (("--step", "often"), 1, "--step: 'often' is not a duration"),
        (("--last", "3000d", "--to", "0001-02-01"), 1, "is before all time"),
        (("--cache", "x", "--no-cache"), 2, "exclude each other"),
        (("--deployments", "nothing.csv"), 1, "nothing.csv:1:1: "),
        (("--rule", "healthy", "--last", "1d"), 1, "trips/healthy: a probe: nobody knows"),
        (("--rule", "queue", "--last", "1h", "--no-cache"), 1, "cannot be reached"),
        (("--csv", "x.csv"), 2, "--csv is the history of one rule: say which with --rule"),
        (("--csv", "x.csv", "--rule", "que"), 1, "unknown rule 'que'"),
        (("--csv", "x.csv", "--rule", "queue"), 1, "x.csv:1:1: "),
        (("--csv", "x.csv", "--rule", "queue", "--step", "1m"), 2, "a file has the samples that it has"),
        (("--csv", "x.csv", "--rule", "queue", "--last", "1d"), 2, "--last needs --to"),
        (("--csv", "x.csv", "--rule", "queue", "--service", "a", "--service", "b"), 2, "takes one --service"),
        (("--csv", "x.csv", "--rule", "queue", "--service", "trip"), 1, "did you mean 'trips'?"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(file: str, words: tuple[str, ...], code: int, told: str) -> None:
    ended = invoke("backtest", "-c", file, *words)
    assert ended.exit_code == code, ended.output
    assert told in ended.output
    assert "Traceback" not in ended.output


def test_a_time_without_a_sample_is_nothing_to_replay(file: str) -> None:
    told = invoke(*series(file), "--from", "2027-01-01")
    assert told.exit_code == 1
    assert "there is nothing to back-test:\n  queue/queue: there is no sample in this time" in told.output


def test_several_series_are_not_one_services(file: str, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("TimeStamp,Value\n1767225600,5\n1767225630,50\n1767225660,50\n")
    words = ["backtest", "-c", file, "--rule", "queue", "--csv", str(folder)]
    assert "2 series" in invoke(*words, "--service", "trips").output
    told = invoke(*words)
    assert [line.split()[0] for line in told.stdout.splitlines()] == ["SERVICE", "a", "b"]
