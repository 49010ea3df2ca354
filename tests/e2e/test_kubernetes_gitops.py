"""A Service that Argo CD keeps, from the bad commit to the resume: on the API in memory, and on a real API server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.worlds import FakeWorld, RealWorld, World
from tests.e2e.stage import Stage
from tests.e2e.test_kubernetes_service import REAL, Town
from tests.eventually import eventually
from tests.servers.definitions import taught
from tests.traffic.gitops import SUSPENDED, kept_by_argo
from watchdog.cluster.kube_events import EVENTS
from watchdog.cluster.objects import SERVICES
from watchdog.cluster.owners import APPLICATIONS

pytestmark = pytest.mark.timeout(120)

SPEC: dict[str, Any] = {
    "project": "default",
    "destination": {"server": "https://kubernetes.default.svc", "namespace": "prod"},
    "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
}
#: argo-cd's `--self-heal-timeout-seconds`.
HEALS_AFTER = 5.0
Kubectl = Callable[..., str]


@pytest.fixture(params=["memory", REAL])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        async with FakeWorld.open() as made:
            yield made
        return
    server = request.getfixturevalue("kubernetes")
    await taught(server, APPLICATIONS)
    async with RealWorld.open(server) as real:
        yield real


@pytest.fixture
async def argo(
    request: pytest.FixtureRequest, stage: Stage, world: World, tmp_path: Path
) -> AsyncIterator[Argo]:
    kubectl: Kubectl = lambda *words: ""  # noqa: E731 - nobody is there to describe anything
    if isinstance(world, RealWorld):
        kubectl = request.getfixturevalue("kubernetes").kubectl
    async with AsyncExitStack() as stack:
        yield Argo(Town(stage, world, stack, tmp_path), stack, kubectl)


class Argo:
    """The application `trips`, beside the Service, and the controller that applies what `git` says."""

    def __init__(self, town: Town, stack: AsyncExitStack, kubectl: Kubectl) -> None:
        self.town = town
        self.kubectl = kubectl
        self.git = "blue"
        self.reverts = self.rounds = 0
        self._stack = stack
        town.stage.service["traffic"]["argocd_namespace"] = town.world.namespace

    async def open(self, gitops: str) -> None:
        """Git says blue, and all is well."""
        self.town.world.put(APPLICATIONS, {"metadata": {"name": "trips"}, "spec": SPEC})
        kept_by_argo(self.town.world)
        self.town.stage.service["gitops"] = gitops
        await self.town.open()
        task = asyncio.create_task(self._heal(), name="argocd")

        async def end() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        self._stack.push_async_callback(end)

    async def commit_bad(self) -> None:
        """Green carries v2, which is bad; somebody merges it, and Argo CD applies it."""
        self.git = "green"
        await self.town.deploy_bad()

    def application(self) -> dict[str, Any]:
        return self.town.world.get(APPLICATIONS, "trips")

    async def _heal(self) -> None:
        service = SERVICES.path(self.town.world.namespace, "trips")
        application = APPLICATIONS.path(self.town.world.namespace, "trips")
        cluster = self.town.world.cluster
        while True:
            await asyncio.sleep(HEALS_AFTER)
            policy = json.loads(await cluster.get(application))["spec"]["syncPolicy"]
            found = json.loads(await cluster.get(service))
            self.rounds += 1
            if "automated" in policy and found["spec"]["selector"]["version"] != self.git:
                body = {"spec": {"selector": {"version": self.git}}}
                await cluster.patch(service, body, query={"fieldManager": "argocd-controller"})
                self.reverts += 1


@pytest.mark.parametrize("world", ["memory"], indirect=True)
async def test_by_default_what_argo_cd_heals_is_not_switched_and_people_hear_whose_it_is(argo: Argo) -> None:
    stage = argo.town.stage
    await argo.open("veto")
    await argo.commit_bad()
    (message,) = await stage.told("rollback_blocked", within=60)
    owner = f"Argo CD application {argo.town.world.namespace}/trips (self-heal)"
    assert f"{owner} manages the target and would revert it" in message["headline"]
    assert argo.town.live() == "green"
    assert await stage.switches() == []


async def test_paused_it_is_kept_from_undoing_until_somebody_resumes_it(argo: Argo) -> None:
    stage, namespace = argo.town.stage, argo.town.world.namespace
    await argo.open("pause")
    await argo.commit_bad()
    rollback = await stage.rollback("completed", within=60)
    assert argo.town.live() == "blue"
    owner = f"Argo CD application {namespace}/trips"
    (message,) = await stage.told("rollback_switched", within=20)
    assert message["next_step"].endswith("watchdog gitops resume trips --reason TEXT")
    note = json.loads(argo.application()["metadata"]["annotations"][SUSPENDED])
    assert note["rollback"] == rollback["id"]
    rounds = argo.rounds
    await eventually(lambda: argo.rounds > rounds + 1, within=60, what="a controller that looks again")
    assert (argo.reverts, argo.town.live()) == (0, "blue")
    assert f"suspended by us: {owner}" in (await stage.daemon.says("status")).out

    argo.git = "blue"
    said = await stage.daemon.says("gitops", "resume", "trips", "--reason", "reverted in Git")
    assert (said.code, said.out) == (0, f"{owner} goes on\n"), said
    assert "if that still holds v2" in said.err
    assert argo.application()["spec"] == SPEC
    again = await stage.daemon.says("gitops", "resume", "trips")
    assert again.code == 1
    assert "nothing is suspended for trips" in again.err
    await stage.audit_holds()
    await eventually(
        lambda: _reasons(argo.town.world, argo.kubectl) >= TOLD, within=30, what="Events on the Service"
    )


TOLD = {"IncidentOpened", "RolledBack", "RollbackCompleted"}


def _reasons(world: World, kubectl: Kubectl) -> set[str]:
    """The reasons of the Events about the Service, each once."""
    if isinstance(world, FakeWorld):
        reasons = [one["reason"] for one in world.api.all(EVENTS, world.namespace)]
    else:
        described = kubectl("-n", world.namespace, "describe", "service", "trips")
        words = [line.split() for line in described.partition("Events:")[2].splitlines()]
        reasons = [found[1] for found in words if "rollback-watchdog" in found]
    assert len(reasons) == len(set(reasons)), reasons
    return set(reasons)


@pytest.mark.parametrize("world", [REAL], indirect=True)
async def test_ignored_it_wins_within_five_seconds_and_people_hear_who_it_was(argo: Argo) -> None:
    stage = argo.town.stage
    stage.service["rollback"]["contest_for"] = "60s"
    await argo.open("ignore")
    await argo.commit_bad()
    (message,) = await stage.told("rollback_ended", within=80)
    assert "argocd-controller undid the switch" in message["headline"]
    assert await stage.switches() == ["contested"]
    assert argo.town.live() == "green"
    await stage.polled("error-rate", times=4)
    assert await stage.switches() == ["contested"]
