"""Rigs of the channels that reach people by mail, text message and Teams: what they talk to, and how it behaves."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tests.channels.fake_teams import FLOW, SIGNATURE, Teams
from tests.channels.fake_twilio import ACCOUNT, ONE, SENDER, TOKEN, TWO, Said, Twilio
from tests.channels.mail_server import PASSWORD, USER, MailServer, mail_serving
from tests.channels.receiver import close, hang, receiving
from tests.servers.certificates import Certificate
from watchdog.aio.clock import SystemClock
from watchdog.channels.email import EmailChannel
from watchdog.channels.interface import Channel, Delivered, Delivery, Later, Refused, Unclear
from watchdog.channels.rendering import Rendering
from watchdog.channels.sms import SmsChannel
from watchdog.channels.teams import TeamsChannel

#: A connection must come about in it on a busy machine, too.
TIMEOUT = timedelta(seconds=1)
_RENDERING = Rendering()
_SHARED: dict[str, Any] = {"clock": SystemClock(), "rendering": _RENDERING}


class EmailRig:
    """A mail server with TLS that wants people to sign in."""

    #: Encryption and signing in must fit in, also on a busy machine.
    timeout = timedelta(seconds=3)
    #: SMTP has no way to ask for time.
    wish: timedelta | None = None

    def __init__(self, server: MailServer, certificate: Certificate) -> None:
        self.server = server
        self.secrets: tuple[str, ...] = (PASSWORD,)
        written = {
            "host": "127.0.0.1",
            "port": server.port,
            "username": USER,
            "password": SecretStr(PASSWORD),
            "from": "watchdog@example.com",
            "to": ["ops@example.com"],
            "ca_file": certificate.file,
            "timeout": self.timeout,
        }
        self.channel: Channel = EmailChannel(
            EmailChannel.Settings.model_validate(written), name="mail", **_SHARED
        )

    def behave(self, outside: str) -> type[Delivery]:
        said = f"2.0.0 {PASSWORD}"
        wrong: dict[str, tuple[dict[str, str], type[Delivery]]] = {
            "busy": ({"MAIL": f"451 {said}"}, Later),
            "refuse": ({"AUTH": f"535 {said}"}, Refused),
            "vanish": ({"text": "close"}, Unclear),
            "hang": ({"text": "hang"}, Unclear),
        }
        self.server.wrong, outcome = wrong.get(outside, ({}, Delivered))
        return outcome

    def calls(self) -> int:
        return self.server.steps.count("MAIL")


class SmsRig:
    """Twilio, and two people to tell."""

    timeout = TIMEOUT

    def __init__(self, there: Twilio) -> None:
        self.there = there
        self.secrets: tuple[str, ...] = (TOKEN, ONE, TWO)
        written = {
            "url": there.url,
            "account": ACCOUNT,
            "token": SecretStr(TOKEN),
            "from": SENDER,
            "to": [ONE, TWO],
            "timeout": TIMEOUT,
        }
        self.channel: Channel = SmsChannel(
            SmsChannel.Settings.model_validate(written), name="lead", **_SHARED
        )

    def behave(self, outside: str) -> type[Delivery]:
        said = f"{TOKEN} {{to}}"
        answers: Mapping[str, tuple[Said | str, type[Delivery]]] = {
            "busy": (Said(429, 20429, said, "7"), Later),
            "refuse": (Said(403, 20003, said), Refused),
            "vanish": ("close", Unclear),
            "hang": ("hang", Unclear),
        }
        self.there.always, outcome = answers.get(outside, (None, Delivered))
        return outcome

    def calls(self) -> int:
        return min(1, len(self.there.forms)) if self.there.always == "hang" else len(self.there.forms)


class TeamsRig:
    """A Workflows webhook."""

    timeout = TIMEOUT

    def __init__(self, there: Teams) -> None:
        self.there = there
        self.secrets: tuple[str, ...] = (SIGNATURE, FLOW, there.url)
        settings = TeamsChannel.Settings.model_validate({"url": SecretStr(there.url), "timeout": TIMEOUT})
        self.channel: Channel = TeamsChannel(settings, name="teams", **_SHARED)

    def behave(self, outside: str) -> type[Delivery]:
        there = self.there
        there.status, there.body, there.headers, there.after_reading = 0, b"", {}, None
        match outside:
            case "busy":
                there.status, there.headers = 429, {"Retry-After": "7"}
                there.body = " ".join(self.secrets).encode()
                return Later
            case "refuse":
                there.status, there.body = 401, " ".join(self.secrets).encode()
                return Refused
            case "vanish":
                there.after_reading = close
                return Unclear
            case "hang":
                there.after_reading = hang
                return Unclear
            case _:
                return Delivered

    def calls(self) -> int:
        return len(self.there.received)


@contextlib.asynccontextmanager
async def _email() -> AsyncIterator[EmailRig]:
    with tempfile.TemporaryDirectory() as folder:
        certificate = Certificate(Path(folder))
        async with mail_serving(MailServer(tls=certificate.context)) as server:
            yield EmailRig(server, certificate)


@contextlib.asynccontextmanager
async def _sms() -> AsyncIterator[SmsRig]:
    async with receiving(there := Twilio()):
        yield SmsRig(there)


@contextlib.asynccontextmanager
async def _teams() -> AsyncIterator[TeamsRig]:
    async with receiving(there := Teams()):
        yield TeamsRig(there)


RIGS: dict[str, Callable[[], AbstractAsyncContextManager[EmailRig | SmsRig | TeamsRig]]] = {
    "email": _email,
    "sms": _sms,
    "teams": _teams,
}
#: The least that each kind must be told.
NEEDED: dict[str, dict[str, Any]] = {
    "email": {"host": "mail.example.com", "from": "watchdog@example.com", "to": ["ops@example.com"]},
    "sms": {"account": ACCOUNT, "token": SecretStr(TOKEN), "from": SENDER, "to": [ONE]},
    "teams": {"url": SecretStr("https://x.logic.azure.com/workflows/x")},
}
