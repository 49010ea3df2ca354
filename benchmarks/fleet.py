"""What the daemon costs with many services: its share of a core, its memory, and how soon it answers meanwhile.

The real daemon process, a real Prometheus that scrapes one page with the series of every service, and one real HAProxy
with a backend for each service, whose state is read as often as in production. Every service is well all the time.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from benchmarks.pages import Page
from tests.servers.haproxy import HAProxy
from tests.servers.ports import free_port
from tests.servers.process import Process, answers
from tests.servers.prometheus import Prometheus, Target
from watchdog.core.units import format_duration

#: Seconds from the first poll to the measurement: what is learnt at first sight is learnt by then.
WARM_UP = 30.0
#: The page is scraped this often.
SCRAPED = "5s"
#: Between two questions to the daemon whether it is alive (seconds).
ASK_EVERY = 0.05


@dataclass(slots=True, kw_only=True)
class Fleet:
    """How many of what. `match`: rules are asked once for all services, instead of once for each."""

    services: int
    rules: int
    interval: timedelta
    match: bool = True

    @property
    def planned(self) -> float:
        """Questions a second."""
        each = 1 if self.match else self.services
        return self.rules * each / self.interval.total_seconds()

    @property
    def name(self) -> str:
        """For the table."""
        how = "with `match`" if self.match else "each asked alone"
        return f"{self.services} services, {self.rules} rules {how}, every {format_duration(self.interval)}"


@dataclass(slots=True, kw_only=True)
class Cost:
    """What was measured in `seconds`. `cpu` is a share of one core, `resident` and `peak` are bytes."""

    seconds: float
    cpu: float
    resident: int
    peak: int
    asked: int
    planned: float
    waits: list[float] = field(default_factory=list)


async def measure(fleet: Fleet, *, seconds: float, tell: Callable[[str], None]) -> Cost:
    """Start everything, warm up, measure for so long. Raises `TimeoutError` when the daemon judges nothing."""
    with TemporaryDirectory(prefix="fleet-") as folder:
        async with _running(fleet, Path(folder)) as (process, url):
            tell(f"{fleet.name}: started")
            async with aiohttp.ClientSession(url) as session:
                await _judged(session, fleet)
                await asyncio.sleep(WARM_UP)
                tell(f"measuring for {seconds:g} s")
                return await _measured(session, process.pid, fleet, seconds)


async def _measured(session: aiohttp.ClientSession, pid: int, fleet: Fleet, seconds: float) -> Cost:
    asked = await _asked(session)
    waits: list[float] = []
    await asyncio.sleep(1.0)
    used, began = _used(pid), time.monotonic()
    while time.monotonic() - began < seconds:
        at = time.monotonic()
        async with session.get("/healthz") as answer:
            await answer.read()
        waits.append(time.monotonic() - at)
        await asyncio.sleep(ASK_EVERY)
    spent, lasted = _used(pid) - used, time.monotonic() - began
    return Cost(
        seconds=lasted,
        cpu=spent / lasted,
        resident=_memory(pid, "VmRSS"),
        peak=_memory(pid, "VmHWM"),
        asked=await _asked(session) - asked,
        planned=fleet.planned * (lasted + 1.0),
        waits=waits,
    )


def _used(pid: int) -> float:
    """Seconds of processor time, the system's on its behalf included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return 0 if found is None else int(found.group(1)) * 1024


async def _page(session: aiohttp.ClientSession) -> str:
    async with session.get("/metrics") as answer:
        return await answer.text()


async def _asked(session: aiohttp.ClientSession) -> int:
    found = re.search(r"^watchdog_source_query_seconds_count\S* (\S+)$", await _page(session), re.MULTILINE)
    return 0 if found is None else round(float(found.group(1)))


async def _judged(session: aiohttp.ClientSession, fleet: Fleet) -> None:
    """Wait until every check has a value."""
    deadline = time.monotonic() + 180
    wanted, found = fleet.services * fleet.rules, 0
    while time.monotonic() < deadline:
        found = (await _page(session)).count("\nwatchdog_check_value{")
        if found >= wanted:
            return
        await asyncio.sleep(2)
    raise TimeoutError(f"only {found} of {wanted} checks have a value")


