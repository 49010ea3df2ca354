"""A mail server on loopback: aiosmtpd, with TLS and people who sign in, which misbehaves at any step as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import email
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from functools import partial
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers.closing import close_server

USER, PASSWORD = "watchdog", "canary-7b1c-mail-password"


@dataclass
class Mail:
    """One mail as it was taken."""

    sender: str
    to: list[str]
    raw: bytes

    @property
    def parsed(self) -> EmailMessage:
        parsed = email.message_from_bytes(self.raw, policy=default)
        assert isinstance(parsed, EmailMessage)
        return parsed


@dataclass
class MailServer:
    """What was taken, and what goes wrong: `wrong` maps a step to an answer, or to what is done instead of one.

    Steps are `greeting`, `EHLO`, `STARTTLS`, `EHLO again`, `AUTH`, `MAIL`, `RCPT`, `RCPT ADDRESS`, `DATA`, `text`,
    `NOOP` and `QUIT`. Instead of an answer stand `hang`, `close`, `reset`; `go and hang` and such answer first.
    """

    wrong: dict[str, str] = field(default_factory=dict)
    mails: list[Mail] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    signed_in: list[str] = field(default_factory=list)
    hellos: list[str] = field(default_factory=list)
    connections: list[_Connection] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    password: str = PASSWORD
    mechanisms_left_out: tuple[str, ...] = ()
    size_limit: int = 4 * 2**20
    port: int = 0

    async def handle_DATA(  # noqa: N802 - the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        content = envelope.original_content or b""
        if any(len(line) > 1000 for line in content.splitlines(keepends=True)):
            return "554 5.6.0 line too long"
        if not content.isascii():
            return "554 5.6.1 this server speaks 7 bit only"
        self.mails.append(Mail(sender=str(envelope.mail_from), to=list(envelope.rcpt_tos), raw=content))
        return "250 2.0.0 queued as canary-queue-id"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, given: Any
    ) -> AuthResult:
        assert isinstance(given, LoginPassword)
        right = (given.login, given.password) == (USER.encode(), self.password.encode())
        if right:
            self.signed_in.append(mechanism)
        said = None if right else f"535 5.7.8 wrong: {given.password.decode()}"
        return AuthResult(success=right, handled=False, message=said)


class _Connection(SMTP):
    """One connection, with a look at what shall go wrong before each step."""

    def __init__(self, server: MailServer) -> None:
        self._mine = server
        self._greeted = False
        self._hellos = 0
        server.connections.append(self)
        super().__init__(
            server,
            hostname="mail.test",
            data_size_limit=server.size_limit,
            tls_context=None if server.implicit else server.tls,
            auth_require_tls=not server.implicit,
            auth_exclude_mechanism=server.mechanisms_left_out,
            authenticator=server.authenticate,
            loop=asyncio.get_running_loop(),
        )
        for name, method in list(self._smtp_methods.items()):
            self._smtp_methods[name] = partial(self._command, name, method)

    async def push(self, status: Any) -> None:
        if not self._greeted:
            self._greeted = True
            if await self._odd("greeting"):
                return
        text = status if isinstance(status, str) else bytes(status).decode()
        if "text" in self._mine.wrong and text.startswith("250 2.0.0 queued"):
            self._mine.mails.pop()
            await self._odd("text")
            return
        await super().push(status)

    async def _odd(self, step: str) -> bool:
        self._mine.steps.append(step)
        what = self._mine.wrong.get(step, "")
        if not what:
            return False
        assert self.transport is not None
        answer, _, deed = what.partition(" and ")
        if answer not in {"hang", "close", "reset"}:
            await super().push({"go": "220 go on"}.get(answer, answer))
        match deed or answer:
            case "hang":
                transport = self.transport
                try:
                    await asyncio.Event().wait()
                finally:
                    transport.close()
            case "close":
                self.transport.close()
            case "reset":
                _abort(self.transport)
            case _:
                pass
        return True

    async def end(self) -> None:
        """Hang up; the library leaves open what was closed on the other side."""
        for transport in (self.transport, self._original_transport):
            if transport is not None:
                _abort(transport)
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()
            await asyncio.wait([self._handler_coroutine])

    async def _command(self, name: str, method: Callable[[str], Awaitable[None]], arg: str) -> None:
        steps = [name]
        if name == "EHLO":
            steps = ["EHLO again" if self._hellos else "EHLO"]
            self._hellos += 1
            self._mine.hellos.append(arg)
        if name == "RCPT":
            steps.append(f"RCPT {arg.partition('<')[2].partition('>')[0]}")
        for step in steps:
            if await self._odd(step):
                return
        await method(arg)


def _abort(transport: asyncio.BaseTransport) -> None:
    cast("asyncio.WriteTransport", transport).abort()


@contextlib.asynccontextmanager
async def mail_serving(server: MailServer) -> AsyncIterator[MailServer]:
    """Serve until the block ends."""
    loop = asyncio.get_running_loop()
    tls = server.tls if server.implicit else None
    listening = await loop.create_server(lambda: _Connection(server), "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        await close_server(listening)
        for connection in server.connections:
            await connection.end()
        await listening.wait_closed()
