"""What the API needs of the daemon: something to look at, a desk that takes requests, never the engine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from watchdog.core.request import Reply, Request
from watchdog.core.turn import Turn
from watchdog.core.view import View


class Live(Protocol):
    """What is known right now, without asking anybody."""

    @property
    def stalled_after(self) -> timedelta:
        """After this long without progress the reactor counts as stuck."""
        ...

    def view(self) -> View | None:
        """The newest view; `None` until the first one was made. Never blocks, never raises."""
        ...

    def progress_at(self) -> datetime:
        """When the reactor last got anywhere. Never blocks, never raises."""
        ...


class Desk(Protocol):
    """Takes requests and hands over answers; every `watchdog.store.interface.Store` is one."""

    async def submit(self, request: Request) -> None:
        """Store a request durably. Idempotent by `request.id`. Raises `StoreError`: nothing was stored."""
        ...

    async def reply(self, request: str) -> Reply:
        """Wait until the request is answered. Safe to cancel; the caller brings the timeout."""
        ...

    def on_commit(self, listener: Callable[[Turn], None]) -> None:
        """Call `listener` after every commit, in order. It must not block."""
        ...
