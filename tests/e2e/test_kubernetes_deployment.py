"""The main job behind a Deployment: a bad image is set, and the template that was good is set again.

On the API in memory with a tiny Deployment controller, and with the real ones where they are. Apps are processes beside
it, pods are their shadows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.rollouts import FakeRollouts, RealRollouts, template, writes
from tests.e2e.pod_door import PodDoor
from tests.e2e.stage import Stage
from tests.eventually import eventually
from watchdog.cluster.marks import EPOCH, ROLLBACK
from watchdog.cluster.objects import DEPLOYMENTS

pytestmark = pytest.mark.timeout(120)

Rollouts = FakeRollouts | RealRollouts


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.kubernetes)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[Rollouts]:
    opened = (
        FakeRollouts.open()
        if request.param == "memory"
        else RealRollouts.open(request.getfixturevalue("kubernetes"))
    )
    async with opened as made:
        yield made


@pytest.fixture
async def town(stage: Stage, world: Rollouts, tmp_path: Path) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        yield Town(stage, world, stack, tmp_path)


class Town:
    """The stage, with a Deployment of two pods in the place of HAProxy. Version v11 runs, and is known good."""

    def __init__(self, stage: Stage, world: Rollouts, stack: AsyncExitStack, folder: Path) -> None:
        self.stage = stage
        self.world = world
        self._stack = stack
        stage.versions = {"one": "v11", "two": "v12", "three": "v13"}
        stage.daemon.settings["kubernetes"] = world.way_in(folder)
        stage.service["traffic"] = {
            "kind": "kubernetes-deployment",
            "namespace": world.namespace,
            "deployment": "trips",
        }
        stage.service["rollback"]["verify"] = "20s"

    async def open(self) -> None:
        pods = template("v11")
        del pods["metadata"]["labels"]["app.kubernetes.io/version"]
        labels = {**pods["metadata"]["labels"], "app.kubernetes.io/version": None, "name": None}
        change = {**pods, "metadata": {"labels": labels}}
        await asyncio.to_thread(
            self.world.patch, DEPLOYMENTS, "trips", {"spec": {"replicas": 2, "template": change}}
        )
        await self.world.settle()
        await self.stage.open(stable=False)
        ports = {version: self.stage.apps[variant].port for variant, version in self.stage.versions.items()}
        door = PodDoor(self.world, ports)
        await self._stack.enter_async_context(door.open())
        await self.stage.let_in(door.url)
        await self.stage.until_stable("v11")

    def breaks(self, *variants: str, every: int = 2) -> None:
        for variant in variants:
            self.stage.apps[variant].control(fail_every=every)

    async def set_image(self, version: str) -> None:
        """What a pipeline does."""
        image = f"registry.example.com/trips:{version}"
        if isinstance(self.world, RealRollouts):
            await self.kubectl("set", "image", "deployment/trips", f"app={image}")
        else:
            self._container(image=image)

    async def set_environment(self, name: str, text: str) -> None:
        if isinstance(self.world, RealRollouts):
            await self.kubectl("set", "env", "deployment/trips", f"{name}={text}")
        else:
            self._container(env=[{"name": name, "value": text}])

    async def restart(self) -> None:
        if isinstance(self.world, RealRollouts):
            await self.kubectl("rollout", "restart", "deployment/trips")
        else:
            notes = {"kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:05Z"}
            self._patch({"metadata": {"annotations": notes}})

    async def undo(self, before: dict[str, Any]) -> None:
        """Back to what was there before."""
        if isinstance(self.world, RealRollouts):
            await self.kubectl("rollout", "undo", "deployment/trips")
        else:
            self.world.rollout(before)

    async def kubectl(self, *words: str) -> None:
        assert isinstance(self.world, RealRollouts)
        await asyncio.to_thread(self.world.server.kubectl, "-n", self.world.namespace, *words)

    def _container(self, **change: Any) -> None:
        (container,) = self.template()["spec"]["containers"]
        self._patch({"spec": {"containers": [{**container, **change}]}})

    def _patch(self, pods: dict[str, Any]) -> None:
        self.world.patch(DEPLOYMENTS, "trips", {"spec": {"template": pods}})

    def template(self) -> dict[str, Any]:
        found: dict[str, Any] = self.world.get(DEPLOYMENTS, "trips")["spec"]["template"]
        return found

    def notes(self) -> dict[str, str]:
        found: dict[str, str] = self.world.get(DEPLOYMENTS, "trips")["metadata"]["annotations"]
        return found

    async def seen(self, version: str, *, state: str = "", number: int = 1) -> dict[str, Any]:
        """The newest record of a version, once there are so many."""

        async def found() -> dict[str, Any]:
            records = [
                one
                for one in await self.stage.daemon.get("deployments?service=trips")
                if one["version"] == version
            ]
            assert len(records) >= number, f"{len(records)} deployments of {version}"
            newest: dict[str, Any] = records[0]
            assert state in ("", newest["state"]), newest["state"]
            return newest

        return await eventually(found, within=20, every=0.05, what=f"{version} {state}") or {}


async def test_a_bad_image_is_taken_back_by_one_write_that_says_why(town: Town) -> None:
    stage = town.stage
    await town.open()
    good, before = town.template(), writes(town.world)
    town.breaks("two")
    await town.set_image("v12")
    rollback = await stage.rollback(within=40)
    assert rollback["state"] == "completed", rollback["history"]
    assert (rollback["from"]["version"], rollback["to"]["version"]) == ("v12", "v11")
    assert rollback["automatic"]
    assert town.template() == good
    assert writes(town.world) == before + 2, "the pipeline's, and ours"
    notes = town.notes()
    assert notes[ROLLBACK] == rollback["id"]
    assert int(notes[EPOCH]) >= 1
    if isinstance(town.world, FakeRollouts):
        (ours,) = [one for one in town.world.api.writes() if one.plural == "deployments"]
        paths = {step["path"] for step in ours.body}
        assert paths >= {"/spec/template", "/metadata/annotations/rollback-watchdog.io~1rollback"}
    assert (await stage.deployment("v12"))["state"] == "rolled_back"
    assert (await stage.deployment("v12"))["origin"] == "seen"
    await stage.told("incident_closed")
    await stage.audit_holds()


async def test_after_two_bad_images_in_a_row_the_one_before_both_comes_back(town: Town) -> None:
    stage = town.stage
    stage.service["rollback"]["warmup"] = "3s"
    await town.open()
    good = town.template()
    town.breaks("two", "three")
    await town.set_image("v12")
    await town.seen("v12")
    await town.set_image("v13")
    rollback = await stage.rollback("completed", within=40)
    assert (rollback["from"]["version"], rollback["to"]["version"]) == ("v13", "v11")
    assert town.template() == good


async def test_a_bad_setting_of_a_good_image_is_taken_back_and_the_image_stays_good(town: Town) -> None:
    stage = town.stage
    await town.open()
    good, before = town.template(), await town.seen("v11")
    town.breaks("one")
    await town.set_environment("CACHE", "off")
    rollback = await stage.rollback("applied", "verified_object", "verified_traffic", within=40)
    town.breaks("one", every=0)
    rollback = await stage.rollback("completed", within=40)
    assert rollback["to"] == {"variant": before["variant"], "version": "v11"}
    assert rollback["from"]["variant"] != before["variant"]
    assert town.template() == good
    assert (await stage.daemon.get("services/trips"))["taints"] == []


async def test_a_restart_and_an_undo_are_seen_and_answered_with_nothing(town: Town) -> None:
    stage = town.stage
    await town.open()
    first = town.template()
    await town.restart()
    again = await town.seen("v11", number=2, state="stable")
    assert not again["armed"]
    await town.set_image("v12")
    await town.seen("v12", state="stable")
    restarted = {**first, "metadata": {**first["metadata"], **town.template()["metadata"]}}
    await town.undo(restarted)
    back = await town.seen("v11", number=3, state="stable")
    assert (back["variant"], back["armed"]) == (again["variant"], False)
    assert await stage.rollbacks() == []
    assert stage.people.messages == []
