"""HTTP to an API server: sessions, what became of one attempt, and errors by what is certain afterwards.

aiohttp repeats GET, PUT and DELETE by itself when a kept connection turns out to be closed. A PUT that took effect and
was repeated is refused as a conflict, which would say that nothing was changed; so that is off, and who calls repeats
what only reads. This module must never put what was sent into a text.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from watchdog.cluster.access import Access
from watchdog.cluster.errors import ClusterError, NotSent, Refused, Silent, Unanswered

#: A whole list of a large namespace fits; more than this is no answer of an API server (bytes).
LARGEST: Final = 256 * 2**20
#: No line of a watch is longer (bytes): etcd takes 1.5 MiB an object.
_LINE: Final = 8 * 2**20
#: An asked-for pause is never longer than this (seconds), whatever stands in Retry-After.
_LONGEST_PAUSE: Final = 30.0


@dataclass(slots=True)
class Attempt:
    """How far one attempt came: without a connection nothing was sent."""

    method: str
    path: str
    connected: bool = False
    reused: bool = False
    answered: bool = False

    @property
    def what(self) -> str:
        """In words."""
        return f"{self.method} {self.path}"

    @property
    def cut_off(self) -> bool:
        """Whether a kept connection ended before the first byte: it may have been closed before we wrote."""
        return self.reused and not self.answered

    def late(self) -> ClusterError:
        """Its time is over."""
        if self.connected:
            return Unanswered(f"{self.what}: no answer in time")
        return NotSent(f"{self.what}: the API server cannot be reached in time")

    def failed(self, error: Exception) -> ClusterError:
        """What an exception of aiohttp means."""
        if isinstance(error, ClusterError):
            return error
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return NotSent(f"{self.what}: the proxy answers {error.status}")
        if isinstance(error, aiohttp.ClientSSLError):
            return Untrusted(f"{self.what}: the API server cannot be trusted: {error}")
        if isinstance(error, aiohttp.ClientConnectorError) or not self.connected:
            words = str(error) if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__
            return NotSent(f"{self.what}: the API server cannot be reached: {words}")
        if isinstance(error, TimeoutError):
            return Silent(f"{self.what}: nothing was heard for too long")
        return Unanswered(f"{self.what}: the connection broke: {type(error).__name__}")


class Untrusted(NotSent):
    """No connection, because of a certificate; authorities change."""


class _Status(msgspec.Struct, frozen=True, kw_only=True):
    """The `Status` object that explains an error."""

    message: str = ""
    reason: str = ""


def open_session(access: Access) -> aiohttp.ClientSession:
    """A session with any number of connections: every watch has its own."""
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(_connected)
    trace.on_connection_reuseconn.append(_reused)
    connector = aiohttp.TCPConnector(limit=0, ssl=access.ssl)
    # No `trust_env`: it reads ~/.netrc for every request. The environment's proxy is in `access` already.
    session = aiohttp.ClientSession(connector=connector, read_bufsize=_LINE, trace_configs=[trace])
    session._retry_connection = False  # noqa: SLF001 - there is no public way; a test tells when it is gone
    return session


async def _connected(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    context.trace_request_ctx.connected = True


async def _reused(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    context.trace_request_ctx.connected = context.trace_request_ctx.reused = True


async def close(session: aiohttp.ClientSession) -> None:
    """Without TLS's farewell, for which an API server that hangs would let us wait."""
    if session.connector is not None:
        await session.connector.close(abort_ssl=True)
    await session.close()
    await asyncio.sleep(0)


def cut_off(answer: aiohttp.ClientResponse) -> None:
    """End a stream that is not read any more at once, for the same reason."""
    connection = answer.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    answer.close()


async def whole(answer: aiohttp.ClientResponse) -> bytes:
    """A body to its end. Raises `Unanswered` when it is larger than any."""
    parts, size = [], 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > LARGEST:
            raise Unanswered(f"{answer.method} {answer.url.path}: the answer is too large")
        parts.append(part)
    return b"".join(parts)


def refusal(answer: aiohttp.ClientResponse, text: bytes) -> NotSent | Refused:
    """The error for an answer that is none. 429 is told apart: nothing was done, and a time may be named."""
    status = _Status()
    with contextlib.suppress(msgspec.MsgspecError):
        status = msgspec.json.decode(text, type=_Status)
    what = f"{answer.method} {answer.url.path}"
    told = status.message or answer.reason or "no reason given"
    if answer.status == 429:
        pause = min(_seconds(answer.headers.get("Retry-After", "")) or 1.0, _LONGEST_PAUSE)
        return NotSent(f"{what}: the API server is overloaded: {told}", retry_after=pause)
    return Refused(f"{what}: {answer.status}: {told}", status=answer.status, reason=status.reason)


def address(access: Access, path: str, query: dict[str, str]) -> URL:
    """Where a request goes."""
    url = URL(access.url + path, encoded=True)
    return url.with_query(query) if query else url


def _seconds(text: str) -> float:
    """Retry-After in seconds; API servers send no dates."""
    return float(text) if text.isascii() and text.isdigit() else 0.0
