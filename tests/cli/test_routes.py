"""`watchdog routes test`: labels in, who would be told and when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.cli.conftest import invoke
from watchdog.cli import completing
from watchdog.cli.main import app

RULES = """version: 1
rules:
  - {name: armed, query: 'a{version="$version"}', evidence: none, threshold: {critical: 1, rollback: 150%}}
"""
#: Route 1 stands in line 19.
MAIN = """version: 1
rules: [rules.yaml]
sources: {p: {kind: prometheus, url: "http://127.0.0.1:9090"}}
services:
  - {name: trips, labels: {team: booking}, rules: [armed],
     traffic: {kind: command, read: [x], apply: [x, "{variant}"]}}
  - {name: cart, environment: staging, labels: {team: shop, zone: eu}, rules: [armed],
     traffic: {kind: command, read: [y], apply: [y, "{variant}"]}}
mute_windows: {nights: {zone: Europe/Berlin, from: "22:00", to: "07:00"}}
channels: {ops: {kind: log}, lead: {kind: log}, mail: {kind: log}}
escalations:
  production:
    critical: [{to: [ops]}, {after: 5m, to: [lead]}]
    high: [{to: [ops]}]
    medium: [{to: [ops]}]
    low: [{to: [mail]}, {after: 24h, digest: weekly}]
    repeat: 1h
routes:
  - {match: {environment: staging}, to: [ops], repeat: never}
  - {match: {team: night}, to: [mail]}
  - {escalation: production, mute: [nights], notices: [ops], gather: {by: [team]}}
