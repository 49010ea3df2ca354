"""The rigs of the Kubernetes switches: each on the API in memory, and on a real API server where there is one.

A new one adds a class and a line to `SWITCHES`.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from tests.cluster.rollouts import FakeRollouts, RealRollouts, moved, writes
from tests.cluster.routes import destination_rule, httproute, ref, to, virtual_service
from tests.cluster.worlds import FakeWorld, RealWorld, World, service
from tests.contracts.traffic_rigs import NOW, Rig, Tools
from tests.servers.definitions import taught
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.marks import PAUSED
from watchdog.cluster.objects import DEPLOYMENTS, SERVICES, Kind
from watchdog.testing.clock import StillClock
from watchdog.traffic.gateway_httproute import HTTP_ROUTES, GatewayHTTPRouteSettings, GatewayHTTPRouteSwitch
from watchdog.traffic.istio_routes import VIRTUAL_SERVICES
from watchdog.traffic.istio_subsets import DESTINATION_RULES
from watchdog.traffic.istio_virtualservice import IstioVirtualServiceSettings, IstioVirtualServiceSwitch
from watchdog.traffic.kubernetes_deployment import DeploymentSettings, KubernetesDeploymentSwitch
from watchdog.traffic.kubernetes_ingress import IngressSettings, KubernetesIngressSwitch
from watchdog.traffic.kubernetes_ingress_paths import INGRESSES
from watchdog.traffic.kubernetes_object import ObjectSwitch
from watchdog.traffic.kubernetes_service import KubernetesServiceSwitch, ServiceSettings


class ObjectRig(Rig):
    """A switch on one object of a world."""

    timeout = timedelta(seconds=2)
    #: The switched object.
    kind: ClassVar[Kind[Any]]
    name: ClassVar[str] = "trips"

    def __init__(self, world: World) -> None:
        self.world = world
        if isinstance(world, RealWorld):
            self.timeout = timedelta(seconds=6)  # a busy machine keeps a real one waiting
        self.switch = self.again()

    @classmethod
    @asynccontextmanager
    async def open(cls, tools: Tools) -> AsyncIterator[Rig]:  # noqa: ARG003 - it is all in memory
        async with FakeWorld.open() as world:
            yield cls(world)

    @classmethod
    @asynccontextmanager
    async def open_real(cls, tools: Tools) -> AsyncIterator[Rig]:
        """The same on a real API server."""
        async with RealWorld.open(tools.kubernetes()) as world:
            yield cls(world)

    @abstractmethod
    def again(self, feeds: Feeds | None = None) -> ObjectSwitch[Any]:
        """A switch with the same settings on the same target."""

    def pause(self, reason: str | None) -> bool:
        self.world.patch(self.kind, self.name, {"metadata": {"annotations": {PAUSED: reason}}})
        return True

    def stir(self) -> None:
        self.world.fate("green-1", "pending")

    def effects(self) -> int:
        return self.world.changes(self.kind, self.name)

    def hang(self) -> None:
        self.world.hang()

    def recover(self) -> None:
        self.world.recover()

    def vanish(self) -> None:
        self.world.delete(self.kind, self.name)


class ServiceRig(ObjectRig):
    kind = SERVICES

    def again(self, feeds: Feeds | None = None) -> ObjectSwitch[Any]:
        settings = ServiceSettings(
            namespace=self.world.namespace, service="trips", selector="version", timeout=self.timeout
        )
        return KubernetesServiceSwitch(
            settings, name="trips", cluster=self.world.cluster, feeds=feeds, clock=StillClock(NOW)
        )

    def move(self, to: str) -> None:
        self.world.patch(SERVICES, "trips", {"spec": {"selector": {"version": to}}})


class IngressRig(ObjectRig):
    kind = INGRESSES

    def again(self, feeds: Feeds | None = None) -> ObjectSwitch[Any]:
        settings = IngressSettings(
            namespace=self.world.namespace,
            ingress="trips",
            variants={"blue": "trips-blue", "green": "trips-green"},
            timeout=self.timeout,
        )
        return KubernetesIngressSwitch(
            settings, name="trips", cluster=self.world.cluster, feeds=feeds, clock=StillClock(NOW)
        )

    def move(self, to: str) -> None:
        rules = self.world.get(INGRESSES, "trips")["spec"]["rules"]
        rules[0]["http"]["paths"][0]["backend"]["service"]["name"] = f"trips-{to}"
        self.world.patch(INGRESSES, "trips", {"spec": {"rules": rules}})


class RouteRig(ObjectRig):
    """On an object of a kind that the API server learns first."""

    def __init__(self, world: World) -> None:
        for kind, thing in self.objects():
            world.put(kind, thing)
        super().__init__(world)

    @staticmethod
    @abstractmethod
    def objects() -> Sequence[tuple[Kind[Any], dict[str, Any]]]:
        """The switched object, and what belongs to it."""

    @classmethod
    @asynccontextmanager
    async def open_real(cls, tools: Tools) -> AsyncIterator[Rig]:
        server = tools.kubernetes()
        await taught(server, *(kind for kind, _ in cls.objects()))
        async with RealWorld.open(server) as world:
            yield await asyncio.to_thread(cls, world)


class HTTPRouteRig(RouteRig):
    kind = HTTP_ROUTES

    @staticmethod
    def objects() -> Sequence[tuple[Kind[Any], dict[str, Any]]]:
        rule = {"backendRefs": [ref("blue", 100), ref("green", 0)]}
        services = [
            (SERVICES, service(name, {"app": "trips", "version": name})) for name in ("blue", "green")
        ]
        return [*services, (HTTP_ROUTES, httproute(rule))]

    def again(self, feeds: Feeds | None = None) -> ObjectSwitch[Any]:
        settings = GatewayHTTPRouteSettings(
            namespace=self.world.namespace, route="trips", timeout=self.timeout
        )
        return GatewayHTTPRouteSwitch(
            settings, name="trips", cluster=self.world.cluster, feeds=feeds, clock=StillClock(NOW)
        )

    def move(self, to: str) -> None:
        rules = self.world.get(HTTP_ROUTES, "trips")["spec"]["rules"]
        for one in rules[0]["backendRefs"]:
            one["weight"] = 100 if one["name"] == to else 0
        self.world.patch(HTTP_ROUTES, "trips", {"spec": {"rules": rules}})


class VirtualServiceRig(RouteRig):
    kind = VIRTUAL_SERVICES

    @staticmethod
    def objects() -> Sequence[tuple[Kind[Any], dict[str, Any]]]:
        return [
            (SERVICES, service("trips", {"app": "trips"})),
            (DESTINATION_RULES, destination_rule()),
            (VIRTUAL_SERVICES, virtual_service({"route": [to("blue", 100), to("green", 0)]})),
        ]

    def again(self, feeds: Feeds | None = None) -> ObjectSwitch[Any]:
        settings = IstioVirtualServiceSettings(
            namespace=self.world.namespace, virtualservice="trips", host="trips", timeout=self.timeout
        )
        return IstioVirtualServiceSwitch(
            settings, name="trips", cluster=self.world.cluster, feeds=feeds, clock=StillClock(NOW)
        )

    def move(self, to: str) -> None:
        http = self.world.get(VIRTUAL_SERVICES, "trips")["spec"]["http"]
        for one in http[-1]["route"]:
            one["weight"] = 100 if one["destination"]["subset"] == to else 0
        self.world.patch(VIRTUAL_SERVICES, "trips", {"spec": {"http": http}})


class DeploymentRig(ObjectRig):
    kind = DEPLOYMENTS

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._before = writes(world)

    @classmethod
    @asynccontextmanager
    async def open(cls, tools: Tools) -> AsyncIterator[Rig]:  # noqa: ARG003 - it is all in memory
        async with FakeRollouts.open() as world:
            yield cls(world)

    @classmethod
    @asynccontextmanager
    async def open_real(cls, tools: Tools) -> AsyncIterator[Rig]:
        async with RealRollouts.open(tools.kubernetes()) as world:
            yield cls(world)

    def again(self, feeds: Feeds | None = None) -> ObjectSwitch[Any]:
        settings = DeploymentSettings(
            namespace=self.world.namespace, deployment="trips", timeout=self.timeout
        )
        return KubernetesDeploymentSwitch(
            settings, name="trips", cluster=self.world.cluster, feeds=feeds, clock=StillClock(NOW)
        )

    def move(self, to: str) -> None:
        moved(self.world, to)

    def stir(self) -> None:
        """What is counted on is less without a rolling update, although nothing takes other traffic."""
        strategy = {"type": "Recreate", "rollingUpdate": None}
        self.world.patch(DEPLOYMENTS, "trips", {"spec": {"strategy": strategy}})

    def effects(self) -> int:
        return writes(self.world) - self._before


SWITCHES: Mapping[str, type[ObjectRig]] = {
    "gateway-httproute": HTTPRouteRig,
    "istio-virtualservice": VirtualServiceRig,
    "kubernetes-deployment": DeploymentRig,
    "kubernetes-service": ServiceRig,
    "kubernetes-ingress": IngressRig,
}
#: What `tests.contracts.test_traffic` is run with besides.
PARAMS = [
    *SWITCHES,
    *(
        pytest.param(f"{name} (real)", marks=[pytest.mark.kubernetes, pytest.mark.timeout(120)])
        for name in SWITCHES
    ),
]


def opened(name: str, tools: Tools) -> Any:
    """The async context manager that gives the rig of a name in `PARAMS`."""
    kind, _, real = name.partition(" ")
    return SWITCHES[kind].open_real(tools) if real else SWITCHES[kind].open(tools)
