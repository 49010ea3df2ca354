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
    conversation     the same for all messages about one thing: an incident's id, where there is one
    evidence         the numbers behind it, or null: check, unit, direction, level, since, value, limit, warning,
                     critical, rollback; numbers in the unit, null where there is none
    undo, explain    the commands that take back what was done and that show why; ""
    dashboard        an address, or null
    text             all of it as plain text, for receivers that only show text (Mattermost and the like)

Headers: `Idempotency-Key`, the body's `key` (`sha256:HEX` of it unless it is ASCII and at most 255
characters); `X-Watchdog-Timestamp: UNIX_SECONDS`, the time of this attempt; and, when the channel has a
secret, `X-Watchdog-Signature: v1=HEX` with HMAC-SHA256(secret, timestamp + "." + raw body). `verify` is the
receiver's side. Answer 2xx when the message is kept: everything else is sent again (408, 425, 429, 5xx, no
answer) or given up (the rest, redirects too). Delivery is at least once.

This module must never put the secret, the address or a header's value into a reason, a log or a repr.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pydantic import Field, SecretStr, field_validator
from yarl import URL

from watchdog import __version__
from watchdog.aio.clock import Clock
from watchdog.channels.interface import Chart, Delivery
from watchdog.channels.posting import Posting, Reply, mask_of, reveal, trust, usable
from watchdog.channels.rendering import Rendering, as_text
from watchdog.core.message import Evidence, Message, Thread
from watchdog.settings.model import HttpSettings, Secret
from watchdog.telemetry.redact import one_line

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
        if not usable(value):
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
            if one_line(reveal(content)) != reveal(content).strip():
                raise ValueError(f"the value of {name} has control characters")
        return value


class WebhookChannel:
    """Tries once to POST a message."""

    Settings = WebhookSettings
    WANTS = ("rendering",)

    def __init__(
        self, settings: WebhookSettings, *, name: str, clock: Clock, rendering: Rendering | None = None
    ) -> None:
        self._clock = clock
        self._rendering = rendering
        self._secret = settings.secret
        self._headers = {key: reveal(value) for key, value in settings.headers.items()}
        url = URL(settings.url)
        self._posting = Posting(
            url,
            timeout=settings.timeout,
            tls=trust(settings.ca_file, name=name),
            mask=mask_of(url, [settings.secret, *settings.headers.values()]),
            clock=clock,
        )

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        text = self._rendering.one("text", message) if self._rendering is not None else None
        body = encode(message, key=key, text=text)
        reply = await self._posting.once(body, self._signed(body, key))
        return self._posting.judge(reply) if isinstance(reply, Reply) else reply

    async def inspect(self) -> str | None:
        """Connect (with TLS where the address says so) and hang up; nothing is sent."""
        return await self._posting.inspect()

    async def aclose(self) -> None:
        await self._posting.aclose()

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


def encode(message: Message, *, key: str, text: str | None = None) -> bytes:
    """The body as documented above. What UTF-8 cannot encode (lone surrogates) becomes a question mark.

    `text` are the words of the user's template, where there is one.
    """
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
        "conversation": message.conversation,
        "evidence": _numbers(message.evidence),
        "undo": message.undo,
        "explain": message.explain,
        "dashboard": message.dashboard,
        "text": as_text(message) if text is None else text,
    }
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        return msgspec.json.encode(_encodable(body))


def _numbers(evidence: Evidence | None) -> dict[str, Any] | None:
    """The check by its name as everywhere outside; what is no number (NaN) becomes null when it is encoded."""
    if evidence is None:
        return None
    return msgspec.structs.asdict(evidence) | {
        "check": str(evidence.check),
        "since": evidence.since.astimezone(UTC),
    }


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
