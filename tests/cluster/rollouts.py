"""A Deployment `trips` with two ReplicaSets, on the API in memory or on a real API server.

Blue has the template and its pods, green is an older ReplicaSet, scaled to 0. In memory, a few lines do what the
Deployment and ReplicaSet controllers do, at once; on the real server they are real, and only the kubelet is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.cluster.fake_api import FakeApi
from tests.cluster.worlds import FakeWorld, RealWorld, World
from tests.eventually import eventually
from tests.faults.proxy import FaultProxy
from tests.servers.kubelet import kubelet, status
from tests.servers.kubernetes import Kubernetes
from watchdog.cluster.client import Cluster
from watchdog.cluster.objects import DEPLOYMENTS, PODS, REPLICA_SETS
from watchdog.cluster.settings import ClusterSettings

Json = dict[str, Any]
REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
VERSION = "app.kubernetes.io/version"


def template(version: str, *, name: str = "", **env: str) -> Json:
    """A pod template of a version. `name` is what its ReplicaSet is called by where a test says so."""
    labels = {"app": "trips", VERSION: version}
    container: Json = {"name": "app", "image": f"registry.example.com/trips:{version}"}
    if env:
        container["env"] = [{"name": key, "value": text} for key, text in env.items()]
    if name:
        labels["name"] = name
    return {"metadata": {"labels": labels}, "spec": {"containers": [container]}}


def deployment(pods: Json, *, replicas: int = 1, **spec: Any) -> Json:
    """The Deployment with that template."""
    body = {"replicas": replicas, "selector": {"matchLabels": {"app": "trips"}}, "template": pods, **spec}
    return {"metadata": {"name": "trips"}, "spec": body}


def replica_set(pods: Json, name: str, *, replicas: int) -> Json:
    """A ReplicaSet that a Deployment controller would have made; it is adopted by the Deployment that selects it."""
    labels = {**pods["metadata"]["labels"], HASH: name}
    hashed = {**pods, "metadata": {**pods["metadata"], "labels": labels}}
    selector = {"matchLabels": {"app": "trips", HASH: name}}
    return {
        "metadata": {"name": f"trips-{name}", "labels": labels},
        "spec": {"replicas": replicas, "selector": selector, "template": hashed},
    }


def unhashed(pods: Json) -> Json:
    """A ReplicaSet's template as it was in the Deployment."""
    labels = {key: text for key, text in pods["metadata"]["labels"].items() if key != HASH}
    return {**pods, "metadata": {**pods["metadata"], "labels": labels}}


