"""Channel `webhook`: every message is POSTed as JSON to one address, signed so that receivers can trust it.

**The contract with receivers.** The body is one JSON object; fields are only ever added, never changed,
within `version` 1. Receivers ignore what they do not know:

    version          1
    key              stable over retries and restarts: the same key is the same message
    kind             what happened: incident_opened, rollback_completed, ... (`MessageKind`)
    severity         low, medium, high or critical
    headline         one sentence: the service, what is wrong, what was done
    created_at       RFC 3339, UTC
    service, environment, service_version        what it is about; "" where it is about none
    labels           the service's labels, an object of strings
    incident, rollback                           ids to ask the API for, or null
    facts            in order: [{"name": "...", "value": "..."}]
    next_step        the one thing to do next, or ""
    needs_human      whether somebody must do it
    runbook          an address, or null
    audit_head       hash of the newest audit record, hex
    text             all of it as plain text, for receivers that only show text (Mattermost and the like)

Headers: `Idempotency-Key`, the body's `key` (`sha256:HEX` of it unless it is ASCII and at most 255
characters); `X-Watchdog-Timestamp: UNIX_SECONDS`, the time of this attempt; and, when the channel has a
secret, `X-Watchdog-Signature: v1=HEX` with HMAC-SHA256(secret, timestamp + "." + raw body). `verify` is the
receiver's side. Answer 2xx when the message is kept: everything else is sent again (408, 425, 429, 5xx, no
answer) or given up (the rest, redirects too). Delivery is at least once.

This module must never put the secret, the address or a header's value into a reason, a log or a repr.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec
from pydantic import Field, SecretStr, field_validator
from yarl import URL

from watchdog import __version__
from watchdog.aio.clock import Clock
from watchdog.channels.interface import Chart, Delivered, Delivery, Later, Refused, Unclear
from watchdog.channels.rendering import as_text
from watchdog.core.errors import ConfigError
from watchdog.core.message import Message, Thread
from watchdog.core.units import format_duration
from watchdog.settings.model import HttpSettings, Secret
from watchdog.telemetry.redact import Mask, one_line, redact, register_secret

#: A receiver may ask us to wait this long, not longer: people want to know.
LONGEST_WAIT = timedelta(hours=1)
#: As other signed webhooks have it (Slack, Stripe): enough for clocks that differ, short against replay.
TOLERANCE = timedelta(minutes=5)

_OURS = {
    "content-type",
    "user-agent",
    "idempotency-key",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLAIN_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_BODY_READ = 16 * 1024
_TEXT_SHOWN = 200
_RETRIED = {408, 425, 429}


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The value of `X-Watchdog-Signature` for a raw body sent at `timestamp` (Unix seconds as text)."""
    mark = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={mark.hexdigest()}"


def verify(
    secret: str, timestamp: str, body: bytes, signature: str, now: datetime, tolerance: timedelta = TOLERANCE
) -> bool:
    """Whether a received message is ours and fresh. Constant time, never raises on what came over the wire.

    `body` is the raw body, before any decoding. `signature` may list several, separated by commas (a secret
    being replaced).
    """
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
        return False
    if abs(now.timestamp() - int(timestamp)) > tolerance.total_seconds():
        return False
    expected = sign(secret, timestamp, body).encode()
    given = [part.strip().encode(errors="replace") for part in signature.split(",")]
    return sum(hmac.compare_digest(expected, part) for part in given) > 0


class WebhookSettings(HttpSettings):
    """Where to send and how to prove that it was us."""

    # May hold a password or a token, so it is in no repr.
    url: str = Field(pattern=r"^https?://[^\s]+$", repr=False)
    """Address to POST to, `http://` or `https://`."""
    secret: Secret | None = None
    """Key of the signature (`!env NAME` or `!file PATH`). Left out, messages are not signed."""
    headers: dict[str, str | SecretStr] = Field(default={})
    """Headers to add, for instance `Authorization: !env HOOK_TOKEN`."""

    @field_validator("url")
    @classmethod
    def _has_a_host(cls, value: str) -> str:
        try:
            url = URL(value)
            usable = bool(url.host) and url.port is not None
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("is not an address such as https://example.com/hook")
        return value

    @field_validator("secret")
    @classmethod
    def _not_empty(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().strip():
            raise ValueError("is empty")
        return value

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, str | SecretStr]) -> dict[str, str | SecretStr]:
        for name, content in value.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a header's name")
            if name.lower() in _OURS or name.lower().startswith("x-watchdog-"):
                raise ValueError(f"{name} is set by the watchdog itself")
            if one_line(_reveal(content)) != _reveal(content).strip():
                raise ValueError(f"the value of {name} has control characters")
        return value


class _Exchange:
    """How far one attempt came: what decides between "certainly not delivered" and "perhaps"."""

    def __init__(self) -> None:
        self.connected = False
        self.status = 0
        self.wish = ""
        self.text = ""


