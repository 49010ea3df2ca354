"""Visitors: a steady stream of requests to the proxy, each one remembered.

This module must never slow down when answers are slow: it is an open loop, as users are.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import aiohttp


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request: when it was sent and answered (Unix seconds), whether it failed, and which version answered."""

    sent_at: float
    answered_at: float
    failed: bool
    version: str


@dataclass(slots=True)
class Visitors:
    """About `rate` requests a second to `url`."""

    url: str
    rate: float = 100.0
    visits: list[Visit] = field(default_factory=list)

    async def run(self) -> None:
        """Visit until cancelled."""
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            loop = asyncio.get_running_loop()
            due = loop.time()
            while True:
                group.create_task(self._visit(session))
                due += 1 / self.rate
                await asyncio.sleep(max(0.0, due - loop.time()))

    async def _visit(self, session: aiohttp.ClientSession) -> None:
        sent = time.time()
        failed, version = True, ""
        try:
            async with session.get(self.url) as answer:
                await answer.read()
                failed, version = answer.status >= 500, answer.headers.get("X-Version", "")
        except (aiohttp.ClientError, TimeoutError):
            pass
        self.visits.append(Visit(sent_at=sent, answered_at=time.time(), failed=failed, version=version))

    def first_failure(self, *, after: float) -> float | None:
        """When the first failure since then was seen."""
        return min(
            (one.answered_at for one in self.visits if one.failed and one.sent_at >= after), default=None
        )

    def failures(self, *, start: float, end: float) -> tuple[int, int]:
        """Requests sent in `[start, end)`: how many, and how many failed."""
        chosen = [one for one in self.visits if start <= one.sent_at < end]
        return len(chosen), sum(one.failed for one in chosen)
