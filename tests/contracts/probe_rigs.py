"""One rig for each kind of probe that must keep the contract. A new kind adds a class here and a line to `RIGS`."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from aiohttp.abc import AbstractResolver

from tests.cluster import recorded
from tests.cluster.fake_api import FakeApi
from tests.servers import raw
from tests.servers.certificates import Certificate
from tests.servers.health import HealthServer
from tests.servers.peer import Peer, hang
from tests.servers.raw import RawServer
from watchdog.cluster.client import Cluster
from watchdog.cluster.objects import PODS
from watchdog.probes.command import CommandProbe
from watchdog.probes.grpc import GrpcProbe
from watchdog.probes.http import HttpProbe
from watchdog.probes.interface import Probe
from watchdog.probes.kubernetes import KubernetesProbe
from watchdog.probes.tcp import TcpProbe


class Rig(ABC):
    """One kind: how to make its probe, and settings that lead to a target in a given state."""

    kind: ClassVar[str]
    #: Whether plain bytes on a connection can be wrong for it.
    listens: ClassVar[bool] = True
    #: Whether somebody else says how the target is, over a connection that is kept. Who cannot be asked says nothing.
    told: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def probe(self, resolver: AbstractResolver | None = None) -> Probe:
        """A new probe."""

    @abstractmethod
    def at(self, host: str, port: int) -> dict[str, Any]:
        """Settings for whatever listens there."""

    @abstractmethod
    def alive(self) -> Any:
        """An async context manager that gives settings for a healthy target."""

    @asynccontextmanager
    async def dead(self, port: int) -> AsyncIterator[dict[str, Any]]:
        """Settings for a target that is there and bad; `port` is free."""
        yield self.at("127.0.0.1", port)

    @asynccontextmanager
    async def hanging(self) -> AsyncIterator[tuple[dict[str, Any], Callable[[], bool]]]:
        """Settings for a target that never ends, and whether it was reached."""
        async with Peer(hang) as peer:
            yield self.at("127.0.0.1", peer.port), lambda: peer.taken > 0

    @abstractmethod
    def naming(self, text: str) -> list[dict[str, Any]]:
        """Settings with this text, the value of a variable, in every place where it may stand."""


class Http(Rig):
    kind = "http"

    def probe(self, resolver: AbstractResolver | None = None) -> Probe:
        return HttpProbe(resolver=resolver)

    def at(self, host: str, port: int) -> dict[str, Any]:
        return {"url": f"http://{host}:{port}/"}

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[dict[str, Any]]:
        async with RawServer(raw.answer("fine")) as server:
            yield {"url": server.url}

    def naming(self, text: str) -> list[dict[str, Any]]:
        url = "http://127.0.0.1:9/"
        return [
            {"url": url, "headers": {"X": text}},
            {
                "url": url,
                "expect": {"header": {"X": text}, "body": {"contains": text, "pointer": {"/a": text}}},
            },
            {"url": url, "expect": {"body": {"matches": text}}},
        ]


class Https(Http):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._certificate = Certificate(folder)

    def at(self, host: str, port: int) -> dict[str, Any]:
        return {"url": f"https://{host}:{port}/", "ca_file": str(self._certificate.file)}

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[dict[str, Any]]:
        async with RawServer(raw.answer("fine"), tls=self._certificate.context) as server:
            yield self.at("127.0.0.1", server.port)


class Tcp(Rig):
    kind = "tcp"
    listens = False

    def probe(self, resolver: AbstractResolver | None = None) -> Probe:
        return TcpProbe(resolver=resolver)

    def at(self, host: str, port: int) -> dict[str, Any]:
        return {"address": f"{host}:{port}"}

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[dict[str, Any]]:
        async with Peer(hang) as peer:
            yield self.at("127.0.0.1", peer.port)

    def naming(self, text: str) -> list[dict[str, Any]]:
        return [{"address": f"{text}:9"}, {"address": text}]


class TcpTls(Tcp):
    listens = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._certificate = Certificate(folder)

    def at(self, host: str, port: int) -> dict[str, Any]:
        return {"address": f"{host}:{port}", "tls": True, "ca_file": str(self._certificate.file)}

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[dict[str, Any]]:
        async with Peer(hang, tls=self._certificate.context) as peer:
            yield self.at("127.0.0.1", peer.port)


class Grpc(Rig):
    kind = "grpc"

    def probe(self, resolver: AbstractResolver | None = None) -> Probe:
        return GrpcProbe(resolver=resolver)

    def at(self, host: str, port: int) -> dict[str, Any]:
        return {"address": f"{host}:{port}"}

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[dict[str, Any]]:
        with HealthServer() as server:
            yield self.at("127.0.0.1", server.port)

    def naming(self, text: str) -> list[dict[str, Any]]:
        return [{"address": f"{text}:9"}, {"address": "127.0.0.1:9", "service": text}]


class Command(Rig):
    kind = "command"

    def probe(self, resolver: AbstractResolver | None = None) -> Probe:
        return CommandProbe()

    def at(self, host: str, port: int) -> dict[str, Any]:
        look = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2]))).recv(1)"
        return {"argv": [sys.executable, "-I", "-S", "-c", look, host, str(port)]}

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[dict[str, Any]]:
        yield {"argv": ["true"]}

    def naming(self, text: str) -> list[dict[str, Any]]:
        return [{"argv": ["true", text], "environment": {"X": text}}]


class _WithItsOwn(KubernetesProbe):
    """The probe with a connection that nobody else has."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster=cluster)
        self._own = cluster

    async def aclose(self) -> None:
        await super().aclose()
        await self._own.aclose()


class Kubernetes(Rig):
    kind = "kubernetes"
    listens = False
    told = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._api = FakeApi()
        self._users = 0

    def probe(self, resolver: AbstractResolver | None = None) -> Probe:
        return _WithItsOwn(self._api.cluster())

    def at(self, host: str, port: int) -> dict[str, Any]:
        return {"namespace": "prod", "selector": "app=trips"}

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[dict[str, Any]]:
        async with self._serving(recorded.pod(namespace="prod")) as settings:
            yield settings

    @asynccontextmanager
    async def dead(self, port: int) -> AsyncIterator[dict[str, Any]]:
        async with self._serving(recorded.pod("", recorded.crash_loop(), namespace="test")) as settings:
            yield settings

    @asynccontextmanager
    async def _serving(self, pod: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            if not self._users:
                await stack.enter_async_context(self._api)
            self._users += 1
            self._api.put(PODS, pod["metadata"]["namespace"], pod)
            yield {"namespace": pod["metadata"]["namespace"], "selector": "app=trips"}
            self._users -= 1

    def naming(self, text: str) -> list[dict[str, Any]]:
        return [
            {"namespace": text, "selector": "app=trips"},
            {"namespace": "prod", "selector": f"app={text}"},
            {"namespace": "prod", "deployment": text},
            {"namespace": "prod", "selector": "app=trips", "version": text},
        ]


RIGS: dict[str, type[Rig]] = {
    "http": Http,
    "https": Https,
    "tcp": Tcp,
    "tcp over tls": TcpTls,
    "grpc": Grpc,
    "command": Command,
    "kubernetes": Kubernetes,
}
