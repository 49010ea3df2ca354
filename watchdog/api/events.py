"""Events: one server-sent event per committed change, for dashboards and programs that follow along.

A reader that cannot keep up is disconnected; it never slows a commit down and never makes this process hoard
events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
from aiohttp import web

from watchdog.api.context import Call
from watchdog.api.presenters import present_audit, present_deployment, present_incident, present_rollback
from watchdog.api.problem import Problem
from watchdog.core.turn import Turn

#: Events waiting for one reader before it counts as too slow.
BACKLOG = 256
#: Readers at one time.
MAX_READERS = 32
KEEP_ALIVE = timedelta(seconds=15)
#: Longest time for one write to a reader.
_WRITE_SECONDS = 10.0
_ENCODE = msgspec.json.Encoder()


class _Reader:
    """One connected client and what waits for it; `None` in the queue ends the stream."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.waiting: asyncio.Queue[bytes | None] = asyncio.Queue(BACKLOG)

    def push(self, events: bytes | None) -> bool:
        """Whether there was room."""
        try:
            self.waiting.put_nowait(events)
        except asyncio.QueueFull:
            return False
        return True

    def abort(self) -> None:
        """Drop the connection; a writer stuck in it fails at once."""
        if self._request.transport is not None:
            self._request.transport.abort()


class Events:
    """Deals committed changes out to connected readers."""

    def __init__(self, keep_alive: timedelta = KEEP_ALIVE) -> None:
        self._keep_alive = keep_alive
        self._readers: set[_Reader] = set()
        self._closed = False

    @property
    def readers(self) -> int:
        """How many are connected."""
        return len(self._readers)

    def publish(self, turn: Turn) -> None:
        """Queue a turn's changes for every reader. Never blocks, never raises."""
        if not self._readers:
            return
        events = b"".join(_encoded(turn))
        if not events:
            return
        for reader in list(self._readers):
            if not reader.push(events):
                self._readers.discard(reader)
                reader.abort()

    def close(self) -> None:
        """End every stream, and take no new ones."""
        self._closed = True
        for reader in list(self._readers):
            if not reader.push(None):
                reader.abort()

    async def stream(self, call: Call) -> web.StreamResponse:
        """Follow along until the client goes away or the daemon stops."""
        if self._closed or len(self._readers) >= MAX_READERS:
            detail = (
                "the daemon is stopping" if self._closed else f"{MAX_READERS} readers are connected already"
            )
            raise Problem(503, detail, headers={"Retry-After": "5"})
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        reader = _Reader(call.request)
        # Joined before the first byte leaves: who has seen the stream open misses nothing committed later.
        self._readers.add(reader)
        try:
            await response.prepare(call.request)
            await _write(response, b": watching\n\n")
            while (events := await self._next(reader)) is not None:
                await _write(response, events)
            await response.write_eof()
        except (ConnectionError, TimeoutError):
            reader.abort()
        finally:
            self._readers.discard(reader)
        return response

    async def _next(self, reader: _Reader) -> bytes | None:
        try:
            async with asyncio.timeout(self._keep_alive.total_seconds()):
                return await reader.waiting.get()
        except TimeoutError:
            return b": keep-alive\n\n"


async def _write(response: web.StreamResponse, events: bytes) -> None:
    async with asyncio.timeout(_WRITE_SECONDS):
        await response.write(events)


def _encoded(turn: Turn) -> Iterator[bytes]:
    for deployment in turn.deployments:
        yield _event("deployment", present_deployment(deployment))
    for incident in turn.incidents:
        yield _event("incident", present_incident(incident))
    for rollback in turn.rollbacks:
        yield _event("rollback", present_rollback(rollback))
    for record in turn.audit:
        yield _event("audit", present_audit(record), identity=record.seq)


def _event(name: str, shape: Any, *, identity: int | None = None) -> bytes:
    head = f"event: {name}\n" + (f"id: {identity}\n" if identity is not None else "")
    return head.encode() + b"data: " + _ENCODE.encode(shape) + b"\n\n"
