"""One bounded HTTP exchange whose every outcome is a value: a page, or why there is none.

For reading only (queries, metrics pages): an exchange whose kept connection was closed under it is tried once more.
Redirects are never followed, proxies of the environment never used. This module must never raise for what the
outside does, read more than it was told, answer later than it was told, or put an address's query into a text.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import msgspec
from yarl import URL

from watchdog.core.observation import Failed, FailReason

_CHUNK = 2**16


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, of any status. `body` is decompressed; `location` is where a redirect points, without its query.

    `framed` says whether the end of the body is certain: not where only the closed connection ended it.
    """

    status: int
    body: bytes
    content_type: str = ""
    location: str = ""
    framed: bool = True


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch; `form` makes the body of a POST, `params` goes into the address."""

    url: URL
    method: str = "GET"
    form: Mapping[str, str] | None = None
    params: Mapping[str, str] | None = None


def open_session(
    *, headers: Mapping[str, str], ca_file: Path | None, connections: int
) -> aiohttp.ClientSession:
    """A session for `fetch`, inside a running loop. Raises `OSError` or `ssl.SSLError` for an unusable `ca_file`."""
    # The system's authorities take 25 ms and more to read; aiohttp has them already, for everybody.
    trust = True if ca_file is None else ssl.create_default_context(cafile=ca_file)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=trust),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "rollback-watchdog", **headers},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
    )


async def fetch(
    session: aiohttp.ClientSession, wanted: Wanted, *, timeout: float, limit: int
) -> Page | Failed:
    """Fetch within `timeout` seconds, at most `limit` bytes of body. Never raises for an outside fault.

    `UNREACHABLE`: no connection, a certificate that is not trusted, a connection closed without an answer. `TIMEOUT`.
    `MALFORMED`: not HTTP, a body cut short or too large. Any status is a `Page`. Safe to cancel, idempotent.
    """
    try:
        async with asyncio.timeout(timeout):
            try:
                return await _exchange(session, wanted, limit)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                return await _exchange(session, wanted, limit)
    except TimeoutError:
        return Failed(reason=FailReason.TIMEOUT, detail=f"no complete answer within {timeout:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return _explained(error, wanted.url)


async def _exchange(session: aiohttp.ClientSession, wanted: Wanted, limit: int) -> Page | Failed:
    async with session.request(
        wanted.method, wanted.url, params=wanted.params, data=wanted.form, allow_redirects=False
    ) as answer:
        body = bytearray()
        async for chunk in answer.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > limit:
                answer.close()
                return Failed(reason=FailReason.MALFORMED, detail=f"the answer is larger than {limit} bytes")
        return Page(
            status=answer.status,
            body=bytes(body),
            content_type=answer.content_type,
            location=_target(answer.headers.get("Location", "")),
            framed="Content-Length" in answer.headers or "Transfer-Encoding" in answer.headers,
        )


def _explained(error: Exception, url: URL) -> Failed:
    """The words for a fault. Built from its type and number; what the other side wrote is not repeated."""
    place = f"{url.host_subcomponent}:{url.port}"
    match error:
        case aiohttp.ClientConnectorDNSError():
            reason, detail = FailReason.UNREACHABLE, f"the name {url.host} cannot be resolved"
        case aiohttp.ClientConnectorCertificateError():
            cause = getattr(error.certificate_error, "verify_message", "") or "it cannot be verified"
            reason, detail = FailReason.UNREACHABLE, f"the certificate of {place} is not trusted: {cause}"
        case aiohttp.ClientConnectorSSLError():  # its number is OpenSSL's own, not the system's
            reason, detail = FailReason.UNREACHABLE, f"no TLS with {place}"
        case aiohttp.ClientConnectorError():
            cause = os.strerror(error.os_error.errno) if error.os_error.errno else "no address answers"
            reason, detail = FailReason.UNREACHABLE, f"cannot connect to {place}: {cause}"
        case aiohttp.ClientPayloadError():
            reason, detail = FailReason.MALFORMED, "the answer was cut short"
        case aiohttp.ClientConnectionError() | OSError():
            reason, detail = FailReason.UNREACHABLE, f"{place} closed the connection without an answer"
        case aiohttp.ClientResponseError():
            reason, detail = FailReason.MALFORMED, f"{place} does not speak HTTP"
        case _:
            reason, detail = FailReason.MALFORMED, f"{place} cannot be asked: {type(error).__name__}"
    return Failed(reason=reason, detail=detail)


def _target(location: str) -> str:
    try:
        return str(URL(location).with_user(None).with_query(None).with_fragment(None)) if location else ""
    except ValueError:
        return ""
