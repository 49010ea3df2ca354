"""Carries out what a person asked for: whoever was suspended for a rollback may write the target again.

The request stays unanswered in the store until it is known what became of it; after a crash it is asked again, and
asking twice is safe. This module must never resume what a later rollback has suspended: the switch compares the mark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

import structlog

from watchdog.aio.clock import Clock
from watchdog.aio.crew import Crew
from watchdog.core.errors import SwitchConflict, SwitchError, SwitchRejected
from watchdog.core.events import Resumed
from watchdog.core.request import Request
from watchdog.traffic.interface import Suspends, TrafficSwitch

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: What may pass is tried so often, with pauses between (seconds).
TRIES, PAUSE = 3, 0.5
#: A switch ends every call within its own timeout; this bound is for one that breaks its promise.
LIMIT = timedelta(minutes=1)


class Resuming:
    """One request at a time for each; `deliver` takes what became of it."""

    def __init__(
        self,
        *,
        switches: Mapping[str, TrafficSwitch],
        deliver: Callable[[Resumed], None],
        clock: Clock,
    ) -> None:
        self._switches = switches
        self._deliver = deliver
        self._clock = clock
        self.crew = Crew("resuming")

    def submit(self, request: Request, mark: str) -> None:
        """Carry out a request that is on disk and was allowed. `mark` is the rollback that suspended it."""
        if not self.crew.busy(request.id):
            self.crew.start(request.id, self._carry_out(request, mark))

    async def _carry_out(self, request: Request, mark: str) -> None:
        trouble = ""
        for _ in range(TRIES):
            if trouble:
                await self._clock.sleep(PAUSE)
            try:
                async with asyncio.timeout(LIMIT.total_seconds()):
                    self._tell(request, await self._resume(request.target, mark), done=True)
                return
            except (SwitchConflict, SwitchRejected) as error:
                trouble = f"{error} ({trouble})" if trouble else str(error)
                break
            except SwitchError as error:
                trouble = str(error)
            except TimeoutError:
                trouble = "no answer in time"
            except Exception as error:  # noqa: BLE001 - the plugin border
                _log.exception("resume_failed", service=request.target)
                trouble = f"{type(error).__name__} in the provider"
                break
        self._tell(request, trouble, done=False)

    async def _resume(self, service: str, mark: str) -> str:
        switch: object = self._switches.get(service)
        if not isinstance(switch, Suspends):
            raise SwitchRejected(f"the traffic switch of {service} suspends nothing")
        return await switch.resume(mark)

    def _tell(self, request: Request, detail: str, *, done: bool) -> None:
        now = self._clock.now()
        self._deliver(Resumed(service=request.target, request=request, done=done, detail=detail, at=now))
