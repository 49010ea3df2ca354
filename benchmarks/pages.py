"""What the benchmark serves: a page whose one gauge it sets, and the place where Alertmanager's webhooks arrive.

So the moment at which a metric crosses, and the moment at which Alertmanager tells of it, are known exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web


class _Served:
    """An application on a free port of loopback."""

    def __init__(self) -> None:
        self.port = 0
        self._runner: web.AppRunner | None = None

    def app(self) -> web.Application:
        """What is served."""
        return web.Application()

    async def start(self) -> None:
        """Serve on a free port."""
        self._runner = web.AppRunner(self.app(), access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()


class Signal(_Served):
    """Serves `bench_signal{version=…}`. `values` may be changed at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, float] = {"v0": 0.0}

    def app(self) -> web.Application:
        """The page to scrape."""
        app = web.Application()
        app.router.add_get("/metrics", self._page)
        return app

    async def _page(self, _: web.Request) -> web.Response:
        lines = ["# TYPE bench_signal gauge"]
        lines += [f'bench_signal{{version="{version}"}} {value}' for version, value in self.values.items()]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")


class Receiver(_Served):
    """Takes Alertmanager's webhooks; `arrived` is when each version's alert came in first (Unix seconds)."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: dict[str, float] = {}

    def app(self) -> web.Application:
        """The webhook."""
        app = web.Application()
        app.router.add_post("/", self._hook)
        return app

    async def _hook(self, request: web.Request) -> web.Response:
        arrived = time.time()
        for alert in (await request.json())["alerts"]:
            if alert["status"] == "firing":
                self.arrived.setdefault(alert["labels"]["version"], arrived)
        return web.Response()


class Page(_Served):
    """Serves whatever `text` answers at `/metrics`."""

    def __init__(self, text: Callable[[], str]) -> None:
        super().__init__()
        self._text = text

    def app(self) -> web.Application:
        """The page to scrape."""
        app = web.Application()
        app.router.add_get("/metrics", self._page)
        return app

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=self._text(), content_type="text/plain")
