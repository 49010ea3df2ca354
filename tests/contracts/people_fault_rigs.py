"""The channels that reach people behind a fault proxy: what may have arrived is never said not to have.

A new channel adds a class here and a line to `PEOPLE`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tests.channels.fake_pagerduty import ROUTING_KEY, pagerduty
from tests.channels.fake_slack import NAME, slack
from tests.channels.fake_slack import TOKEN as BOT_TOKEN
from tests.channels.fake_teams import FLOW, SIGNATURE, Teams
from tests.channels.fake_twilio import ACCOUNT, ONE, SENDER, TOKEN, Twilio
from tests.channels.mail_server import PASSWORD, USER, MailServer, mail_serving
from tests.channels.messages import USUAL
from tests.channels.receiver import receiving
from tests.contracts.fault_rigs import HARMLESS, TIMEOUT, Rig
from tests.faults.proxy import OBEYED, Deed, FaultProxy
from tests.servers.certificates import Certificate
from watchdog.aio.clock import SystemClock
from watchdog.channels.email import EmailChannel
from watchdog.channels.interface import Channel, Delivered, Later, Unclear
from watchdog.channels.pagerduty import PagerDutyChannel
from watchdog.channels.rendering import Rendering
from watchdog.channels.slack import SlackChannel
from watchdog.channels.sms import SmsChannel
from watchdog.channels.teams import TeamsChannel

_SHARED: dict[str, Any] = {"clock": SystemClock(), "rendering": Rendering()}


class PeopleRig(Rig):
    """A channel behind a proxy that is met with one request for a message."""

    channel: Channel

    @abstractmethod
    def taken(self) -> int:
        """How many messages the other side has taken."""

    async def call(self, deed: Deed) -> bool:
        before, struck = self.taken(), len(self.proxy.lines)
        delivery = await self.channel.send(USUAL, key="k")
        if isinstance(delivery, Delivered):
            assert self.taken() > before
            return True
        if deed in OBEYED and len(self.proxy.lines) > struck:
            assert isinstance(delivery, Unclear), delivery
        # Whatever answered 400 in the receiver's place did refuse it.
        assert isinstance(delivery, Unclear | Later) or deed is Deed.BABBLE, delivery
        return False


class SmsFaultRig(PeopleRig):
    name = "sms"
    #: The status comes whole, and it says enough.
    harmless = HARMLESS | {Deed.HALF}

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            self.there = Twilio()
            await stack.enter_async_context(receiving(self.there))
            self.proxy = FaultProxy(self.there.port)
            await stack.enter_async_context(self.proxy.open())
            written = {
                "url": self.proxy.url,
                "account": ACCOUNT,
                "token": SecretStr(TOKEN),
                "from": SENDER,
                "to": [ONE],
                "timeout": TIMEOUT,
            }
            self.channel = SmsChannel(SmsChannel.Settings.model_validate(written), name="lead", **_SHARED)
            stack.push_async_callback(self.channel.aclose)
            yield

    def taken(self) -> int:
        return len(self.there.texts)


class TeamsFaultRig(PeopleRig):
    name = "teams"

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            self.there = Teams()
            await stack.enter_async_context(receiving(self.there))
            self.proxy = FaultProxy(self.there.port)
            await stack.enter_async_context(self.proxy.open())
            url = f"{self.proxy.url}/workflows/{FLOW}/invoke?sig={SIGNATURE}"
            settings = TeamsChannel.Settings.model_validate({"url": SecretStr(url), "timeout": TIMEOUT})
            self.channel = TeamsChannel(settings, name="teams", **_SHARED)
            stack.push_async_callback(self.channel.aclose)
            yield

    def taken(self) -> int:
        return len(self.there.cards)


class EarlyRig(PeopleRig):
    """One whose messages come after something else, on which the deeds fall: a handshake, a question."""

    async def call(self, deed: Deed) -> bool:
        before = self.taken()
        delivery = await self.channel.send(USUAL, key="k")
        if isinstance(delivery, Delivered):
            assert self.taken() > before
            return True
        assert not isinstance(delivery, Later) or self.taken() == before, delivery
        return False


class EmailFaultRig(EarlyRig):
    """Encrypted from the start: every deed meets the handshake, when nothing can have been sent."""

    name = "email"

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            certificate = Certificate(folder)
            server = MailServer(tls=certificate.context, implicit=True)
            self.there = await stack.enter_async_context(mail_serving(server))
            self.proxy = FaultProxy(self.there.port)
            await stack.enter_async_context(self.proxy.open())
            written = {
                "host": "127.0.0.1",
                "port": self.proxy.port,
                "tls": "implicit",
                "username": USER,
                "password": SecretStr(PASSWORD),
                "from": "watchdog@example.com",
                "to": ["ops@example.com"],
                "ca_file": certificate.file,
                "timeout": TIMEOUT,
            }
            self.channel = EmailChannel(EmailChannel.Settings.model_validate(written), name="mail", **_SHARED)
            stack.push_async_callback(self.channel.aclose)
            yield

    def taken(self) -> int:
        return len(self.there.mails)


class PagerDutyFaultRig(EarlyRig):
    name = "pagerduty"

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            self.there = await stack.enter_async_context(pagerduty(Certificate(folder)))
            self.proxy = FaultProxy(self.there.port)
            await stack.enter_async_context(self.proxy.open())
            written = {
                "url": self.proxy.url.replace("http:", "https:"),
                "ca_file": self.there.certificate.file,
                "routing_key": SecretStr(ROUTING_KEY),
                "timeout": TIMEOUT,
            }
            settings = PagerDutyChannel.Settings.model_validate(written)
            self.channel = PagerDutyChannel(settings, name="oncall", clock=SystemClock())
            stack.push_async_callback(self.channel.aclose)
            yield

    def taken(self) -> int:
        return len(self.there.events)


class SlackFaultRig(EarlyRig):
    name = "slack"

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            self.there = await stack.enter_async_context(slack())
            self.proxy = FaultProxy(int(self.there.url.split(":")[2].split("/")[0]))
            await stack.enter_async_context(self.proxy.open())
            path = self.there.url.split("/", 3)[3]
            written = {
                "url": f"{self.proxy.url}/{path}",
                "token": SecretStr(BOT_TOKEN),
                "channel": NAME,
                "timeout": TIMEOUT,
            }
            settings = SlackChannel.Settings.model_validate(written)
            self.channel = SlackChannel(settings, name="ops", clock=SystemClock())
            stack.push_async_callback(self.channel.aclose)
            yield

    def taken(self) -> int:
        return len(self.there.called("chat.postMessage"))


PEOPLE: dict[str, type[Rig]] = {
    rig.name: rig for rig in (EmailFaultRig, PagerDutyFaultRig, SlackFaultRig, SmsFaultRig, TeamsFaultRig)
}
