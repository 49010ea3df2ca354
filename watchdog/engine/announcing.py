"""Says on each service's own object what was committed, for those who look there first.

Best effort and off the hot path: what cannot be said is logged once and dropped, and nothing waits for it. Only a
switch that can say something (`Announces`) is asked. This module must never hold up a commit, a switch or a stop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from datetime import timedelta

import structlog

from watchdog.aio.clock import Clock
from watchdog.core.errors import SwitchError, SwitchRejected
from watchdog.core.happenings import Happening, happenings
from watchdog.core.turn import Turn
from watchdog.traffic.interface import Announces, TrafficSwitch

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: So much may wait; of more, the oldest is dropped.
BACKLOG = 500
#: A happening is said at most so often, with doubling pauses between (seconds).
TRIES, FIRST_PAUSE = 4, 1.0
#: A switch ends every call within its own timeout; this bound is for one that breaks its promise.
LIMIT = timedelta(seconds=30)


class Announcing:
    """Takes in turns (`committed`) and says what happened (`run`)."""

    def __init__(self, *, switches: Mapping[str, TrafficSwitch], clock: Clock) -> None:
        self._switches = switches
        self._clock = clock
        self._waiting: deque[Happening] = deque(maxlen=BACKLOG)
        self._arrived = asyncio.Event()
        self._failing: dict[str, str] = {}

    def committed(self, turn: Turn) -> None:
        """Take in a committed turn. Never blocks."""
        for one in happenings(turn):
            if isinstance(self._switches.get(one.service), Announces):
                self._waiting.append(one)
                self._arrived.set()

    async def run(self) -> None:
        """Say what waits, one after the other, until cancelled."""
        while True:
            while self._waiting:
                await self._say(self._waiting.popleft())
            self._arrived.clear()
            await self._arrived.wait()

    async def _say(self, one: Happening) -> None:
        pause = FIRST_PAUSE
        for left in reversed(range(TRIES)):
            trouble, passing = await self._said(one)
            if not trouble:
                return
            if not left or not passing:
                self._failed(one, trouble)
                return
            await self._clock.sleep(pause)
            pause *= 2

    async def _said(self, one: Happening) -> tuple[str, bool]:
        """What went wrong, empty for nothing; and whether a second try may better it."""
        switch: object = self._switches.get(one.service)
        if not isinstance(switch, Announces):
            return "", False
        try:
            async with asyncio.timeout(LIMIT.total_seconds()):
                await switch.announce(one)
        except SwitchRejected as error:
            return str(error), False
        except SwitchError as error:
            return str(error), True
        except TimeoutError:
            return "no answer in time", True
        except Exception as error:  # noqa: BLE001 - the plugin border
            return f"{type(error).__name__} in the provider", False
        self._failing.pop(one.service, None)
        return "", False

    def _failed(self, one: Happening, trouble: str) -> None:
        if self._failing.get(one.service) != trouble:
            self._failing[one.service] = trouble
            _log.warning("not_announced", service=one.service, reason=one.reason, error=trouble)
