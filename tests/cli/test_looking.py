from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from tests.api.daemon import BROKEN, HOTELS, NOW, ROLLED, TRIPS, Daemon, view
from tests.cli.conftest import Run
from watchdog.core.lateness import Late, What
from watchdog.core.rollback import Veto
from watchdog.core.view import HeartbeatView, SourceView


def answer(watchdog: Run, *args: str) -> Any:
    result = watchdog(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_status_shows_every_service_and_what_is_open(watchdog: Run) -> None:
    result = watchdog("status")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split("  ")[0] == "SERVICE"
    hotels, trips = lines[1], lines[2]
    assert hotels.startswith("hotels   production   observe")
    assert "hotels is only observed" in hotels
    assert trips.startswith("trips")
    assert "critical  v2 (watching)  yes" in trips
    assert "paused by ana: load test; rollback r1 applied" in trips
    assert "1 open:" in lines
    assert lines[-1].startswith("- i1  critical")


def test_status_in_json_has_all_of_it(watchdog: Run) -> None:
    seen = answer(watchdog, "status")
    assert [one["name"] for one in seen["services"]] == ["hotels", "trips"]
    assert [one["id"] for one in seen["incidents"]] == ["i1"]
    assert seen["daemon"]["leader"] is True


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"paused_by_file": True}, "PAUSED by the pause file"),
        (
            {"breaker": "6 of 10 services breach"},
            "BREAKER open, no automatic rollback: 6 of 10 services breach",
        ),
        ({"cut_off_at": NOW}, "CUT OFF since 2026-03-14T15:09:26Z: nothing answers"),
        ({"silences": 2}, "silences in force: 2; see `watchdog silences`"),
        ({"store_error": "disk full"}, "STORE failed, nothing is switched: disk full"),
        ({"config_fault": "a.yaml:1:1: x"}, "CONFIGURATION refused, the one before is in force"),
        (
            {"late": (Late(what=What.CHECKS, since=NOW, detail="trips/error-rate was not polled for 3m"),)},
            "LATE: trips/error-rate was not polled for 3m",
        ),
        ({"heartbeat": HeartbeatView(withheld=True)}, "HEARTBEAT withheld"),
        ({"heartbeat": HeartbeatView(error="answered 404")}, "HEARTBEAT not taken: answered 404"),
        ({"leader": False}, "this watchdog follows"),
        ({"sources": {"p": SourceView(name="p", up=False, error="refused")}}, "source p is down: refused"),
    ],
    ids=str,
)
def test_status_says_what_stops_the_automation(
    watchdog: Run, daemon: Daemon, changes: dict[str, Any], told: str
) -> None:
    daemon.shown = msgspec.structs.replace(view(), **changes)
    assert told in watchdog("status").stdout


def test_a_pause_is_told_once(watchdog: Run, daemon: Daemon) -> None:
    vetoes = (
        Veto(guard="paused", reason="paused", detail="paused by ana: load test"),
        Veto(guard="target_ready", reason="not_ready", detail="blue is down"),
    )
    blocked = msgspec.structs.replace(TRIPS, rollback_ready=False, not_ready=vetoes)
    daemon.shown = msgspec.structs.replace(view(), services={"trips": blocked})
    text = watchdog("status").stdout
    assert text.count("paused by ana") == 1
    assert "blue is down" in text


def test_a_switch_that_cannot_be_read_is_told_once(watchdog: Run, daemon: Daemon) -> None:
    why = "the traffic switch cannot be read: no such socket"
    vetoes = (Veto(guard="target_ready", reason="unknown", detail=why),)
    lost = msgspec.structs.replace(
        TRIPS, rollback_ready=False, not_ready=vetoes, traffic_error="no such socket"
    )
    daemon.shown = msgspec.structs.replace(view(), services={"trips": lost})
    assert watchdog("status").stdout.count("no such socket") == 1


def test_status_follows_all_pages(watchdog: Run, daemon: Daemon) -> None:
    many = {f"s{number:03}": msgspec.structs.replace(HOTELS, name=f"s{number:03}") for number in range(450)}
    daemon.shown = msgspec.structs.replace(view(), services=many)
    assert len(answer(watchdog, "status")["services"]) == 450


def test_status_of_one_service_shows_variants_and_checks(watchdog: Run) -> None:
    text = watchdog("status", "trips").stdout
    assert "trips in production: critical, mode enforce" in text
    assert "now:      v2 (watching), started" in text
    assert "stable:   v1 (stable)" in text
    assert "blue     0       v1       1/1" in text
    assert "trips/error-rate@v2  critical  beyond  0.2" in text
    assert answer(watchdog, "status", "trips")["name"] == "trips"


