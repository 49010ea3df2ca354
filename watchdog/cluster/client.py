"""One connection pool to a Kubernetes API server: who we are, how long a call may take, what is certain afterwards.

kubernetes-asyncio finds the way in (kubeconfig, exec plugins, service account, client certificates, proxies); bodies
are JSON that callers decode themselves, because its models take longer to build than the API server takes to answer.
This module must never repeat a write that may have happened, nor know what an object means.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import aiohttp
import msgspec

from watchdog.aio.clock import Clock, SystemClock
from watchdog.cluster.access import Access, find_access
from watchdog.cluster.entrance import Entrance, Way
from watchdog.cluster.errors import NotSent, Refused, Unanswered
from watchdog.cluster.settings import ClusterSettings
from watchdog.cluster.transport import Attempt, Untrusted, address, cut_off, refusal, whole

MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
JSON: Final = "application/json"


class Cluster:
    """Talks to one API server. Opens nothing before the first call; all calls are safe to cancel.

    A call that was answered 429 is repeated after what Retry-After says as long as its time allows: it was not done.
    A 401 is repeated once with the credentials read anew: tokens rotate. So is a connection that no authority vouches
    for. A GET is repeated once on another connection when a kept one was closed meanwhile; writes never are.
    """

    def __init__(
        self,
        settings: ClusterSettings | None = None,
        *,
        clock: Clock | None = None,
        find: Callable[[ClusterSettings], Awaitable[Access]] = find_access,
    ) -> None:
        """`find` finds credentials and address; it is called at the first call, and again when they were refused."""
        self.settings = settings or ClusterSettings()
        self._clock = clock or SystemClock()
        self._entrance = Entrance(lambda: find(self.settings), clock=self._clock)
        #: Until when reads, and writes, are held back because the API server asked for it.
        self._held_until = {False: 0.0, True: 0.0}
        #: Calls made and bytes received so far, watches included: what idling costs.
        self.calls = 0
        self.received = 0
        #: When the API server last said anything (monotonic seconds).
        self.heard_at = float("-inf")

    async def get(
        self, path: str, *, query: Mapping[str, str] | None = None, timeout: timedelta | None = None
    ) -> bytes:
        """The body of an answer to GET. Raises `ClusterError`."""
        return await self._call("GET", path, query=query, timeout=timeout)

    async def patch(
        self,
        path: str,
        body: Mapping[str, Any] | list[dict[str, Any]],
        *,
        query: Mapping[str, str] | None = None,
        timeout: timedelta | None = None,
    ) -> bytes:
        """Patch an object: a mapping as a JSON Merge Patch (RFC 7386), a list as a JSON Patch (RFC 6902).

        Answers the object as it is then. Raises `NotSent` or `Refused` (below 500) when nothing was changed, else
        `Unanswered` or `Refused` with `uncertain`.
        """
        kind = JSON_PATCH if isinstance(body, list) else MERGE_PATCH
        return await self._call("PATCH", path, query=query, body=body, content=kind, timeout=timeout)

    async def put(self, path: str, body: Mapping[str, Any], *, timeout: timedelta | None = None) -> bytes:
        """Replace an object; its `metadata.resourceVersion` is the precondition. Errors as for `patch`."""
        return await self._call("PUT", path, body=body, timeout=timeout)

    async def post(self, path: str, body: Mapping[str, Any], *, timeout: timedelta | None = None) -> bytes:
        """Create an object. `Refused` with `conflict` when there is one of that name. Errors as for `patch`."""
        return await self._call("POST", path, body=body, timeout=timeout)

    async def delete(self, path: str, *, grace: int | None = None, timeout: timedelta | None = None) -> bytes:
        """Delete an object; `grace` are seconds a pod may take. Errors as for `patch`."""
        query = {} if grace is None else {"gracePeriodSeconds": str(grace)}
        return await self._call("DELETE", path, query=query, timeout=timeout)

    async def watch(
        self,
        path: str,
        *,
        query: Mapping[str, str],
        silent_for: timedelta,
        opened: Callable[[], None] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch, each one event as JSON, until the API server ends it. Raises `ClusterError`.

        To be read inside `contextlib.aclosing`, or the connection stays open until the garbage is collected.

        `silent_for`: nothing for so long is `Unanswered`; the connection is dead, or bookmarks are off. `opened` is
        called when the API server has begun to answer.
        """
        attempt = Attempt("GET", path)
        answer = await self._begin(attempt, {**query, "watch": "true"}, silent_for)
        try:
            if opened is not None:
                opened()
            async for line in answer.content:
                self._heard(len(line))
                if line.strip():
                    yield line
        except (aiohttp.ClientError, OSError, ValueError, aiohttp.http.HttpProcessingError) as error:
            raise attempt.failed(error) from error
        finally:
            cut_off(answer)

    async def aclose(self) -> None:
        """Close connections. Idempotent, never raises."""
        await self._entrance.aclose()

    async def _begin(
        self, attempt: Attempt, query: dict[str, str], silent_for: timedelta
    ) -> aiohttp.ClientResponse:
        """The answer to a watch, its body still to come; within the time of a call."""
        timeout = aiohttp.ClientTimeout(total=None, sock_read=silent_for.total_seconds())
        limit = self.settings.timeout.total_seconds()
        try:
            async with asyncio.timeout(limit):
                while True:
                    await self._wait(self._clock.monotonic() + limit, write=False)
                    way = await self._entrance.open()
                    answer = await self._send(attempt, way, query, timeout=timeout)
                    if answer.status < 300:
                        self._heard(0)
                        return answer
                    try:
                        await self._refuse(answer, write=False)
                    except Refused as error:
                        if error.status != 401 or not await self._entrance.renew(way):
                            raise
        except TimeoutError:
            raise attempt.late() from None

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | list[dict[str, Any]] | None = None,
        content: str = JSON,
        timeout: timedelta | None = None,
    ) -> bytes:
        limit = (self.settings.timeout if timeout is None else timeout).total_seconds()
        until = self._clock.monotonic() + limit
        data = None if body is None else msgspec.json.encode(body)
        more = {} if data is None else {"data": data, "content": content}
        renewed = repeated = False
        attempt = Attempt(method, path)
        try:
            async with asyncio.timeout(limit):
                while True:
                    await self._wait(until, write=method != "GET")
                    way = await self._entrance.open()
                    attempt = Attempt(method, path)
                    try:
                        return await self._once(attempt, way, dict(query or {}), **more)
                    except (Refused, Untrusted) as error:
                        refused = isinstance(error, Untrusted) or error.status == 401
                        if not refused or renewed or not await self._entrance.renew(way):
                            raise
                        renewed = True
                    except NotSent as error:
                        if not error.retry_after or error.retry_after > until - self._clock.monotonic():
                            raise
                    except Unanswered:
                        if method != "GET" or repeated or not attempt.cut_off:
                            raise
                        repeated = True
        except TimeoutError:
            raise attempt.late() from None

    async def _wait(self, until: float, *, write: bool) -> None:
        """Wait as long as the API server asked for; not at all when that is longer than the call may take.

        A list that it had enough of does not hold back the write that moves traffic.
        """
        pause = self._held_until[write] - self._clock.monotonic()
        if pause <= 0:
            return
        if self._held_until[write] > until:
            raise NotSent(f"the API server is overloaded and asked to wait {pause:.0f} s", retry_after=pause)
        await self._clock.sleep(pause)

    async def _once(self, attempt: Attempt, way: Way, query: dict[str, str], **more: Any) -> bytes:
        answer = await self._send(attempt, way, query, **more)
        try:
            if answer.status >= 300:
                await self._refuse(answer, write=attempt.method != "GET")
            text = await whole(answer)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise attempt.failed(error) from error
        finally:
            answer.release()
        self._heard(len(text))
        return text

    async def _send(
        self,
        attempt: Attempt,
        way: Way,
        query: dict[str, str],
        *,
        data: bytes | None = None,
        content: str = JSON,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        """The answer as far as its headers; the body is the caller's to read and release."""
        headers = await way.access.headers()
        if data is not None:
            headers["Content-Type"] = content
        self.calls += 1
        try:
            answer = await way.session.request(
                attempt.method,
                address(way.access, attempt.path, query),
                data=data,
                headers=headers,
                timeout=timeout or aiohttp.ClientTimeout(total=None),
                allow_redirects=False,
                trace_request_ctx=attempt,
                **way.access.extra,
            )
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            raise attempt.failed(error) from error
        attempt.answered = True
        return answer

    async def _refuse(self, answer: aiohttp.ClientResponse, *, write: bool) -> None:
        """Raise what an answer means that is none."""
        try:
            text = await whole(answer)
        except aiohttp.ClientError:
            text = b""  # the status says enough
        finally:
            answer.release()
        self._heard(len(text))
        error = refusal(answer, text)
        if isinstance(error, NotSent):
            held = self._clock.monotonic() + error.retry_after
            self._held_until[write] = max(self._held_until[write], held)
        raise error

    def _heard(self, size: int) -> None:
        self.received += size
        self.heard_at = self._clock.monotonic()