"""
NOON, NIGHT = "2026-03-02T12:00:00Z", "2026-03-02T23:00:00Z"


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "w.yaml").write_text(MAIN)
    return str(tmp_path / "w.yaml")


def asked(file: str, *words: str) -> dict[str, Any]:
    result = invoke("routes", "test", "-c", file, *words, "--json")
    assert result.exit_code == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def steps(answer: dict[str, Any]) -> list[tuple[float, list[str]]]:
    return [(one["after_seconds"] / 60, one["channels"]) for one in answer["timeline"]]


def test_a_service_brings_its_labels_and_environment(file: str) -> None:
    answer = asked(file, "service=cart", "--at", NOON)

    assert answer["labels"] == {
        "service": "cart",
        "environment": "staging",
        "severity": "critical",
        "kind": "incident_opened",
        "team": "shop",
        "label.team": "shop",
        "zone": "eu",
        "label.zone": "eu",
    }
    assert (answer["route"]["number"], answer["route"]["line"], answer["route"]["file"]) == (1, 19, file)
    assert steps(answer) == [(0, ["ops"])]


def test_the_timeline_is_that_of_the_ladder(file: str) -> None:
    answer = asked(file, "service=trips", "--at", NOON)

    assert answer["route"]["escalation"] == "production"
    assert steps(answer) == [(0, ["ops"]), (5, ["lead"]), (65, ["ops", "lead"]), (125, ["ops", "lead"])]
    assert answer["timeline"][1]["at"] == "2026-03-02T12:05:00Z"
    assert (answer["muted_by"], answer["muted_until"], answer["gather"]) == ([], None, None)


def test_labels_alone_are_enough(file: str) -> None:
    assert asked(file, "label.team=booking", "environment=production")["route"]["number"] == 3
    assert asked(file, "environment=staging", "severity=low")["severity"] == "low"
    assert asked(file)["route"]["number"] == 3
    assert asked(file, "team=night")["route"]["number"] == 2, "a label that only a route names"


def test_a_mute_window_holds_it_back_until_it_ends(file: str) -> None:
    answer = asked(file, "service=trips", "--severity", "low", "--at", NIGHT)

    assert (answer["muted_by"], answer["muted_until"]) == (["nights"], "2026-03-03T06:00:00Z")
    assert steps(answer)[0] == (7 * 60, ["mail"])
    assert answer["gather"] == {"by": ["team"], "wait_seconds": 30, "interval_seconds": 300}


def test_what_is_about_a_rollback_is_never_muted(file: str) -> None:
    answer = asked(file, "service=trips", "kind=rollback_blocked", "--at", NIGHT)

    assert (answer["muted_by"], answer["muted_until"]) == (["nights"], None)
    assert steps(answer)[0] == (0, ["ops"])


def test_a_notice_goes_where_notices_go(file: str) -> None:
    assert steps(asked(file, "service=trips", "kind=deployment_stable", "--at", NOON)) == [(0, ["ops"])]
    assert steps(asked(file, "service=trips", "kind=deployment_stable", "--at", NIGHT)) == []
    assert steps(asked(file, "service=cart", "kind=deployment_stable", "--at", NOON)) == []


def test_people_read_a_table(file: str) -> None:
    result = invoke("routes", "test", "-c", file, "service=trips", "--at", NOON)

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"Route 3 of 3 ({file}:21) takes it: everything.",
        "incident_opened, critical: policy production.",
        "WHEN                     AFTER  WHO                    WHAT",
        "2026-03-02 12:00:00 UTC  0s     ops (log)              step 1 of 2",
        "2026-03-02 12:05:00 UTC  5m     lead (log)             step 2 of 2",
        "2026-03-02 13:05:00 UTC  1h5m   ops (log), lead (log)  told again (1)",
        "2026-03-02 14:05:00 UTC  2h5m   ops (log), lead (log)  told again (2)",
        "Notices go to ops.",
    ]


def test_people_read_what_holds_it_back(file: str) -> None:
    said = invoke("routes", "test", "-c", file, "service=trips", "--severity", "low", "--at", NIGHT).stdout

    assert "Muted until 2026-03-03 06:00:00 UTC: nights." in said
    assert "Gathered by team: waits 30s for others, and 5m after the last of its group." in said
    quiet = invoke("routes", "test", "-c", file, "service=cart", "kind=deployment_stable").stdout
    assert "Nobody is told." in quiet
    loud = invoke("routes", "test", "-c", file, "kind=rollback_blocked", "--at", NIGHT).stdout
    assert "In force, and does not hold this back: nights." in loud


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["service=trps"], "unknown service 'trps'; did you mean 'trips'? (known: cart, trips)"),
        (["severty=low"], "unknown label 'severty'; did you mean 'severity'?"),
        (["label.service=trips"], "unknown label 'label.service'"),
        (["label.teem=booking"], "unknown label 'label.teem'"),
        (["team=bookng"], "unknown value of label team 'bookng'; did you mean 'booking'?"),
        (["environment=stagin"], "unknown environment 'stagin'; did you mean 'staging'?"),
        (["severity=hi"], "unknown severity 'hi'"),
        (["--severity", "critcal"], "unknown severity 'critcal'; did you mean 'critical'?"),
        (
            ["kind=incident_opend"],
            "unknown value of label kind 'incident_opend'; did you mean 'incident_opened'?",
        ),
        (["trips"], "'trips' is not LABEL=VALUE, such as service=trips"),
        (["=x"], "'=x' is not LABEL=VALUE"),
        (["team=shop", "team=booking"], "team is both 'shop' and 'booking'"),
        (["severity=low", "--severity", "high"], "severity is both 'low' and 'high'"),
        (["service=trips", "team=shop"], "team of service 'trips' is 'booking', not 'shop'"),
        (["service=trips", "zone=eu"], "service 'trips' has no label 'zone'"),
        (["--at", "yesterday"], "'yesterday' is not a time such as 2026-03-07T03:00:00Z"),
    ],
)
def test_what_nothing_has_is_told_with_the_nearest_name(file: str, words: list[str], said: str) -> None:
    result = invoke("routes", "test", "-c", file, *words)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert said in result.stderr


def test_everything_that_is_wrong_is_told_at_once(file: str) -> None:
    result = invoke("routes", "test", "-c", file, "service=trps", "team=x", "severty=low")

    assert len(result.stderr.splitlines()) == 3


def test_a_configuration_with_mistakes_says_so(file: str) -> None:
    Path(file).write_text(Path(file).read_text().replace("to: [lead]", "to: [laed]"))
    result = invoke("routes", "test", "-c", file, "service=trips")

    assert result.exit_code == 1
    assert "unknown channel 'laed'; did you mean 'lead'?" in result.stderr


@pytest.mark.parametrize(
    ("begun", "offered"),
    [
        ("", ["environment=", "kind=", "service=", "severity=", "team=", "version=", "zone="]),
        ("te", ["team="]),
        ("team=", ["team=booking", "team=night", "team=shop"]),
        ("service=tr", ["service=trips"]),
        ("nobody=", []),
    ],
)
def test_labels_are_completed_from_the_configuration(file: str, begun: str, offered: list[str]) -> None:
    context = typer.Context(typer.main.get_command(app))
    context.params["config"] = Path(file)

    assert sorted(value for value, _ in completing.labels(context, begun)) == offered


def test_nothing_is_offered_where_there_is_no_configuration() -> None:
    context = typer.Context(typer.main.get_command(app))
    assert completing.labels(context, "") == []
    context.params["config"] = "/nowhere.yaml"
    assert completing.labels(context, "") == []


def test_the_summary_of_a_configuration_counts_its_policies(file: str) -> None:
    said = invoke("check", "-c", file).stdout

    assert said.endswith("3 channels, 3 routes, 1 escalation policy.\n")
    Path(file).write_text(
        Path(file).read_text().replace("  production:\n", "  spare: {low: [{to: [ops]}]}\n  production:\n")
    )
    assert invoke("check", "-c", file).stdout.endswith("3 routes, 2 escalation policies.\n")
