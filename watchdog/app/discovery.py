"""Finds the services that objects ask for by annotation, and writes them where the configuration is read from.

The file is the only way in: it is read, judged and taken like everything else that is configured, it is there after a
restart while the API server is not, and a person can look at it. This module must never write what the watches cannot
vouch for, nor decide what a service may do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog
import yaml

from watchdog.aio.clock import Clock
from watchdog.app.shared import Shared
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.wanted import ASKING, services_of
from watchdog.config.loaded import Configuration, Discovery

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds until what changed is written: a deployment changes several objects at once.
SETTLE: Final = 0.5
_HEAD: Final = (
    "# Written by the watchdog: the services that annotations ask for (`discover` in its configuration).\n"
    "# What stands here is written over; change the annotations instead.\n"
)


async def discover(configuration: Configuration, *, found: Callable[[], None], clock: Clock) -> None:
    """Keep the file that `discover` in the configuration names, until cancelled. `found` as for `Discoverer`."""
    if configuration.discovery is None:
        return
    shared = Shared(configuration.kubernetes, clock=clock)
    try:
        await Discoverer(configuration.discovery, shared.feeds, clock=clock, found=found).run()
    finally:
        await shared.aclose()


class Discoverer:
    """One supervised task. `found` is called after the file was changed, so that it is read at once."""

    def __init__(self, wanted: Discovery, feeds: Feeds, *, clock: Clock, found: Callable[[], None]) -> None:
        self._wanted = wanted
        self._feeds = feeds
        self._clock = clock
        self._found = found
        self._changed = asyncio.Event()
        self._trouble = ""

    async def run(self) -> None:
        """Keep the file until cancelled. What cannot be written is told once, and tried again."""
        feeds = [
            self._feeds.feed(ASKING[kind], namespace)
            for kind in self._wanted.kinds
            for namespace in self._wanted.namespaces
        ]
        async with self._feeds.following(*feeds, changed=lambda _: self._changed.set()):
            while True:
                if all(feed.current for feed in feeds):
                    asked = services_of(
                        ((feed.topic.kind, one.metadata) for feed in feeds for one in feed.objects.values()),
                        self._wanted.defaults,
                    )
                    await self._keep(written(asked))
                await self._wait()

    async def _wait(self) -> None:
        # Feeds tell of what is different, not of having become current with nothing in them: so now and then, too.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await self._changed.wait()
        await self._clock.sleep(SETTLE)
        self._changed.clear()

    async def _keep(self, text: str) -> None:
        try:
            changed = await asyncio.to_thread(put, self._wanted.file, text)
        except OSError as error:
            if str(error) != self._trouble:
                _log.error("discovered_services_not_written", file=str(self._wanted.file), error=str(error))
            self._trouble = str(error)
            return
        self._trouble = ""
        if changed:
            _log.info("services_discovered", file=str(self._wanted.file))
            self._found()


def written(asked: Mapping[str, Mapping[str, Any]]) -> str:
    """The file's text: every service below the object that asks for it."""
    if not asked:
        return f"{_HEAD}services: []\n"
    parts = [f"{_HEAD}services:\n"]
    for place, service in asked.items():
        body = yaml.safe_dump([dict(service)], sort_keys=False, allow_unicode=True, width=100)
        parts += [f"  # {place}\n", *(f"  {line}\n" for line in body.splitlines())]
    return "".join(parts)


def put(file: Path, text: str) -> bool:
    """Write the file in one step, for whoever reads at that moment; answers whether it was different. Blocks.

    Raises `OSError`.
    """
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        if file.read_text("utf-8") == text:
            return False
    fresh = file.with_name(file.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(file)
    return True
