"""Channel `slack`: a bot in one Slack channel, or an incoming webhook.

A bot posts the first message of a conversation to the channel and the others into its thread, the louder ones to both.
The first one is kept up to date: who has it, what became of it. Charts follow into the thread. With an app token
(Socket Mode) or a signing secret (`POST /hooks/slack`) messages have buttons, for those whom the settings name.

Slack has no key against duplicates: a message whose answer was lost is looked for by the key in its metadata before it
is sent again, where the bot may read the channel. This module must never hold a message back for its looks: what Slack
does not take as it is goes out as plain text in the same attempt.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace
from pydantic import SecretStr
from yarl import URL

from watchdog.aio.clock import Clock
from watchdog.aio.crew import Crew
from watchdog.channels.interface import Answer, Chart, Delivered, Delivery, Hear, Heard, Received, Unclear
from watchdog.channels.posting import mask_of, reveal, trust, usable
from watchdog.channels.rendering import Rendering
from watchdog.channels.slack_actions import Press, actions, form, presses, signed
from watchdog.channels.slack_api import SHAPE, THREAD, Api, Bot, Exchange, Failed
from watchdog.channels.slack_beside import Beside
from watchdog.channels.slack_blocks import fallback, mentions, post
from watchdog.channels.slack_inspect import inspect_bot, inspect_webhook
from watchdog.channels.slack_people import People
from watchdog.channels.slack_settings import SlackSettings
from watchdog.channels.slack_socket import Socket, line_of
from watchdog.channels.slack_text import escape
from watchdog.core.message import Message, MessageKind, Thread
from watchdog.core.rule import Severity

#: A press takes so long to look up at most: Slack waits three seconds for an answer.
_VET_WITHIN = timedelta(milliseconds=1500)
#: How many presses, and messages whose answer was lost, are remembered.
_REMEMBERED = 1000
_ANSWER = 2000
#: Parts of a webhook's address from this length on are secrets of their own.
_SECRET_PART = 8

_K = MessageKind
#: Louder than what stands in the channel: a reply in the thread alone would be missed.
_LOUD = frozenset({_K.ESCALATED, _K.ROLLBACK_BLOCKED, _K.APPROVAL_WANTED, _K.INCIDENT_UNACKNOWLEDGED})
_IN_THREAD = ("thread_ts", "reply_broadcast")


class SlackChannel:
    """Tries once to post a message; what belongs to it beside that is done without anybody waiting for it."""

    Settings = SlackSettings
    PICTURES = True
    WANTS = ("rendering",)

    def __init__(
        self, settings: SlackSettings, *, name: str, clock: Clock, rendering: Rendering | None = None
    ) -> None:
        self._settings = settings
        self._name = name
        self._clock = clock
        self._rendering = rendering or Rendering()
        self._token, self._webhook = _text(settings.token), _text(settings.webhook_url)
        self._app_token, self._signing = _text(settings.app_token), _text(settings.signing_secret).encode()
        self._tls = trust(settings.ca_file, name=name)
        self._base = URL(settings.url)
        secrets = (settings.token, settings.app_token, settings.signing_secret, settings.webhook_url)
        mask = mask_of(URL(self._webhook) if self._webhook else self._base, secrets)
        for part in (URL(self._webhook).raw_path, *URL(self._webhook).parts) if self._webhook else ():
            mask.add(part if len(part) >= _SECRET_PART else "")
        self._api = Api(base=settings.url, tls=self._tls, mask=mask, timeout=settings.timeout, clock=clock)
        self._people = People(settings, look_up=self._members, clock=clock)
        self._beside = Beside(
            Bot(self._api, self._token),
            name=name,
            interactive=settings.interactive,
            rendering=self._rendering,
            mention=self._mention,
            may_call=self._is_slack,
            clock=clock,
        )
        self._heard: OrderedDict[str, None] = OrderedDict()
        self._unclear: OrderedDict[str, datetime] = OrderedDict()
        self._place = settings.channel
        """Where it posts; its id as soon as Slack has said it, which some methods want."""

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        exchange = Exchange()
        if self._webhook:
            try:
                async with self._api.within(exchange):
                    return await self._to_webhook(message, exchange)
            except Failed as failed:
                return failed.outcome
        began, mark = self._clock.now(), hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
        try:
            async with self._api.within(exchange):
                sent = await self._found(mark, thread) or await self._post(message, mark, thread, exchange)
        except Failed as failed:
            if isinstance(failed.outcome, Unclear):
                self._unclear.setdefault(mark, began)
                _forget(self._unclear)
            return failed.outcome
        self._unclear.pop(mark, None)
        root = _place(thread)
        if thread is not None and root is not None:
            self._beside.news(message, thread)
        if chart is not None:
            channel, _, ts = sent.reference.partition(":")
            self._beside.picture(chart, channel=channel, ts=root[1] if root and root[0] == channel else ts)
        return sent

    async def inspect(self) -> str | None:
        if self._webhook:
            return await inspect_webhook(self._webhook, tls=self._tls, timeout=self._settings.timeout)
        exchange = Exchange()
        try:
            async with self._api.within(exchange):
                return await inspect_bot(self._api, self._settings, exchange)
        except Failed as failed:
            return failed.outcome.reason

    async def aclose(self) -> None:
        await self._beside.aclose()
        await self._api.aclose()

    @property
    def listens(self) -> bool:
        return bool(self._app_token)

    @property
    def receives(self) -> bool:
        return bool(self._signing)

    async def listen(self, hear: Hear, *, outstanding: Callable[[], frozenset[str]]) -> None:
        """Over Socket Mode; of several channels with one app token, one after the other holds the connection."""
        line = line_of(self._app_token)
        crew = Crew(f"presses {self._name}")

        def handle(payload: bytes) -> None:
            for press in self._ours(payload):
                if press.heard.id not in self._heard:
                    self._heard[press.heard.id] = None
                    _forget(self._heard)
                    crew.start(press.heard.id, self._serve(press.heard, hear))

        line.members[self._name] = handle
        socket = Socket(
            self._api,
            self._app_token,
            name=self._name,
            tls=self._tls,
            plain=self._base.scheme == "http",
            timeout=self._settings.timeout,
            clock=self._clock,
        )
        try:
            async with line.turn:
                await socket.run(line.deal)
        finally:
            if line.members.get(self._name) is handle:
                del line.members[self._name]
            await crew.stop()

    def receive(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Received | None:
        """A press that Slack signed; one of another channel of the same app is left to that."""
        if not self._signing or not signed(self._signing, headers, body, now=now):
            return None
        payload = form(body) or b""
        ours = tuple(press.heard for press in self._ours(payload))
        return Received(heard=ours) if ours or not presses(payload) else None

    async def vetted(self, heard: Heard) -> Heard:
        if heard.allowed or not self._settings.groups:
            return heard
        try:
            async with asyncio.timeout(min(self._settings.timeout, _VET_WITHIN).total_seconds()):
                allowed = await self._people.may_after_all(heard.id.split(":")[1])
        except TimeoutError:
            allowed = False
        return replace(heard, allowed=allowed)

    async def answered(self, heard: Heard, answer: Answer) -> None:
        """Only to the person, through the address that came with the press, which only Slack's may be."""
        if not self._is_slack(heard.back):
            return
        body = {
            "response_type": "ephemeral",
            "replace_original": False,
            "text": f"{'✅' if answer.done else '⚠️'} {escape(answer.text, _ANSWER)}",
        }
        exchange = Exchange()
        try:
            async with self._api.within(exchange):
                await self._api.hook(heard.back, body, exchange=exchange)
        except Failed as failed:
            self._beside.tell("answer", failed.outcome.reason)
        else:
            self._beside.tell("answer", "")

    async def _to_webhook(self, message: Message, exchange: Exchange) -> Delivery:
        rendered = self._rendering.of(message)
        body = post(message, rendered, mention=self._mention(message)).body()
        try:
            await self._api.hook(self._webhook, body, exchange=exchange)
        except Failed as failed:
            if failed.error not in SHAPE:
                raise
            self._beside.tell("shape", failed.error)
            exchange.again()
            await self._api.hook(self._webhook, {"text": fallback(message, rendered)}, exchange=exchange)
        return Delivered()

    async def _post(
        self, message: Message, mark: str, thread: Thread | None, exchange: Exchange
    ) -> Delivered:
        """Into the thread, else to the channel; as it should look, else as text."""
        rendered = self._rendering.of(message)
        root, loud = _place(thread), thread is None or _is_loud(message)
        buttons = actions(message, self._name) if self._settings.interactive else []
        shown = post(message, rendered, buttons=buttons, mention=self._mention(message) if loud else ())
        body: dict[str, Any] = {
            "channel": self._settings.channel,
            **shown.body(),
            "unfurl_links": False,
            "unfurl_media": False,
            "metadata": {"event_type": "rollback_watchdog", "event_payload": {"key": mark}},
        }
        if root is not None:
            body |= {"channel": root[0], "thread_ts": root[1], "reply_broadcast": loud}
        while True:
            try:
                answer = await self._api.call(self._token, "chat.postMessage", body, exchange=exchange)
                channel = str(answer.get("channel", ""))
                if body["channel"] == self._settings.channel:
                    self._place = channel
                return Delivered(reference=f"{channel}:{answer.get('ts', '')}")
            except Failed as failed:
                if failed.error in THREAD and "thread_ts" in body:
                    body = {name: one for name, one in body.items() if name not in _IN_THREAD}
                    body["channel"] = self._settings.channel
                elif failed.error in SHAPE and "blocks" in body:
                    self._beside.tell("shape", failed.error)
                    body = {name: one for name, one in body.items() if name in ("channel", *_IN_THREAD)}
                    body["text"] = fallback(message, rendered)
                else:
                    raise
                exchange.again()

    async def _found(self, mark: str, thread: Thread | None) -> Delivered | None:
        """A message whose answer was lost, when it is there after all and the bot may see it."""
        since = self._unclear.get(mark)
        if since is None:
            return None
        root = _place(thread)
        channel = root[0] if root else self._place
        body: dict[str, Any] = {
            "channel": channel,
            "oldest": f"{(since - timedelta(minutes=1)).timestamp():.6f}",
            "include_all_metadata": True,
            "limit": 100,
        }
        method = "conversations.replies" if root else "conversations.history"
        try:
            seen = await self._api.call(
                self._token, method, body | ({"ts": root[1]} if root else {}), form=True
            )
        except Failed:
            return None  # no right to look, or no answer: a duplicate rather than a miss
        for one in seen.get("messages") or ():
            if one.get("metadata", {}).get("event_payload", {}).get("key") == mark:
                return Delivered(reference=f"{channel}:{one.get('ts', '')}")
        return None

    def _ours(self, payload: bytes) -> list[Press]:
        """The presses of this channel's buttons, with what the settings say about who pressed."""
        return [
            replace(press, heard=replace(press.heard, allowed=self._people.may(press)))
            for press in presses(payload)
            if press.channel == self._name
        ]

    async def _serve(self, heard: Heard, hear: Hear) -> None:
        heard = await self.vetted(heard)
        await self.answered(heard, await hear(heard))

    def _is_slack(self, address: str) -> bool:
        """Whether an address that came from outside may be called: Slack's own, or the configured one's host."""
        if not usable(address):
            return False
        url = URL(address)
        if self._base.scheme == "https" and url.scheme != "https":
            return False
        own = url.host == self._base.host and url.port == self._base.port
        slack = url.scheme == "https" and url.port == 443 and (url.host or "").endswith(".slack.com")
        return (own or slack) and url.user is None

    async def _members(self, group: str) -> frozenset[str]:
        bot = Bot(self._api, self._token)
        answer = await bot.call("usergroups.users.list", {"usergroup": group}, form=True)
        return frozenset(one for one in answer.get("users") or () if isinstance(one, str))

    def _mention(self, message: Message) -> tuple[str, ...]:
        return () if message.ends else mentions(self._settings.mention.get(message.severity, ()))


def _is_loud(message: Message) -> bool:
    """Whether everybody in the channel should see it, not only those who follow the thread."""
    worse = message.kind is _K.INCIDENT_WORSENED and message.severity is Severity.CRITICAL
    failed = message.kind is _K.ROLLBACK_ENDED and message.needs_human
    return message.kind in _LOUD or worse or failed


def _place(thread: Thread | None) -> tuple[str, str] | None:
    """Channel and time stamp of a conversation's first message."""
    channel, _, ts = thread.reference.partition(":") if thread is not None else ("", "", "")
    return (channel, ts) if channel and ts else None


def _text(secret: SecretStr | None) -> str:
    return reveal(secret).strip() if secret is not None else ""


def _forget(known: OrderedDict[str, Any]) -> None:
    while len(known) > _REMEMBERED:
        known.popitem(last=False)
