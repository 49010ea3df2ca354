"""`python -m benchmarks.cluster`: rollbacks through a real Kubernetes API server, and what idling beside one costs.

Needs the API server's binaries (`KUBEBUILDER_ASSETS`, see tests/servers/kubernetes.py). Real processes, timed by what
the daemon records and by the moment at which a Service is patched; nothing is judged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from benchmarks.figures import row
from benchmarks.pages import Signal
from benchmarks.paths import cores, until
from tests.servers.kubelet import status
from tests.servers.kubernetes import Kubernetes
from tests.servers.ports import free_port
from tests.servers.process import Process, answers
from watchdog.cluster.client import Cluster
from watchdog.cluster.objects import PODS, SERVICES
from watchdog.cluster.settings import ClusterSettings

_RULES = """version: 1
rules:
  - name: signal
    unit: count
    gauge: {of: 'bench_signal{version="$version"}', by: max}
    window: 3s
    evidence: none
    interval: critical
    threshold: {critical: 0.4, rollback: 0.6}
    hold: {critical: 1 samples, rollback: 1 samples}
    clear: 1 samples
"""
_TOKEN = "benchmark-token-of-one-run"  # noqa: S105 - of this run alone


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100, help="bad deployments, one after the other")
    parser.add_argument("--services", type=int, default=200, help="services that are idle; 0 leaves it out")
    parser.add_argument("--seconds", type=float, default=600, help="how long they are watched idling")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    out = Console(highlight=False)
    if not Kubernetes.there():
        sys.exit("no API server's binaries: name their folder in KUBEBUILDER_ASSETS")
    with TemporaryDirectory(prefix="bench-") as folder, Kubernetes(Path(folder), controllers=False) as server:
        if given.trials:
            timings = asyncio.run(_trials(server, Path(folder), trials=given.trials, seed=given.seed))
            table = Table("milliseconds", "n", "min", "p50", "p90", "p99", "max", title=f"{cores()} cores")
            table.add_row(*row("condition seen → write acknowledged", timings.seen_to_switched))
            table.add_row(*row("decision on disk → write acknowledged", timings.intended_to_switched))
            table.add_row(*row("Service patched → deployment recorded", timings.patched_to_noticed))
            out.print(table)
        if given.services:
            idle = asyncio.run(_idle(server, Path(folder), services=given.services, seconds=given.seconds))
            table = Table(
                f"{given.services} idle services", f"{given.seconds:.0f} s", title=f"{cores()} cores"
            )
            for name, value in idle.items():
                table.add_row(name, value)
            out.print(table)


@dataclass(slots=True)
class Timings:
    """Seconds, one entry a trial."""

    seen_to_switched: list[float] = field(default_factory=list)
    intended_to_switched: list[float] = field(default_factory=list)
    patched_to_noticed: list[float] = field(default_factory=list)


async def _trials(server: Kubernetes, folder: Path, *, trials: int, seed: int) -> Timings:
    rng, timings, signal = random.Random(seed), Timings(), Signal()
    namespace = server.namespace("bench")
    cluster = Cluster(ClusterSettings(kubeconfig=server.kubeconfig))
    await signal.start()
    try:
        await _place(cluster, namespace, "bench")
        daemon = _Daemon.of(folder / "trials", server, namespace, ["bench"], page=signal.port)
        async with daemon.running() as api:
            bench = _Bench(api=api, cluster=cluster, namespace=namespace, signal=signal)
            await until(lambda: bench.deployment("v0", "stable"), "the first version did not become stable")
            for number in range(1, trials + 1):
                await bench.trial(f"v{number}", timings, wait=rng.uniform(0.0, 0.5))
                if number % 10 == 0:
                    print(f"{number} of {trials} deployments", file=sys.stderr, flush=True)
    finally:
        await cluster.aclose()
        await signal.stop()
    return timings


async def _place(cluster: Cluster, namespace: str, name: str) -> None:
    """A Service on blue, with one ready pod of each colour."""
    for colour in ("blue", "green"):
        labels = {"app": name, "colour": colour, "app.kubernetes.io/version": "v0"}
        pod: dict[str, Any] = {
            "metadata": {"name": f"{name}-{colour}", "labels": labels},
            "spec": {"containers": [{"name": "app", "image": "app:v0"}]},
        }
        await cluster.post(PODS.path(namespace), pod)
        await cluster.patch(
            PODS.path(namespace, f"{name}-{colour}") + "/status", {"status": status(pod, "ready")}
        )
    spec = {"selector": {"app": name, "colour": "blue"}, "ports": [{"port": 80}]}
    await cluster.post(SERVICES.path(namespace), {"metadata": {"name": name}, "spec": spec})
    # No controllers run here: what the endpoints controller would write.
    await _endpoints(cluster, namespace, name)


async def _endpoints(cluster: Cluster, namespace: str, name: str) -> None:
    body = {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": ["10.1.2.3"],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": f"{name}-{colour}", "namespace": namespace},
            }
            for colour in ("blue", "green")
        ],
        "ports": [{"port": 80}],
    }
    await cluster.post(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", body)


@dataclass(slots=True, kw_only=True)
class _Daemon:
    process: Process
    url: str

    @classmethod
    def of(
        cls, folder: Path, server: Kubernetes, namespace: str, names: Sequence[str], *, page: int
    ) -> _Daemon:
        folder.mkdir()
        port = free_port()
        (folder / "rules.yaml").write_text(_RULES)
        (folder / "token").write_text(_TOKEN)
        fast = dict.fromkeys(("warmup", "stabilise", "contest_for", "cooldown"), "0s")
        services = [
            {
                "name": name,
                "rules": ["signal"],
                "traffic": {
                    "kind": "kubernetes-service",
                    "namespace": namespace,
                    "service": name,
                    "selector": "colour",
                },
                "rollback": {**fast, "soak": "1s", "verify": "1s", "max_per_day": 100000},
            }
            for name in names
        ]
        source = {"kind": "scrape", "urls": [f"http://127.0.0.1:{page}/metrics"], "interval": "1s"}
        who = "{name: bench, role: operator, token: !file token}"
        lines = [
            "version: 1",
            "rules: [rules.yaml]",
            "intervals: {critical: 1s, recheck: 1s}" if len(names) == 1 else "",
            'store: {url: "sqlite:///bench.db"}',
            "pause_file: ./pause",
            f'server: {{listen: "127.0.0.1:{port}", tokens: [{who}]}}',
            f"kubernetes: {{kubeconfig: {server.kubeconfig}}}",
            f"sources: {json.dumps({'page': source})}",
            f"services: {json.dumps(services)}",
            "limits: {max_rollbacks: 100000 per 10m}",
        ]
        configuration = folder / "watchdog.yaml"
        configuration.write_text("\n".join(line for line in lines if line) + "\n")
        argv = [sys.executable, "-m", "watchdog", "run", "-c", str(configuration)]
        process = Process(argv, log=folder / "watchdog.log", ready=answers(port, "/readyz"), within=60.0)
        return cls(process=process, url=f"http://127.0.0.1:{port}")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Run it, with a session to its API."""
        await asyncio.to_thread(self.process.start)
        try:
            headers = {"Authorization": f"Bearer {_TOKEN}"}
            async with aiohttp.ClientSession(self.url, headers=headers) as api:
                yield api
        finally:
            await asyncio.to_thread(self.process.stop)


