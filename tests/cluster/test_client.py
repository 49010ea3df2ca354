"""One connection pool to an API server, tried on a real one."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from tests.servers.kubelet import kubelet
from tests.servers.kubernetes import Kubernetes
from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import Refused
from watchdog.cluster.look import Fresh
from watchdog.cluster.objects import PODS, SERVICES

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(120)]


async def test_a_stale_resource_version_is_refused(kubernetes: Kubernetes, cluster: Cluster) -> None:
    namespace = kubernetes.namespace()
    body = {
        "metadata": {"name": "trips"},
        "spec": {"selector": {"app": "trips", "version": "v1"}, "ports": [{"port": 80}]},
    }
    made = msgspec.json.decode(await cluster.post(SERVICES.path(namespace), body))
    version = made["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "spec": {"selector": {"version": "v2"}}}
    await cluster.patch(SERVICES.path(namespace, "trips"), patch)
    with pytest.raises(Refused) as refused:
        await cluster.patch(SERVICES.path(namespace, "trips"), patch)
    assert refused.value.conflict


async def test_pods_become_what_the_kubelet_says(
    kubernetes: Kubernetes, cluster: Cluster, eventually: object
) -> None:
    namespace = kubernetes.namespace()
    kubernetes.kubectl("create", "deployment", "trips", "--image=app:v1", "--replicas=3", "-n", namespace)
    async with kubelet(cluster, namespace):
        look = Fresh(cluster, timeout=timedelta(seconds=5))
        while True:
            pods = await look.all(PODS, namespace, labels={"app": "trips"})
            if len(pods) == 3 and all(pod.ready for pod in pods):
                break
