"""Announcing what was stored: listeners after commits and requests, and those who wait for a reply.

Listeners run on the loop, in the order of the commits, before the call that stored something returns. One that fails
is reported by the loop and disturbs nobody. This module must never store anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from watchdog.core.errors import StoreError
from watchdog.core.request import Reply, Request
from watchdog.core.turn import Turn


class Announcer:
    """The listeners of one store."""

    def __init__(self) -> None:
        self._on_commit: list[Callable[[Turn], None]] = []
        self._on_request: list[Callable[[Request], None]] = []
        self._waiting: dict[str, set[asyncio.Future[Reply]]] = {}

    def on_commit(self, listener: Callable[[Turn], None]) -> None:
        """Call `listener` after every commit."""
        self._on_commit.append(listener)

    def on_request(self, listener: Callable[[Request], None]) -> None:
        """Call `listener` after every stored request."""
        self._on_request.append(listener)

    def committed(self, turn: Turn) -> None:
        """A turn is durable now."""
        loop = asyncio.get_running_loop()
        for listener in self._on_commit:
            loop.call_soon(listener, turn)
        for reply in turn.replies:
            for future in self._waiting.pop(reply.request, ()):
                if not future.done():
                    future.set_result(reply)

    def requested(self, request: Request) -> None:
        """A request is durable now."""
        loop = asyncio.get_running_loop()
        for listener in self._on_request:
            loop.call_soon(listener, request)

    def expect(self, request: str) -> asyncio.Future[Reply]:
        """A future of the reply to this request, from now on. Give it back with `forget`."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(request, set()).add(future)
        return future

    def forget(self, request: str, future: asyncio.Future[Reply]) -> None:
        """Nobody waits for this future any longer."""
        future.cancel()
        waiting = self._waiting.get(request, set())
        waiting.discard(future)
        if not waiting:
            self._waiting.pop(request, None)

    def close(self) -> None:
        """Everybody who still waits gets `StoreError`."""
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(StoreError("the store was closed before the request was answered"))
        self._waiting.clear()
