"""Short pieces of work beside each other, each with a name: started at any time, never lost, all ended together.

A piece that raises is logged with its name and does not disturb the others; what it was doing must say itself what
became of it. This module must never start the same name twice at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import structlog

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Crew:
    """A set of named tasks with one owner."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def busy(self, name: str) -> bool:
        """Whether the piece of work of that name is under way."""
        return name in self._tasks

    @property
    def names(self) -> tuple[str, ...]:
        """What is under way."""
        return tuple(self._tasks)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Start a piece of work. Raises `ValueError` (and closes the coroutine) when that name is under way."""
        if name in self._tasks:
            work.close()
            raise ValueError(f"{self._name}: {name!r} is under way already")
        task = asyncio.create_task(work, name=f"{self._name}:{name}")
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._ended(name, done))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._tasks[name]
        if not task.cancelled() and (fault := task.exception()) is not None:
            _log.error("work_failed", crew=self._name, work=name, exc_info=fault)

    async def finish(self, timeout: timedelta) -> tuple[str, ...]:
        """Wait until all is done; answers the names of what was not within `timeout`. Cancels nothing."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=timeout.total_seconds())
        return self.names

    async def stop(self) -> None:
        """Cancel everything and wait for it to end. Idempotent."""
        while self._tasks:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await asyncio.sleep(0)  # lets the callbacks take the ended ones out
