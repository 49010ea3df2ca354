"""A front door to ready pods, whichever version they are: what visitors meet in the middle of a rollout."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from tests.cluster.worlds import World
from tests.servers.ports import free_port
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.objects import PODS
from watchdog.cluster.pods import tag_of


class PodDoor:
    """Sends each visitor to the next ready pod, as a watch tells them: to the app that runs the pod's image."""

    def __init__(self, world: World, ports: Mapping[str, int]) -> None:
        """`ports` are where versions are served."""
        self._ports = ports
        self._feeds = Feeds(world.cluster)
        self._feed = self._feeds.feed(PODS, world.namespace)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"

    def versions(self) -> list[str]:
        """The versions of all ready pods."""
        ready = [pod for pod in self._feed.objects.values() if pod.ready]
        return [tag_of(pod.spec.containers[0].image) or "" for pod in ready]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        timeout, turns = aiohttp.ClientTimeout(total=5), itertools.count()
        async with aiohttp.ClientSession(timeout=timeout) as session, self._feeds.following(self._feed):

            async def forward(_: web.Request) -> web.Response:
                found = [version for version in self.versions() if version in self._ports]
                if not found:
                    return web.Response(status=503)
                port = self._ports[found[next(turns) % len(found)]]
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