@asynccontextmanager
async def _running(fleet: Fleet, folder: Path) -> AsyncIterator[tuple[Process, str]]:
    names = [f"service-{number}" for number in range(fleet.services)]
    page = Page(lambda: _series(names))
    await page.start()
    haproxy = HAProxy(folder, {})
    haproxy.config.write_text(_backends(haproxy, names))
    prometheus = Prometheus(folder, [Target(job="fleet", port=page.port)], scrape_interval=SCRAPED)
    daemon, url = _daemon(fleet, folder, names, haproxy, prometheus)
    started: list[Process] = []
    try:
        for process in (haproxy, prometheus, daemon):
            await asyncio.to_thread(process.start)
            started.append(process)
        yield daemon, url
    finally:
        for process in reversed(started):
            await asyncio.to_thread(process.stop)
        haproxy.discard()
        await page.stop()


def _series(names: list[str]) -> str:
    """Counters that rise by 20 a second, of which none is bad, and a gauge."""
    count = int(time.time() * 20) % 10**9
    lines = ["# TYPE http_requests_total counter", "# TYPE queue_depth gauge"]
    for name in names:
        lines.append(f'http_requests_total{{service="{name}",status="200"}} {count}')
        lines.append(f'http_requests_total{{service="{name}",status="500"}} 0')
        lines.append(f'queue_depth{{service="{name}"}} 3')
    return "\n".join(lines) + "\n"


def _backends(haproxy: HAProxy, names: list[str]) -> str:
    head = haproxy.config.read_text()
    parts = [
        f"backend {name}\n"
        "    server blue 127.0.0.1:9 weight 100\n"
        "    server green 127.0.0.1:9 weight 100 disabled"
        for name in names
    ]
    return f"{head}\nfrontend front\n    bind 127.0.0.1:{free_port()}\n" + "\n".join(parts) + "\n"


def _rules(fleet: Fleet) -> list[dict[str, Any]]:
    """Ratios, rates and gauges by turns."""
    mine = "" if fleet.match else 'service="$service"'
    errors = ",".join(filter(None, ('status=~"5.."', mine)))
    forms: list[dict[str, Any]] = [
        {
            "ratio": {"bad": f"http_requests_total{{{errors}}}", "total": f"http_requests_total{{{mine}}}"},
            "threshold": {"warning": "0.5%", "critical": "1%", "rollback": "150%"},
        },
        {"rate": f"http_requests_total{{{mine}}}", "unit": "count", "threshold": {"critical": 1000}},
        {
            "gauge": {"of": f"queue_depth{{{mine}}}", "by": "max"},
            "unit": "count",
            "threshold": {"critical": 100},
        },
    ]
    shared: dict[str, Any] = {"interval": f"{fleet.interval.total_seconds():g}s"}
    if fleet.match:
        shared["match"] = {"service": "name"}
    return [
        {"name": f"rule-{number}", **shared, **forms[number % len(forms)]} for number in range(fleet.rules)
    ]


def _daemon(
    fleet: Fleet, folder: Path, names: list[str], haproxy: HAProxy, prometheus: Prometheus
) -> tuple[Process, str]:
    port = free_port()
    rules = _rules(fleet)
    (folder / "rules.yaml").write_text(json.dumps({"version": 1, "rules": rules}))
    configuration = {
        "version": 1,
        "rules": ["rules.yaml"],
        "store": {"url": "sqlite:///fleet.db"},
        "pause_file": "./pause",
        "server": {"listen": f"127.0.0.1:{port}"},
        "sources": {"prometheus": {"kind": "prometheus", "url": prometheus.url}},
        "services": [
            {
                "name": name,
                "rules": [rule["name"] for rule in rules],
                "traffic": {
                    "kind": "haproxy",
                    "socket": str(haproxy.socket),
                    "backend": name,
                    "variants": {"blue": "blue", "green": "green"},
                },
            }
            for name in names
        ],
    }
    file = folder / "watchdog.yaml"
    file.write_text(json.dumps(configuration))
    argv = [sys.executable, "-m", "watchdog", "run", "-c", str(file)]
    process = Process(
        argv, log=folder / "watchdog.log", ready=answers(port, "/readyz"), within=120.0, grace=40.0
    )
    return process, f"http://127.0.0.1:{port}"
