"""People come first: they watch, pause, ask for rollbacks themselves, and stop the daemon."""

from __future__ import annotations

import signal
import time

import pytest

from tests.e2e.stage import Stage, in_order
from tests.eventually import eventually

pytestmark = pytest.mark.timeout(60)


async def test_in_mode_observe_nothing_is_moved_and_people_are_told(stage: Stage) -> None:
    stage.service["mode"] = "observe"
    await stage.open()
    stage.apps["green"].control(fail_every=2)
    await stage.deploy("green", "v2")
    (message,) = await stage.told("rollback_blocked")
    assert message["needs_human"]
    assert {"name": "guard mode", "value": "the service is in mode observe: the watchdog only tells"} in (
        message["facts"]
    )
    await stage.polled("error-rate", times=3)
    assert stage.live() == {"green"}
    assert not [one for one in await stage.rollbacks() if one["switched"]]


async def test_neither_pause_lets_a_rollback_through_and_the_end_of_both_does(stage: Stage) -> None:
    await stage.open()
    stage.daemon.pause_file.touch()
    stage.apps["green"].control(fail_every=2)
    await stage.deploy("green", "v2")
    blocked = await stage.rollback("blocked")
    assert [(veto["guard"], veto["detail"]) for veto in blocked["vetoes"]] == [
        ("paused", f"the pause file {stage.daemon.pause_file} exists")
    ]
    await stage.told("rollback_blocked")
    assert (await stage.daemon.post("services/trips/pause", reason="a maintenance"))[0] == 200
    stage.daemon.pause_file.unlink()
    await stage.polled("error-rate", times=4)
    blocked = await stage.rollback("blocked")
    assert [veto["guard"] for veto in blocked["vetoes"]] == ["paused"]
    assert stage.live() == {"green"}
    assert (await stage.daemon.says("resume", "trips")).code == 0
    done = await stage.rollback("completed")
    assert done["id"] == blocked["id"]
    assert stage.live() == {"blue"}
    assert in_order(stage.people.kinds, "rollback_blocked", "paused", "resumed", "rollback_switched")


async def test_a_rollback_that_a_person_asks_for_waits_for_nothing_but_a_ready_target(stage: Stage) -> None:
    await stage.open()
    await stage.deploy("green", "v2")
    await stage.until_stable("v2")
    stage.apps["blue"].stop()
    await eventually(lambda: _ready(stage, 0), what="a target that is down")
    status, problem = await stage.daemon.post(
        "services/trips/rollback", reason="v2 sells at last year's price"
    )
    assert status == 409
    assert "target_ready: blue has 0 ready, 1 needed" in problem["detail"]
    assert stage.live() == {"green"}
    stage.apps["blue"].start()
    await eventually(lambda: _ready(stage, 1), what="a target that is up")
    said = await stage.daemon.says("rollback", "trips", "--reason", "v2 sells at last year's price")
    assert said.code == 0, said
    rollback = await stage.rollback("completed")
    assert not rollback["automatic"]
    assert rollback["requested_by"] == "ci"
    assert rollback["reason"] == "v2 sells at last year's price"
    assert stage.live() == {"blue"}
    assert not stage.failed_since(rollback["applied_at"])
    await stage.audit_holds()


async def _ready(stage: Stage, units: int) -> bool:
    """Whether the daemon has seen so much of blue ready."""
    traffic = (await stage.daemon.get("services/trips"))["traffic"]
    return bool(traffic["variants"]["blue"]["ready"] == units)


async def test_a_clean_stop_keeps_everything_and_a_start_goes_on(stage: Stage) -> None:
    stage.service["mode"] = "observe"
    await stage.open()
    stage.apps["green"].control(fail_every=2)
    await stage.deploy("green", "v2")
    await stage.told("rollback_blocked")
    await stage.daemon.post("services/trips/pause", reason="until Monday")
    (incident,) = await stage.daemon.get("incidents")
    assert (await stage.daemon.says("ack", incident["id"])).code == 0
    before = {one["id"]: one["state"] for one in await stage.daemon.get("deployments")}
    began = time.monotonic()
    stage.daemon.send(signal.SIGTERM)
    assert await stage.daemon.ends() == 0
    assert time.monotonic() - began < 5
    assert "Traceback" not in stage.daemon.output()

    await stage.daemon.begin()
    assert {one["id"]: one["state"] for one in await stage.daemon.get("deployments")} == before
    (kept,) = await stage.daemon.get("incidents?open=true")
    assert kept["id"] == incident["id"]
    assert kept["acknowledged_by"] == "ci"
    assert (await stage.daemon.get("services/trips"))["paused"]["reason"] == "until Monday"
    # And it goes on: the same incident ends when the version is well again, under its old name.
    stage.apps["green"].control(fail_every=0)
    await stage.told("incident_closed")
    assert [message["incident"] for message in stage.people.heard("incident_opened")] == [incident["id"]]
    await stage.audit_holds()
