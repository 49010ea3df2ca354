"""A page whose one gauge the benchmark sets, so that the moment at which a metric crosses is known exactly."""

from __future__ import annotations

import time

from aiohttp import web


class Signal:
    """Serves `bench_signal{version=…}` on loopback. `value` may be changed at any time."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {"v0": 0.0}
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve on a free port."""
        app = web.Application()
        app.router.add_get("/metrics", self._page)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _page(self, _: web.Request) -> web.Response:
        lines = ["# TYPE bench_signal gauge"]
        lines += [f'bench_signal{{version="{version}"}} {value}' for version, value in self.values.items()]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")


class Receiver:
    """Takes Alertmanager's webhooks; remembers when each version's alert came in first."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_post("/", self._hook)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _hook(self, request: web.Request) -> web.Response:
        arrived = time.time()
        for alert in (await request.json())["alerts"]:
            if alert["status"] == "firing":
                self.arrived.setdefault(alert["labels"]["version"], arrived)
        return web.Response()
