"""Argo CD's and Flux's objects on a real API server: suspended, resumed word for word, undone by a controller."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.cluster.worlds import RealWorld
from tests.eventually import eventually
from tests.servers.definitions import taught
from tests.servers.kubernetes import Kubernetes
from tests.traffic.gitops import SUSPENDED, kept_by_argo, switch_of, to_green
from watchdog.cluster.client import Cluster
from watchdog.cluster.objects import SERVICES, Kind
from watchdog.cluster.owners import APPLICATIONS, HELM_RELEASES, KUSTOMIZATIONS
from watchdog.cluster.settings import ClusterSettings
from watchdog.core.errors import SwitchRejected
from watchdog.core.happenings import Happening
from watchdog.traffic.kubernetes_service import KubernetesServiceSwitch

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(120)]

Json = dict[str, Any]
ARGO: Json = {
    "project": "default",
    "destination": {"server": "https://kubernetes.default.svc", "namespace": "prod"},
    "syncPolicy": {"automated": {"prune": True, "selfHeal": True}, "syncOptions": ["CreateNamespace=false"]},
}
FLUX: Json = {"interval": "10m", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "apps"}}


@pytest.fixture
async def world(kubernetes: Kubernetes) -> AsyncIterator[RealWorld]:
    """On an API server that knows Argo CD's and Flux's kinds."""
    await taught(kubernetes, APPLICATIONS, KUSTOMIZATIONS, HELM_RELEASES)
    async with RealWorld.open(kubernetes) as made:
        yield made


def application(world: RealWorld, name: str = "trips") -> KubernetesServiceSwitch:
    """The Service comes from an application in its own namespace; the switch that moves it."""
    world.put(APPLICATIONS, {"metadata": {"name": name}, "spec": ARGO})
    kept_by_argo(world, name)
    return switch_of(world, argocd_namespace=world.namespace)


def spec(world: RealWorld, kind: Kind[Any], name: str = "trips") -> str:
    return json.dumps(world.get(kind, name)["spec"], sort_keys=True)


async def test_an_application_is_suspended_before_the_switch_and_restored_word_for_word(
    world: RealWorld,
) -> None:
    switch = application(world)
    before = spec(world, APPLICATIONS)
    state = await switch.read()
    assert state.managed_by == f"Argo CD application {world.namespace}/trips (self-heal)"
    state = await switch.apply(to_green(state))
    assert state.live == ("green",)
    assert state.managed_by is None
    assert state.suspended is not None
    found = world.get(APPLICATIONS, "trips")
    assert "automated" not in found["spec"]["syncPolicy"]
    assert json.loads(found["metadata"]["annotations"][SUSPENDED])["rollback"] == "rb-1"
    assert await switch.resume("rb-1") == f"Argo CD application {world.namespace}/trips"
    assert spec(world, APPLICATIONS) == before
    assert SUSPENDED not in world.get(APPLICATIONS, "trips")["metadata"].get("annotations", {})


@pytest.mark.parametrize(
    ("kind", "prefix", "more"),
    [
        (KUSTOMIZATIONS, "kustomize", {}),
        (KUSTOMIZATIONS, "kustomize", {"suspend": False}),
        (HELM_RELEASES, "helm", {"driftDetection": {"mode": "enabled"}}),
    ],
)
async def test_flux_is_suspended_and_restored_word_for_word(
    world: RealWorld, kind: Kind[Any], prefix: str, more: Json
) -> None:
    made = {**FLUX, **more} if kind is KUSTOMIZATIONS else {"interval": "10m", **more}
    world.put(kind, {"metadata": {"name": "trips"}, "spec": made})
    labels = {
        f"{prefix}.toolkit.fluxcd.io/name": "trips",
        f"{prefix}.toolkit.fluxcd.io/namespace": world.namespace,
    }
    world.patch(SERVICES, "trips", {"metadata": {"labels": labels}})
    before, switch = spec(world, kind), switch_of(world)
    state = await switch.read()
    assert state.managed_by is not None
    state = await switch.apply(to_green(state))
    assert (state.live, state.managed_by) == (("green",), None)
    assert world.get(kind, "trips")["spec"]["suspend"] is True
    await switch.resume("rb-1")
    assert spec(world, kind) == before


async def test_who_may_not_suspend_switches_nothing_and_inspect_says_so(
    world: RealWorld, kubernetes: Kubernetes
) -> None:
    application(world)
    rules = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["patch"]},
    ]
    token = kubernetes.service_account(world.namespace, "watchdog", rules)
    cluster = Cluster(ClusterSettings(kubeconfig=kubernetes.write_kubeconfig("half", token)))
    try:
        world.cluster, admin = cluster, world.cluster
        switch = switch_of(world, argocd_namespace=world.namespace)
        switch.expect_to_suspend()
        state = await switch.read()
        with pytest.raises(SwitchRejected, match=r"403: .*applications.argoproj.io \"trips\" is forbidden"):
            await switch.apply(to_green(state))
        assert (await switch.read()).live == ("blue",)
        trouble = await switch.inspect()
        assert trouble is not None
        assert trouble.endswith(
            f"the right is missing to patch applications.argoproj.io 'trips' in namespace {world.namespace}"
        )
    finally:
        world.cluster = admin
        await cluster.aclose()


class SelfHealing:
    """A controller that applies what its application says after a while, unless automated sync is off."""

    def __init__(self, world: RealWorld, cluster: Cluster, desired: str, *, after: float) -> None:
        self._world = world
        self._cluster = cluster
        self._desired = desired
        self._after = after
        self.reverts = self.rounds = 0

    async def run(self) -> None:
        service = SERVICES.path(self._world.namespace, "trips")
        app = APPLICATIONS.path(self._world.namespace, "trips")
        while True:
            await asyncio.sleep(self._after)
            self.rounds += 1
            if "automated" not in json.loads(await self._cluster.get(app))["spec"]["syncPolicy"]:
                continue
            found = json.loads(await self._cluster.get(service))
            if found["spec"]["selector"]["version"] != self._desired:
                body = {"spec": {"selector": {"version": self._desired}}}
                query = {"fieldManager": "argocd-controller"}
                await self._cluster.patch(service, body, query=query)
                self.reverts += 1


@pytest.mark.parametrize("suspend", [True, False])
async def test_a_controller_undoes_only_what_it_was_not_kept_from(
    world: RealWorld, cluster: Cluster, suspend: bool
) -> None:
    switch = application(world)
    state = await switch.apply(to_green(await switch.read(), suspend=suspend))
    assert state.written_by == ""
    healing = SelfHealing(world, cluster, "blue", after=1.5)
    task = asyncio.create_task(healing.run(), name="argocd")
    try:
        if suspend:
            await eventually(lambda: healing.rounds > 3, within=60, every=0.1, what="a controller that looks")
            assert (await switch.read()).live == ("green",)
            assert healing.reverts == 0
        else:
            await eventually(lambda: healing.reverts == 1, within=30, every=0.1, what="a revert")
            undone = await switch.read()
            assert undone.live == ("blue",)
            assert undone.mark == "rb-1"
            assert undone.written_by == "argocd-controller"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_kubectl_describe_shows_what_happened_once(world: RealWorld, kubernetes: Kubernetes) -> None:
    happened = Happening(
        service="trips",
        reason="RollbackBlocked",
        grave=True,
        note="v2 should be rolled back and was not: guard paused: " + "x" * 960,
        key="0123456789abcdef",
        at=datetime.now(UTC),
    )
    switch = switch_of(world)
    await switch.announce(happened)
    await switch.announce(happened)
    shown = await asyncio.to_thread(kubernetes.kubectl, "-n", world.namespace, "describe", "service", "trips")
    lines = [line for line in shown.splitlines() if "RollbackBlocked" in line]
    assert len(lines) == 1
    assert "Warning" in lines[0]
    assert "rollback-watchdog" in lines[0]
    assert "guard paused" in lines[0]
