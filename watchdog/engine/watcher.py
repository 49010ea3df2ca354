"""Watches traffic: reads each service's switch and says what was seen.

This module must never change a switch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

import structlog
from msgspec.structs import replace

from watchdog.aio.clock import Clock
from watchdog.core.errors import SwitchError
from watchdog.core.events import TrafficSeen, TrafficUnseen
from watchdog.traffic.interface import TrafficSwitch, Watched

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A switch ends every read within its own timeout; this bound is for one that breaks its promise.
LIMIT = timedelta(minutes=5)


class Watcher:
    """Reads switches on behalf of the reactor."""

    def __init__(
        self,
        *,
        switches: Mapping[str, TrafficSwitch],
        deliver: Callable[[TrafficSeen | TrafficUnseen], None],
        clock: Clock,
        edition: Callable[[], int] = int,
        closely: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`edition` answers the world's: which configuration a look is begun under.

        A service that is watched `closely`, because it is being switched, is read; for the others a glance will do.
        """
        self._closely = closely
        self._clock = clock
        self._edition = edition
        self._switches = switches
        self._deliver = deliver
        self._failing: set[str] = set()

    async def look(self, service: str) -> None:
        """Read one switch and deliver what it shows; nothing for a service that is gone. Safe to cancel.

        What it shows may be as old as the beginning of the read: a slow one knows nothing of what we wrote since.
        """
        edition, switch, begun = self._edition(), self._switches.get(service), self._clock.now()
        if switch is None:
            return
        try:
            async with asyncio.timeout(LIMIT.total_seconds()):
                if isinstance(switch, Watched) and not self._closely(service):
                    state = await switch.glance()
                else:
                    state = await switch.read()
            state = replace(state, read_at=min(state.read_at, begun))
        except SwitchError as error:
            self._unseen(service, str(error), edition)
        except TimeoutError:
            self._unseen(service, "no answer in time", edition)
        except Exception as error:  # noqa: BLE001 - the plugin border
            self._unseen(service, f"{type(error).__name__} in the provider", edition, fault=error)
        else:
            if service in self._failing:
                self._failing.discard(service)
                _log.info("switch_readable_again", service=service)
            self._deliver(TrafficSeen(service=service, state=state, edition=edition))

    def _unseen(self, service: str, why: str, edition: int, *, fault: Exception | None = None) -> None:
        if service not in self._failing:
            self._failing.add(service)
            _log.warning("switch_unreadable", service=service, error=why, exc_info=fault)
        self._deliver(TrafficUnseen(service=service, error=why, edition=edition))