@dataclass(slots=True, kw_only=True)
class _Bench:
    api: aiohttp.ClientSession
    cluster: Cluster
    namespace: str
    signal: Signal

    async def trial(self, version: str, timings: Timings, *, wait: float) -> None:
        """Deploy a version on green, see it noticed, let its metric cross, see it switched back."""
        labels = {"metadata": {"labels": {"app.kubernetes.io/version": version}}}
        await self.cluster.patch(PODS.path(self.namespace, "bench-green"), labels)
        self.signal.values[version] = 0.0
        await asyncio.sleep(0.5 + wait)
        patched = time.time()
        body = {"spec": {"selector": {"app": "bench", "colour": "green"}}}
        await self.cluster.patch(SERVICES.path(self.namespace, "bench"), body)
        found = await until(lambda: self.deployment(version, "watching"), f"{version} was not noticed")
        timings.patched_to_noticed.append(datetime.fromisoformat(found["recorded_at"]).timestamp() - patched)
        await until(lambda: self._judged(version), f"{version} was never judged")
        await asyncio.sleep(wait)
        self.signal.values[version] = 1.0
        rollback = await until(lambda: self._switched(version), f"{version} was not rolled back")
        del self.signal.values[version]
        applied = datetime.fromisoformat(rollback["applied_at"]).timestamp()
        for since, taken in (
            ("observed_at", timings.seen_to_switched),
            ("intended_at", timings.intended_to_switched),
        ):
            taken.append(applied - datetime.fromisoformat(rollback[since]).timestamp())
        await until(lambda: self._over(rollback["id"]), "the rollback did not end")

    async def deployment(self, version: str, state: str) -> dict[str, Any] | None:
        """The newest deployment of a version once it is in a state."""
        items = await self._items("deployments?limit=5")
        return next((one for one in items if (one["version"], one["state"]) == (version, state)), None)

    async def _judged(self, version: str) -> bool:
        checks = (await self._items("services"))[0]["checks"]
        return any(one["version"] == version and one["level"] == "ok" for one in checks)

    async def _switched(self, version: str) -> dict[str, Any] | None:
        items = await self._items("rollbacks?limit=1")
        found = items and items[0]["from"]["version"] == version and items[0]["applied_at"]
        return items[0] if found else None

    async def _over(self, rollback: str) -> bool:
        items = await self._items("rollbacks?limit=1")
        return items[0]["id"] == rollback and items[0]["ended_at"] is not None

    async def _items(self, path: str) -> list[dict[str, Any]]:
        async with self.api.get(f"/api/v1/{path}") as answer:
            items: list[dict[str, Any]] = (await answer.json())["items"]
            return items


