"""One call to PagerDuty through its own library, which never tries again, never sleeps and never outlives our patience.

Why the library, although it knows no event loop: it is PagerDuty's own and knows the shape of their APIs. What it would
do by itself (wait and repeat a 429 for ever, 5xx and broken connections several times) is cut off where its own hooks
are: `httpx2` shows us the answer before the library sees it, and no network error is tried again. Each call has a
thread that ends with it. One that we give up has its connection torn down under it, so it ends, too; where even that
does not help (a resolver that hangs), `AT_ONCE` of them are all there will be, and the process can end without them.

This module must never let a credential into a reason: of an error only its kind and its number are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
from pagerduty import ApiClient, EventsApiV2Client, RestApiV2Client
from pagerduty.errors import Error

from watchdog import __version__
from watchdog.aio.clock import Clock
from watchdog.aio.thread import Crowded, Threads
from watchdog.channels.interface import Later, Unclear
from watchdog.channels.posting import Reply, named, retry_after
from watchdog.core.units import format_duration

#: Calls of one channel under way, those included that were given up and hang.
AT_ONCE = 8
#: How much of an answer is read. A page of incidents has some 10 KiB for each.
_BODY_READ = 2**20

_Made = Callable[["_Call"], object]


class _Answer(Exception):
    """What came back, before the library could look at it."""

    def __init__(self, status: int, wish: str, text: str) -> None:
        super().__init__(status)
        self.status, self.wish, self.text = status, wish, text


class _Call:
    """How far one call came, and how to end it from another thread."""

    def __init__(self) -> None:
        self.connected = False
        self._given_up = False
        self._line: socket.socket | None = None
        self._lock = threading.Lock()

    def hooks(self) -> dict[str, list[Callable[..., Any]]]:
        """What `httpx2` calls on the way."""
        return {"request": [self._asked], "response": [self._answered]}

    def give_up(self) -> None:
        """Tear the connection down: what waits on it ends at once. From any thread; never blocks."""
        with self._lock:
            self._given_up = True
            if self._line is not None:
                with contextlib.suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)

    def over(self) -> None:
        """The call has ended."""
        with self._lock:
            line, self._line = self._line, None
        if line is not None:
            line.close()

    def _asked(self, request: httpx2.Request) -> None:
        request.extensions["trace"] = self._trace

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            stream = info["return_value"]
            with self._lock:
                if not self._given_up:
                    # A second handle: the first one is given away when TLS begins.
                    self._line = stream.get_extra_info("socket").dup()
                    return
            stream.close()
            raise ConnectionAbortedError
        if event == "connection.start_tls.complete":
            self.connected = True

    def _answered(self, response: httpx2.Response) -> None:
        body = bytearray()
        with contextlib.suppress(httpx2.HTTPError):  # the status counts, also when the text breaks off
            for chunk in response.iter_raw():
                body += chunk
                if len(body) >= _BODY_READ or self._given_up:
                    break
        wish = response.headers.get("Retry-After") or response.headers.get("ratelimit-reset") or ""
        raise _Answer(response.status_code, wish, bytes(body[:_BODY_READ]).decode("utf-8", "replace"))


class _Somewhere(ApiClient):
    """A client that may also be told of a proxy on this machine, which needs no TLS: the settings see to that."""

    @property
    def url(self) -> str:
        return self._url or ""

    @url.setter
    def url(self, new_base_url: str) -> None:
        self._url = new_base_url


class _Events(_Somewhere, EventsApiV2Client):
    """The library's client, which tries once."""

    max_network_attempts = 0
    user_agent = f"rollback-watchdog/{__version__}"


class _Rest(_Somewhere, RestApiV2Client):
    """The same of the other API."""

    max_network_attempts = 0
    user_agent = f"rollback-watchdog/{__version__}"


class Calls:
    """Calls of one channel. Every method tries once, never raises for an outside fault and is safe to cancel."""

    def __init__(self, *, timeout: timedelta, tls: ssl.SSLContext, clock: Clock) -> None:
        self._timeout = timeout
        self._patience = math.ceil(timeout.total_seconds())  # of each step; `_once` has the deadline of all
        self._tls = tls
        self._clock = clock
        self._threads = Threads("pagerduty", limit=AT_ONCE)

    async def event(
        self, url: str, routing_key: str, action: str, key: str, body: dict[str, Any]
    ) -> Reply | Later | Unclear:
        """`trigger`, `acknowledge` or `resolve` the alert with this key."""

        def call(made: _Call) -> object:
            with _Events(routing_key, base_url=url, **self._given(made)) as client:
                client.timeout = self._patience
                return client.send_event(action, dedup_key=key, **body)

        return await self._once(call)

    async def change(self, url: str, routing_key: str, body: dict[str, Any]) -> Reply | Later | Unclear:
        """Note a change: nobody is woken."""

        def call(made: _Call) -> object:
            with _Events(routing_key, base_url=url, **self._given(made)) as client:
                client.timeout = self._patience
                return client.send_change_event(**body)

        return await self._once(call)

    async def get(
        self, url: str, token: str, path: str, params: dict[str, str | list[str]] | None = None
    ) -> Reply | Later | Unclear:
        """Read from the REST API."""

        def call(made: _Call) -> object:
            with _Rest(token, base_url=url, **self._given(made)) as client:
                client.timeout = self._patience
                return client.get(path, params=params)

        return await self._once(call)

    def _given(self, made: _Call) -> dict[str, Any]:
        return {
            "verify": self._tls,
            "trust_env": False,
            "event_hooks": made.hooks(),
            "headers": {"Accept-Encoding": "identity", "Connection": "close"},
            "limits": httpx2.Limits(max_keepalive_connections=0),
        }

    async def _once(self, work: _Made) -> Reply | Later | Unclear:
        made = _Call()

        def body() -> None:
            try:
                work(made)
            finally:
                made.over()

        fault = "the library answered by itself"
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                await self._threads.run(body, give_up=made.give_up)
        except _Answer as answer:
            after = retry_after(answer.wish, now=self._clock.now())
            return Reply(status=answer.status, text=answer.text, after=after)
        except Crowded:
            return Later(reason=f"{self._threads.busy} earlier calls still hang")
        except TimeoutError:
            fault = f"nothing within {format_duration(self._timeout)}"
        except (Error, httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            fault = named(_innermost(error))
        if made.connected:
            return Unclear(reason=f"sent, but no answer: {fault}")
        return Later(reason=f"no connection: {fault}")


def _innermost(error: Exception) -> Exception:
    """What the system said, where it said something: libraries wrap it several times."""
    inner: BaseException | None = error
    last = error
    while inner is not None:
        if isinstance(inner, OSError):
            return inner
        if isinstance(inner, Exception):
            last = inner
        inner = inner.__cause__ or inner.__context__
    return last
