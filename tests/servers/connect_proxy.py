"""An HTTP proxy that only makes tunnels (CONNECT), in the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from tests.servers.closing import close_server


class ConnectProxy:
    """`async with ConnectProxy() as proxy:` listens at `proxy.url`; `tunnels` are the places that were asked for.

    With `refuse`, every tunnel is answered with that status.
    """

    def __init__(self, *, refuse: int | None = None) -> None:
        self.tunnels: list[str] = []
        self.url = ""
        self._refuse = refuse
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            await close_server(self._server)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="a tunnel")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond: asyncio.StreamWriter | None = None
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, place, _ = head.split(" ", 2)
            self.tunnels.append(place)
            if self._refuse is not None or method != "CONNECT":
                writer.write(f"HTTP/1.1 {self._refuse or 405} No\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                return
            host, _, port = place.rpartition(":")
            back, beyond = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.TaskGroup() as group:
                group.create_task(_pour(reader, beyond))
                group.create_task(_pour(back, writer))
        except* (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            for end in (writer, beyond):
                if end is not None:
                    end.transport.abort()


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """One direction to its end; then the other end is told."""
    while block := await source.read(65536):
        sink.write(block)
        await sink.drain()
    with contextlib.suppress(OSError):
        sink.write_eof()
    raise ConnectionError("one side hung up")
