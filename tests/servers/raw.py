"""An HTTP server that does exactly what a test says, also what no decent server would do.

`RawServer` runs in the test's own loop. Its `behaviour` gets every request and the connection's writer; the functions
below make the usual ones. Every request is kept in `requests`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.servers.closing import close_server


@dataclass(frozen=True, kw_only=True)
class RawRequest:
    """One request; `form` are the parameters of the address and of a form body together."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    form: Mapping[str, str]


Behaviour = Callable[[RawRequest, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """`async with RawServer(behaviour) as server:` listens at `server.url` until the end of the block."""

    def __init__(self, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self.requests: list[RawRequest] = []
        self._tls = tls
        self._conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._over = False
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._over = False
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Nobody listens any more, and every connection is cut. `__aenter__` starts again at the same port."""
        self._over = True
        if self._server is not None:
            await close_server(self._server)
        for conversation, writer in list(self._conversations.items()):
            conversation.cancel()
            writer.transport.abort()
        await asyncio.gather(*self._conversations, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        self._server = None

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No coroutine: a task of asyncio's own would not be known here before it runs for the first time.
        if self._over:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._talk(reader, writer), name="a raw conversation")
        self._conversations[task] = writer
        task.add_done_callback(self._conversations.pop)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                request = await _read(reader)
                self.requests.append(request)
                await self.behaviour(request, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> RawRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    where = urlsplit(target)
    form = {**_first(where.query), **_first(body.decode("latin-1"))}
    return RawRequest(method=method, path=where.path, headers=headers, body=body, form=form)


def _first(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text).items()}


def packed(body: bytes | str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """A complete answer as bytes."""
    content = body.encode() if isinstance(body, str) else body
    lines = {"Content-Length": str(len(content)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + content


def answer(body: bytes | str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Always this answer."""
    return raw(packed(body, status=status, headers=headers), close=False)


def raw(content: bytes, *, close: bool = True) -> Behaviour:
    """Send exactly these bytes, then close the connection (or keep it)."""

    async def behave(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        if close:
            writer.close()

    return behave


async def hang(_: RawRequest, writer: asyncio.StreamWriter) -> None:
    """Take the request and never say anything."""
    await asyncio.Event().wait()


async def reset(_: RawRequest, writer: asyncio.StreamWriter) -> None:
    """Cut the connection without a word."""
    writer.transport.abort()


def drip(content: bytes, *, every: float) -> Behaviour:
    """A head at once, then one byte of the body each `every` seconds."""

    async def behave(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode())
        for byte in content:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(every)

    return behave


def endless(line: bytes) -> Behaviour:
    """A body that never ends, as fast as it is read."""

    async def behave(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = line * (65536 // len(line))
        while not writer.is_closing():
            writer.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
            await writer.drain()

    return behave