class WebhookChannel:
    """Tries once to POST a message. A connection lives for one message: a kept one would go stale."""

    Settings = WebhookSettings

    def __init__(self, settings: WebhookSettings, *, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._url = URL(settings.url)
        self._timeout = settings.timeout
        self._secret = settings.secret
        self._headers = {key: _reveal(value) for key, value in settings.headers.items()}
        self._tls = _trust(settings, name)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._mask = _mask(settings, self._url)

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        if self._closed:
            return Later(reason="the channel is being closed")
        exchange = _Exchange()
        fault = ""
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                await self._post(exchange, encode(message, key=key), key)
        except TimeoutError:
            fault = f"nothing within {format_duration(self._timeout)}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            fault = self._shown(_named(error))
        if exchange.status:  # the answer counts, also when its text broke off
            return self._judge(exchange)
        if exchange.connected:
            return Unclear(reason=f"sent, but no answer: {fault}")
        return Later(reason=f"no connection: {fault}")

    async def inspect(self) -> str | None:
        """Connect (with TLS where the address says so) and hang up; nothing is sent."""
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
            return f"no connection: {self._shown(_named(error))}"
        return None

    async def aclose(self) -> None:
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(_connected)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # `send` has the one deadline
                trace_configs=[trace],
                auto_decompress=False,
            )
        return self._session

    def _signed(self, body: bytes, key: str) -> dict[str, str]:
        timestamp = str(int(self._clock.now().timestamp()))
        plain = _PLAIN_KEY.fullmatch(key) is not None
        headers = self._headers | {
            "Content-Type": "application/json",
            "User-Agent": f"rollback-watchdog/{__version__}",
            "Idempotency-Key": key if plain else f"sha256:{hashlib.sha256(_bytes(key)).hexdigest()}",
            "X-Watchdog-Timestamp": timestamp,
        }
        if self._secret is not None:
            headers["X-Watchdog-Signature"] = sign(self._secret.get_secret_value(), timestamp, body)
        return headers

    async def _post(self, exchange: _Exchange, body: bytes, key: str) -> None:
        async with self._open().post(
            self._url,
            data=body,
            headers=self._signed(body, key),
            allow_redirects=False,
            ssl=self._tls,
            trace_request_ctx=exchange,
        ) as response:
            exchange.status = response.status
            exchange.wish = response.headers.get("Retry-After", "")
            if not 200 <= response.status < 300:
                exchange.text = (await response.content.read(_BODY_READ)).decode("utf-8", "replace")

    def _judge(self, exchange: _Exchange) -> Delivery:
        status, text = exchange.status, self._shown(exchange.text)
        if 200 <= status < 300:
            return Delivered()
        reason = f"answered {status}" + (f": {text}" if text else "")
        if status in _RETRIED or status >= 500:
            return Later(reason=reason, after=retry_after(exchange.wish, now=self._clock.now()))
        if 300 <= status < 400:
            return Refused(reason=f"answered {status}; redirects are not followed, write the final address")
        return Refused(reason=reason)

    def _shown(self, text: str) -> str:
        """Text from outside as it may be shown: masked before it is cut, so that no half secret stays."""
        return one_line(redact(self._mask.hide(text)), limit=_TEXT_SHOWN)


def encode(message: Message, *, key: str) -> bytes:
    """The body as documented above. What UTF-8 cannot encode (lone surrogates) becomes a question mark."""
    body: dict[str, Any] = {
        "version": 1,
        "key": key,
        "kind": message.kind.value,
        "severity": message.severity.value,
        "headline": message.headline,
        "created_at": message.created_at.astimezone(UTC),
        "service": message.service,
        "environment": message.environment,
        "service_version": message.version,
        "labels": message.labels,
        "incident": message.incident,
        "rollback": message.rollback,
        "facts": [{"name": name, "value": value} for name, value in message.facts],
        "next_step": message.next_step,
        "needs_human": message.needs_human,
        "runbook": message.runbook,
        "audit_head": message.audit_head,
        "text": as_text(message),
    }
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        return msgspec.json.encode(_encodable(body))


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


async def _connected(_session: aiohttp.ClientSession, context: Any, _params: Any) -> None:
    context.trace_request_ctx.connected = True


def _mask(settings: WebhookSettings, url: URL) -> Mask:
    """What must not come back in an error's text. True secrets are masked in the whole process as well."""
    mask = Mask()
    secrets = [settings.secret, *settings.headers.values(), url.password]
    for secret in secrets:
        if secret is not None:
            mask.add(_reveal(secret))
        if isinstance(secret, SecretStr):
            register_secret(_reveal(secret))
    register_secret(url.password or "")
    for part in (url.raw_query_string, *url.query.values(), url.user or ""):
        mask.add(part)
    return mask


def _named(error: Exception) -> str:
    """An error in words that cannot hold the address: its type, and what the system said."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    said = inner.strerror if isinstance(inner, OSError) else None
    if isinstance(inner, ConnectionError) and inner.errno:
        said = os.strerror(inner.errno)  # asyncio writes the address into its own text
    return f"{type(inner).__name__}: {said}" if said else type(error).__name__


def _trust(settings: HttpSettings, name: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"channel {name}: ca_file {settings.ca_file} cannot be used ({reason})") from error


def _reveal(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return _bytes(value).decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return value
