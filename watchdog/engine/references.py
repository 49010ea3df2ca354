"""Asks the targets of `self_check` while a mass of targets fails, to tell whether it is them or us.

Nothing is asked while all is well. This module must never judge: it says whether any of them answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from watchdog.aio.clock import Clock
from watchdog.core.cutoff import wants_references
from watchdog.core.events import References
from watchdog.core.observation import Pulse
from watchdog.core.world import World
from watchdog.probes.interface import Probe

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds between two looks at whether there is a reason to ask.
LOOK = 1.0
#: A probe ends within its own timeout; this bound is for one that breaks its promise.
LIMIT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One target that should always answer: the kind of its probe, and that one's settings."""

    kind: str
    settings: Mapping[str, Any]


class SelfCheck:
    """Asks all references at once, each `world().recheck`, as long as there is a reason to."""

    def __init__(
        self,
        *,
        references: Callable[[], Sequence[Reference]],
        probes: Mapping[str, Probe],
        world: Callable[[], World],
        deliver: Callable[[References], None],
        clock: Clock,
    ) -> None:
        self._references = references
        self._probes = probes
        self._world = world
        self._deliver = deliver
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        asking = False
        while True:
            wanted = self._references() if wants_references(self._world()) else ()
            if wanted:
                answers = await asyncio.gather(*(self._answered(one) for one in wanted))
                self._deliver(References(answered=any(answers)))
            elif asking:
                self._deliver(References(answered=None))
            asking = bool(wanted)
            await self._clock.sleep(self._world().recheck.total_seconds() if wanted else LOOK)

    async def _answered(self, one: Reference) -> bool:
        """Whether it said anything, if only the wrong thing."""
        try:
            async with asyncio.timeout(LIMIT.total_seconds()):
                answer = await self._probes[one.kind].check(dict(one.settings), now=self._clock.now())
        except TimeoutError:
            return False
        except Exception:  # noqa: BLE001 - the plugin border: a provider's fault is no answer
            _log.exception("reference_failed", kind=one.kind)
            return False
        return isinstance(answer, Pulse) and (answer.passed or answer.answered)
