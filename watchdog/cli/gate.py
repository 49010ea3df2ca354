"""The gate: follows a deployment until it is stable, rolled back, or the time is over.

This module must never decide anything; it waits for what the daemon decides, through restarts of the daemon.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from watchdog.cli.daemon import Address, Daemon, Refused, Unreachable
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
        return await daemon.post("deployments", body=body)


async def wait_for_end(
    where: Address, record: dict[str, Any], *, limit: timedelta | None, every: timedelta
) -> dict[str, Any]:
    """The deployment at its end, or at the deadline (by default soak + 10m), looked at `every` so often.

    A daemon that restarts meanwhile is waited for.
    """
    async with Daemon(where) as daemon:
        soak = await _soak(daemon, record["service"])
        follower = _Follower(daemon, record, soak=soak, every=every)
        try:
            async with asyncio.timeout((limit or soak + _MARGIN).total_seconds()):
                await follower.follow()
        except TimeoutError:
            follower.say(f"undecided after {format_duration(limit or soak + _MARGIN)}")
        return follower.record


async def _soak(daemon: Daemon, service: str) -> timedelta:
    policy = (await daemon.get("services", service))["policy"]
    return timedelta(seconds=policy["soak_seconds"])


class _Follower:
    """Follows one deployment and says what changes."""

    def __init__(self, daemon: Daemon, record: dict[str, Any], *, soak: timedelta, every: timedelta) -> None:
        self.record = record
        self._daemon = daemon
        self._soak = soak
        self._every = every.total_seconds()
        self._told_at = 0.0
        self._lost = False

    async def follow(self) -> None:
        """Return when it has ended."""
        loop = asyncio.get_running_loop()
        self._told_at = loop.time()
        while self.record["state"] not in ENDS:
            await asyncio.sleep(self._every)
            before = self.record["state"]
            if not await self._look():
                continue
            if self.record["state"] != before:
                self.say(f"{before} → {self.record['state']}")
            elif loop.time() - self._told_at >= _TELL_SECONDS:
                soaked = format_duration(timedelta(seconds=int(self.record["soaked_for_seconds"])))
                self.say(f"{before}, healthy for {soaked} of {format_duration(self._soak)}")
            else:
                continue
            self._told_at = loop.time()

    async def _look(self) -> bool:
        try:
            self.record = await self._daemon.get("deployments", self.record["id"])
        except (Unreachable, Refused) as failure:
            # A restart or a full disk passes; a wrong token or a record that is gone does not.
            if isinstance(failure, Refused) and failure.status < 500:
                raise
            if not self._lost:
                self.say(f"{failure}; still waiting")
            self._lost = True
            return False
        if self._lost:
            self.say("the daemon answers again")
        self._lost = False
        return True

    def say(self, text: str) -> None:
        note(f"{self.record['service']} {self.record['version']}: {text}")
