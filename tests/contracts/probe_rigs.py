"""One rig for each kind of probe that must keep the contract. A new kind adds a class here and a line to `RIGS`."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from aiohttp.abc import AbstractResolver

from tests.servers import raw
from tests.servers.certificates import Certificate
from tests.servers.health import HealthServer
from tests.servers.peer import Peer, hang
from tests.servers.raw import RawServer
from watchdog.probes.command import CommandProbe
from watchdog.probes.grpc import GrpcProbe
from watchdog.probes.http import HttpProbe
from watchdog.probes.interface import Probe
from watchdog.probes.tcp import TcpProbe


class Rig(ABC):
    """One kind: how to make its probe, and settings that lead to a target in a given state."""

    kind: ClassVar[str]
    #: Whether plain bytes on a connection can be wrong for it.
    listens: ClassVar[bool] = True

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


RIGS: dict[str, type[Rig]] = {
    "http": Http,
    "https": Https,
    "tcp": Tcp,
    "tcp over tls": TcpTls,
    "grpc": Grpc,
    "command": Command,
}
