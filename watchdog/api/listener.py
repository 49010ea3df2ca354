"""The listener: binds an application to an address, and lets it go again within a time budget."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web

from watchdog.core.errors import WatchdogError

#: How long running requests may take after the stop; event streams end at once.
GRACE = timedelta(seconds=5)
_NOT_OURS = "this machine does not have that address; correct server.listen"


class CannotListen(WatchdogError):
    """The address could not be bound; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A bound application. `url` has the port that was taken, also when 0 was asked for."""

    url: str
    runner: web.AppRunner

    async def aclose(self) -> None:
        """Stop taking requests, end streams, wait for the rest within `GRACE`. Idempotent."""
        await self.runner.cleanup()


async def listen(app: web.Application, *, host: str, port: int) -> Listener:
    """Serve `app`. Raises `CannotListen` when the address is taken, not ours, or not allowed."""
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=GRACE.total_seconds(),
        keepalive_timeout=75.0,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise CannotListen(f"cannot listen on {host}:{port}: {why(error)}") from error
    bound = str(runner.addresses[0][0]), int(runner.addresses[0][1])
    name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return Listener(url=f"http://{name}:{bound[1]}", runner=runner)


def why(error: OSError) -> str:
    """Why an address could not be bound, and what to do about it."""
    if isinstance(error, socket.gaierror):
        return "the host name does not resolve; write an address such as 127.0.0.1 under server.listen"
    match error.errno:
        case errno.EADDRINUSE:
            return "the address is in use; is another watchdog running? If not, change server.listen"
        case errno.EACCES:
            return "this user may not bind the port; take one above 1023 under server.listen"
        case errno.EADDRNOTAVAIL:
            return _NOT_OURS
        case None if "could not bind on any address" in str(error):
            # Since Python 3.13 that is all asyncio says of an address that is not ours.
            return _NOT_OURS
        case _:
            return error.strerror or str(error)
