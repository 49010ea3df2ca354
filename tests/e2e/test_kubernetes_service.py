"""The main job in a cluster: a selector is patched to a bad version, and patched back with the reason on the Service.

On the API in memory, and on a real API server where there is one. Apps are processes beside it, pods are their shadows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.worlds import FakeWorld, RealWorld, World
from tests.e2e.kube_door import KubeDoor
from tests.e2e.stage import Stage
from tests.eventually import eventually
from watchdog.cluster.marks import EPOCH, PAUSED, ROLLBACK, SWITCHED_AT
from watchdog.cluster.objects import SERVICES

pytestmark = pytest.mark.timeout(120)


REAL = pytest.param("real", marks=pytest.mark.kubernetes)


@pytest.fixture(params=["memory", REAL])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    opened = (
        FakeWorld.open()
        if request.param == "memory"
        else RealWorld.open(request.getfixturevalue("kubernetes"))
    )
    async with opened as made:
        yield made


@pytest.fixture
async def town(stage: Stage, world: World, tmp_path: Path) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        yield Town(stage, world, stack, tmp_path)


class Town:
    """The stage, with a Service in the place of HAProxy."""

    def __init__(self, stage: Stage, world: World, stack: AsyncExitStack, folder: Path) -> None:
        self.stage = stage
        self.world = world
        self._stack = stack
        stage.daemon.settings["kubernetes"] = world.way_in(folder)
        stage.service["traffic"] = {
            "kind": "kubernetes-service",
            "namespace": world.namespace,
            "service": "trips",
            "selector": "version",
        }

    async def open(self) -> None:
        """Blue runs v1 and is known good; nobody told the watchdog, it has seen it all by itself."""
        await self.stage.open(stable=False)
        door = KubeDoor(self.world, {variant: app.port for variant, app in self.stage.apps.items()})
        await self._stack.enter_async_context(door.open())
        await self.stage.let_in(door.url)
        await self.stage.until_stable("v1")

    async def deploy_bad(self) -> None:
        """What a pipeline does: `kubectl patch service`."""
        self.stage.apps["green"].control(fail_every=2)
        self.move("green")

    def move(self, variant: str) -> None:
        self.world.patch(SERVICES, "trips", {"spec": {"selector": {"version": variant}}})

    def live(self) -> str:
        selector: dict[str, str] = self.world.get(SERVICES, "trips")["spec"]["selector"]
        return selector["version"]

    def notes(self) -> dict[str, str]:
        found: dict[str, str] = self.world.get(SERVICES, "trips")["metadata"].get("annotations", {})
        return found


async def test_a_bad_version_behind_a_patched_selector_is_patched_away_and_the_service_says_why(
    town: Town,
) -> None:
    stage = town.stage
    await town.open()
    await town.deploy_bad()
    rollback = await stage.rollback(within=40)
    assert rollback["state"] == "completed", rollback["history"]
    assert rollback["automatic"]
    assert rollback["from"] == {"variant": "green", "version": "v2"}
    assert rollback["to"] == {"variant": "blue", "version": "v1"}
    assert town.live() == "blue"
    told = town.notes()
    assert told[ROLLBACK] == rollback["id"]
    assert int(told[EPOCH]) >= 1
    assert told[SWITCHED_AT]
    assert (await stage.deployment("v2"))["origin"] == "seen"
    assert (await stage.deployment("v2"))["state"] == "rolled_back"
    assert not stage.failed_since(rollback["applied_at"])
    assert town.world.changes(SERVICES, "trips") == 2, "the pipeline's, and ours"
    await stage.told("incident_closed")
    await stage.audit_holds()


async def test_somebody_who_patches_it_back_within_the_contest_window_wins_and_is_told_of(town: Town) -> None:
    stage = town.stage
    stage.service["rollback"]["contest_for"] = "60s"
    await town.open()
    await town.deploy_bad()
    await stage.rollback("verified_traffic", within=40)
    # On the real one as a controller does that looks every five seconds.
    asyncio.get_running_loop().call_later(
        5.0 if isinstance(town.world, RealWorld) else 0.0, town.move, "green"
    )
    (message,) = await stage.told("rollback_ended", within=40)
    assert message["needs_human"]
    assert "undid the switch" in message["headline"]
    await stage.polled("error-rate", times=4)
    assert await stage.switches() == ["contested"]
    assert town.live() == "green"
    assert town.world.changes(SERVICES, "trips") == 3, "the pipeline's, ours, and his"


@pytest.mark.parametrize("world", [REAL], indirect=True)  # in memory it is as with HAProxy: test_undone.py
async def test_somebody_who_patches_it_back_after_the_end_wins_and_is_told_of(town: Town) -> None:
    stage = town.stage
    await town.open()
    await town.deploy_bad()
    await stage.rollback("completed", within=40)
    town.move("green")
    (message,) = await stage.told("switch_undone", within=30)
    assert message["headline"] == "trips: traffic is back on v2, which was rolled back"
    await stage.breached()
    await stage.polled("error-rate", times=4)
    assert await stage.switches() == ["completed"]
    assert town.live() == "green"


async def test_an_annotation_keeps_the_watchdog_from_a_service_until_it_is_taken_away(town: Town) -> None:
    stage = town.stage
    await town.open()
    annotate(town, "we look at it ourselves")
    await town.deploy_bad()
    await stage.breached()
    await stage.polled("error-rate", times=4)
    assert await stage.switches() == []
    assert town.live() == "green"

    async def vetoed() -> bool:
        service = await stage.daemon.get("services/trips")
        return "we look at it ourselves" in str(service)

    await eventually(vetoed, within=20, what="the reason of the pause in the API")


async def test_somebody_who_is_faster_is_left_alone(town: Town) -> None:
    """He patches back what is bad before the watchdog would: his change stands, and is no deployment of ours."""
    stage = town.stage
    stage.service["mode"] = "approve"
    await town.open()
    await town.deploy_bad()
    await stage.rollback("awaiting_approval", within=40)
    town.move("blue")
    ended = await stage.rollback(within=40)
    assert not ended["switched"], ended["history"]
    assert town.live() == "blue"
    assert ROLLBACK not in town.notes()
    assert town.world.changes(SERVICES, "trips") == 2, "the pipeline's, and his"


async def test_a_standby_without_ready_pods_is_no_target_until_it_has_some(town: Town) -> None:
    stage = town.stage
    await town.open()
    town.world.fate("blue-1", "pending")
    await town.deploy_bad()
    await stage.breached()
    await stage.polled("error-rate", times=4)
    assert await stage.switches() == []
    assert town.live() == "green"
    town.world.fate("blue-1", "ready")
    rollback = await stage.rollback("completed", within=40)
    assert rollback["to"]["variant"] == "blue"
    assert town.live() == "blue"


def annotate(town: Town, reason: str | None) -> None:
    body: dict[str, Any] = {"metadata": {"annotations": {PAUSED: reason}}}
    town.world.patch(SERVICES, "trips", body)
