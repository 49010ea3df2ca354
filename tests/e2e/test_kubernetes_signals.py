"""A version that never serves anybody: the cluster's word alone rolls it back, long before its warm-up is over.

On the API in memory with a tiny Deployment controller, and with the real ones where they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.rollouts import VERSION, FakeRollouts, RealRollouts, template
from tests.e2e.stage import Stage
from tests.eventually import eventually
from watchdog.cluster.marks import ROLLBACK
from watchdog.cluster.objects import DEPLOYMENTS

pytestmark = pytest.mark.timeout(120)

Rollouts = FakeRollouts | RealRollouts


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncIterator[Rollouts]:
    opened = (
        FakeRollouts.open()
        if request.param == "memory"
        else RealRollouts.open(request.getfixturevalue("kubernetes"))
    )
    async with opened as made:
        yield made


def rules(namespace: str) -> list[dict[str, Any]]:
    probe = {"kind": "kubernetes", "namespace": namespace, "deployment": "trips", "version": "$version"}
    return [
        {
            "name": "pods",
            "probe": {**probe, "timeout": "2s"},
            "threshold": {"critical": "2 failures", "rollback": "3 failures"},
        },
        {
            "name": "not-ready",
            "unit": "ratio",
            "gauge": {"of": 'kube_pod_status_ready{condition="false",version="$version"}', "by": "avg"},
            "window": "2s",
            "threshold": {"critical": "50%"},
            "hold": {"critical": "2 samples"},
        },
    ]


class Cluster:
    """The stage with a Deployment and nothing else: no app, no visitor, no page of numbers."""

    def __init__(self, stage: Stage, world: Rollouts, folder: Path) -> None:
        self.stage = stage
        self.world = world
        settings = stage.daemon.settings
        settings["kubernetes"] = world.way_in(folder)
        source = {"kind": "kubernetes", "namespace": world.namespace, "interval": "300ms"}
        settings["sources"] = {"cluster": source}
        stage.rules = rules(world.namespace)
        stage.service["rules"] = ["pods", "not-ready"]
        # Verdicts on numbers count from then on, and nobody waits for that here.
        stage.service["rollback"] |= {"warmup": "30m", "verify": "3s"}
        stage.service["traffic"] = {
            "kind": "kubernetes-deployment",
            "namespace": world.namespace,
            "deployment": "trips",
        }

    async def open(self) -> None:
        """Version v11 runs, two pods of it, and is known good."""
        await self.set_version("v11", replicas=2)
        await self.world.settle()
        await self.stage.invite()
        await self.stage.begin(stable=False)
        await self.stage.until_stable("v11")

    async def set_version(self, version: str, **spec: Any) -> None:
        pods = template(version)
        pods["metadata"]["labels"] |= {"name": None}
        body = {"spec": {**spec, "template": pods}}
        await asyncio.to_thread(self.world.patch, DEPLOYMENTS, "trips", body)

    def becomes(self, version: str, fate: str) -> None:
        """What becomes of that version's pods."""
        if isinstance(self.world, RealRollouts):
            self.world.broken.add(version)
        else:

            def told(one: dict[str, Any]) -> str:
                return fate if one["spec"]["template"]["metadata"]["labels"][VERSION] == version else "ready"

            self.world.becomes = told

    def version(self) -> str:
        found = self.world.get(DEPLOYMENTS, "trips")["spec"]["template"]
        version: str = found["metadata"]["labels"][VERSION]
        return version


@pytest.fixture
def town(stage: Stage, world: Rollouts, tmp_path: Path) -> Cluster:
    return Cluster(stage, world, tmp_path)


@pytest.mark.parametrize(
    ("world", "fate"),
    [
        ("memory", "CrashLoopBackOff"),
        ("memory", "ImagePullBackOff"),
        pytest.param("real", "CrashLoopBackOff", marks=pytest.mark.kubernetes),
    ],
    indirect=["world"],
)
async def test_a_version_whose_pods_crash_is_taken_back_before_its_warm_up_is_over(
    town: Cluster, fate: str
) -> None:
    stage = town.stage
    await town.open()
    town.becomes("v12", fate)
    await town.set_version("v12")
    rollback = await stage.rollback(within=60)
    assert rollback["state"] == "completed", rollback["history"]
    assert (rollback["from"]["version"], rollback["to"]["version"]) == ("v12", "v11")
    assert rollback["automatic"]
    assert town.version() == "v11"
    notes = town.world.get(DEPLOYMENTS, "trips")["metadata"]["annotations"]
    assert notes[ROLLBACK] == rollback["id"]
    opened = await stage.told("incident_opened")
    assert fate in str(opened), opened
    await stage.told("incident_closed")
    await stage.audit_holds()


@pytest.mark.parametrize("world", ["memory"], indirect=True)
async def test_a_cluster_that_cannot_be_asked_is_told_of_and_nothing_is_switched(town: Cluster) -> None:
    stage = town.stage
    for rule in stage.rules:
        rule["blind_after"] = "1s"
    await town.open()
    town.becomes("v12", "CrashLoopBackOff")
    assert isinstance(town.world, FakeRollouts)
    await town.world.api.stop()

    async def unknown() -> bool:
        checks = (await stage.daemon.get("services/trips"))["checks"]
        return bool(checks) and {one["level"] for one in checks} == {"unknown"}

    await eventually(unknown, within=40, what="checks that know nothing")
    assert await stage.rollbacks() == []
    await town.world.api.start()
    await town.set_version("v12")
    assert (await stage.rollback("completed", within=60))["to"]["version"] == "v11"
