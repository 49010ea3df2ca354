"""From a metric that crosses to traffic that moved: the watchdog, beside Prometheus rules and Alertmanager.

Both see the same Prometheus in the same run. The phase between scrape and rule evaluation, which alone moves
Alertmanager's median by a factor of three, changes with every start.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from benchmarks.pages import Receiver, Signal
from tests.servers.alertmanager import Alertmanager
from tests.servers.haproxy import HAProxy, Server
from tests.servers.ports import free_port
from tests.servers.process import Process, answers
from tests.servers.prometheus import Prometheus, Target
from tests.servers.versioned import VersionedApp

_RULES = """version: 1
rules:
  - name: signal
    unit: count
    query: max(bench_signal{version="$version"})
    freshness: max(timestamp(bench_signal{version="$version"}))
    evidence: none
    interval: critical
    threshold: {critical: 0.4, rollback: 0.6}
    hold: {critical: 1 samples, rollback: 1 samples}
    clear: 1 samples
"""


@dataclass(slots=True)
class Timings:
    """Seconds, one entry a trial."""

    answered_to_switched: list[float] = field(default_factory=list)
    crossed_to_switched: list[float] = field(default_factory=list)
    crossed_to_webhook: list[float] = field(default_factory=list)


async def measure(*, starts: int, trials: int, seed: int, tell: Callable[[str], None]) -> Timings:
    """Run `starts` times `trials` deployments that turn bad. Raises `TimeoutError` when something does not happen."""
    timings, rng = Timings(), random.Random(seed)
    for number in range(1, starts + 1):
        await _one_start(timings, trials=trials, rng=rng)
        tell(f"start {number}/{starts}: {len(timings.crossed_to_switched)} switches measured")
    return timings


async def _one_start(timings: Timings, *, trials: int, rng: random.Random) -> None:
    signal, receiver = Signal(), Receiver()
    await signal.start()
    await receiver.start()
    try:
        with TemporaryDirectory(prefix="bench-") as folder:
            await _with_servers(Path(folder), signal, receiver, timings, trials=trials, rng=rng)
    finally:
        await receiver.stop()
        await signal.stop()


async def _with_servers(
    folder: Path, signal: Signal, receiver: Receiver, timings: Timings, *, trials: int, rng: random.Random
) -> None:
    alert = {"alert": "Signal", "expr": "bench_signal > 0.6"}
    blue, green = VersionedApp(folder, version="blue"), VersionedApp(folder, version="green")
    haproxy = HAProxy(folder, {"bench": [Server(name="blue", port=blue.port), _idle(green)]})
    manager = Alertmanager(folder, webhook=f"http://127.0.0.1:{receiver.port}/")
    prometheus = Prometheus(
        folder, [Target(job="bench", port=signal.port)], rules=[alert], alertmanager_port=manager.port
    )
    daemon = _daemon(folder, haproxy, prometheus)
    started: list[Process] = []
    try:
        for process in (blue, green, haproxy, manager, prometheus, daemon.process):
            await asyncio.to_thread(process.start)
            started.append(process)
        await until(lambda: asyncio.to_thread(_ready, prometheus), "Prometheus did not get ready")
        async with aiohttp.ClientSession(daemon.url, headers=daemon.headers) as api:
            bench = _Bench(api=api, haproxy=haproxy, signal=signal, receiver=receiver)
            await bench.wait_for_first_version()
            for _ in range(trials):
                await bench.trial(timings, wait=rng.uniform(0.0, 1.0))
    finally:
        for process in reversed(started):
            await asyncio.to_thread(process.stop)


def _idle(app: VersionedApp) -> Server:
    return Server(name="green", port=app.port, weight=0)


def _ready(prometheus: Prometheus) -> bool:
    return prometheus.up() >= 1 and prometheus.alertmanagers() >= 1


@dataclass(slots=True)
class _Daemon:
    process: Process
    url: str
    headers: dict[str, str]


def _daemon(folder: Path, haproxy: HAProxy, prometheus: Prometheus) -> _Daemon:
    port, token = free_port(), "benchmark-token-of-one-run"
    (folder / "rules.yaml").write_text(_RULES)
    (folder / "token").write_text(token)
    traffic = {
        "kind": "haproxy",
        "socket": str(haproxy.socket),
        "backend": "bench",
        "variants": {"blue": "blue", "green": "green"},
    }
    fast = dict.fromkeys(("warmup", "stabilise", "contest_for", "cooldown"), "0s") | {
        "soak": "1s",
        "verify": "1s",
    }
    service = {
        "name": "bench",
        "rules": ["signal"],
        "traffic": traffic,
        "rollback": fast | {"max_per_day": 100000},
    }
    lines = [
        "version: 1",
        "rules: [rules.yaml]",
        "intervals: {critical: 1s, recheck: 1s}",
        'store: {url: "sqlite:///bench.db"}',
        "pause_file: ./pause",
        f'server: {{listen: "127.0.0.1:{port}", tokens: [{{name: bench, role: operator, token: !file token}}]}}',
        f"sources: {json.dumps({'prometheus': {'kind': 'prometheus', 'url': prometheus.url}})}",
        f"services: {json.dumps([service])}",
        "limits: {max_rollbacks: 100000 per 10m}",
    ]
    configuration = folder / "watchdog.yaml"
    configuration.write_text("\n".join(lines) + "\n")
    argv = [sys.executable, "-m", "watchdog", "run", "-c", str(configuration)]
    process = Process(argv, log=folder / "watchdog.log", ready=answers(port, "/readyz"))
    return _Daemon(
        process=process, url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}
    )


@dataclass(slots=True)
class _Bench:
    api: aiohttp.ClientSession
    haproxy: HAProxy
    signal: Signal
    receiver: Receiver
    count: int = 0

    async def wait_for_first_version(self) -> None:
        """Name what is live and wait until it is a rollback target."""
        await self._post(version="v0", variant="blue")
        await until(lambda: self._deployment_is("v0", "stable"), "the first version did not become stable")

    async def trial(self, timings: Timings, *, wait: float) -> None:
        """Deploy a version, let its metric cross after a random moment, and see who says so when."""
        self.count += 1
        version = f"v{self.count}"
        self.signal.values[version] = 0.0
        await self._post(version=version, variant="green")
        await asyncio.to_thread(self._deploy)
        await until(lambda: self._known(version), f"{version} was never judged")
        await asyncio.sleep(wait)
        crossed = time.time()
        self.signal.values[version] = 1.0
        rollback = await until(lambda: self._switched(version), f"{version} was not rolled back")
        await until(lambda: self._arrived(version), f"Alertmanager never told of {version}")
        del self.signal.values[version]
        applied = datetime.fromisoformat(rollback["applied_at"]).timestamp()
        observed = datetime.fromisoformat(rollback["observed_at"]).timestamp()
        timings.answered_to_switched.append(applied - observed)
        timings.crossed_to_switched.append(applied - crossed)
        timings.crossed_to_webhook.append(self.receiver.arrived[version] - crossed)
        await until(lambda: self._over(rollback["id"]), "the rollback did not end")

    def _deploy(self) -> None:
        commands = "set server bench/green weight 100; set server bench/green state ready"
        self.haproxy.command(f"{commands}; set server bench/blue weight 0")

    async def _post(self, **body: str) -> None:
        async with self.api.post("/api/v1/deployments", json={"service": "bench", **body}) as answer:
            answer.raise_for_status()

    async def _items(self, path: str) -> list[dict[str, Any]]:
        async with self.api.get(f"/api/v1/{path}") as answer:
            items: list[dict[str, Any]] = (await answer.json())["items"]
            return items

    async def _deployment_is(self, version: str, state: str) -> bool:
        items = await self._items("deployments?limit=5")
        return any(one["version"] == version and one["state"] == state for one in items)

    async def _known(self, version: str) -> bool:
        checks = (await self._items("services"))[0]["checks"]
        return any(one["version"] == version and one["level"] == "ok" for one in checks)

    async def _switched(self, version: str) -> dict[str, Any] | None:
        items = await self._items("rollbacks?limit=1")
        found = items and items[0]["from"]["version"] == version and items[0]["applied_at"]
        return items[0] if found else None

    async def _arrived(self, version: str) -> bool:
        return version in self.receiver.arrived

    async def _over(self, rollback: str) -> bool:
        items = await self._items("rollbacks?limit=1")
        return items[0]["id"] == rollback and items[0]["ended_at"] is not None


async def until(ask: Callable[[], Awaitable[Any]], why: str, *, within: float = 30.0) -> Any:
    """Ask until the answer is something. Raises `TimeoutError` with `why`."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        answer = await ask()
        if answer:
            return answer
        await asyncio.sleep(0.1)  # not more often: every question costs the daemon time that is measured
    raise TimeoutError(why)


def cores() -> int:
    """Cores of this machine, for the table's foot."""
    return os.cpu_count() or 1
