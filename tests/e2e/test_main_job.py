"""The main job on real parts: a bad version is seen, switched away, proved, told and recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.door import Door
from tests.e2e.stage import Stage, in_order
from tests.eventually import eventually

pytestmark = pytest.mark.timeout(60)

HISTORY = [
    *("decided", "intended", "applied", "verified_object", "verified_traffic"),
    *("uncontested", "recovered", "completed"),
]
TOLD = ("incident_opened", "rollback_switched", "rollback_completed", "incident_closed")


async def is_proved(stage: Stage, bad: str = "v2") -> dict[str, Any]:
    """Everything that must be true after the main job; answers the rollback."""
    rollback = await stage.rollback()
    assert [passage["state"] for passage in rollback["history"]] == HISTORY
    assert rollback["automatic"]
    assert rollback["from"] == {"variant": "green", "version": bad}
    assert rollback["to"] == {"variant": "blue", "version": stage.versions["blue"]}
    assert rollback["traffic_proof"] not in {"", "not_measurable"}
    assert not stage.failed_since(rollback["applied_at"])
    (incident,) = await stage.daemon.get("incidents")
    assert incident["state"] == "closed"
    assert incident["closed_because"] == f"recovered after the rollback to {stage.versions['blue']}"
    await stage.told("incident_closed")
    assert in_order(stage.people.kinds, *TOLD), stage.people.kinds
    keys = [message["key"] for message in stage.people.messages]
    assert f"rollback_switched:{rollback['id']}@hook" in keys
    assert (await stage.deployment(bad))["state"] == "rolled_back"
    metrics = (await stage.daemon.page("/metrics"))[1]
    assert 'watchdog_rollbacks_total{outcome="completed",service="trips"} 1.0\n' in metrics
    await stage.audit_holds()
    return rollback


async def test_prometheus_sees_a_bad_version_haproxy_is_switched_and_the_pipeline_is_told(
    stage: Stage,
) -> None:
    await stage.open(numbers="prometheus")
    stage.apps["green"].control(fail_every=2)
    words = ("deploy", "trips", "--version", "v2", "--variant", "green", "--wait", "--every", "200ms")
    pipeline = asyncio.create_task(stage.daemon.says(*words, "--json"))
    await eventually(lambda: stage.deployment("v2"), within=30.0, what="the announcement")
    stage.move("green")
    rollback = await is_proved(stage)
    gate = await pipeline
    assert gate.code == 3, gate
    assert stage.live() == {"blue"}
    assert stage.status("green") == "MAINT"
    explained = await stage.daemon.says("explain", rollback["id"], config=True)
    assert explained.code == 0, explained


async def test_a_bad_version_that_nobody_announced_is_seen_and_rolled_back(stage: Stage) -> None:
    # HAProxy does not know versions: the variant's name stands for one that nobody named.
    stage.versions = {"blue": "blue", "green": "green"}
    await stage.open(stable=False)
    await stage.until_stable("blue")
    stage.apps["green"].control(fail_every=2)
    stage.move("green")
    await is_proved(stage, "green")
    assert stage.live() == {"blue"}
    assert (await stage.deployment("green"))["origin"] == "seen"


async def test_without_prometheus_and_haproxy_scraped_pages_and_commands_do_the_same(
    stage: Stage, tmp_path: Path
) -> None:
    door = Door(tmp_path / "state.json")
    stage.service["traffic"] = door.switch
    async with door.open():
        await stage.open(stable=False)
        door.ports = {variant: app.port for variant, app in stage.apps.items()}
        await stage.let_in(door.url)
        await stage.announce("blue", "v1")
        await stage.until_stable("v1")
        stage.apps["green"].control(fail_every=2)
        await stage.announce("green", "v2")
        door.move("green")
        rollback = await is_proved(stage)
        assert door.live() == {"blue"}
        # The script wrote down what it was told: applied once, at the revision that was read, for this rollback.
        assert door.read()["applied"] == [["2", rollback["id"]]]


async def test_a_good_version_becomes_stable_and_nothing_is_moved(stage: Stage) -> None:
    await stage.open()
    words = ("deploy", "trips", "--version", "v2", "--variant", "green", "--wait", "--every", "200ms")
    pipeline = asyncio.create_task(stage.daemon.says(*words))
    await eventually(lambda: stage.deployment("v2"), within=30.0, what="the announcement")
    stage.move("green")
    gate = await pipeline
    assert gate.code == 0, gate
    assert stage.live() == {"green"}
    assert await stage.rollbacks() == []
    assert await stage.daemon.get("incidents") == []
    assert stage.people.messages == []
    assert not [visit for visit in stage.visitors.visits if visit.failed]
