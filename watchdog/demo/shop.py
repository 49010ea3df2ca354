"""A small shop: the app whose versions the demo deploys. Runs as a process of its own: `python -m watchdog.demo.shop`.

`/` answers an order (every Nth fails with `--fail-every N`), `/healthz` says it is alive, `/metrics` counts requests.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections import Counter

from aiohttp import web


class Shop:
    """One version of the app."""

    def __init__(self, *, service: str, version: str, fail_every: int) -> None:
        self._service = service
        self._version = version
        self._fail_every = fail_every
        self._served: Counter[int] = Counter({200: 0, 500: 0})

    def app(self) -> web.Application:
        """Its routes."""
        app = web.Application()
        app.router.add_get("/", self._order)
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _order(self, _: web.Request) -> web.Response:
        count = sum(self._served.values()) + 1
        status = 500 if self._fail_every and count % self._fail_every == 0 else 200
        self._served[status] += 1
        return web.Response(status=status, text=f"{self._version}\n", headers={"X-Version": self._version})

    async def _alive(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        lines = ["# TYPE http_requests_total counter"]
        for status, count in sorted(self._served.items()):
            labels = f'service="{self._service}",version="{self._version}",status="{status}"'
            lines.append(f"http_requests_total{{{labels}}} {count}")
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")


async def serve(app: web.Application, port: int) -> None:
    """Serve an application on loopback until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description="a version of the demo's app")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--service", default="shop")
    parser.add_argument("--version", required=True)
    parser.add_argument("--fail-every", type=int, default=0, help="every so many orders fail; 0: none")
    given = parser.parse_args()
    shop = Shop(service=given.service, version=given.version, fail_every=given.fail_every)
    asyncio.run(serve(shop.app(), given.port))


if __name__ == "__main__":
    main()
