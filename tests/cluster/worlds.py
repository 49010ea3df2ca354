"""One application in a namespace, as blue and green, on the API in memory or on a real API server.

Blue is live and green stands by: a pod each, a Service `trips` that selects one of the two, a Service for each, an
Ingress `trips` that leads to one of those. Tests change it by hand, as people do; the same way on both.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.cluster.fake_api import FakeApi
from tests.eventually import eventually
from tests.faults.proxy import Deed, FaultProxy
from tests.servers.kubelet import status
from tests.servers.kubernetes import Kubernetes
from watchdog.cluster.client import Cluster
from watchdog.cluster.objects import ENDPOINT_SLICES, PODS, SERVICES, Kind, Object
from watchdog.cluster.settings import ClusterSettings
from watchdog.traffic.kubernetes_ingress_paths import INGRESSES

Json = dict[str, Any]
NODE = "node-1"
NODES = Kind(group="", version="v1", plural="nodes", name="Node", shape=Object)


class World(ABC):
    """A namespace, and hands in it. `cluster` is the connection that the switch under test gets."""

    namespace: str
    cluster: Cluster

    @abstractmethod
    def put(self, kind: Kind[Any], thing: Json) -> None:
        """Create an object."""

    @abstractmethod
    def patch(self, kind: Kind[Any], name: str, body: Json) -> None:
        """Somebody's merge patch."""

    @abstractmethod
    def get(self, kind: Kind[Any], name: str) -> Json:
        """An object as it is now."""

    @abstractmethod
    def delete(self, kind: Kind[Any], name: str) -> None:
        """An object goes."""

    @abstractmethod
    def fate(self, pod: str, fate: str) -> None:
        """What becomes of a pod: see `tests.servers.kubelet`."""

    @abstractmethod
    def changes(self, kind: Kind[Any], name: str) -> int:
        """How often an object was changed since it was created."""

    @abstractmethod
    def hang(self) -> None:
        """From now on the API server answers the switch nothing."""

    @abstractmethod
    def recover(self) -> None:
        """The end of `hang`."""

    @abstractmethod
    def way_in(self, folder: Path) -> Json:
        """What stands under `kubernetes:` in the configuration of a daemon that is to find its way here."""

    @abstractmethod
    async def settle(self) -> None:
        """Wait until the EndpointSlices are as the pods are."""

    def furnish(self) -> None:
        """Everything that the docstring of this module tells."""
        for kind, thing in furniture():
            self.put(kind, thing)
            if kind is PODS:
                self.fate(thing["metadata"]["name"], "ready")


def furniture() -> list[tuple[Kind[Any], Json]]:
    """What stands in a world."""
    found: list[tuple[Kind[Any], Json]] = []
    for variant, image in (("blue", "app:v1"), ("green", "app:v2")):
        found += [
            (PODS, pod(f"{variant}-1", {"app": "trips", "version": variant}, image)),
            (SERVICES, service(f"trips-{variant}", {"app": "trips", "version": variant})),
        ]
    return [
        *found,
        (SERVICES, service("trips", {"app": "trips", "version": "blue"})),
        (INGRESSES, ingress("trips", path("/", "trips-blue"))),
    ]


def pod(name: str, labels: Json, image: str = "app:v1") -> Json:
    """A pod that a node has taken."""
    spec = {"nodeName": NODE, "containers": [{"name": "app", "image": image}]}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def service(name: str, selector: Json | None, *, port: int = 80, **spec: Any) -> Json:
    """A Service; its label says that it belongs to `trips`."""
    ports = [{"name": "http", "port": port, "targetPort": 8080, "protocol": "TCP"}]
    body: Json = {"ports": ports, **spec}
    if selector is not None:
        body["selector"] = selector
    return {"metadata": {"name": name, "labels": {"app": "trips"}}, "spec": body}


def path(text: str, to: str, *, kind: str = "Prefix", port: Any = 80) -> Json:
    """A path of an Ingress."""
    at = {"number": port} if isinstance(port, int) else {"name": port}
    return {"path": text, "pathType": kind, "backend": {"service": {"name": to, "port": at}}}


def ingress(name: str, *paths: Json, host: str | None = "trips.example.com", **metadata: Any) -> Json:
    """An Ingress with one rule."""
    rule: Json = {"http": {"paths": list(paths)}}
    if host is not None:
        rule["host"] = host
    return {"metadata": {"name": name, **metadata}, "spec": {"rules": [rule]}}


class FakeWorld(World):
    """On the API in memory; what the EndpointSlice controller does is done at once."""

    def __init__(self, api: FakeApi, **settings: Any) -> None:
        self.api = api
        self.namespace = "prod"
        self.cluster = api.cluster(**settings)
        #: A controller that does nothing any more, as one that lags behind.
        self.lags = False
        api.after = self._after

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, **settings: Any) -> AsyncIterator[FakeWorld]:
        """A furnished one."""
        async with FakeApi() as api:
            world = cls(api, **settings)
            world.furnish()
            yield world

    def put(self, kind: Kind[Any], thing: Json) -> None:
        self.api.put(kind, self.namespace, thing)

    def patch(self, kind: Kind[Any], name: str, body: Json) -> None:
        self.api.patch(kind, self.namespace, name, body)

    def get(self, kind: Kind[Any], name: str) -> Json:
        return self.api.get(kind, self.namespace, name)

    def delete(self, kind: Kind[Any], name: str) -> None:
        self.api.delete(kind, self.namespace, name)

    def fate(self, pod: str, fate: str) -> None:
        self.patch(PODS, pod, {"status": status(self.get(PODS, pod), fate)})

    def changes(self, kind: Kind[Any], name: str) -> int:
        return self.api.changes(kind, self.namespace, name)

    def hang(self) -> None:
        self.api.hang()

    def recover(self) -> None:
        self.api.resume()

    def way_in(self, folder: Path) -> Json:
        path = folder / "kubeconfig"
        found = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "memory", "cluster": {"server": self.api.url}}],
            "users": [{"name": "nobody", "user": {"token": "canary-cluster-token"}}],
            "contexts": [{"name": "memory", "context": {"cluster": "memory", "user": "nobody"}}],
            "current-context": "memory",
        }
        path.write_text(json.dumps(found))
        return {"kubeconfig": str(path)}

    async def settle(self) -> None:
        """It is settled at once."""

    def _after(self, plural: str) -> None:
        if plural not in {"pods", "services"} or self.lags:
            return
        pods = self.api.all(PODS, self.namespace)
        for one in self.api.all(SERVICES, self.namespace):
            if one["spec"].get("selector"):
                self.put(ENDPOINT_SLICES, _slice(one, pods))


