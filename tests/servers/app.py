"""A small service in one version, behind HAProxy and under Prometheus in tests. Runs as a process of its own:

    python -m tests.servers.app --port 8081 --version v1 --fail-every 0

`/` answers 500 at every Nth request; `/healthz`; `/metrics`; `POST /control` changes the behaviour while it
runs, with JSON of any of `fail_every` (0: never), `healthy` (what /healthz says), `delay` (seconds before `/`
answers) and `gauges` (name to value, shown in /metrics). How long `/` took stands in the histogram
`http_request_duration_seconds`.
"""

from __future__ import annotations

import argparse
import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from aiohttp import web

#: Upper bounds of the buckets, in seconds.
BUCKETS = (0.01, 0.1, 0.25, 0.5)


class VersionedService:
    """Counts what it answers; state lives in memory only."""

    def __init__(self, *, service: str, version: str, fail_every: int) -> None:
        self.service = service
        self.version = version
        self.fail_every = fail_every
        self.healthy = True
        self.delay = 0.0
        self.gauges: dict[str, float] = {}
        self.requests = 0
        self.answered: Counter[int] = Counter({200: 0, 500: 0})
        self.lasted = [0] * (len(BUCKETS) + 1)
        self.lasted_together = 0.0

    async def serve(self, _: web.Request) -> web.Response:
        began = asyncio.get_running_loop().time()
        self.requests += 1
        failed = self.fail_every > 0 and self.requests % self.fail_every == 0
        if self.delay:
            await asyncio.sleep(self.delay)
        status = 500 if failed else 200
        self.answered[status] += 1
        took = asyncio.get_running_loop().time() - began
        self.lasted[bisect_left(BUCKETS, took)] += 1
        self.lasted_together += took
        return web.Response(status=status, text=f"{self.version}\n")

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.healthy else 503, text=f"{self.version}\n")

    async def metrics(self, _: web.Request) -> web.Response:
        labels = f'service="{self.service}",version="{self.version}"'
        lines = ["# HELP http_requests_total Requests answered.", "# TYPE http_requests_total counter"]
        lines += [
            f'http_requests_total{{{labels},status="{status}"}} {count}'
            for status, count in sorted(self.answered.items())
        ]
        lines += self._histogram(labels)
        for name, value in sorted(self.gauges.items()):
            lines += [f"# TYPE {name} gauge", f"{name}{{{labels}}} {value}"]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain", charset="utf-8")

    def _histogram(self, labels: str) -> Iterator[str]:
        name = "http_request_duration_seconds"
        yield f"# TYPE {name} histogram"
        for bound, count in zip((*BUCKETS, "+Inf"), accumulate(self.lasted), strict=True):
            yield f'{name}_bucket{{{labels},le="{bound}"}} {count}'
        yield f"{name}_sum{{{labels}}} {self.lasted_together}"
        yield f"{name}_count{{{labels}}} {sum(self.lasted)}"

    async def control(self, request: web.Request) -> web.Response:
        wanted: dict[str, Any] = await request.json()
        self.fail_every = int(wanted.get("fail_every", self.fail_every))
        self.healthy = bool(wanted.get("healthy", self.healthy))
        self.delay = float(wanted.get("delay", self.delay))
        self.gauges.update({name: float(value) for name, value in wanted.get("gauges", {}).items()})
        return web.json_response({"fail_every": self.fail_every, "healthy": self.healthy})


def application(service: VersionedService) -> web.Application:
    """The aiohttp application around one service; also usable inside a test's own loop."""
    app = web.Application()
    app.add_routes(
        [
            web.get("/", service.serve),
            web.get("/healthz", service.health),
            web.get("/metrics", service.metrics),
            web.post("/control", service.control),
        ]
    )
    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--service", default="trips")
    parser.add_argument("--fail-every", type=int, default=0)
    words = parser.parse_args()
    service = VersionedService(service=words.service, version=words.version, fail_every=words.fail_every)
    web.run_app(application(service), host="127.0.0.1", port=words.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