async def _idle(server: Kubernetes, folder: Path, *, services: int, seconds: float) -> dict[str, str]:
    """What so many services cost in a time in which nothing happens."""
    namespace, signal = server.namespace("idle"), Signal()
    cluster = Cluster(ClusterSettings(kubeconfig=server.kubeconfig))
    await signal.start()
    try:
        names = [f"idle-{number}" for number in range(services)]
        for name in names:
            await _place(cluster, namespace, name)
        daemon = _Daemon.of(folder / "idle", server, namespace, names, page=signal.port)
        async with daemon.running() as api:
            await asyncio.sleep(10.0)  # the start is not idle
            before = await _counted(api)
            began, ticks = time.monotonic(), _processor(daemon.process.pid)
            await asyncio.sleep(seconds)
            after, took = await _counted(api), time.monotonic() - began
            spent = _processor(daemon.process.pid) - ticks
    finally:
        await cluster.aclose()
        await signal.stop()
    calls, received = (after[name] - before[name] for name in ("requests", "bytes"))
    return {
        "API calls": f"{calls:.0f}",
        "bytes received": f"{received:.0f}",
        "share of one core, checks included": f"{spent / took:.1%}",
    }


async def _counted(api: aiohttp.ClientSession) -> dict[str, float]:
    async with api.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    names = {
        "watchdog_kubernetes_requests_total": "requests",
        "watchdog_kubernetes_received_bytes_total": "bytes",
    }
    found = (line.split() for line in lines if not line.startswith("#"))
    return {names[line[0]]: float(line[1]) for line in found if line[0] in names}


def _processor(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100.0


if __name__ == "__main__":
    main()
