"""The demo's plot: healthy, a bad deployment, the watchdog acts, the proof. Answers what happened and when.

This module must never help the watchdog: it deploys, visits and looks, as anybody would.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp

from watchdog.core.errors import WatchdogError
from watchdog.demo.stage import SERVICE, VERSIONS, Stage
from watchdog.demo.visitors import Visitors

#: How long each scene may take, in seconds.
UNTIL_STABLE, UNTIL_OVER = 25.0, 45.0
#: Healthy traffic is shown for at least so long, and so long after the end.
HEALTHY_FOR, AFTERWARDS = 6.0, 2.0


class NoEnd(WatchdogError):
    """A scene did not come to its end in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What happened, in Unix seconds; `None` where it did not happen. `state` is the rollback's end."""

    began: float
    ended: float
    deployed: float
    broke: float | None
    seen: float | None
    decided: float | None
    switched: float | None
    recovered: float | None
    state: str
    rollback: str
    incident: str


Tell = Callable[[str], None]


async def play(stage: Stage, visitors: Visitors, tell: Tell) -> Story:
    """Run the plot. Raises `WatchdogError` when a scene does not end."""
    began = time.time()
    headers = {"Authorization": f"Bearer {stage.token}"}
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(stage.url, headers=headers, timeout=timeout) as api:
        await _post(api, "deployments", service=SERVICE, version=VERSIONS["blue"], variant="blue")
        tell(f"version {VERSIONS['blue']} is live; waiting until it has proved itself")
        await _until(lambda: _is_stable(api), UNTIL_STABLE, "version v1 did not become stable")
        await asyncio.sleep(max(0.0, began + HEALTHY_FOR - time.time()))
        tell(f"deploying version {VERSIONS['green']}, which fails every fifth request")
        await _post(api, "deployments", service=SERVICE, version=VERSIONS["green"], variant="green")
        deployed = time.time()
        await stage.move_traffic("green")
        rollback = await _follow(api, tell)
        await asyncio.sleep(AFTERWARDS)
        incidents = (await _get(api, "incidents"))["items"]
    return Story(
        began=began,
        ended=time.time(),
        deployed=deployed,
        broke=visitors.first_failure(after=deployed),
        seen=_moment(rollback, "breached_since"),
        decided=_moment(rollback, "decided_at"),
        switched=_moment(rollback, "applied_at"),
        recovered=_moment(rollback, "recovered_at"),
        state=str(rollback["state"]),
        rollback=str(rollback["id"]),
        incident=str(incidents[0]["id"]) if incidents else "",
    )


async def _follow(api: aiohttp.ClientSession, tell: Tell) -> dict[str, Any]:
    """Say what the rollback goes through until it has ended."""
    shown = ""

    async def over() -> dict[str, Any] | None:
        nonlocal shown
        items = (await _get(api, "rollbacks"))["items"]
        if not items:
            return None
        state = str(items[0]["state"])
        if state != shown:
            shown = state
            tell(f"rollback: {state.replace('_', ' ')}")
        return items[0] if items[0]["ended_at"] else None

    rollback: dict[str, Any] = await _until(over, UNTIL_OVER, "the rollback did not come to an end")
    return rollback


async def _is_stable(api: aiohttp.ClientSession) -> bool:
    items = (await _get(api, "deployments"))["items"]
    return any(one["version"] == VERSIONS["blue"] and one["state"] == "stable" for one in items)


async def _until(ask: Callable[[], Awaitable[Any]], seconds: float, why: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = await ask()
        if answer:
            return answer
        await asyncio.sleep(0.1)
    raise NoEnd(f"{why} within {seconds:.0f} s")


async def _get(api: aiohttp.ClientSession, path: str) -> Any:
    async with api.get(f"/api/v1/{path}") as answer:
        answer.raise_for_status()
        return await answer.json()


async def _post(api: aiohttp.ClientSession, path: str, **body: str) -> None:
    async with api.post(f"/api/v1/{path}", json=body) as answer:
        if answer.status >= 400:
            raise NoEnd(f"the daemon refused {path}: {await answer.text()}")


def _moment(rollback: dict[str, Any], name: str) -> float | None:
    text = rollback.get(name)
    return datetime.fromisoformat(text).timestamp() if text else None
