from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.daemon import Daemon
from tests.cli.conftest import Run
from watchdog.core.request import RequestKind


@pytest.mark.parametrize(
    ("options", "matchers"),
    [
        (["--service", "trips"], {"service": "trips"}),
        (["--service", "trips", "--rule", "error-rate"], {"service": "trips", "rule": "error-rate"}),
        (
            ["--environment", "production", "--severity", "high"],
            {"environment": "production", "severity": "high"},
        ),
        (
            ["--match", "label.team=booking", "--match", "version=v2"],
            {"label.team": "booking", "version": "v2"},
        ),
    ],
    ids=str,
)
def test_what_is_given_must_match(
    watchdog: Run, daemon: Daemon, options: list[str], matchers: dict[str, str]
) -> None:
    result = watchdog("silence", *options, "--for", "2h", "--reason", "load test")
    assert result.exit_code == 0, result.stderr
    (request,) = daemon.asked
    assert request.kind is RequestKind.SILENCE
    assert request.body == {"matchers": matchers, "reason": "load test", "for_seconds": 7200.0}
    shown = " ".join(f"{name}={value}" for name, value in matchers.items())
    assert result.stdout == f"s1: {shown} is silent until 2026-03-14T16:09:26Z\n"


def test_a_silence_may_last_until_a_time(watchdog: Run, daemon: Daemon) -> None:
    until = "2026-03-15T09:00:00+01:00"
    made = watchdog("silence", "--service", "trips", "--until", until, "--reason", "x", "--json")
    assert json.loads(made.stdout)["id"] == "s1"
    assert daemon.asked[0].body["ends_at"] == "2026-03-15T08:00:00Z"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--for", "2h", "--reason", "x"], "say what is to be silent"),
        (["--service", "trips", "--reason", "x"], "say how long"),
        (
            ["--service", "trips", "--reason", "x", "--for", "2h", "--until", "2026-03-15T00:00:00Z"],
            "say how long",
        ),
        (["--service", "trips", "--reason", "x", "--for", "2 hours"], "--for: "),
        (["--match", "team", "--reason", "x", "--for", "2h"], "--match 'team' is not NAME=VALUE"),
        (["--service", "trips", "--for", "2h"], "--reason"),
    ],
    ids=str,
)
def test_a_silence_without_a_subject_an_end_or_a_reason_is_called_wrongly(
    watchdog: Run, daemon: Daemon, options: list[str], told: str
) -> None:
    result = watchdog("silence", *options)
    assert result.exit_code == 2
    assert told in result.stderr
    assert daemon.asked == []


def test_what_the_daemon_does_not_know_is_told_with_the_nearest_name(watchdog: Run) -> None:
    result = watchdog("silence", "--service", "trisp", "--for", "2h", "--reason", "x")
    assert result.exit_code == 1
    assert "did you mean 'trips'?" in result.stderr


def test_silences_are_listed(watchdog: Run) -> None:
    result = watchdog("silences")
    assert result.stdout.splitlines() == [
        "ID  STATE     UNTIL                 HELD BACK  BY   WHAT           WHY",
        "s1  in force  2026-03-14T16:09:26Z  2          ana  service=trips  load test",
    ]
    listed: dict[str, Any] = json.loads(watchdog("silences", "--all", "--json").stdout)
    assert [one["id"] for one in listed["items"]] == ["s1", "s0"]
    assert "over" in watchdog("silences", "--all").stdout


def test_a_silence_is_ended_by_its_id(watchdog: Run, daemon: Daemon) -> None:
    result = watchdog("silences", "expire", "s1", "--reason", "found it")
    assert (result.exit_code, result.stdout) == (0, "s1 is over\n")
    assert daemon.asked[0].kind is RequestKind.EXPIRE
    assert json.loads(watchdog("silences", "--json", "expire", "s1").stdout)["id"] == "s1"
    unknown = watchdog("silences", "expire", "s9")
    assert (unknown.exit_code, unknown.stderr) == (1, "Error: there is no silence 's9'\n")
