"""A small reverse proxy for where HAProxy is not installed: `python -m watchdog.demo.proxy`.

Sends every request to the one live variant. `GET /traffic` shows the state as the `command` switch wants it,
`POST /traffic?live=NAME&expect=REVISION` sets it, or answers 409 when the revision is another.
"""

from __future__ import annotations

import argparse
import asyncio

import aiohttp
from aiohttp import web

from watchdog.demo.shop import serve


class Proxy:
    """Which variant is live, and the way there."""

    def __init__(self, variants: dict[str, int], live: str) -> None:
        self._variants = variants
        self._live = live
        self._revision = 1
        self._requests = dict.fromkeys(variants, 0)
        self._session: aiohttp.ClientSession | None = None

    def front(self) -> web.Application:
        """The side users see."""
        app = web.Application()
        app.router.add_get("/", self._forward)
        return app

    def back(self) -> web.Application:
        """The side the switch uses."""
        app = web.Application()
        app.router.add_get("/traffic", self._show)
        app.router.add_post("/traffic", self._set)
        return app

    async def _forward(self, _: web.Request) -> web.Response:
        self._session = self._session or aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        live = self._live
        self._requests[live] += 1
        async with self._session.get(f"http://127.0.0.1:{self._variants[live]}/") as answer:
            body = await answer.read()
            return web.Response(
                status=answer.status, body=body, headers={"X-Version": answer.headers.get("X-Version", "")}
            )

    async def _show(self, _: web.Request) -> web.Response:
        ready = await asyncio.gather(*(self._alive(port) for port in self._variants.values()))
        variants = {
            name: {
                "weight": 100 if name == self._live else 0,
                "ready": int(alive),
                "total": 1,
                "requests": self._requests[name],
            }
            for (name, _), alive in zip(self._variants.items(), ready, strict=True)
        }
        return web.json_response({"variants": variants, "revision": str(self._revision)})

    async def _alive(self, port: int) -> bool:
        try:
            async with asyncio.timeout(1):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def _set(self, request: web.Request) -> web.Response:
        live, expect = request.query.get("live", ""), request.query.get("expect")
        if live not in self._variants:
            return web.Response(status=404, text=f"no variant {live}\n")
        if expect is not None and expect != str(self._revision):
            return web.Response(status=409, text=f"the revision is {self._revision}\n")
        if live != self._live:
            self._live, self._revision = live, self._revision + 1
        return web.Response(text="ok\n")


async def run(front: int, back: int, proxy: Proxy) -> None:
    """Serve both sides until told to stop."""
    runner = web.AppRunner(proxy.back(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", back).start()
    await serve(proxy.front(), front)
    await runner.cleanup()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description="the demo's reverse proxy")
    parser.add_argument("--port", type=int, required=True, help="the side users see")
    parser.add_argument("--admin-port", type=int, required=True, help="the side the switch uses")
    parser.add_argument("--variant", action="append", required=True, metavar="NAME=PORT")
    given = parser.parse_args()
    variants = {name: int(port) for name, _, port in (one.partition("=") for one in given.variant)}
    asyncio.run(run(given.port, given.admin_port, Proxy(variants, next(iter(variants)))))


if __name__ == "__main__":
    main()