def _slice(service: Json, pods: list[Json]) -> Json:
    """What the EndpointSlice controller makes of a Service."""
    wanted, name = service["spec"]["selector"], service["metadata"]["name"]
    endpoints = [
        {
            "addresses": [pod["status"]["podIP"]],
            "conditions": {"ready": _ready(pod)},
            "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"]},
        }
        for pod in pods
        if wanted.items() <= pod["metadata"].get("labels", {}).items() and pod.get("status", {}).get("podIP")
    ]
    labels = {"kubernetes.io/service-name": name}
    return {"metadata": {"name": f"{name}-x", "labels": labels}, "endpoints": endpoints}


def _ready(pod: Json) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])


class RealWorld(World):
    """On a real API server, with a proxy in between that can keep answers back."""

    def __init__(self, server: Kubernetes, proxy: FaultProxy) -> None:
        self._server = server
        self.proxy = proxy
        self.namespace = server.namespace()
        settings = ClusterSettings(kubeconfig=server.kubeconfig, url=f"https://127.0.0.1:{proxy.port}")
        self.cluster = Cluster(settings)
        self._made: dict[str, int] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, server: Kubernetes) -> AsyncIterator[RealWorld]:
        """A furnished one."""
        proxy = FaultProxy(server.port)
        async with proxy.open():
            world = await asyncio.to_thread(cls, server, proxy)
            try:
                await asyncio.to_thread(world.furnish)
                await world.settle()
                yield world
            finally:
                await world.cluster.aclose()

    def furnish(self) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        self._server.apply(node, *(self._named(kind, thing) for kind, thing in furniture()))
        for kind, thing in furniture():
            if kind is PODS:
                self._tell(thing["metadata"]["name"], status(thing, "ready"))

    def put(self, kind: Kind[Any], thing: Json) -> None:
        self._server.apply(self._named(kind, thing))

    def _named(self, kind: Kind[Any], thing: Json) -> Json:
        metadata = {**thing["metadata"], "namespace": self.namespace}
        return {"apiVersion": kind.api_version, "kind": kind.name, **thing, "metadata": metadata}

    def patch(self, kind: Kind[Any], name: str, body: Json) -> None:
        self._kubectl("patch", f"{kind.plural}/{name}", "--type=merge", "-p", json.dumps(body))

    def get(self, kind: Kind[Any], name: str) -> Json:
        found: Json = json.loads(self._kubectl("get", f"{kind.plural}/{name}", "-o", "json"))
        return found

    def delete(self, kind: Kind[Any], name: str) -> None:
        self._kubectl("delete", f"{kind.plural}/{name}", "--grace-period=0", "--force")

    def fate(self, pod: str, fate: str) -> None:
        self._tell(pod, status(self.get(PODS, pod), fate))

    def _tell(self, pod: str, told: Json) -> None:
        body = json.dumps({"status": told})
        self._kubectl("patch", f"pods/{pod}", "--subresource=status", "--type=merge", "-p", body)

    def changes(self, kind: Kind[Any], name: str) -> int:
        return self._server.written(kind, self.namespace, name) - 1

    def hang(self) -> None:
        self.proxy.always(Deed.HOLD)

    def recover(self) -> None:
        self.proxy.release()

    def way_in(self, folder: Path) -> Json:
        return {"kubeconfig": str(self._server.kubeconfig), "url": f"https://127.0.0.1:{self.proxy.port}"}

    async def settle(self) -> None:
        def settled() -> bool:
            pods = self._list("pods")
            wanted = {
                one["metadata"]["name"]: _slice(one, pods)["endpoints"]
                for one in self._list("services")
                if one["spec"].get("selector")
            }
            told: dict[str, list[Json]] = {name: [] for name in wanted}
            for one in self._list("endpointslices"):
                told[one["metadata"]["labels"]["kubernetes.io/service-name"]] += one["endpoints"] or []
            return all(_ready_names(told[name]) == _ready_names(wanted[name]) for name in wanted)

        await eventually(lambda: asyncio.to_thread(settled), within=30, every=0.1, what="EndpointSlices")

    def _list(self, plural: str) -> list[Json]:
        found: list[Json] = json.loads(self._kubectl("get", plural, "-o", "json"))["items"]
        return found

    def _kubectl(self, *words: str) -> str:
        return self._server.kubectl("-n", self.namespace, *words)


def _ready_names(endpoints: list[Json]) -> set[str]:
    return {one["targetRef"]["name"] for one in endpoints if one["conditions"].get("ready") is not False}
