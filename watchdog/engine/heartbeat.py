"""A sign of life for somebody outside, who raises the alarm when it stays away: a dead-man service.

After every completed round of the critical checks, and at most once in `every`, the configured address is asked (GET).
Nothing is sent while something is late (`watchdog.core.lateness`): then the one outside speaks up for a watchdog that
runs and does not work. Of several processes only the leader gives it: what counts is that somebody acts, so one address
serves all of them, and while nobody leads it falls silent. A call that failed is not repeated before the next round.

This module must never hold anything up, and never show the address: who knows it can answer for the watchdog.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

import aiohttp
import structlog
from yarl import URL

from watchdog.aio.clock import Clock
from watchdog.aio.fetch import Page, Wanted, fetch, open_session
from watchdog.config.telling import HeartbeatSettings
from watchdog.core.checks import Poll
from watchdog.core.lateness import Late
from watchdog.core.view import HeartbeatView
from watchdog.engine.scheduler import Round
from watchdog.telemetry.metrics import Metrics
from watchdog.telemetry.redact import Mask, one_line, redact, register_secret

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds between two looks whether it is time.
LOOK = 1.0
#: Of an answer nobody reads more.
_ANSWER = 2**16


class Outside(Protocol):
    """The one who notices."""

    async def ask(self, settings: HeartbeatSettings) -> str:
        """Ask the address once; answers what was wrong, without the address. Done within `timeout`, never raises."""
        ...

    async def aclose(self) -> None:
        """Close connections. Idempotent, never raises."""
        ...


class Heartbeat:
    """`run` is one supervised task. `follow` after every change of the configuration."""

    def __init__(
        self,
        settings: HeartbeatSettings | None,
        *,
        polled: Callable[[], Round[Poll] | None],
        late: Callable[[], tuple[Late, ...]],
        leads: Callable[[], bool],
        metrics: Metrics,
        clock: Clock,
        outside: Outside | None = None,
    ) -> None:
        """`polled` says how far the round of the critical checks is, `late` what the auditor found."""
        self._settings = settings
        self._polled = polled
        self._late = late
        self._leads = leads
        self._metrics = metrics
        self._clock = clock
        self._began = -math.inf
        """When the newest call began; what was polled before is another round's."""
        self._last_at: datetime | None = None
        self._fault = ""
        self._withheld: tuple[Late, ...] = ()
        self._outside = outside or DeadMan()

    def view(self) -> HeartbeatView | None:
        """How it stands; `None` where none is configured."""
        if self._settings is None:
            return None
        return HeartbeatView(last_at=self._last_at, withheld=bool(self._withheld), error=self._fault)

    def follow(self, settings: HeartbeatSettings | None) -> None:
        """Another configuration is in force. Never blocks; what is under way ends as it began."""
        if settings == self._settings:
            return
        if settings is None or self._settings is None or settings.url != self._settings.url:
            self._began, self._last_at, self._fault = -math.inf, None, ""
        if settings is None:
            self._withheld = ()
            self._metrics.set_heartbeat_withheld(0)
        self._settings = settings

    async def run(self) -> None:
        """Give signs of life until cancelled."""
        try:
            while True:
                await self._clock.sleep(LOOK)
                settings = self._settings
                if settings is not None and self._is_time(settings):
                    await self._give(settings)
        finally:
            self._metrics.set_heartbeat_withheld(0)
            await self._outside.aclose()

    def _is_time(self, settings: HeartbeatSettings) -> bool:
        if not self._leads() or self._clock.monotonic() - self._began < settings.every.total_seconds():
            return False
        self._hold(self._late())
        return not self._withheld and self._round_is_done()

    def _round_is_done(self) -> bool:
        """Whether every critical check was polled since the newest sign. Where there is none, nothing is waited for."""
        polled = self._polled()
        return polled is None or (polled.whole and polled.at > self._began)

    def _hold(self, late: tuple[Late, ...]) -> None:
        if late and not self._withheld:
            _log.error("heartbeat_withheld", because=[one.detail for one in late])
        elif self._withheld and not late:
            _log.info("heartbeat_goes_on")
        self._withheld = late
        self._metrics.set_heartbeat_withheld(len(late))

    async def _give(self, settings: HeartbeatSettings) -> None:
        self._began = self._clock.monotonic()
        fault = await self._outside.ask(settings)
        if settings is not self._settings:
            return  # it was changed meanwhile
        if fault and fault != self._fault:
            _log.warning("heartbeat_not_taken", reason=fault)
        elif self._fault and not fault:
            _log.info("heartbeat_taken_again")
        self._fault = fault
        if not fault:
            self._last_at = self._clock.now()
            self._metrics.heartbeat_taken(self._last_at)


class DeadMan:
    """A dead-man service, asked over HTTP."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._trusted: Path | None = None

    async def ask(self, settings: HeartbeatSettings) -> str:
        address = settings.url.get_secret_value()
        register_secret(address)
        try:
            url = URL(address)
            session = await self._open(settings.ca_file)
        except (OSError, ValueError) as error:  # an unusable `ca_file`, an address that is none
            return f"it cannot be asked: {type(error).__name__}"
        wanted = Wanted(url=url)
        answer = await fetch(session, wanted, timeout=settings.timeout.total_seconds(), limit=_ANSWER)
        if not isinstance(answer, Page):
            return one_line(redact(mask_of(url).hide(answer.detail)), limit=200)
        return "" if 200 <= answer.status < 300 else f"it answered {answer.status}"

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _open(self, ca_file: Path | None) -> aiohttp.ClientSession:
        if self._session is None or self._trusted != ca_file:
            await self.aclose()
            self._session, self._trusted = open_session(headers={}, ca_file=ca_file, connections=1), ca_file
        return self._session


def mask_of(url: URL) -> Mask:
    """Hides all that an error could tell of the address, its host among it."""
    mask = Mask()
    for part in (
        str(url),
        url.host or "",
        url.raw_path,
        url.raw_query_string,
        url.user or "",
        url.password or "",
    ):
        mask.add(part.strip("/"))
    return mask