def test_status_of_a_service_nobody_knows_names_the_nearest(watchdog: Run) -> None:
    result = watchdog("status", "trip")
    assert result.exit_code == 1
    assert result.stderr == "Error: there is no service 'trip'; did you mean 'trips'?\n"


def test_a_service_without_anything_known_is_shown(watchdog: Run, daemon: Daemon) -> None:
    bare = msgspec.structs.replace(
        TRIPS, traffic=None, deployment=None, stable=None, checks=(), rollback=None
    )
    daemon.shown = msgspec.structs.replace(view(), services={"trips": bare})
    result = watchdog("status", "trips")
    assert result.exit_code == 0
    assert "now:      -" in result.stdout


def test_a_daemon_that_starts_is_said(watchdog: Run, daemon: Daemon) -> None:
    daemon.shown = None
    result = watchdog("status")
    assert result.exit_code == 1
    assert "the daemon is starting" in result.stderr


def test_incidents_lists_open_ones_and_on_demand_all(watchdog: Run) -> None:
    assert [line.split()[0] for line in watchdog("incidents").stdout.splitlines()] == ["ID", "i1"]
    assert [line.split()[0] for line in watchdog("incidents", "--all").stdout.splitlines()] == [
        "ID",
        "i1",
        "i0",
    ]
    assert watchdog("incidents", "--service", "hotels").stdout == "no open incidents\n"
    assert "more than 1" in watchdog("incidents", "--all", "--limit", "1").stdout
    assert [one["id"] for one in answer(watchdog, "incidents")["items"]] == ["i1"]


@pytest.mark.parametrize("command", [["incidents", "show", "i1"], ["incidents", "i1"]], ids=" ".join)
def test_one_incident_is_shown_with_its_breaches(watchdog: Run, command: list[str]) -> None:
    text = watchdog(*command).stdout
    assert "i1  open, critical: trips: error-rate 20% beyond 1.5%" in text
    assert "about:        breach of trips v2" in text
    assert "trips/error-rate@v2  rollback  0.2" in text
    assert "https://runbooks.example.com/error-rate" in text
    assert answer(watchdog, *command)["id"] == "i1"


def test_json_before_the_id_holds_too(watchdog: Run) -> None:
    assert json.loads(watchdog("incidents", "--json", "i1").stdout)["id"] == "i1"
    assert json.loads(watchdog("incidents", "--json", "show", "i1").stdout)["id"] == "i1"


def test_one_incident_is_shown_with_its_rollbacks(watchdog: Run) -> None:
    text = watchdog("incidents", "i1").stdout
    row = next(line for line in text.splitlines() if line.startswith("r1 "))
    assert re.split(r"\s{2,}", row) == [
        "r1",
        "applied",
        "v2 (green)",
        "v1 (blue)",
        "2026-03-14T15:09:26.020000Z",
        "-",
    ]
    assert [one["id"] for one in answer(watchdog, "incidents", "i1")["rollbacks"]] == ["r1"]


def test_rollbacks_of_other_incidents_are_not_shown(watchdog: Run, daemon: Daemon) -> None:
    other = msgspec.structs.replace(ROLLED, id="r0", incident="i7")
    daemon.rolled = (ROLLED, other)
    assert [one["id"] for one in answer(watchdog, "incidents", "i1")["rollbacks"]] == ["r1"]
    assert answer(watchdog, "incidents", "i0")["rollbacks"] == []


def test_options_before_the_id_hold_too(watchdog: Run, daemon: Daemon) -> None:
    served = watchdog("incidents").exit_code
    assert served == 0
    result = watchdog("incidents", "--token", "viewer-token", "close", "i1")
    assert result.exit_code == 1
    assert "needs role operator" in result.stderr
    assert daemon.asked == []


def test_a_closed_incident_says_why(watchdog: Run) -> None:
    text = watchdog("incidents", "i0").stdout
    assert "the source answers again" in text
    assert "services:     trips, hotels" in text


def test_an_incident_nobody_knows_is_said(watchdog: Run) -> None:
    result = watchdog("incidents", "i9")
    assert (result.exit_code, result.stderr) == (1, "Error: there is no incident 'i9'\n")


def test_a_failing_store_is_said_with_advice(watchdog: Run, daemon: Daemon) -> None:
    daemon.fault = BROKEN
    result = watchdog("incidents")
    assert result.exit_code == 1
    assert "free some space on /var/lib/watchdog" in result.stderr


def test_what_a_terminal_would_obey_is_shown_instead(watchdog: Run, daemon: Daemon) -> None:
    odd = msgspec.structs.replace(TRIPS, name="trips", traffic_error="\x1b]0;owned\x07\x1b[2J\r\nhidden")
    daemon.shown = msgspec.structs.replace(view(), services={"trips": odd})
    for command in (["status"], ["status", "trips"]):
        text = watchdog(*command).stdout
        assert "\x1b" not in text
        assert "owned" in text
