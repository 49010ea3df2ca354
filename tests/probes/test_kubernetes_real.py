"""The probe and the source `kubernetes` where API server and controllers are real, and only the kubelet is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cluster import recorded as r
from tests.cluster.rollouts import HASH, RealRollouts, template
from tests.eventually import eventually
from tests.servers.kubernetes import Kubernetes
from tests.sources.questions import poll, running
from watchdog.cluster.client import Cluster
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.objects import DEPLOYMENTS, PODS
from watchdog.cluster.settings import ClusterSettings
from watchdog.core.observation import Failed, Pulse, Value
from watchdog.core.rule import Aggregate, Gauge, Rate
from watchdog.probes.kubernetes import KubernetesProbe
from watchdog.sources.kubernetes import KubernetesSettings, KubernetesSource

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]


@pytest.fixture
async def world(kubernetes: Kubernetes) -> AsyncIterator[RealRollouts]:
    async with RealRollouts.open(kubernetes) as made:
        yield made


async def checked(world: RealRollouts, cluster: Cluster | None = None, **settings: Any) -> Pulse | Failed:
    probe = KubernetesProbe(cluster=cluster or world.cluster)
    wanted = {"namespace": world.namespace, "deployment": "trips", "timeout": "10s", **settings}
    return await probe.check(wanted, now=datetime.now(UTC))


async def until(world: RealRollouts, *, passed: bool, says: str = "", **settings: Any) -> Pulse:
    """The first check that goes like this."""

    async def seen() -> Pulse:
        found = await checked(world, **settings)
        assert isinstance(found, Pulse), found
        assert found.passed is passed, found
        assert says in found.detail, found
        return found

    found = await eventually(seen, within=60, every=0.1, what=f"a check that says {says or passed}")
    assert found is not None
    return found


async def set_version(world: RealRollouts, version: str, **spec: Any) -> None:
    pods = template(version)
    pods["metadata"]["labels"] |= {"name": None}
    await asyncio.to_thread(world.patch, DEPLOYMENTS, "trips", {"spec": {**spec, "template": pods}})


async def a_pod(world: RealRollouts) -> str:
    found = await asyncio.to_thread(world.server.get, "pods", "-n", world.namespace, "-l", f"{HASH}=blue")
    name: str = found["items"][0]["metadata"]["name"]
    return name


async def says(world: RealRollouts, pod: str, *containers: dict[str, Any]) -> None:
    """What the kubelet would write of a pod's containers."""
    body = {"status": {"containerStatuses": list(containers)}}
    await world.cluster.patch(f"{PODS.path(world.namespace, pod)}/status", body)


async def test_a_rollout_whose_pods_crash_is_dead_for_its_version_only(world: RealRollouts) -> None:
    await until(world, passed=True)
    world.broken.add("v3")
    await set_version(world, "v3")
    await until(world, passed=False, says="CrashLoopBackOff")
    await until(world, passed=False, says="CrashLoopBackOff", version="v3")
    await until(world, passed=True, version="v2")
    await until(world, passed=False, deployment=None, selector="app=trips,app.kubernetes.io/version=v3")


async def test_a_rollout_that_misses_its_deadline_is_stuck_until_it_is_taken_back(
    world: RealRollouts,
) -> None:
    world.broken.add("v3")
    await set_version(world, "v3", progressDeadlineSeconds=2)
    await until(world, passed=False, says="stuck", when=["stuck"])
    await until(world, passed=False, says="stuck", when=["stuck"], version="v3")
    await until(world, passed=True, when=["stuck"], version="v2")
    await set_version(world, "v2")
    await until(world, passed=True, when=["stuck"])


async def test_a_kill_for_memory_and_a_crash_loop_are_read_from_the_status(world: RealRollouts) -> None:
    pod, now = await a_pod(world), datetime.now(UTC)
    await says(world, pod, r.oom_killed(at=30, now=now))
    await until(world, passed=False, says="OOMKilled")
    await until(world, passed=True, when=["crash_loop"])
    await says(world, pod, r.between_crashes(now=datetime.now(UTC) + timedelta(seconds=5)))
    await until(world, passed=False, says="4 restarts", when=["crash_loop"])


async def test_who_may_not_list_pods_knows_nothing_and_learns_which_right_is_missing(
    world: RealRollouts,
) -> None:
    for name, rules, missing in (
        ("nobody", [], "get deployments.apps"),
        ("half", [rule("get", "apps", "deployments")], "list pods"),
        ("enough", [rule("get", "apps", "deployments"), rule("list", "", "pods")], ""),
    ):
        token = await asyncio.to_thread(world.server.service_account, world.namespace, name, rules)
        kubeconfig = world.server.write_kubeconfig(name, token)
        cluster = Cluster(ClusterSettings(kubeconfig=kubeconfig))
        try:
            found = await checked(world, cluster)
        finally:
            await cluster.aclose()
        if missing:
            assert isinstance(found, Failed), found
            assert "is forbidden" in found.detail
            assert missing in found.detail
        else:
            assert isinstance(found, Pulse), found


def rule(verb: str, group: str, resource: str) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": [resource], "verbs": [verb]}


async def test_the_rights_that_the_source_says_it_needs_are_enough(world: RealRollouts) -> None:
    settings = KubernetesSettings(namespace=world.namespace, interval=timedelta(seconds=0.2))
    asked = KubernetesSource(settings, name="cluster", feeds=Feeds(world.cluster)).rights
    rules = [rule(one.verb, one.group, one.resource) for one in asked]
    token = await asyncio.to_thread(world.server.service_account, world.namespace, "source", rules)
    cluster = Cluster(ClusterSettings(kubeconfig=world.server.write_kubeconfig("source", token)))
    feeds = Feeds(cluster)
    try:
        report = await KubernetesSource(settings, name="cluster", feeds=feeds).inspect()
        assert (report.ok, report.detail) == (True, f"1 pods in {world.namespace}")
    finally:
        await feeds.aclose()
        await cluster.aclose()


async def test_a_rollout_is_told_in_numbers_while_it_happens(world: RealRollouts) -> None:
    settings = KubernetesSettings(namespace=world.namespace, interval=timedelta(seconds=0.2))
    feeds = Feeds(world.cluster)
    source = KubernetesSource(settings, name="cluster", feeds=feeds)
    bad = Gauge(of='kube_pod_status_ready{condition="false",version="v3"}', by=Aggregate.AVG)
    good = Gauge(of='kube_pod_status_ready{condition="true",version="v2"}', by=Aggregate.SUM)
    waits = Gauge(
        of='kube_pod_container_status_waiting_reason{reason="CrashLoopBackOff",version="v3"}',
        by=Aggregate.SUM,
    )
    restarts = Rate(of='kube_pod_container_status_restarts_total{version="v2"}')

    async def told(form: Gauge | Rate, least: float) -> Value:
        async def value() -> Value:
            seen = await poll(source, form)
            assert isinstance(seen, Value), seen
            assert seen.value >= least, seen
            return seen

        found = await eventually(value, within=60, every=0.1, what=f"{form.of} of {least}")
        assert found is not None
        return found

    async with running([source]):
        assert (await told(good, 1)).value == 1
        await told(restarts, 0)
        world.broken.add("v3")
        await set_version(world, "v3")
        for form in (bad, waits):
            await told(form, 1)
        assert (await told(good, 1)).value == 1, "the old pod goes on while the new one crashes"
        pod = await a_pod(world)
        await says(world, pod, r.running(restarts=2, now=datetime.now(UTC)))
        await told(restarts, 0.05)
    await feeds.aclose()
