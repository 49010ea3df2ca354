"""Stories played on the virtual clock: what happens, when, and in which order."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from tests.lab.scripts import (
    bad_deployment,
    deployed,
    feed,
    planned,
    played,
    script,
    standing,
    told,
    wanted,
)
from watchdog.core.request import RequestKind
from watchdog.lab.recording import FIELDS, What
from watchdog.lab.script import Down, Patched


def test_a_bad_deployment_is_rolled_back_and_proved() -> None:
    recording = played(bad_deployment())

    assert told(recording, What.DEPLOYMENT, "version", "state") == [
        ("0:00", "v1", "adopted"),
        ("0:30", "v1", "stable"),
        ("5:00", "v2", "pending"),
        ("5:00", "v2", "watching"),
        ("11:00", "v2", "rolled_back"),
        ("11:00", "v1", "return"),
    ]
    assert told(recording, What.INCIDENT, "state", "level", "rule", "version") == [
        ("5:30", "opened", "critical", "errors", "v2"),
        ("11:00", "worsened", "rollback", "errors", "v2"),
        ("12:05", "closed", "rollback", "errors", "v2"),
    ]
    assert told(recording, What.ROLLBACK, "state", "from", "to") == [
        ("11:00", "decided", "v2", "v1"),
        ("11:00", "intended", "v2", "v1"),
        ("11:00", "applied", "v2", "v1"),
        ("11:00", "verified_object", "v2", "v1"),
        ("11:30", "verified_traffic", "v2", "v1"),
        ("12:05", "uncontested", "v2", "v1"),
        ("12:05", "recovered", "v2", "v1"),
        ("12:05", "completed", "v2", "v1"),
    ]
    assert told(recording, What.SWITCH, "from", "to", "variant") == [("11:00", "v2", "v1", "blue")]
    assert told(recording, What.NOTIFICATION, "kind", "channel") == [
        ("5:30", "incident_opened", "ops"),
        ("11:00", "incident_worsened", "ops"),
        ("11:00", "rollback_switched", "ops"),
        ("12:05", "rollback_completed", "ops"),
        ("12:05", "incident_closed", "ops"),
    ]
    assert told(recording, What.GUARD) == []


def test_every_fact_has_a_name_that_expectations_know() -> None:
    for one in played(bad_deployment()).happenings:
        assert set(one.facts) <= set(FIELDS[one.what])


def test_names_that_nobody_knows_are_answered_and_break_nothing() -> None:
    strangers = (
        deployed("1m", name="nobody"),
        wanted("1m", RequestKind.PAUSE, name="nobody"),
        wanted("2m", RequestKind.ALERT, name="nobody"),
        wanted("2m", RequestKind.ACKNOWLEDGE),
        wanted("2m", RequestKind.EXPIRE),
        wanted("2m", RequestKind.APPROVE),
        planned("3m", Patched(service="nobody", variants=standing())),
        planned("3m", Down(service="nobody", channel="nobody", lasts=timedelta(minutes=1))),
    )
    one = script(feed((0.001, 20)), feed((0.001, 20), service="nobody"), events=strangers, until="9m")
    recording = played(one)

    assert {status for _, status in told(recording, What.REPLY, "status")} == {"404.0"}
    assert told(recording, What.INCIDENT) == []


def test_a_script_without_anything_in_it_is_over_at_once() -> None:
    empty = replace(script(), services=(), rules={}, traffic={})

    assert played(empty).happenings == ()


def test_a_service_whose_switch_nobody_described_takes_no_traffic() -> None:
    recording = played(script(feed((0.001, 40)), traffic={}, until="10m"))

    assert told(recording, What.VERDICT) == []
    assert told(recording, What.INCIDENT, "kind", "state") == [("3:00", "switch", "opened")]


def test_an_alert_from_elsewhere_makes_it_look_at_once() -> None:
    recording = played(script(feed((0.001, 40)), events=(wanted("1m7s", RequestKind.ALERT),), until="2m"))

    assert [at for at, _ in told(recording, What.VERDICT, "fresh")] == [
        "0:00",
        "0:30",
        "1:00",
        "1:07",
        "1:30",
        "2:00",
    ]
