"""`watchdog status --watch`: everything at a glance, again and again, until Ctrl-C.

On a terminal the picture stays in place; anywhere else it is printed when it has changed. A daemon that goes away is
said to be away, with the last picture under it, and asked again. This module must never ask for anything but a look.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from watchdog.cli.address import Address
from watchdog.cli.daemon import Daemon, Refused, Unreachable, talk
from watchdog.cli.failure import Failure
from watchdog.cli.looking import gather
from watchdog.cli.output import note, say
from watchdog.cli.picture import Picture, drawn, written
from watchdog.core.units import parse_duration

if TYPE_CHECKING:
    from rich.live import Live

#: No daemon is asked more often.
SHORTEST = timedelta(milliseconds=200)
_LONGEST = timedelta(hours=1)


def watch(where: Address, service: str | None, interval: str) -> None:
    """Show it until Ctrl-C, which is a clean end. Raises `Failure` for what asking again cannot help."""
    try:
        pause = parse_duration(interval)
    except ValueError as error:
        raise Failure(f"--interval: {error}", code=2) from None
    if not SHORTEST <= pause <= _LONGEST:
        raise Failure("--interval: at least 200ms and at most 1h", code=2)
    with _screen() as show:
        talk(_follow(where, service, pause, show))


async def _follow(
    where: Address, service: str | None, pause: timedelta, show: Callable[[Picture], None]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    shown = Picture(where=where.url, service=service, at=datetime.now(UTC))
    async with Daemon(where) as daemon:
        async for _ in _beats(pause, stop):
            looking = asyncio.ensure_future(_look(daemon, shown))
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not looking.done():
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
                return
            shown = looking.result()
            show(shown)


async def _look(daemon: Daemon, before: Picture) -> Picture:
    now = datetime.now(UTC)
    try:
        seen: dict[str, Any] = await gather(daemon)
    except Unreachable as error:
        return before.without(str(error), now)
    except Refused as error:
        if error.status in {401, 403, 404}:
            raise  # a token or an address that is wrong does not become right
        return before.without(str(error), now)
    if before.service is not None:
        seen["services"] = [one for one in seen["services"] if one["name"] == before.service]
        if not seen["services"]:
            raise Failure(f"there is no service {before.service!r}")
    return before.showing(seen, now)


async def _beats(pause: timedelta, stop: asyncio.Event) -> AsyncIterator[None]:
    """At once, then at every interval, until it is to stop."""
    while not stop.is_set():
        yield
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause.total_seconds()):
                await stop.wait()


@contextlib.contextmanager
def _screen() -> Any:
    """Where pictures go: a live one on a terminal, lines elsewhere."""
    if not sys.stdout.isatty():
        yield _Lines().show
        return
    from rich.live import Live

    with Live(screen=True, auto_refresh=False) as live:
        yield _Terminal(live).show


class _Terminal:
    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, picture: Picture) -> None:
        """Draw it over the last one, as large as the terminal is now."""
        size = self._live.console.size
        self._live.update(drawn(picture, width=size.width, height=size.height), refresh=True)


class _Lines:
    """For a file or a pipe: what has changed, with its time."""

    def __init__(self) -> None:
        self._before: list[str] = []

    def show(self, picture: Picture) -> None:
        """Print it when it says anything new."""
        lines = written(picture)
        if lines != self._before:
            if picture.missing:
                note(f"{picture.at:%Y-%m-%dT%H:%M:%SZ} {picture.missing}")
            else:
                say("\n".join([f"{picture.at:%Y-%m-%dT%H:%M:%SZ} {picture.where}", *lines, ""]))
                sys.stdout.flush()
            self._before = lines
