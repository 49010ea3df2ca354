"""Reading, writing and watching on kmock, a Kubernetes API that others made in memory.

It knows no `resourceVersion`: what the API server refuses is tried on our own stand-in and on a real one. This module
holds that the client depends on nothing that only those have.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from kmock import KubernetesEmulator

from tests.cluster.fake_api import NoAuth
from tests.cluster.worlds import furniture
from tests.eventually import Eventually
from tests.servers.kubelet import status
from watchdog.aio.clock import SystemClock
from watchdog.cluster.access import Access
from watchdog.cluster.client import Cluster
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.objects import ENDPOINT_SLICES, PODS, REPLICA_SETS, SERVICES
from watchdog.cluster.settings import ClusterSettings
from watchdog.core.errors import SwitchRejected, SwitchUnknown
from watchdog.core.traffic import Change
from watchdog.traffic.kubernetes_service import KubernetesServiceSwitch, ServiceSettings

#: Makes the kind known: kmock says 404 to a list of what it never saw.
NOBODYS: Any = {"metadata": {"name": "nobodys", "namespace": "elsewhere"}, "spec": {"replicas": 0}}


@pytest.fixture
async def cluster(kmock: KubernetesEmulator) -> AsyncIterator[Cluster]:
    """A connection to a furnished one."""

    async def find(_: ClusterSettings) -> Access:
        return Access(
            url=str(kmock.url).rstrip("/"),
            ssl=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            configuration=NoAuth(),
        )

    made = Cluster(ClusterSettings(timeout=timedelta(seconds=20)), find=find)
    for kind, thing in [*furniture(), (ENDPOINT_SLICES, slice_of("blue")), (REPLICA_SETS, NOBODYS)]:
        marks = {"namespace": "prod", "uid": thing["metadata"]["name"], "resourceVersion": "1"}
        whole = {**thing, "metadata": {**marks, **thing["metadata"]}}
        if kind is PODS:
            whole["status"] = status(whole, "ready")
        await made.post(kind.path(whole["metadata"]["namespace"]), whole)
    yield made
    await made.aclose()


def slice_of(variant: str) -> Any:
    """The endpoints of the Service that is switched."""
    target = {"kind": "Pod", "name": f"{variant}-1"}
    endpoint = {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": target}
    labels = {"kubernetes.io/service-name": "trips"}
    return {"metadata": {"name": "trips-x", "labels": labels}, "endpoints": [endpoint]}


def switch_of(cluster: Cluster) -> KubernetesServiceSwitch:
    settings = ServiceSettings(namespace="prod", service="trips", selector="version")
    return KubernetesServiceSwitch(settings, name="trips", cluster=cluster)


async def change(switch: KubernetesServiceSwitch) -> None:
    expect = (await switch.read()).revision
    await switch.apply(Change(target="green", away=("blue",), expect=expect, mark="rb-1", epoch=1))


async def test_a_service_is_switched_by_one_patch_that_names_what_it_was_decided_on(
    kmock: KubernetesEmulator, cluster: Cluster
) -> None:
    switch = switch_of(cluster)
    assert (await switch.read()).live == ("blue",)
    await change(switch)
    assert (await switch.read()).live == ("green",)
    (sent,) = [asked.data for asked in kmock["patch"]]
    assert sent["metadata"]["resourceVersion"] == "1"
    assert sent["spec"] == {"selector": {"version": "green"}}


@pytest.mark.parametrize(("code", "said"), [(403, SwitchRejected), (500, SwitchUnknown)])
async def test_what_is_answered_to_a_write_is_told_for_what_it_is(
    kmock: KubernetesEmulator, cluster: Cluster, code: int, said: type[Exception]
) -> None:
    kmock["patch /api/v1/namespaces/prod/services/trips"] << code
    switch = switch_of(cluster)
    with pytest.raises(said):
        await change(switch)


async def test_what_is_listed_and_watched_is_held(cluster: Cluster, eventually: Eventually) -> None:
    feeds = Feeds(cluster, clock=SystemClock(), rng=random.Random(1))
    feed = feeds.feed(SERVICES, "prod")
    async with feeds.following(feed):
        await eventually(lambda: len(feed.objects) == 3, within=20, what="the list")
        changed = {"metadata": {"resourceVersion": "2"}, "spec": {"selector": {"version": "green"}}}
        await cluster.patch(SERVICES.path("prod", "trips"), changed)
        await eventually(
            lambda: feed.objects["prod", "trips"].spec.selector["version"] == "green",
            within=20,
            what="the change",
        )
        assert feed.lists == 1
    await feeds.aclose()
