"""The listener: binds an application to an address, and lets it go again within a time budget."""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from aiohttp import web

from watchdog.api.problem import HEADERS, Problem
from watchdog.core.errors import WatchdogError

#: How long running requests may take after the stop; event streams end at once.
GRACE = timedelta(seconds=5)
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
_NOT_OURS = "this machine does not have that address; correct server.listen"


class CannotListen(WatchdogError):
    """The address could not be bound; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A bound application. `url` has the port that was taken, also when 0 was asked for."""

    url: str
    runner: web.AppRunner
    server: asyncio.Server

    async def aclose(self) -> None:
        """Stop taking requests, end streams, wait for the rest within `GRACE`. Idempotent."""
        self.server.close()
        await self.runner.cleanup()


class _Connection(web.RequestHandler):
    """One connection, which answers what never reaches the application the way the application would."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):
            raise exc  # The client went away; there is nobody to tell, and nothing to log.
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; another one cannot be sent")
        if status >= 500:
            _log.error("api_connection_failed", exc_info=exc)
            detail = "this is a fault of the watchdog; its log has the details"
        else:
            # What was received is not repeated: it may hold a secret.
            detail = "this is not a request that HTTP allows"
        response = Problem(status, detail, headers=HEADERS).response()
        response.force_close()
        return response


async def listen(app: web.Application, *, host: str, port: int) -> Listener:
    """Serve `app`. Raises `CannotListen` when the address is taken, not ours, or not allowed."""
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=GRACE.total_seconds())
    await runner.setup()
    manager = runner.server
    if manager is None:
        raise RuntimeError("a runner that is set up has a server")

    settings: dict[str, Any] = {"access_log": None, "keepalive_timeout": 75.0}

    def connection() -> _Connection:
        return _Connection(manager, loop=loop, **settings)

    try:
        server = await loop.create_server(connection, host, port, backlog=128)
    except OSError as error:
        await runner.cleanup()
        raise CannotListen(f"cannot listen on {host}:{port}: {why(error)}") from error
    bound = server.sockets[0].getsockname()
    name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return Listener(url=f"http://{name}:{bound[1]}", runner=runner, server=server)


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
