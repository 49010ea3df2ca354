"""The gate: follows a deployment until it is stable, rolled back, or the time is over.

This module must never decide anything; it waits for what the daemon decides, through restarts of the daemon.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from watchdog.cli.address import Address
from watchdog.cli.answers import is_record
from watchdog.cli.daemon import Daemon, Refused, Unreachable
from watchdog.cli.output import note
from watchdog.core.units import format_duration

#: States in which a deployment is decided.
ENDS = frozenset({"stable", "rolled_back", "superseded", "failed"})
#: How much longer than the soak a gate waits.
_MARGIN = timedelta(minutes=10)
#: Between two lines about a deployment that soaks (seconds).
_TELL_SECONDS = 60.0


async def record(where: Address, body: dict[str, Any]) -> Any:
    """Post a deployment; answers its record."""
    async with Daemon(where) as daemon:
        made = await daemon.post("deployments", body=body)
        # It was recorded, but could not be shown just then.
        return made if is_record("deployments", made) else await daemon.get("deployments", made["id"])


async def wait_for_end(
    where: Address, record: dict[str, Any], *, limit: timedelta | None, every: timedelta
) -> dict[str, Any]:
    """The deployment at its end, or at the deadline (by default soak + 10m), looked at `every` so often.

    A daemon that restarts meanwhile is waited for.
    """
    async with Daemon(where) as daemon:
        follower = _Follower(daemon, record, every=every)
        began = asyncio.get_running_loop().time()
        longest = _MARGIN if limit is None else limit
        try:
            async with asyncio.timeout(longest.total_seconds()) as budget:
                if follower.ended:
                    return follower.record
                soak = await follower.soak()
                if limit is None:
                    longest = soak + _MARGIN
                    budget.reschedule(began + longest.total_seconds())
                await follower.follow(soak)
        except TimeoutError:
            follower.say(f"undecided after {format_duration(longest)}")
        return follower.record


class _Follower:
    """Follows one deployment and says what changes."""

    def __init__(self, daemon: Daemon, record: dict[str, Any], *, every: timedelta) -> None:
        self.record = record
        self._daemon = daemon
        self._every = every.total_seconds()
        self._lost = False

    @property
    def ended(self) -> bool:
        """Whether it is decided."""
        return self.record["state"] in ENDS

    async def soak(self) -> timedelta:
        """How long the service's versions soak; asked until somebody answers."""
        while True:
            service = await self._asked("services", self.record["service"])
            if service is not None:
                return timedelta(seconds=service["policy"]["soak_seconds"])
            await asyncio.sleep(self._every)

    async def follow(self, soak: timedelta) -> None:
        """Return when it has ended."""
        loop = asyncio.get_running_loop()
        told_at = loop.time()
        while not self.ended:
            await asyncio.sleep(self._every)
            seen = await self._asked("deployments", self.record["id"])
            if seen is None:
                continue
            before, self.record = self.record["state"], seen
            if self.record["state"] != before:
                self.say(f"{before} → {self.record['state']}")
            elif loop.time() - told_at >= _TELL_SECONDS:
                soaked = format_duration(timedelta(seconds=int(self.record["soaked_for_seconds"])))
                self.say(f"{before}, healthy for {soaked} of {format_duration(soak)}")
            else:
                continue
            told_at = loop.time()

    async def _asked(self, *path: str) -> Any:
        """A record, or `None` while the daemon cannot answer, which is said once."""
        try:
            found = await self._daemon.get(*path)
        except (Unreachable, Refused) as failure:
            # A restart or a full disk passes; a wrong token or a record that is gone does not.
            if isinstance(failure, Refused) and failure.status < 500:
                raise
            if not self._lost:
                self.say(f"{failure}; still waiting")
            self._lost = True
            return None
        if self._lost:
            self.say("the daemon answers again")
        self._lost = False
        return found

    def say(self, text: str) -> None:
        note(f"{self.record['service']} {self.record['version']}: {text}")
