"""Channel `email`: every message is a mail, handed to one mail server.

Mails of one incident refer to the same root, so that they make a thread without anything being remembered; a mail that
is sent again has the same `Message-ID`. Taken by the server is not read by a person: what becomes of a mail behind the
server, nobody tells us.

This module must never put the password into a reason, a log or a repr, or send it unencrypted.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Self

import structlog
from aiosmtplib import SMTPException, SMTPRecipientRefused
from pydantic import Field, SecretStr, field_validator, model_validator

from watchdog.aio.clock import Clock
from watchdog.aio.thread import Crowded, Threads
from watchdog.channels.email_address import address_of
from watchdog.channels.email_letter import OURS, Envelope, letter, message_id
from watchdog.channels.email_session import Missing, Server, Session, Tls, judge
from watchdog.channels.interface import Chart, Delivered, Delivery, Later, Refused
from watchdog.channels.posting import harmless, reveal, trust
from watchdog.channels.recipients import Recipients
from watchdog.channels.rendering import Rendering
from watchdog.core.message import Message, Thread
from watchdog.settings.model import PositiveDuration, ProviderSettings, Secret
from watchdog.telemetry.redact import Mask, one_line, register_secret

#: Where each way to encrypt is spoken (RFC 6409, RFC 8314, RFC 5321).
PORTS: Mapping[Tls, int] = {"starttls": 587, "implicit": 465, "none": 25}

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:]+")
_HEADER_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_LONGEST_VALUE = 900
_PERMANENT = 500
_THREADS = 4

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class EmailSettings(ProviderSettings):
    """Which server, as whom, from whom, to whom."""

    timeout: PositiveDuration = timedelta(seconds=30)
    """Longest time for one mail, from the connection on. Mail servers may make strangers wait for their greeting."""
    host: str
    """Name or address of the mail server."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Its port."""
    tls: Tls = "starttls"
    """`starttls`: encrypt before anything else is said, or do not send. `implicit`: encrypted from the start. `none`:
    not encrypted, for a relay on the same host."""
    username: str | None = None
    """Who signs in, where the server wants that."""
    password: Secret | None = None
    """Its password (`!env NAME` or `!file PATH`)."""
    from_: str = Field(alias="from")
    """Sender, `watchdog@example.com` or `Watchdog <watchdog@example.com>`."""
    to: tuple[str, ...] = Field(min_length=1, max_length=100)
    """Recipients. Everyone sees the others."""
    reply_to: str | None = None
    """Where answers go."""
    headers: dict[str, str | SecretStr] = Field(default={})
    """Headers to add, for instance for filters of a mail program."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust instead of the system's."""

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        if not _HOST.fullmatch(value):
            raise ValueError("is not the name or address of a host; the port stands under `port`")
        return value

    @field_validator("from_", "reply_to")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None:
            address_of(value)
        return value

    @field_validator("to")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            try:
                address_of(one)
            except ValueError as error:
                raise ValueError(f"{one_line(one, limit=80)}: {error}") from None
        return value

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, str | SecretStr]) -> dict[str, str | SecretStr]:
        for name, content in value.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a header's name")
            if name.lower() in OURS or name.lower().startswith(("content-", "x-watchdog-", "resent-")):
                raise ValueError(f"{name} is set by the watchdog itself")
            text = reveal(content)
            if not text.strip() or not text.isascii() or one_line(text) != text or len(text) > _LONGEST_VALUE:
                raise ValueError(f"the value of {name} is not one line of ASCII")
        return value

    @model_validator(mode="after")
    def _signs_in_safely(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("`username` and `password` belong together")
        if self.password is not None and not self.password.get_secret_value().strip():
            raise ValueError("`password` is empty")
        if self.password is not None and self.tls == "none":
            raise ValueError("a password is not sent unencrypted: `tls` is `starttls` or `implicit`")
        return self


class EmailChannel:
    """Tries once to hand in a mail, on a connection of its own. Recipients that were served once are left out later."""

    Settings = EmailSettings
    PICTURES = True
    WANTS = ("rendering",)

    def __init__(self, settings: EmailSettings, *, name: str, clock: Clock, rendering: Rendering) -> None:
        self._name = name
        self._timeout = settings.timeout
        self._rendering = rendering
        self._closed = False
        self._threads = Threads(f"mail:{name}", limit=_THREADS)
        to = [address_of(one) for one in settings.to]
        self._envelope = Envelope(
            sender=address_of(settings.from_),
            to=to,
            reply_to=address_of(settings.reply_to) if settings.reply_to else None,
            headers={key: reveal(value) for key, value in settings.headers.items()},
        )
        self._recipients = Recipients(one.spec for one in to)
        self._server = Server(
            host=settings.host,
            port=settings.port or PORTS[settings.tls],
            tls=settings.tls,
            context=trust(settings.ca_file, name=name),
            username=settings.username or "",
            password=reveal(settings.password or ""),
        )
        self._mask = _mask(settings)

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        if self._closed:
            return Later(reason="the channel is being closed")
        text = await self._written(message, key=key, thread=thread, chart=chart)
        to = self._recipients.left(key)
        session = Session(self._server)
        refused: dict[str, SMTPRecipientRefused] | None = None
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                await session.open()
                refused = await session.submit(self._envelope.sender.spec, to, text)
                await session.leave()
        except (Missing, SMTPException, OSError, ValueError) as error:
            if refused is None:  # else it was handed in, and only the good-bye took too long
                return judge(error, session.step, timeout=self._timeout, shown=self._shown)
        finally:
            session.close()
        assert refused is not None  # noqa: S101 - or an error was judged above
        return self._outcome(key, to, refused)

    async def inspect(self) -> str | None:
        """Connect, encrypt, say hello, sign in, and leave; no mail is begun."""
        session = Session(self._server)
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                await session.open()
                await session.check()
                await session.leave()
        except (Missing, SMTPException, OSError, ValueError) as error:
            return judge(error, session.step, timeout=self._timeout, shown=self._shown).reason
        finally:
            session.close()
        return None

    async def aclose(self) -> None:
        self._closed = True

    async def _written(
        self, message: Message, *, key: str, thread: Thread | None, chart: Chart | None
    ) -> bytes:
        """The mail. With a picture it takes milliseconds that a switch may be waiting for: not on the loop."""
        rendered = self._rendering.of(message, chart=chart is not None)

        def written() -> bytes:
            return letter(message, rendered, key=key, envelope=self._envelope, thread=thread, chart=chart)

        try:
            return await self._threads.run(written, give_up=lambda: None)
        except Crowded:
            return written()

    def _outcome(self, key: str, to: Sequence[str], refused: Mapping[str, SMTPRecipientRefused]) -> Delivery:
        """Some may have it and others not: who was refused for good is told in the log, the others are tried again."""
        for one in to:
            error = refused.get(one)
            if error is None:
                self._recipients.settle(key, one, delivered=True)
            elif error.code >= _PERMANENT:
                self._recipients.settle(key, one, delivered=False)
                _log.warning("recipient_refused", channel=self._name, recipient=one, reason=self._said(error))
        waiting = [error for error in refused.values() if error.code < _PERMANENT]
        if waiting:
            return Later(reason=f"{len(waiting)} of {len(to)} recipients not yet: {self._said(waiting[0])}")
        reached = self._recipients.reached(key)
        self._recipients.forget(key)
        if reached:
            return Delivered(reference=message_id(key, self._envelope.sender.domain))
        return Refused(reason=f"no recipient was taken: {self._said(next(iter(refused.values())))}")

    def _said(self, error: SMTPRecipientRefused) -> str:
        return f"answered {error.code} {self._shown(error.message)}".rstrip()

    def _shown(self, text: str) -> str:
        return harmless(text, self._mask)


def _mask(settings: EmailSettings) -> Mask:
    """What must not come back in an answer's text, also as it was sent when signing in."""
    mask = Mask()
    for value in settings.headers.values():
        if isinstance(value, SecretStr):
            register_secret(reveal(value))
            mask.add(reveal(value))
    if settings.password is not None:
        password = settings.password.get_secret_value()
        register_secret(password)
        both = f"\0{settings.username}\0{password}"
        for form in (password, *(base64.b64encode(one.encode()).decode() for one in (password, both))):
            mask.add(form)
    return mask
