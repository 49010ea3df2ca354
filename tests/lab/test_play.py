"""Stories played on the virtual clock: what happens, when, and in which order."""

from __future__ import annotations

from tests.lab.scripts import bad_deployment, played, told
from watchdog.lab.recording import FIELDS, What


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
