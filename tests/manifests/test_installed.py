"""Installed in a real cluster as its page says: with the rights that are printed and no others, it does its job."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon
from tests.eventually import Eventually
from tests.servers.kubelet import kubelet
from tests.servers.kubernetes import Kubernetes
from watchdog.cluster.client import Cluster

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(240)]
FAST = dict.fromkeys(("warmup", "stabilise", "contest_for", "cooldown"), "0s")


def fate(pod: dict[str, Any]) -> str:
    return "CrashLoopBackOff" if pod["spec"]["containers"][0]["image"].endswith(":v2") else "ready"


class Installed:
    """A namespace with a Deployment `trips`, and a daemon that is a service account there."""

    def __init__(self, server: Kubernetes, namespace: str, folder: Path) -> None:
        self.server = server
        self.namespace = namespace
        self.daemon = Daemon(folder)
        self.daemon.settings["environments"] = {
            "production": {"rollback": {**FAST, "soak": "1s", "verify": "2s"}}
        }
        probe = {
            "kind": "kubernetes",
            "namespace": namespace,
            "selector": "app=$service",
            "version": "$version",
        }
        self.daemon.rules = [
            {
                "name": "crashing",
                "interval": "500ms",
                "probe": probe,
                "threshold": {"critical": "1 failures", "rollback": "2 failures"},
            }
        ]

    async def grant(self) -> None:
        """`watchdog doctor --role | kubectl apply -f -`, and a token of that service account."""
        self.daemon.write()
        said = await self.daemon.says("doctor", "--role", "--namespace", self.namespace, config=True)
        assert said.code == 0, said
        await asyncio.to_thread(self.server.kubectl, "apply", "-f", "-", stdin=said.out)
        name = "rollback-watchdog"
        await asyncio.to_thread(
            self.server.kubectl, "create", "serviceaccount", name, "-n", self.namespace, check=False
        )
        token = await asyncio.to_thread(self.server.kubectl, "create", "token", name, "-n", self.namespace)
        file = self.server.write_kubeconfig(f"of-{self.namespace}", token.strip())
        self.daemon.settings["kubernetes"] = {"kubeconfig": str(file)}

    async def kubectl(self, *words: str) -> str:
        return await asyncio.to_thread(self.server.kubectl, "-n", self.namespace, *words)

    async def image(self) -> str:
        return await self.kubectl(
            "get", "deployment", "trips", "-o", "jsonpath={.spec.template.spec.containers[0].image}"
        )

    async def state(self, version: str) -> str:
        found = await self.daemon.get("deployments")
        return next((one["state"] for one in found if one["version"] == version), "")


@pytest.fixture
async def installed(kubernetes: Kubernetes, cluster: Cluster, tmp_path: Path) -> AsyncIterator[Installed]:
    namespace = await asyncio.to_thread(kubernetes.namespace)
    made = Installed(kubernetes, namespace, tmp_path / "daemon")
    async with kubelet(cluster, namespace, fate):
        await made.kubectl("create", "deployment", "trips", "--image=app:v1", "--replicas=2")
        await made.kubectl("rollout", "status", "deployment/trips", "--timeout=60s")
        yield made
        await asyncio.to_thread(made.daemon.stop)


async def bad_version_is_taken_back(installed: Installed, eventually: Eventually) -> None:
    async def stable() -> bool:
        return await installed.state("v1") == "stable"

    async def back() -> bool:
        return await installed.image() == "app:v1"

    await eventually(stable, within=60)
    await installed.kubectl("set", "image", "deployment/trips", "app=app:v2")
    await eventually(back, within=60)
    notes = await installed.kubectl("get", "deployment", "trips", "-o", "jsonpath={.metadata.annotations}")
    assert "rollback-watchdog.io/rollback" in notes

    async def told() -> bool:
        return "RolledBack" in await installed.kubectl("events", "--for", "deployment/trips")

    await eventually(told, within=30)


async def test_with_exactly_the_printed_role_it_takes_a_bad_version_back(
    installed: Installed, eventually: Eventually
) -> None:
    installed.daemon.settings["services"] = [
        {
            "name": "trips",
            "rules": ["crashing"],
            "traffic": {
                "kind": "kubernetes-deployment",
                "namespace": installed.namespace,
                "deployment": "trips",
            },
        }
    ]
    await installed.grant()
    installed.daemon.write()
    said = await installed.daemon.says("doctor", "--json", config=True)
    found = [one for one in json.loads(said.out)["findings"] if one["what"] == "rights in the cluster"]
    assert [one["health"] for one in found] == ["ok"], found
    await installed.daemon.begin()
    await bad_version_is_taken_back(installed, eventually)


async def test_a_right_that_is_missing_is_named_by_the_doctor(installed: Installed) -> None:
    installed.daemon.settings["services"] = [
        {
            "name": "trips",
            "rules": ["crashing"],
            "traffic": {
                "kind": "kubernetes-deployment",
                "namespace": installed.namespace,
                "deployment": "trips",
            },
        }
    ]
    await installed.grant()
    await installed.kubectl(
        "patch", "role", "rollback-watchdog", "--type=json", '-p=[{"op":"remove","path":"/rules/0"}]'
    )
    installed.daemon.write()
    said = await installed.daemon.says("doctor", config=True)
    assert said.code == 1
    assert "may not" in said.out


async def test_an_annotated_deployment_is_watched_and_taken_back(
    installed: Installed, eventually: Eventually
) -> None:
    installed.daemon.settings["discover"] = {
        "namespaces": [installed.namespace],
        "rules": ["crashing"],
        "file": str(installed.daemon.folder / "discovered.yaml"),
    }
    installed.daemon.settings["kubernetes"] = {"kubeconfig": str(installed.server.kubeconfig)}
    await installed.daemon.begin()
    assert await installed.daemon.get("services") == []
    await installed.kubectl("annotate", "deployment", "trips", "rollback-watchdog.io/watch=true")
    await bad_version_is_taken_back(installed, eventually)
