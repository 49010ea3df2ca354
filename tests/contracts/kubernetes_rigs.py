"""The rigs of the Kubernetes switches: each on the API in memory, and on a real API server where there is one.

A new one adds a class and a line to `SWITCHES`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from tests.cluster.worlds import FakeWorld, RealWorld, World
from tests.contracts.traffic_rigs import NOW, Rig, Tools
from watchdog.cluster.marks import PAUSED
from watchdog.cluster.objects import SERVICES, Kind
from watchdog.testing.clock import StillClock
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
    def again(self) -> ObjectSwitch[Any]:
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

    def again(self) -> ObjectSwitch[Any]:
        settings = ServiceSettings(
            namespace=self.world.namespace, service="trips", selector="version", timeout=self.timeout
        )
        return KubernetesServiceSwitch(
            settings, name="trips", cluster=self.world.cluster, clock=StillClock(NOW)
        )

    def move(self, to: str) -> None:
        self.world.patch(SERVICES, "trips", {"spec": {"selector": {"version": to}}})


class IngressRig(ObjectRig):
    kind = INGRESSES

    def again(self) -> ObjectSwitch[Any]:
        settings = IngressSettings(
            namespace=self.world.namespace,
            ingress="trips",
            variants={"blue": "trips-blue", "green": "trips-green"},
            timeout=self.timeout,
        )
        return KubernetesIngressSwitch(
            settings, name="trips", cluster=self.world.cluster, clock=StillClock(NOW)
        )

    def move(self, to: str) -> None:
        rules = self.world.get(INGRESSES, "trips")["spec"]["rules"]
        rules[0]["http"]["paths"][0]["backend"]["service"]["name"] = f"trips-{to}"
        self.world.patch(INGRESSES, "trips", {"spec": {"rules": rules}})


SWITCHES: Mapping[str, type[ObjectRig]] = {
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
