"""What becomes of pods where there are no nodes: a kubelet's word, written into their status by hand."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import ClusterError

#: Says what becomes of a pod, from its JSON: `ready`, `pending`, or a waiting reason such as `CrashLoopBackOff`.
Fate = Callable[[dict[str, Any]], str]

_numbers = itertools.count(1)


def digest(image: str) -> str:
    """The digest that an image of this name has here."""
    return "sha256:" + hashlib.sha256(image.encode()).hexdigest()


def status(pod: dict[str, Any], fate: str) -> dict[str, Any]:
    """The status of a pod with this fate; the image's digest is made from its name."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = fate == "ready"
    number = next(_numbers)
    containers = []
    for one in pod["spec"]["containers"]:
        state: dict[str, Any] = {"running": {"startedAt": now}}
        if fate not in {"ready", "pending"}:
            state = {"waiting": {"reason": fate, "message": f"{fate} of {one['name']}"}}
        containers.append(
            {
                "name": one["name"],
                "image": one["image"],
                "imageID": f"registry.example.com/app@{digest(one['image'])}",
                "ready": ready,
                "restartCount": 0 if ready else 3,
                "state": state,
            }
        )
    conditions = [
        {"type": kind, "status": "True" if ready else "False", "lastTransitionTime": now}
        for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    return {
        "phase": "Running" if ready else "Pending",
        "podIP": f"10.1.{number // 250 % 250}.{number % 250 + 1}",
        "podIPs": [{"ip": f"10.1.{number // 250 % 250}.{number % 250 + 1}"}],
        "conditions": conditions,
        "containerStatuses": containers,
    }


async def serve(cluster: Cluster, namespace: str, fate: Fate) -> None:
    """Give every pod of a namespace the status of its fate, until cancelled. Deleted pods go at once."""
    told: dict[str, str] = {}
    path = f"/api/v1/namespaces/{namespace}/pods"
    while True:
        with contextlib.suppress(ClusterError):
            listed = msgspec.json.decode(await cluster.get(path))
            for pod in listed["items"]:
                await _tend(cluster, path, pod, fate, told)
            query = {"resourceVersion": listed["metadata"]["resourceVersion"], "timeoutSeconds": "60"}
            lines = cluster.watch(path, query=query, silent_for=timedelta(seconds=70))
            async with contextlib.aclosing(lines):
                async for line in lines:
                    event = msgspec.json.decode(line)
                    if event["type"] in {"ADDED", "MODIFIED"}:
                        await _tend(cluster, path, event["object"], fate, told)
        await asyncio.sleep(0)


async def poll(cluster: Cluster, namespace: str, fate: Fate, *, every: float = 0.3) -> None:
    """The same for fates that change by themselves: every pod is looked at again and again, until cancelled."""
    told: dict[str, str] = {}
    path = f"/api/v1/namespaces/{namespace}/pods"
    while True:
        with contextlib.suppress(ClusterError):
            for pod in msgspec.json.decode(await cluster.get(path))["items"]:
                await _tend(cluster, path, pod, fate, told)
        await asyncio.sleep(every)


async def _tend(cluster: Cluster, path: str, pod: dict[str, Any], fate: Fate, told: dict[str, str]) -> None:
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    if pod["metadata"].get("deletionTimestamp"):
        with contextlib.suppress(ClusterError):
            await cluster.delete(f"{path}/{name}", grace=0)
        return
    wanted = fate(pod)
    if told.get(uid) != wanted:
        with contextlib.suppress(ClusterError):
            await cluster.patch(f"{path}/{name}/status", {"status": status(pod, wanted)})
            told[uid] = wanted


@contextlib.asynccontextmanager
async def kubelet(cluster: Cluster, namespace: str, fate: Fate = lambda _: "ready") -> AsyncIterator[None]:
    """`serve` beside what happens inside the block."""
    task = asyncio.create_task(serve(cluster, namespace, fate))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
