"""Sees that the configuration's files changed, and has them taken in when they can be used.

Every file that was read (rules that a pattern finds, secrets and authorities, too) is read again every few seconds and
compared by content, so that editors, ConfigMaps and symbolic links all look the same. A change is taken once two looks
in a row saw it, SIGHUP at once; and only what stood on the disk at one moment. This module must never block the loop,
nor let the running configuration go for one that cannot be used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import structlog

from watchdog.aio.clock import Clock
from watchdog.app.parts import NotYet
from watchdog.config.load import InvalidConfiguration, load
from watchdog.config.loaded import Configuration
from watchdog.config.trail import Trail
from watchdog.core.errors import StoreError, WatchdogError

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: The files are looked at this often; a change, when it was seen, once more so soon.
LOOK_INTERVAL, SETTLE_INTERVAL = timedelta(seconds=2), timedelta(seconds=1)
#: What could not be taken for a reason outside the files is tried again after so long.
RETRY_AFTER = timedelta(seconds=15)
#: Files that change while they are read are read so often, with so long between; then at the next look.
TRIES, TRY_AGAIN_AFTER = 5, timedelta(milliseconds=200)


class Target(Protocol):
    """What takes configurations in: `watchdog.app.daemon.Daemon`."""

    async def take(self, configuration: Configuration) -> bool:
        """Put it in force; raises `WatchdogError` with everything as it was."""
        ...

    async def refuse(self, problems: tuple[str, ...]) -> bool:
        """Tell people that it cannot be used; false when that could not be recorded."""
        ...

    async def settle(self) -> None:
        """Take what had to wait, once it need not any more."""
        ...


class Reloader:
    """One supervised task. `ask` is for SIGHUP; `on_begin` and `on_end` are called around every reload, good or not."""

    def __init__(
        self,
        target: Target,
        configuration: Configuration,
        *,
        environ: Mapping[str, str],
        clock: Clock,
        on_begin: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """`configuration` is the one in force; `environ` what `!env` reads."""
        self._target = target
        self._path: Path = configuration.path
        self._environ = environ
        self._clock = clock
        self._on_begin = on_begin
        self._on_end = on_end
        self._asked = asyncio.Event()
        self._judged = configuration.trail
        self._seen: Trail | None = None
        """What the last look saw, when that was something new."""
        self._again_at: float | None = None
        self._hindrance = ""

    def ask(self) -> None:
        """Reload at once, whether anything seems changed or not. Never blocks."""
        self._asked.set()

    async def run(self) -> None:
        """Look until cancelled. A load under way goes on in its thread then; nothing comes of it."""
        while True:
            asked = await self._wait(LOOK_INTERVAL if self._seen is None else SETTLE_INTERVAL)
            if asked or await self._changed():
                await self._reload()
            else:
                await self._settle()

    async def _wait(self, time: timedelta) -> bool:
        """Whether somebody asked meanwhile."""
        try:
            async with asyncio.timeout(time.total_seconds()):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    async def _changed(self) -> bool:
        """Whether something new is there for the second time, or should be tried once more."""
        now = await asyncio.to_thread(self._judged.again)
        if now == self._judged:
            self._seen = None
            return self._again_at is not None and self._clock.monotonic() >= self._again_at
        seen, self._seen = self._seen, now
        return now == seen

    async def _settle(self) -> None:
        try:
            await self._target.settle()
        except WatchdogError as error:
            self._hindered(str(error))

    async def _reload(self) -> None:
        self._on_begin()
        try:
            read = await self._read()
            if read is None:
                self._seen = None
                return
            self._judged, found = read
            self._seen = self._again_at = None
            if isinstance(found, Configuration):
                await self._take(found)
            elif not await self._target.refuse(found):
                self._later()
        finally:
            self._on_end()

    async def _read(self) -> tuple[Trail, Configuration | tuple[str, ...]] | None:
        """A configuration or its mistakes, as they stood on the disk at one moment; `None` while they change."""
        for _ in range(TRIES):
            trail = Trail()
            found = await asyncio.to_thread(self._load, trail)
            if not isinstance(found, Configuration):  # perhaps it is being written just now
                await self._clock.sleep(TRY_AGAIN_AFTER.total_seconds())
            if await asyncio.to_thread(trail.again) == trail:
                return trail, found
            await self._clock.sleep(TRY_AGAIN_AFTER.total_seconds())
        return None

    def _load(self, trail: Trail) -> Configuration | tuple[str, ...]:
        """In a thread of its own."""
        try:
            return load(self._path, environ=self._environ, trail=trail)
        except InvalidConfiguration as error:
            return tuple(str(problem) for problem in error.problems)
        except WatchdogError as error:
            return (str(error),)

    async def _take(self, configuration: Configuration) -> None:
        try:
            changed = await self._target.take(configuration)
        except NotYet as error:
            self._later()
            self._hindered(str(error))
        except WatchdogError as error:
            self._later()
            advice = f" ({error.advice})" if isinstance(error, StoreError) and error.advice else ""
            self._hindered(f"{error}{advice}")
            await self._target.refuse((f"{error}{advice}",))
        else:
            self._hindrance = ""
            if not changed:
                _log.info("config_unchanged")
                return
            for note in configuration.notes:
                _log.warning("configuration_note", note=str(note))

    def _later(self) -> None:
        self._again_at = self._clock.monotonic() + RETRY_AFTER.total_seconds()

    def _hindered(self, why: str) -> None:
        """Said once of each reason."""
        if why != self._hindrance:
            self._hindrance = why
            _log.warning("config_not_taken_yet", error=why)
