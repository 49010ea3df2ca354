"""A tiny HTTP server in the test's own loop: what stands behind a real HAProxy."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from tests.servers.closing import close_server
from tests.servers.ports import free_port


class Backend:
    """Answers every request with its name; `/healthz` with 200 or 503, as `healthy` says. Counts the others.

    While `answering` is clear, requests are taken and their answers wait.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.healthy = True
        self.served = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        await close_server(self._server)
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                check = head.startswith(b"GET /healthz ")
                self.served += not check
                if not check:
                    await self.answering.wait()
                status = "503 No" if check and not self.healthy else "200 OK"
                body = self.name.encode()
                answer = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()
