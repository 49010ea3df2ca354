"""One conversation with a mail server, from the connection to the last word, and what each way to fail means.

Nothing is certain of a mail once its text was sent and no answer came; before that it is certainly not delivered. This
module must never send a password over a connection that is not encrypted, or fall back to one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Literal, cast

import msgspec
from aiosmtplib import SMTP, SMTPException, SMTPRecipientRefused, SMTPResponseException

from watchdog.channels.interface import Later, Refused, Unclear
from watchdog.channels.posting import named
from watchdog.core.units import format_duration

Tls = Literal["starttls", "implicit", "none"]
#: Ways to sign in, best first. All go over TLS only, so the plainest is the one that works with the most servers.
_WAYS = ("plain", "login", "cram-md5")
_CLOSING = 421


class Step(StrEnum):
    """How far a conversation has come, in words for people."""

    CONNECT = "connecting"
    TLS = "STARTTLS"
    HELLO = "EHLO"
    SIGN_IN = "signing in"
    SENDER = "the sender"
    RECIPIENTS = "the recipients"
    TEXT = "the mail"
    CHECK = "NOOP"


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Where mail is handed in, and as whom."""

    host: str
    port: int
    tls: Tls
    context: ssl.SSLContext
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Server(host={self.host!r}, port={self.port!r})"


class Missing(Exception):
    """The server lacks what the settings ask for."""


class Session:
    """One connection; what it raises, `judge` understands. `step` says how far it came."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.step = Step.CONNECT
        self._smtp = SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls == "implicit",
            start_tls=False,  # never as it pleases: `open` insists on it
            tls_context=server.context,
            local_hostname="localhost",  # until the connection has told our address
            timeout=None,  # the channel has the one deadline
        )

    async def open(self) -> None:
        """Connect, encrypt, say hello and sign in."""
        server, smtp = self._server, self._smtp
        await smtp.connect()
        smtp.local_hostname = _own_name(smtp)
        self.step = Step.HELLO
        await smtp.ehlo()
        if server.tls == "starttls":
            self.step = Step.TLS
            if not smtp.supports_extension("starttls"):
                raise Missing("the server does not offer STARTTLS")
            await smtp.starttls()
            self.step = Step.HELLO
            await smtp.ehlo()
        if server.username:
            self.step = Step.SIGN_IN
            await self._sign_in()

    async def submit(self, sender: str, to: Sequence[str], text: bytes) -> dict[str, SMTPRecipientRefused]:
        """Hand in one mail for these recipients; answers who was refused. Nothing is sent where all were."""
        self.step = Step.SENDER
        size = [f"SIZE={len(text)}"] if self._smtp.supports_extension("size") else []
        await self._smtp.mail(sender, options=size)
        self.step = Step.RECIPIENTS
        refused: dict[str, SMTPRecipientRefused] = {}
        for one in to:
            try:
                await self._smtp.rcpt(one)
            except SMTPRecipientRefused as error:
                if error.code == _CLOSING:
                    raise
                refused[one] = error
        if len(refused) < len(to):
            self.step = Step.TEXT
            await self._smtp.data(text)
        return refused

    async def check(self) -> None:
        """Ask whether all is well; nothing is sent."""
        self.step = Step.CHECK
        answer = await self._smtp.noop()
        if answer.code >= 400:
            raise SMTPResponseException(answer.code, answer.message)

    async def leave(self) -> None:
        """Say good-bye. What was handed in stays so, whatever is answered to that. Never raises."""
        with contextlib.suppress(SMTPException, OSError, TimeoutError):
            await self._smtp.quit(timeout=1.0)

    def close(self) -> None:
        """Hang up at once. Idempotent, never raises."""
        transport = self._smtp.transport
        self._smtp.close()
        if transport is not None:  # else a server that hangs would keep an encrypted connection half open
            cast("asyncio.WriteTransport", transport).abort()

    async def _sign_in(self) -> None:
        smtp, server = self._smtp, self._server
        offered = {way.lower() for way in smtp.server_auth_methods}
        way = next((one for one in _WAYS if one in offered), None)
        if way is None:
            known = ", ".join(sorted(offered)) or "none"
            raise Missing(f"the server offers no way to sign in that is known here (it offers: {known})")
        sign = {"plain": smtp.auth_plain, "login": smtp.auth_login, "cram-md5": smtp.auth_crammd5}[way]
        await sign(server.username, server.password)


def judge(
    error: Exception, step: Step, *, timeout: timedelta, shown: Callable[[str], str]
) -> Later | Refused | Unclear:
    """What a failed conversation means for the mail. `shown` makes text from outside harmless.

    4xx may pass, 5xx will not (RFC 5321, 4.2.1). A certificate that is not good, a server without what the settings ask
    for, and one that does not speak TLS where it should, will not become right by trying again.
    """
    if isinstance(error, Missing):
        return Refused(reason=f"{step}: {shown(str(error))}")
    if isinstance(error, SMTPResponseException) and 400 <= error.code < 600:
        reason = f"{step}: answered {error.code} {shown(error.message)}".rstrip()
        return Later(reason=reason) if error.code < 500 else Refused(reason=reason)
    tls = _cause(error, ssl.SSLError)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return Refused(reason=f"{step}: the certificate is not trusted: {shown(tls.verify_message)}")
    if isinstance(tls, ssl.SSLError) and tls.reason == "WRONG_VERSION_NUMBER":
        return Refused(reason=f"{step}: the server does not speak TLS there; see `tls` and `port`")
    if isinstance(error, TimeoutError) and not isinstance(error, SMTPException):
        fault = f"nothing within {format_duration(timeout)}"
    elif isinstance(error, SMTPResponseException):
        fault = f"an answer that is not SMTP: {shown(error.message)}"
    elif isinstance(cause := _cause(error, OSError), Exception):
        fault = shown(named(cause))
    else:
        fault = shown(str(error)) or type(error).__name__
    if step is Step.TEXT:
        return Unclear(reason=f"{step} was sent, but no answer: {fault}")
    return Later(reason=f"{step}: {fault}")


def _cause(error: BaseException, kind: type[Exception]) -> Exception | None:
    """The innermost error of this kind that this one came of; the library's own say less."""
    found: Exception | None = None
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, kind) and not isinstance(at, SMTPException):
            found = at
        at = at.__cause__
    return found


def _own_name(smtp: SMTP) -> str:
    """What to say hello as: the host's full name, else the address we come from (RFC 5321, 4.1.4)."""
    name = socket.gethostname()
    if "." in name and name.isascii() and name.replace(".", "").replace("-", "").isalnum():
        return name
    address = str(smtp.get_transport_info("sockname")[0])
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
