"""Closing a server in the test's own loop without losing whoever comes right then."""

from __future__ import annotations

import asyncio

#: Turns of the loop until a connection that was taken has its transport and its protocol.
_TURNS = 5


async def close_server(server: asyncio.AbstractServer) -> None:
    """Take nobody any more, let those arrive who were taken, then close.

    asyncio's own server leaks a connection that it took in the turn before it was closed (`Server._attach`).
    """
    if isinstance(server, asyncio.Server):
        loop = asyncio.get_running_loop()
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
        for _ in range(_TURNS):
            await asyncio.sleep(0)
    server.close()
