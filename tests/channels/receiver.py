"""The other end of a webhook, on loopback: it keeps what came and answers, or misbehaves, as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.closing import close_server

SECRET = "canary-5e0f-webhook-secret"


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Receiver:
    """A small HTTP server in plain streams, because a framework would not let it misbehave."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    misbehave: Handler | None = None
    """Called with the connection before anything is read."""
    after_reading: Handler | None = None
    """Called with the connection when the request was read, in place of an answer."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                if self.misbehave is not None:
                    await self.misbehave(reader, writer)
                    return
                self.received.append(await read_request(reader))
                if self.after_reading is not None:
                    await self.after_reading(reader, writer)
                    return
                writer.write(self._answer())
                await writer.drain()
            finally:
                writer.close()

    def _answer(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Whatever"]
        if self.status >= 200 and self.status not in {204, 304}:
            lines.append(f"Content-Length: {len(self.body)}")
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        body = self.body if self.status not in {204, 304} else b""
        return "\r\n".join([*lines, "", ""]).encode() + body


async def read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method=method, path=path, headers=headers, body=body)


async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hang up."""
    writer.close()


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hang up rudely."""
    writer.transport.abort()


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side is gone."""
    while await reader.read(65536):
        pass


async def garbage(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Something that is not HTTP."""
    writer.write(b"220 mail.example.com ESMTP\r\n" + b"\x00\xff" * 100)
    await writer.drain()


async def half_an_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A status, and then silence where the text should be."""
    writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 1000\r\n\r\n")
    await writer.drain()
    await hang(reader, writer)


@contextlib.asynccontextmanager
async def receiving(
    receiver: Receiver, *, certificate: Path | None = None, key: Path | None = None
) -> AsyncIterator[Receiver]:
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, limit=2**20, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        await close_server(server)
        await server.wait_closed()
