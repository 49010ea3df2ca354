"""`python -m benchmarks.messages`: how soon people hear of a decision, beside Alertmanager in the same run.

The real daemon scrapes a page on which one service after the other turns bad, and tells a webhook and a Slack that is a
stand-in, each page with its chart. After each page the same is said to Debian's Alertmanager by its API, with
`group_wait: 0s`, and the time taken until its webhook came. Then the outbox alone: how many messages a second leave for
one local receiver, and what memory a full one takes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import uvloop
from aiohttp import web
from rich.console import Console
from rich.table import Table

from benchmarks.figures import percentile, row
from benchmarks.outbox import sent, waiting
from benchmarks.pages import Page, Receiver
from benchmarks.paths import cores
from tests.channels.fake_slack import CHANNEL, TOKEN, FakeSlack, slack
from tests.servers.alertmanager import Alertmanager
from tests.servers.haproxy import HAProxy
from tests.servers.ports import free_port
from tests.servers.process import Process, answers
from watchdog.app.run import tune

#: Services take turns, so that one has recovered before it is bad again; more of them within a minute were a storm.
_SERVICES = 4
_RULE = {
    "name": "signal",
    "gauge": {"of": 'bench_signal{service="$service"}', "by": "max"},
    "unit": "count",
    "interval": "critical",
    "window": "5s",
    "threshold": {"warning": 0.2, "critical": 0.4, "rollback": 0.6},
    "hold": {"warning": "1 samples", "critical": "1 samples", "rollback": "1 samples"},
    "clear": "1 samples",
}


@dataclass(slots=True)
class Timings:
    """Seconds, one entry a page."""

    webhook: list[float] = field(default_factory=list)
    slack: list[float] = field(default_factory=list)
    alertmanager: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    charts: int = 0


class _Hook:
    """Where the daemon's webhook comes: when each page was taken, by service."""

    def __init__(self) -> None:
        self.taken: dict[str, tuple[float, float]] = {}

    async def post(self, request: web.Request) -> web.Response:
        """Take a message."""
        at = time.time()
        body = await request.json()
        if body["kind"] == "incident_opened" and body["service"]:
            decided = datetime.fromisoformat(body["created_at"]).timestamp()
            self.taken[body["service"]] = (decided, at)
        return web.Response()


