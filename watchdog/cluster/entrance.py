"""The way in that is in use: found once for all, found anew when it was refused, exchanged without cutting off anybody.

A plugin that hands out credentials may take longer than the call that needed them: it is asked once, for all who wait,
and goes on when one of them gives up. This module must never close a connection that something may be under way on.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from watchdog.aio.clock import Clock
from watchdog.aio.crew import Crew
from watchdog.cluster.access import Access
from watchdog.cluster.errors import ClusterError, NotSent
from watchdog.cluster.transport import close, open_session

#: Longest time to find credentials (seconds); a plugin may have to log somebody in.
FIND_WITHIN: Final = 60.0
#: Refused credentials are looked for anew so often (seconds), at most.
RENEW_APART: Final = 5.0
#: Longer than any watch lives (seconds): then nobody uses the connections of earlier credentials any more.
_RETIRED_FOR: Final = 330.0


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """Credentials, and the connections that were made with them."""

    access: Access
    session: aiohttp.ClientSession


class Entrance:
    """Opens nothing before the first `open`."""

    def __init__(self, find: Callable[[], Awaitable[Access]], *, clock: Clock) -> None:
        self._find = find
        self._clock = clock
        self._crew = Crew("cluster")
        self._numbers = itertools.count(1)
        self._way: Way | None = None
        self._finding: asyncio.Future[None] | None = None
        self._renewed_at = -RENEW_APART
        self._closed = False

    async def open(self) -> Way:
        """The way in. Raises `NotSent`. As long as it takes to find; safe to cancel."""
        while self._way is None:
            await asyncio.shield(self._sought())
        if self._closed:
            raise _closed()
        return self._way

    async def renew(self, used: Way) -> bool:
        """Find the way anew, because `used` was refused; whether it makes sense to try again. Raises `NotSent`."""
        if self._way is not used:
            return not self._closed  # somebody else did
        if self._finding is None:
            if self._clock.monotonic() < self._renewed_at + RENEW_APART:
                return False
            self._renewed_at = self._clock.monotonic()
        await asyncio.shield(self._sought())
        return True

    async def aclose(self) -> None:
        """Close connections. Idempotent, never raises."""
        self._closed = True
        await self._crew.stop()
        way, self._way = self._way, None
        if way is not None:
            await close(way.session)

    def _sought(self) -> asyncio.Future[None]:
        if self._closed:
            raise _closed()
        if self._finding is None:
            self._finding = asyncio.get_running_loop().create_future()
            self._crew.start("access", self._seek(self._finding))
        return self._finding

    async def _seek(self, told: asyncio.Future[None]) -> None:
        fault: ClusterError = _closed()
        try:
            async with asyncio.timeout(FIND_WITHIN):
                access = await self._find()
            self._take(access)
            told.set_result(None)
        except ClusterError as error:
            fault = error
        except TimeoutError:
            fault = NotSent(f"no way into the cluster: no credentials within {FIND_WITHIN:.0f} s")
        except Exception as error:  # noqa: BLE001 - the library's, and plugins'; their words may hold a credential
            fault = NotSent(f"no way into the cluster: {type(error).__name__}")
        finally:
            self._finding = None
            if not told.done():
                told.set_exception(fault)
                told.exception()  # nobody may be left who waits for it

    def _take(self, access: Access) -> None:
        old = self._way
        if old is not None and old.access.mark == access.mark:
            self._way = Way(access, old.session)
            return
        self._way = Way(access, open_session(access))
        if old is not None:
            self._crew.start(f"retired {next(self._numbers)}", self._retire(old.session))

    async def _retire(self, session: aiohttp.ClientSession) -> None:
        try:
            await self._clock.sleep(_RETIRED_FOR)
        finally:
            await close(session)


def _closed() -> NotSent:
    return NotSent("the connection to the cluster was closed")
