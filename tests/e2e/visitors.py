"""Visitors: a steady load on the front door, each request remembered with its time and what came back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

_WORKERS, _PAUSE = 4, 0.03


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One request; `status` is 0 when nobody answered. Times are Unix seconds."""

    sent: float
    status: int
    version: str

    @property
    def failed(self) -> bool:
        return self.status != 200


class Visitors:
    """About 100 requests a second, as long as the block lasts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.visits: list[Visit] = []

    def since(self, moment: float) -> list[Visit]:
        """The requests that were sent after a moment."""
        return [visit for visit in self.visits if visit.sent > moment]

    async def run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            await asyncio.gather(*(self._come_and_go(session) for _ in range(_WORKERS)))

    async def _come_and_go(self, session: aiohttp.ClientSession) -> None:
        while True:
            sent, status, version = time.time(), 0, ""
            try:
                async with session.get(self._url) as answer:
                    status, version = answer.status, (await answer.text()).strip()
            except (aiohttp.ClientError, TimeoutError):
                pass
            self.visits.append(Visit(sent=sent, status=status, version=version))
            await asyncio.sleep(_PAUSE)


@asynccontextmanager
async def visitors(url: str) -> AsyncIterator[Visitors]:
    crowd = Visitors(url)
    task = asyncio.create_task(crowd.run(), name="visitors")
    try:
        yield crowd
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
