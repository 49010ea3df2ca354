"""One connection pool to a Kubernetes API server: who we are, how long a call may take, what is certain afterwards.

kubernetes-asyncio finds the way in (kubeconfig, exec plugins, service account, client certificates, proxies); bodies
are JSON that callers decode themselves, because its models take longer to build than the API server takes to answer.
This module must never repeat a write that may have happened, nor know what an object means.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from watchdog.aio.clock import Clock, SystemClock
from watchdog.cluster.access import Access, find_access
from watchdog.cluster.errors import ClusterError, NotSent, Refused, Unanswered
from watchdog.cluster.settings import ClusterSettings

MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
JSON: Final = "application/json"

#: A whole list of a large namespace fits; more than this is no answer of an API server (bytes).
_LARGEST: Final = 256 * 2**20
#: An asked-for pause is never longer than this (seconds), whatever stands in Retry-After.
_LONGEST_PAUSE: Final = 30.0
#: No line of a watch is longer (bytes): etcd takes 1.5 MiB an object.
_LINE: Final = 8 * 2**20


class _Status(msgspec.Struct, frozen=True, kw_only=True):
    """The `Status` object that explains an error."""

    message: str = ""
    reason: str = ""


class Cluster:
    """Talks to one API server. Opens nothing before the first call; all calls are safe to cancel.

    A call that was answered 429 is repeated after what Retry-After says as long as its time allows: it was not done.
    A 401 is repeated once with the credentials read anew: tokens rotate.
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
        self._find = find
        self._access: Access | None = None
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        self._held_until = 0.0
        self._closed = False
        #: Calls made and bytes received so far, watches included: what idling costs.
        self.calls = 0
        self.received = 0
        #: When the API server last said anything (monotonic seconds).
        self.heard_at = self._clock.monotonic()

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
        session, access = await self._open()
        timeout = aiohttp.ClientTimeout(
            total=None,
            connect=self.settings.timeout.total_seconds(),
            sock_read=silent_for.total_seconds(),
        )
        self.calls += 1
        try:
            async with session.get(
                self._url(access, path, {**query, "watch": "1"}),
                headers=await access.headers(),
                timeout=timeout,
                **access.extra,
            ) as answer:
                if answer.status >= 400:
                    await self._raise(answer, await _whole(answer))
                self.heard_at = self._clock.monotonic()
                if opened is not None:
                    opened()
                try:
                    async for line in answer.content:
                        self.heard_at = self._clock.monotonic()
                        self.received += len(line)
                        if line.strip():
                            yield line
                finally:
                    _cut_off(answer)
        except ClusterError:
            raise
        except Exception as error:
            raise self._explain(error, "GET", path) from error

    async def aclose(self) -> None:
        """Close connections. Idempotent, never raises."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await _close(session)

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
        limit = self.settings.timeout if timeout is None else timeout
        until = self._clock.monotonic() + limit.total_seconds()
        data = None if body is None else msgspec.json.encode(body)
        renewed = False
        while True:
            await self._wait(until)
            left = until - self._clock.monotonic()
            try:
                return await self._once(method, path, query, data, content, left)
            except Refused as error:
                if error.status != 401 or renewed:
                    raise
                renewed = True
                await self._renew()
            except NotSent as error:
                if not error.retry_after or error.retry_after > until - self._clock.monotonic():
                    raise

    async def _wait(self, until: float) -> None:
        """Wait as long as the API server asked for; not at all when that is longer than the call may take."""
        pause = self._held_until - self._clock.monotonic()
        if pause <= 0:
            return
        if self._held_until > until:
            raise NotSent(f"the API server is overloaded and asked to wait {pause:.0f} s", retry_after=pause)
        await self._clock.sleep(pause)

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        content: str,
        seconds: float,
    ) -> bytes:
        if seconds <= 0:
            raise NotSent(f"{method} {path}: no time left to ask")
        session, access = await self._open()
        headers = await access.headers()
        if data is not None:
            headers["Content-Type"] = content
        self.calls += 1
        try:
            async with session.request(
                method,
                self._url(access, path, query or {}),
                data=data,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
                **access.extra,
            ) as answer:
                text = await _whole(answer)
        except ClusterError:
            raise
        except Exception as error:
            raise self._explain(error, method, path) from error
        self.received += len(text)
        self.heard_at = self._clock.monotonic()
        if answer.status >= 300:
            await self._raise(answer, text)
        return text

    async def _open(self) -> tuple[aiohttp.ClientSession, Access]:
        async with self._opening:
            if self._closed:
                raise NotSent("the connection to the cluster was closed")
            if self._access is None:
                self._access = await self._found()
            if self._session is None:
                connector = aiohttp.TCPConnector(limit=0, ssl=self._access.ssl)
                self._session = aiohttp.ClientSession(
                    connector=connector, trust_env=True, read_bufsize=_LINE, auto_decompress=True
                )
            return self._session, self._access

    async def _found(self) -> Access:
        try:
            return await self._find(self.settings)
        except ClusterError:
            raise
        except Exception as error:
            raise NotSent(f"no way into the cluster: {type(error).__name__}: {error}") from error

    async def _renew(self) -> None:
        """Read the credentials anew, and connect anew with them: a client certificate belongs to the connection."""
        async with self._opening:
            found = await self._found()
            old, self._session, self._access = self._session, None, found
        if old is not None:
            # What is under way on the old connections ends as it would on any closed one; watches start again.
            await _close(old)

    @staticmethod
    def _url(access: Access, path: str, query: Mapping[str, str]) -> URL:
        return (
            URL(access.url + path, encoded=True).with_query(query)
            if query
            else URL(access.url + path, encoded=True)
        )

    async def _raise(self, answer: aiohttp.ClientResponse, text: bytes) -> None:
        """The error for an answer that is none. 429 is told apart: nothing was done, and a time may be named."""
        status = _status(text)
        what = f"{answer.method} {answer.url.path}"
        told = status.message or answer.reason or "no reason given"
        if answer.status == 429:
            pause = min(_seconds(answer.headers.get("Retry-After", "")) or 1.0, _LONGEST_PAUSE)
            self._held_until = max(self._held_until, self._clock.monotonic() + pause)
            raise NotSent(f"{what}: the API server is overloaded: {told}", retry_after=pause)
        raise Refused(f"{what}: {answer.status}: {told}", status=answer.status, reason=status.reason)

    @staticmethod
    def _explain(error: Exception, method: str, path: str) -> ClusterError:
        """What a failed call means: before a connection there was nothing, after that nobody knows."""
        what = f"{method} {path}"
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return NotSent(f"{what}: the API server cannot be reached: {error}")
        if isinstance(error, TimeoutError):
            return Unanswered(f"{what}: no answer in time")
        return Unanswered(f"{what}: {type(error).__name__}: {error}")


async def _close(session: aiohttp.ClientSession) -> None:
    """Without TLS's farewell, for which an API server that hangs would let us wait."""
    if session.connector is not None:
        await session.connector.close(abort_ssl=True)
    await session.close()
    await asyncio.sleep(0)


def _cut_off(answer: aiohttp.ClientResponse) -> None:
    """End a stream that is not read any more at once, for the same reason."""
    connection = answer.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    text = await answer.content.read(_LARGEST + 1) if answer.content.at_eof() else await answer.read()
    if len(text) > _LARGEST:
        raise Unanswered(f"{answer.method} {answer.url.path}: the answer is too large")
    return text


def _status(text: bytes) -> _Status:
    with contextlib.suppress(msgspec.MsgspecError):
        return msgspec.json.decode(text, type=_Status)
    return _Status()


def _seconds(text: str) -> float:
    """Retry-After in seconds; API servers send no dates."""
    return float(text) if text.isascii() and text.isdigit() else 0.0


def in_a_pod(environment: Mapping[str, str] | None = None) -> bool:
    """Whether this process has a service account of a cluster."""
    found = os.environ if environment is None else environment
    return "KUBERNETES_SERVICE_HOST" in found


def own_namespace(path: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")) -> str | None:
    """The namespace of the pod this runs in; `None` outside of a cluster."""
    try:
        return path.read_text("utf-8").strip() or None
    except OSError:
        return None