class _Slack(FakeSlack):
    """Notes when it took a message, by the service it names."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[str, float] = {}

    async def api(self, request: web.Request) -> web.StreamResponse:
        """Take a call."""
        at, before = time.time(), len(self.posts)
        answer = await super().api(request)
        for post in self.posts[before:]:
            if not post.thread_ts and (found := re.search(r"service-\d+", json.dumps(post.body))):
                self.taken[found.group()] = at
        return answer


async def pages(count: int, *, seed: int, tell: Callable[[str], None]) -> Timings:
    """So many pages of one service after the other. Raises `TimeoutError` when one does not come."""
    timings, rng = Timings(), random.Random(seed)
    with TemporaryDirectory(prefix="messages-") as folder:
        async with _stage(Path(folder)) as bench:
            for number in range(count):
                await bench.trial(
                    timings, f"service-{number % _SERVICES}", rng.uniform(0.3, 1.3), str(number)
                )
                if number % 20 == 19:
                    tell(f"{number + 1}/{count} pages, {len(bench.slack.files)} charts")
            timings.charts = len({file["thread_ts"] for file in bench.slack.files})
    return timings


@dataclass(slots=True)
class _Bench:
    values: dict[str, float]
    hook: _Hook
    slack: _Slack
    receiver: Receiver
    manager: Alertmanager
    session: aiohttp.ClientSession

    async def trial(self, timings: Timings, service: str, wait: float, mark: str) -> None:
        """One service turns bad after a moment; and people are told of it."""
        await asyncio.sleep(wait)
        timings.noise.append(await _late())
        self.hook.taken.pop(service, None)
        self.slack.taken.pop(service, None)
        self.values[service] = 1.0
        await _until(
            lambda: service in self.hook.taken and service in self.slack.taken, f"no page of {service}"
        )
        decided, at = self.hook.taken[service]
        timings.webhook.append(at - decided)
        timings.slack.append(self.slack.taken[service] - decided)
        await asyncio.sleep(0.2)  # the chart goes up beside
        timings.alertmanager.append(await self._alert(mark))
        self.values[service] = 0.0

    async def _alert(self, mark: str) -> float:
        began = time.time()
        alert = {
            "labels": {"alertname": "Signal", "version": mark},
            "annotations": {"summary": "signal is 1"},
        }
        async with self.session.post(f"{self.manager.url}/api/v2/alerts", json=[alert]) as answer:
            answer.raise_for_status()
        await _until(lambda: mark in self.receiver.arrived, "Alertmanager told nobody")
        return self.receiver.arrived[mark] - began


async def _late() -> float:
    """By how much a pause of a millisecond is longer here: what the machine does to everybody."""
    began = time.perf_counter()
    await asyncio.sleep(0.001)
    return time.perf_counter() - began - 0.001


async def _until(done: Callable[[], bool], why: str, *, within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(why)
        await asyncio.sleep(0.005)


@asynccontextmanager
async def _stage(folder: Path) -> AsyncIterator[_Bench]:
    names = [f"service-{number}" for number in range(_SERVICES)]
    values = dict.fromkeys(names, 0.0)
    page, receiver, hook = Page(lambda: _series(values)), Receiver(), _Hook()
    await page.start()
    await receiver.start()
    manager = Alertmanager(folder, webhook=f"http://127.0.0.1:{receiver.port}/")
    haproxy = HAProxy(folder, {})
    haproxy.config.write_text(_backends(haproxy, names))
    started: list[Process] = []
    async with _taking(hook) as address, slack(_Slack()) as workspace, aiohttp.ClientSession() as session:
        assert isinstance(workspace, _Slack)
        daemon = _daemon(folder, names, haproxy, page=page.port, hook=address, workspace=workspace)
        try:
            for process in (haproxy, manager, daemon):
                await asyncio.to_thread(process.start)
                started.append(process)
            await asyncio.sleep(5.0)  # every service is judged, and the first chart is drawn
            yield _Bench(
                values=values, hook=hook, slack=workspace, receiver=receiver, manager=manager, session=session
            )
        finally:
            for process in reversed(started):
                await asyncio.to_thread(process.stop)
            haproxy.discard()
            await receiver.stop()
            await page.stop()


@asynccontextmanager
async def _taking(hook: _Hook) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/", hook.post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def _series(values: dict[str, float]) -> str:
    lines = [f'bench_signal{{service="{name}"}} {value}' for name, value in values.items()]
    return "\n".join(["# TYPE bench_signal gauge", *lines]) + "\n"


def _backends(haproxy: HAProxy, names: list[str]) -> str:
    head = haproxy.config.read_text()
    parts = [
        f"backend {name}\n    server blue 127.0.0.1:9 weight 100\n    server green 127.0.0.1:9 weight 0"
        for name in names
    ]
    return f"{head}\nfrontend front\n    bind 127.0.0.1:{free_port()}\n" + "\n".join(parts) + "\n"


def _daemon(
    folder: Path, names: list[str], haproxy: HAProxy, *, page: int, hook: str, workspace: FakeSlack
) -> Process:
    port = free_port()
    (folder / "rules.yaml").write_text(json.dumps({"version": 1, "rules": [_RULE]}))
    (folder / "slack-token").write_text(TOKEN)
    lines = [
        "version: 1",
        "rules: [rules.yaml]",
        "intervals: {critical: 1s, recheck: 1s}",
        'store: {url: "sqlite:///messages.db"}',
        "pause_file: ./pause",
        f'server: {{listen: "127.0.0.1:{port}"}}',
        f'sources: {{app: {{kind: scrape, urls: ["http://127.0.0.1:{page}/metrics"], interval: 1s}}}}',
        f"services: {json.dumps([_service(name, haproxy) for name in names])}",
        "limits: {max_rollbacks: 100000 per 10m, max_breaching: {share: 100%, at_least: 1000}}",
        "channels:",
        f'  hook: {{kind: webhook, url: "{hook}"}}',
        f'  ops: {{kind: slack, token: !file slack-token, channel: "{CHANNEL}", url: "{workspace.url}"}}',
        "routes: [{to: [hook, ops]}]",
    ]
    configuration = folder / "watchdog.yaml"
    configuration.write_text("\n".join(lines) + "\n")
    argv = [sys.executable, "-m", "watchdog", "run", "-c", str(configuration)]
    return Process(argv, log=folder / "watchdog.log", ready=answers(port, "/readyz"))


def _service(name: str, haproxy: HAProxy) -> dict[str, Any]:
    traffic = {
        "kind": "haproxy",
        "socket": str(haproxy.socket),
        "backend": name,
        "variants": {"blue": "blue", "green": "green"},
    }
    return {"name": name, "rules": ["signal"], "mode": "observe", "traffic": traffic}


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=100, help="pages, one after the other")
    parser.add_argument("--messages", type=int, default=5000, help="messages through the outbox; 0: none")
    parser.add_argument("--queued", type=int, default=100_000, help="messages that wait; 0: none")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    out = Console(highlight=False)
    tune()
    if given.pages:
        _pages(given.pages, given.seed, out)
    _outbox(given.messages, given.queued, out)


def _outbox(messages: int, queued: int, out: Console) -> None:
    """On the loop of the daemon."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if messages:
            found = runner.run(sent(messages))
            out.print(
                f"outbox: {found.rate:.0f} messages/s to a local receiver ({messages} in {found.seconds:.1f} s)"
            )
        if queued:
            memory = runner.run(waiting(queued, seconds=30.0))
            more = (memory.most - memory.before) / 2**20
            out.print(f"outbox: {queued} waiting messages take {more:.1f} MiB more than 1000 (RSS)")


def _pages(count: int, seed: int, out: Console) -> None:
    found = asyncio.run(pages(count, seed=seed, tell=lambda line: print(line, file=sys.stderr, flush=True)))
    table = Table(
        *("milliseconds", "n", "min", "p50", "p90", "p99", "max"),
        title=f"from a decision to the first page, {cores()} cores, load {os.getloadavg()[0]:.2g}",
    )
    table.add_row(*row("decision → webhook took the page", found.webhook))
    table.add_row(*row("decision → Slack took it, chart ready", found.slack))
    table.add_row(*row("alert posted → Alertmanager's webhook", found.alertmanager))
    table.add_row(*row("noise: a pause of 1 ms is longer by", found.noise))
    out.print(table)
    out.print(f"{found.charts} of {count} pages have a chart in their thread in Slack")
    theirs, ours = median(found.alertmanager), median(found.webhook)
    out.print(f"p50: the watchdog's webhook takes {ours / theirs:.2f} times Alertmanager's (group_wait 0s)")
    late = 30 + percentile(found.alertmanager, 0.5)
    out.print(f"with Alertmanager's default group_wait of 30 s (not measured) that would be {late:.0f} s")


if __name__ == "__main__":
    main()
