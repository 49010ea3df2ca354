"""A front door that goes where a Service's selector points: what kube-proxy is to visitors from inside of a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from tests.cluster.worlds import World
from tests.servers.ports import free_port
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.objects import SERVICES


class KubeDoor:
    """Sends every visitor to the app of the variant that the Service `trips` selects, as a watch tells it."""

    def __init__(self, world: World, ports: Mapping[str, int]) -> None:
        self._ports = ports
        self._feeds = Feeds(world.cluster)
        self._feed = self._feeds.feed(SERVICES, world.namespace)
        self._key = world.namespace, "trips"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session, self._feeds.following(self._feed):

            async def forward(_: web.Request) -> web.Response:
                found = self._feed.objects.get(self._key)
                if found is None:
                    return web.Response(status=503)
                port = self._ports[found.spec.selector["version"]]
                async with session.get(f"http://127.0.0.1:{port}/") as answer:
                    return web.Response(status=answer.status, body=await answer.read())

            app = web.Application()
            app.router.add_get("/", forward)
            runner = web.AppRunner(app)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", self.port).start()
                yield
            finally:
                await runner.cleanup()
        await self._feeds.aclose()
