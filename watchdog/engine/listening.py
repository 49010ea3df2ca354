"""Hearing people: one task for each channel that has a connection of its own, while this process leads.

What a person asks for becomes a stored request, as if it came through the API, and the answer goes back in words. This
module must never do what is asked itself, ask twice for one delivery, or let a switch wait for a channel.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Protocol

import structlog

from watchdog.aio.clock import Clock
from watchdog.aio.supervise import Supervisor
from watchdog.channels.interface import Answer, Channel, Heard, Listening
from watchdog.channels.wishes import NOT_ALLOWED, NOT_ANSWERED, NOT_STORED, answer_of, request_of
from watchdog.core.errors import StoreError
from watchdog.core.request import Reply, Request

#: So long a person waits for the reactor's answer; longer than any turn of it takes.
PATIENCE = timedelta(seconds=10)
#: So long the store may take for one request.
STORE_LIMIT = timedelta(seconds=10)

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Desk(Protocol):
    """Takes requests and hands over answers; every store is one."""

    async def submit(self, request: Request) -> None:
        """Store a request durably. Idempotent by `request.id`. Raises `StoreError`."""
        ...

    async def reply(self, request: str) -> Reply:
        """Wait until the request is answered. Safe to cancel; the caller brings the timeout."""
        ...


class Ears:
    """Listens through every channel that can. `start` once; then `use` and `dismiss` after every change."""

    def __init__(
        self,
        desk: Desk,
        *,
        outstanding: Callable[[], frozenset[str]],
        clock: Clock,
        patience: timedelta = PATIENCE,
    ) -> None:
        """`outstanding` are the ids of incidents that nobody has acknowledged yet."""
        self._desk = desk
        self._outstanding = outstanding
        self._clock = clock
        self._patience = patience
        self._supervisor: Supervisor | None = None
        self._tasks: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def start(self, supervisor: Supervisor, channels: Mapping[str, Channel]) -> None:
        """Listen, until the supervisor stops."""
        self._supervisor = supervisor
        for name, channel in channels.items():
            self.use(name, channel)

    def use(self, name: str, channel: Channel) -> None:
        """Listen through this channel from now on, and no more through another of that name."""
        self.dismiss(name)
        if self._supervisor is None or not isinstance(channel, Listening) or not channel.listens:
            return
        task = self._tasks[name] = f"listen {name} #{next(self._numbers)}"
        hear = partial(self.hear, name)
        work = partial(channel.listen, hear, outstanding=self._outstanding)
        self._supervisor.start(task, work, critical=False)

    def dismiss(self, name: str) -> None:
        """Listen no more through a channel."""
        task = self._tasks.pop(name, None)
        if task is not None and self._supervisor is not None:
            self._supervisor.end(task)

    async def hear(self, channel: str, heard: Heard) -> Answer:
        """Store what a person asks for, and wait for the answer. Never raises for an outside fault."""
        request = request_of(heard, channel=channel, now=self._clock.now())
        if request is None:
            _log.warning(
                "wish_not_allowed", channel=channel, kind=heard.kind, target=heard.target, by=heard.by
            )
            return NOT_ALLOWED
        try:
            async with asyncio.timeout(STORE_LIMIT.total_seconds()):
                await self._desk.submit(request)
        except (TimeoutError, StoreError) as error:
            _log.error("wish_not_stored", channel=channel, kind=heard.kind, error=type(error).__name__)
            return NOT_STORED
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                return answer_of(request, await self._desk.reply(request.id))
        except (TimeoutError, StoreError):
            return NOT_ANSWERED