class FakeRollouts(FakeWorld):
    """In memory, with a tiny Deployment controller that brings everything to its end at once.

    `fate` says which ReplicaSets' pods become ready, `lags` stops the controller, `keeps` is the revision history.
    """

    def __init__(self, api: FakeApi, **settings: Any) -> None:
        super().__init__(api, **settings)
        self.becomes: Callable[[Json], str] = lambda _: "ready"
        self.keeps = 10
        #: Names of ReplicaSets whose pods stay as they are: a rolling update that is not over.
        self.holds: set[str] = set()
        self._busy = False

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, **settings: Any) -> AsyncIterator[FakeRollouts]:
        async with FakeApi() as api:
            world = cls(api, **settings)
            world.furnish()
            yield world

    def furnish(self) -> None:
        self.put(DEPLOYMENTS, deployment(template("v1", name="green")))
        self.rollout(template("v2", name="blue"))

    def rollout(self, pods: Json) -> None:
        """Somebody sets the template."""
        found = self.get(DEPLOYMENTS, "trips")
        self.put(DEPLOYMENTS, {**found, "spec": {**found["spec"], "template": pods}})

    def sets(self) -> dict[str, Json]:
        """The ReplicaSets by their hash."""
        found = self.api.all(REPLICA_SETS, self.namespace)
        return {one["metadata"]["labels"][HASH]: one for one in found}

    def live(self) -> str:
        """The hash of the ReplicaSet that has pods."""
        return next(name for name, one in self.sets().items() if one["spec"]["replicas"])

    def settle_now(self) -> None:
        """The controller does what it would have done."""
        if self._busy:
            return
        self._busy = True
        try:
            for one in self.api.all(DEPLOYMENTS, self.namespace):
                self._reconcile(one)
        finally:
            self._busy = False

    def _after(self, plural: str) -> None:
        if plural in {"deployments", "replicasets"} and not self.lags:
            self.settle_now()

    def _reconcile(self, found: Json) -> None:
        sets, spec = self.sets(), found["spec"]
        same = [name for name, one in sets.items() if unhashed(one["spec"]["template"]) == spec["template"]]
        new = same[0] if same else ""
        if not new and not spec.get("paused"):
            new = self._make(found)
        self._scale(spec, new)
        self._forget(new)
        number = _number(self.sets()[new]) if new else found["metadata"]["annotations"][REVISION]
        annotations = {**found["metadata"].get("annotations", {}), REVISION: str(number)}
        told = {"observedGeneration": found["metadata"]["generation"], **self._counts(spec, new)}
        after = {**found, "metadata": {**found["metadata"], "annotations": annotations}, "status": told}
        if after != found:
            self.put(DEPLOYMENTS, after)

    def _make(self, found: Json) -> str:
        pods = found["spec"]["template"]
        text = json.dumps(pods, sort_keys=True).encode()
        name = pods["metadata"]["labels"].get("name") or hashlib.sha256(text).hexdigest()[:10]
        made = replica_set(pods, name, replicas=0)
        owner = {"kind": "Deployment", "name": "trips", "uid": found["metadata"]["uid"], "controller": True}
        made["metadata"]["ownerReferences"] = [owner]
        self.put(REPLICA_SETS, made)
        return str(name)

    def _scale(self, spec: Json, new: str) -> None:
        """All pods to the new one, whose number becomes the highest, and which gets the Deployment's annotations."""
        sets = self.sets()
        highest = max(sets, key=lambda name: _number(sets[name]))
        for name, one in sets.items():
            wanted = spec["replicas"] if name == new or (not new and name == highest) else 0
            metadata = one["metadata"]
            notes = dict(metadata.get("annotations", {}))
            if name == new:
                theirs = self.get(DEPLOYMENTS, "trips")["metadata"].get("annotations", {})
                number = _number(one) if name == highest and _number(one) else _number(sets[highest]) + 1
                notes = {**notes, **theirs, REVISION: str(number)}
            held = name in self.holds
            after = {
                **one,
                "metadata": {**metadata, "annotations": notes},
                "spec": {**one["spec"], "replicas": one["spec"]["replicas"] if held else wanted},
            }
            if after != one:
                self.put(REPLICA_SETS, after)
            self._staff(after)

    def _staff(self, one: Json) -> None:
        name, count = one["metadata"]["labels"][HASH], one["spec"]["replicas"]
        there = [
            pod["metadata"]["name"]
            for pod in self.api.all(PODS, self.namespace)
            if pod["metadata"]["labels"][HASH] == name
        ]
        for extra in there[count:]:
            self.delete(PODS, extra)
        for number in range(len(there), count):
            owner = {"kind": "ReplicaSet", "name": f"trips-{name}", "controller": True}
            uid = self.get(REPLICA_SETS, f"trips-{name}")["metadata"]["uid"]
            metadata = {
                "name": f"{name}-{number + 1}",
                "labels": one["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [{**owner, "uid": uid}],
            }
            pod = {"metadata": metadata, "spec": one["spec"]["template"]["spec"]}
            self.put(PODS, {**pod, "status": status(pod, self.becomes(one))})

    def _forget(self, new: str) -> None:
        old = [
            name for name, one in self.sets().items() if name != new and not one["spec"]["replicas"] and new
        ]
        for name in sorted(old, key=lambda name: _number(self.sets()[name]))[: max(0, len(old) - self.keeps)]:
            self.delete(REPLICA_SETS, f"trips-{name}")

    def _counts(self, spec: Json, new: str) -> Json:
        pods = self.api.all(PODS, self.namespace)
        mine = [pod for pod in pods if pod["metadata"]["labels"][HASH] == new]
        return {"replicas": len(pods), "updatedReplicas": min(len(mine), spec["replicas"])}


def _number(one: Json) -> int:
    return int(one["metadata"].get("annotations", {}).get(REVISION, 0))


class RealRollouts(RealWorld):
    """On a real API server with its controllers; every pod becomes ready, but those of `broken` versions."""

    def __init__(self, server: Kubernetes, proxy: FaultProxy) -> None:
        super().__init__(server, proxy)
        self.server = server
        self.broken: set[str] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, server: Kubernetes) -> AsyncIterator[RealRollouts]:
        proxy = FaultProxy(server.port)
        hand = Cluster(ClusterSettings(kubeconfig=server.kubeconfig))
        async with proxy.open():
            world = await asyncio.to_thread(cls, server, proxy)
            try:
                async with kubelet(hand, world.namespace, world._fate):  # noqa: SLF001 - its own
                    await asyncio.to_thread(world.furnish)
                    await world.settle()
                    yield world
            finally:
                await world.cluster.aclose()
                await hand.aclose()

    def furnish(self) -> None:
        self.put(REPLICA_SETS, replica_set(template("v1", name="green"), "green", replicas=0))
        self.put(REPLICA_SETS, replica_set(template("v2", name="blue"), "blue", replicas=1))
        self.put(DEPLOYMENTS, deployment(template("v2", name="blue")))

    def _fate(self, pod: Json) -> str:
        return "CrashLoopBackOff" if pod["metadata"]["labels"].get(VERSION) in self.broken else "ready"

    async def settle(self) -> None:
        """Until the controller has adopted both, and the pods that should be there are ready."""

        def settled() -> bool:
            found = self.get(DEPLOYMENTS, "trips")
            told, wanted = found.get("status", {}), found["spec"]["replicas"]
            adopted = [one for one in self._list("replicasets") if one["metadata"].get("ownerReferences")]
            seen = told.get("observedGeneration") == found["metadata"]["generation"] and len(adopted) >= 2
            ready = told.get("updatedReplicas", 0) == wanted == told.get("readyReplicas", 0)
            return seen and ready and told.get("replicas", 0) == wanted

        await eventually(lambda: asyncio.to_thread(settled), within=60, every=0.1, what="the rollout")


def moved(world: World, to: str) -> None:
    """Somebody sets the template back to that of a ReplicaSet, as `kubectl rollout undo` does."""
    pods = unhashed(world.get(REPLICA_SETS, f"trips-{to}")["spec"]["template"])
    world.patch(DEPLOYMENTS, "trips", {"spec": {"template": pods}})


def writes(world: World) -> int:
    """How often the Deployment's `spec` or annotations were written, but for what its controller does."""
    return int(world.get(DEPLOYMENTS, "trips")["metadata"]["generation"])
