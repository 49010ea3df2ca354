"""A silence, end to end: what people hear, what is recorded, and what a restart does to it."""

from __future__ import annotations

import pytest

from tests.e2e.stage import Stage
from tests.eventually import eventually

pytestmark = pytest.mark.timeout(60)


async def test_a_silence_holds_over_a_restart_and_its_end_is_told(stage: Stage) -> None:
    stage.service["mode"] = "observe"
    await stage.open()
    said = await stage.daemon.says("silence", "--service", "trips", "--for", "1h", "--reason", "load test")
    assert said.code == 0, said
    silence = said.out.partition(":")[0]
    stage.apps["green"].control(fail_every=2)
    await stage.deploy("green", "v2")
    await stage.told("rollback_blocked")  # what a guard stops is told all the same
    (incident,) = await stage.daemon.get("incidents?open=true")
    assert incident["silenced_by"] == [silence]
    assert incident["silenced_messages"] >= 1
    shown = await stage.daemon.says("incidents", incident["id"])
    assert f"held back by {silence}" in shown.out

    await eventually(lambda: _stopped(stage), what="a clean stop")
    await stage.daemon.begin()
    await stage.polled("error-rate", times=3)
    (kept,) = await stage.daemon.get("silences?active=true")
    assert (kept["id"], kept["by"], kept["held_back"]) == (silence, "ci", incident["silenced_messages"])
    assert not stage.people.heard("incident_opened")

    assert (await stage.daemon.says("silences", "expire", silence)).code == 0
    (message,) = await stage.told("incident_opened")
    assert message["incident"] == incident["id"]
    assert [one["value"] for one in message["facts"] if one["name"] == "silenced"]
    stage.apps["green"].control(fail_every=0)
    await stage.told("incident_closed")
    assert await stage.daemon.get("silences?active=true") == []
    await stage.audit_holds()


def _stopped(stage: Stage) -> bool:
    stage.daemon.stop()
    return stage.daemon.exit_code == 0


async def test_traffic_moves_and_is_told_to_move_in_the_deepest_silence(stage: Stage) -> None:
    await stage.open()
    said = await stage.daemon.says("silence", "--match", "team=booking", "--for", "1h", "--reason", "quiet")
    assert said.code == 0, said
    stage.apps["green"].control(fail_every=2)
    await stage.deploy("green", "v2")
    await stage.rollback("completed")
    await stage.told("rollback_completed")
    assert "rollback_switched" in stage.people.kinds
    news = {"incident_opened", "incident_worsened", "escalated"}
    assert not news & set(stage.people.kinds), "its end is told to who heard of the rollback; nothing else is"
    assert stage.live() == {"blue"}
    # What was rolled back is tainted, and a person's word makes it a target again.
    (taint,) = (await stage.daemon.get("services/trips"))["taints"]
    assert (taint["version"], taint["by"]) == ("v2", "watchdog")
    stage.apps["green"].control(fail_every=0)
    said = await stage.daemon.says("mark-good", "trips", "v2", "--reason", "the load test did it")
    assert said.out == "trips v2: not tainted, stable on green\n", said
    assert (await stage.daemon.get("services/trips"))["taints"] == []
    await stage.audit_holds()
