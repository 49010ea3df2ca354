"""A listener that does to every connection what no decent server would do, whatever protocol was meant.

`Peer` runs in the test's own loop; the functions below are the usual rudenesses.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Self

from tests.servers.closing import close_server

Rudeness = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """`async with Peer(rudeness) as peer:` listens at `peer.port` until the end of the block."""

    def __init__(
        self, rudeness: Rudeness, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self._rudeness = rudeness
        self._host = host
        self._tls = tls
        self._conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._over = False
        self.taken = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, self._host, 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await close_server(self._server)
        for conversation, writer in list(self._conversations.items()):
            conversation.cancel()
            writer.transport.abort()
        await asyncio.gather(*self._conversations, return_exceptions=True)
        await self._server.wait_closed()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No coroutine: a task of asyncio's own would not be known here before it runs for the first time.
        if self._over:
            writer.transport.abort()
            return
        self.taken += 1
        task = asyncio.get_running_loop().create_task(self._talk(reader, writer), name="a rude peer")
        self._conversations[task] = writer
        task.add_done_callback(self._conversations.pop)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._rudeness(reader, writer)
        except (ConnectionError, ssl.SSLError):
            pass  # the probe went away
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


async def hang(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Take the connection and never say anything."""
    await asyncio.Event().wait()


async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One byte now and then, for ever."""
    while True:
        writer.write(b"H")
        await writer.drain()
        await asyncio.sleep(0.05)


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Cut the connection."""
    writer.transport.abort()


async def half_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say that nothing will come, and go on listening."""
    writer.write_eof()
    while await reader.read(1024):
        pass


async def garbage(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes of no protocol, then the end."""
    writer.write(bytes(range(256)) * 16)
    await writer.drain()


async def other_protocol(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The greeting of a mail server, which then waits."""
    writer.write(b"220 mail ESMTP\r\n")
    await asyncio.Event().wait()


async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """100 MB, as fast as they are taken."""
    for _block in range(1600):
        writer.write(b"\xff" * 65536)
        await writer.drain()


RUDE: dict[str, Rudeness] = {
    "silence": hang,
    "a byte now and then": drip,
    "a cut connection": reset,
    "half a close": half_close,
    "garbage": garbage,
    "another protocol": other_protocol,
    "100 MB": flood,
}
