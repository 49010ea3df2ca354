"""A `RawServer` in the place of an API server: a test writes every answer byte for byte, and who may come in."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Self

from tests.servers.raw import RawRequest, RawServer, packed
from watchdog.cluster.access import Access
from watchdog.cluster.client import Cluster
from watchdog.cluster.settings import ClusterSettings

#: Beginning of a watch's answer; its lines come in chunks.
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(text: bytes) -> bytes:
    """A piece of a watch."""
    return b"%x\r\n%s\r\n" % (len(text), text)


def status(code: int, message: str, *, reason: str = "", **headers: str) -> bytes:
    """An error as an API server explains it."""
    body = f'{{"kind": "Status", "code": {code}, "reason": "{reason}", "message": "{message}"}}'
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    return packed(body, status=code, headers=lines)


class Tokens:
    """In the place of kubernetes-asyncio's configuration: says who we are."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def auth_settings(self) -> dict[str, Any]:
        return {"BearerToken": {"value": f"Bearer {self._token}"}} if self._token else {}


class Wire:
    """`answers` are what the next requests get, the last one for ever: bytes, `None` to hang, `b""` to hang up.

    `token` is what is found when credentials are looked for.
    """

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers) or [packed("{}")]
        self.token = "one"
        self.found = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.server = RawServer(self._behave)
        self._clusters: list[Cluster] = []
        self.finding: Callable[[], Awaitable[None]] | None = None

    @property
    def requests(self) -> list[RawRequest]:
        return self.server.requests

    def left(self) -> bool:
        """Whether the last one who asked has hung up: what is sent to nobody comes back."""
        self.writers[-1].write(b" ")
        return self.writers[-1].transport.is_closing()

    async def find(self, _: ClusterSettings) -> Access:
        """The way in; at the same mark, so that connections stay."""
        self.found += 1
        token = self.token
        if self.finding is not None:
            await self.finding()
        return Access(self.server.url, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), Tokens(token))

    def cluster(self, **settings: Any) -> Cluster:
        """A connection to it, closed at the end."""
        self._clusters.append(Cluster(ClusterSettings.model_validate(settings), find=self.find))
        return self._clusters[-1]

    async def warm(self, **settings: Any) -> Cluster:
        """The same, with credentials found and a connection kept; what comes next cannot fail for lack of them."""
        answers, self.answers = self.answers, [packed("{}")]
        found = self.cluster(**settings)
        await found.get("/warm", timeout=timedelta(seconds=30))
        self.answers = answers
        self.requests.clear()
        self.writers.clear()
        return found

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in self._clusters:
            await one.aclose()
        await self.server.stop()

    async def _behave(self, request: RawRequest, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.Event().wait()
        elif answer:
            writer.write(answer)
            await writer.drain()
        else:
            writer.close()
