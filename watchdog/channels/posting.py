"""One HTTP POST to a receiver of messages, and an honest answer about how far it came.

What every channel that posts must get right once: one deadline over all of it, a connection of its own, certificates
that are checked, no redirect followed, nothing tried twice, and "certainly not delivered" told from "perhaps". This
module must never put a secret, the address or a header's value into a reason, a log or a repr.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from pydantic import SecretStr
from yarl import URL

from watchdog.aio.clock import Clock
from watchdog.channels.interface import Delivered, Delivery, Later, Refused, Unclear
from watchdog.core.errors import ConfigError
from watchdog.core.units import format_duration
from watchdog.telemetry.redact import Mask, one_line, redact, register_secret

#: A receiver may ask us to wait this long, not longer: people want to know.
LONGEST_WAIT = timedelta(hours=1)

_BODY_READ = 16 * 1024
_TEXT_SHOWN = 200
_RETRIED = {408, 425, 429}


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the receiver said. `text` is raw, from outside: at most 16 KiB, less where it broke off.

    `after` is its wish for time (`Retry-After`), where it has one that can be understood.
    """

    status: int
    text: str = ""
    after: timedelta | None = None


class _Exchange:
    """How far one attempt came: what decides between "certainly not delivered" and "perhaps"."""

    def __init__(self) -> None:
        self.connected = False
        self.status = 0
        self.wish = ""
        self.body = bytearray()


class Posting:
    """Tries once to POST. A connection lives for one request: a kept one would go stale.

    `mask` hides what must not come back in an error's text (`mask_of`). With `reads` also the text of a success is
    read; else it is not waited for. `method` is for those who ask whether a token is right.
    """

    def __init__(
        self,
        url: URL,
        *,
        timeout: timedelta,
        tls: ssl.SSLContext,
        mask: Mask,
        clock: Clock,
        reads: bool = False,
        method: str = "POST",
    ) -> None:
        self._url = url
        self._method = method
        self._timeout = timeout
        self._tls = tls
        self._mask = mask
        self._clock = clock
        self._reads = reads
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def once(self, body: bytes, headers: Mapping[str, str]) -> Reply | Later | Unclear:
        """Post `body`. Never raises for an outside fault, safe to cancel, done within the timeout."""
        if self._closed:
            return Later(reason="the channel is being closed")
        exchange = _Exchange()
        fault = ""
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                await self._post(exchange, body, headers)
        except TimeoutError:
            fault = f"nothing within {format_duration(self._timeout)}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            fault = self.shown(named(error))
        if exchange.status:  # the answer counts, also when its text broke off
            return Reply(
                status=exchange.status,
                text=exchange.body.decode("utf-8", "replace"),
                after=retry_after(exchange.wish, now=self._clock.now()),
            )
        if exchange.connected:
            return Unclear(reason=f"sent, but no answer: {fault}")
        return Later(reason=f"no connection: {fault}")

    def judge(self, reply: Reply) -> Delivery:
        """What a status means where a receiver keeps to HTTP: 408, 425, 429 and 5xx pass, redirects never help."""
        status, text = reply.status, self.shown(reply.text)
        if 200 <= status < 300:
            return Delivered()
        reason = f"answered {status}" + (f": {text}" if text else "")
        if status in _RETRIED or status >= 500:
            return Later(reason=reason, after=reply.after)
        if 300 <= status < 400:
            return Refused(reason=f"answered {status}; redirects are not followed, write the final address")
        return Refused(reason=reason)

    async def inspect(self) -> str | None:
        """Connect (with TLS where the address says so) and hang up; nothing is sent. Never raises."""
        host, port = self._url.host, self._url.port
        assert host is not None  # noqa: S101 - the settings have checked it
        tls = self._tls if self._url.scheme == "https" else None
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                _, writer = await asyncio.open_connection(host, port, ssl=tls)
                writer.transport.abort()
        except TimeoutError:
            return f"no connection: nothing within {format_duration(self._timeout)}"
        except (OSError, ValueError) as error:
            return f"no connection: {self.shown(named(error))}"
        return None

    async def aclose(self) -> None:
        """Close connections. Idempotent, never raises."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def shown(self, text: str) -> str:
        """Text from outside as it may be shown."""
        return harmless(text, self._mask)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(_connected)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # `once` has the one deadline
                trace_configs=[trace],
                auto_decompress=False,
            )
        return self._session

    async def _post(self, exchange: _Exchange, body: bytes, headers: Mapping[str, str]) -> None:
        async with self._open().request(
            self._method,
            self._url,
            data=body or None,
            headers=headers,
            allow_redirects=False,
            ssl=self._tls,
            trace_request_ctx=exchange,
        ) as response:
            exchange.status = response.status
            exchange.wish = response.headers.get("Retry-After", "")
            if 200 <= response.status < 300 and not self._reads:
                return
            while left := _BODY_READ - len(exchange.body):
                chunk = await response.content.read(left)
                if not chunk:
                    return
                exchange.body += chunk


def retry_after(text: str, *, now: datetime) -> timedelta | None:
    """What a `Retry-After` header asks for (seconds or an HTTP date), between nothing and `LONGEST_WAIT`.

    `None` when it asks for nothing that can be understood.
    """
    wish = text.strip()
    if wish.isascii() and wish.isdecimal():
        return min(timedelta(seconds=int(wish[:9])), LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(wish)
    except (ValueError, IndexError, OverflowError):
        return None
    until = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
    return min(max(until, timedelta()), LONGEST_WAIT)


def usable(address: str) -> bool:
    """Whether something can be posted there: it has a host, and a port that exists."""
    try:
        url = URL(address)
        return url.scheme in {"http", "https"} and bool(url.host) and url.port is not None
    except ValueError:
        return False


def mask_of(url: URL, secrets: Iterable[SecretStr | str | None] = ()) -> Mask:
    """What must not come back in an error's text. True secrets are masked in the whole process as well."""
    mask = Mask()
    for secret in (*secrets, url.password):
        if secret is not None:
            mask.add(reveal(secret))
        if isinstance(secret, SecretStr):
            register_secret(reveal(secret))
    register_secret(url.password or "")
    for part in (url.raw_query_string, *url.query.values(), url.user or ""):
        mask.add(part)
    return mask


def trust(ca_file: Path | None, *, name: str) -> ssl.SSLContext:
    """The authorities of channel `name`. Raises `ConfigError` for a file that cannot be used."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"channel {name}: ca_file {ca_file} cannot be used ({reason})") from error


def harmless(text: str, mask: Mask) -> str:
    """Text from outside as it may be shown: masked before it is cut, so that no half secret stays."""
    return one_line(redact(mask.hide(text)), limit=_TEXT_SHOWN)


def named(error: Exception) -> str:
    """An error in words that cannot hold the address: its type, and what the system said."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    said = inner.strerror if isinstance(inner, OSError) else None
    if isinstance(inner, ConnectionError) and inner.errno:
        said = os.strerror(inner.errno)  # asyncio writes the address into its own text
    return f"{type(inner).__name__}: {said}" if said else type(error).__name__


def reveal(value: str | SecretStr) -> str:
    """The text of what may be a secret."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


async def _connected(_session: aiohttp.ClientSession, context: Any, _params: Any) -> None:
    context.trace_request_ctx.connected = True
