"""Channel `sms`: every message is one text message to each number, through Twilio or whoever speaks its API.

A text message wakes people and costs money, so it says what it must in one or two segments, and what nobody must be
woken for is not sent at all. Accepted is not delivered: what the carriers do later, nobody tells us.

This module must never put the token into a reason, a log or a repr, and of a telephone number only its last digits.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlencode

import msgspec
import structlog
from pydantic import Field, SecretStr, field_validator, model_validator
from yarl import URL

from watchdog import __version__
from watchdog.aio.clock import Clock
from watchdog.channels.cutting import cut
from watchdog.channels.interface import Chart, Delivered, Delivery, Later, Refused, Unclear
from watchdog.channels.posting import Posting, Reply, mask_of, trust, usable
from watchdog.channels.recipients import Recipients
from watchdog.channels.rendering import Rendered, Rendering
from watchdog.core.message import NOTICES, Message, MessageKind, Thread
from watchdog.settings.model import HttpSettings, Secret
from watchdog.telemetry.redact import one_line

#: What nobody is woken for: good to know, reports, and news for those who are at it already.
NEVER_SENT = NOTICES | {
    MessageKind.WEEKLY_REPORT,
    MessageKind.INCIDENT_ACKNOWLEDGED,
    MessageKind.ACKNOWLEDGEMENT_REMINDER,
}
#: The API's own, in code points.
LONGEST = 1600

#: Our punctuation in the alphabet of text messages (GSM 03.38): one sign beyond it halves what a segment holds.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u2032\u00b4`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2022\u00b7", "-"),
        "\u2026": "...",
        "\u00d7": "x",
        "\u2192": "->",
        "\u2190": "<-",
        "\u2265": ">=",
        "\u2264": "<=",
        "\u2260": "!=",
        "\u00a0": " ",
    }
)
_E164 = re.compile(r"\+[1-9]\d{6,14}")
_SENDER = re.compile(r"\+?[0-9]{3,15}|[A-Za-z0-9 ]{1,11}|[a-z]+:\S+")
_SERVICE = re.compile(r"[A-Za-z0-9]{10,64}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,100}")
#: A number in a text, however it is grouped; the shortest real ones have seven digits.
_NUMBER = re.compile(r"\+?\(?\d(?:[\s().-]{0,2}\d){6,14}")
#: Codes that pass, whatever the status says: too many at once, and queues that are full.
_PASSING = {14107, 20429, 21611, 30001, 30022}
_SID = 64

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class SmsSettings(HttpSettings):
    """Whose account, from whom, to whom."""

    url: str = Field(default="https://api.twilio.com", pattern=r"^https?://[^\s]+$")
    """Base address of the API: another region, or another provider with the same API."""
    account: str
    """Account SID."""
    token: Secret
    """Auth token (`!env NAME` or `!file PATH`)."""
    # Numbers are personal data, so they are in no repr.
    from_: str | None = Field(default=None, alias="from", repr=False)
    """Number or name that sends."""
    messaging_service: str | None = None
    """SID of a messaging service that chooses the number, instead of `from`."""
    to: tuple[str, ...] = Field(min_length=1, max_length=20, repr=False)
    """Numbers, with `+` and country code, in quotes."""
    limit: int = Field(default=320, ge=70, le=LONGEST)
    """Longest text, in characters. A segment holds 160, or 70 with one that text messages have no letter for."""

    @field_validator("url")
    @classmethod
    def _has_a_host(cls, value: str) -> str:
        if not usable(value) or URL(value).query or URL(value).fragment:
            raise ValueError("is not an address such as https://api.twilio.com")
        return value

    @field_validator("account")
    @classmethod
    def _is_an_account(cls, value: str) -> str:
        if not _ACCOUNT.fullmatch(value):
            raise ValueError("is not an account's SID")
        return value

    @field_validator("token")
    @classmethod
    def _not_empty(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().strip():
            raise ValueError("is empty")
        return value

    @field_validator("to", mode="before")
    @classmethod
    def _are_texts(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and any(isinstance(one, int) for one in value):
            raise ValueError('YAML reads a number without quotes as a sum; write "+15550001111"')
        return value

    @field_validator("to")
    @classmethod
    def _are_numbers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for place, one in enumerate(value, 1):
            if not _E164.fullmatch(one):
                raise ValueError(f'the {place}. is not a number such as "+15550001111"')
        return value

    @model_validator(mode="after")
    def _has_one_sender(self) -> Self:
        if (self.from_ is None) == (self.messaging_service is None):
            raise ValueError("either `from` or `messaging_service` says who sends")
        if self.from_ is not None and not _SENDER.fullmatch(self.from_):
            raise ValueError('`from` is not a number such as "+15550001111", a short code or a name')
        if self.messaging_service is not None and not _SERVICE.fullmatch(self.messaging_service):
            raise ValueError("`messaging_service` is not a SID")
        return self


class SmsChannel:
    """Tries each number once, side by side. Numbers that took a message are left out when it is tried again."""

    Settings = SmsSettings
    PAGES = True
    WANTS = ("rendering",)

    def __init__(self, settings: SmsSettings, *, name: str, clock: Clock, rendering: Rendering) -> None:
        self._name = name
        self._timeout = settings.timeout
        self._limit = settings.limit
        self._rendering = rendering
        self._recipients = Recipients(settings.to)
        by = (
            ("From", settings.from_)
            if settings.from_
            else ("MessagingServiceSid", settings.messaging_service)
        )
        self._sender = {by[0]: by[1] or ""}
        token = settings.token.get_secret_value().strip()
        basic = base64.b64encode(f"{settings.account}:{token}".encode()).decode()
        self._headers = {"Authorization": f"Basic {basic}", "User-Agent": f"rollback-watchdog/{__version__}"}
        account = URL(settings.url) / "2010-04-01" / "Accounts" / settings.account
        mask = mask_of(account, [SecretStr(token), SecretStr(basic)])
        tls = trust(settings.ca_file, name=name)

        def posting(url: URL, method: str) -> Posting:
            return Posting(
                url, timeout=settings.timeout, tls=tls, mask=mask, clock=clock, reads=True, method=method
            )

        self._messages = posting(account / "Messages.json", "POST")
        self._account = posting(account.with_name(f"{settings.account}.json"), "GET")

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        if message.kind in NEVER_SENT:
            return Delivered()
        text = body_of(message, self._rendering.of(message), limit=self._limit)
        to = self._recipients.left(key)
        async with asyncio.TaskGroup() as group:
            tasks = {one: group.create_task(self._text(one, text, key)) for one in to}
        return self._outcome(key, {one: task.result() for one, task in tasks.items()})

    async def inspect(self) -> str | None:
        """Ask for the account, which shows whether the token is right; nobody is sent anything."""
        reply = await self._account.once(b"", self._headers)
        if not isinstance(reply, Reply):
            return reply.reason
        if reply.status == 404 and not _code(_answer(reply)):
            return None  # another provider with the same API for messages
        delivery = self._messages.judge(reply)
        return None if isinstance(delivery, Delivered) else hide_numbers(delivery.reason)

    async def aclose(self) -> None:
        await self._messages.aclose()
        await self._account.aclose()

    async def _text(self, to: str, text: str, key: str) -> Delivery:
        form = {"To": to, **self._sender, "Body": text}
        headers = self._headers | {"Content-Type": "application/x-www-form-urlencoded"}
        reply = await self._messages.once(urlencode(form).encode(), headers)
        delivery = self._judge(reply) if isinstance(reply, Reply) else reply
        # At once: whoever has it is not sent it again when the others take longer than anybody waits.
        if isinstance(delivery, Delivered | Refused):
            self._recipients.settle(key, to, delivered=isinstance(delivery, Delivered))
        return delivery

    def _judge(self, reply: Reply) -> Delivery:
        """By the API's own code where it gives one, else by the status."""
        answer = _answer(reply)
        code = _code(answer)
        if code:
            words = f"code {code} {answer.get('message') or answer.get('error_message') or ''}"
            reply = msgspec.structs.replace(reply, text=words)
        delivery = self._messages.judge(reply)
        if isinstance(delivery, Delivered) and not code:
            return Delivered(reference=one_line(str(answer.get("sid") or ""), limit=_SID))
        reason = f"answered {reply.status}: {self._messages.shown(reply.text)}"
        if isinstance(delivery, Delivered):
            delivery = Refused(reason=reason)
        if code in _PASSING:
            delivery = Later(reason=reason, after=reply.after)
        return msgspec.structs.replace(delivery, reason=hide_numbers(delivery.reason))

    def _outcome(self, key: str, tried: Mapping[str, Delivery]) -> Delivery:
        """Who was refused for good is told in the log where others have it; the rest is tried again."""
        for to, delivery in tried.items():
            if isinstance(delivery, Refused):
                _log.warning(
                    "recipient_refused",
                    channel=self._name,
                    recipient=hide_numbers(to),
                    reason=delivery.reason,
                )
        unclear = [one for one in tried.values() if isinstance(one, Unclear)]
        later = [one for one in tried.values() if isinstance(one, Later)]
        for failed in (unclear, later):
            if failed:
                count = f"{len(failed)} of {len(tried)} numbers: " if len(tried) > 1 else ""
                wishes = [one.after for one in later if one.after is not None]
                worst = msgspec.structs.replace(failed[0], reason=count + failed[0].reason)
                return (
                    msgspec.structs.replace(worst, after=max(wishes)) if worst in later and wishes else worst
                )
        reached = self._recipients.reached(key)
        self._recipients.forget(key)
        if reached:
            sids = [one.reference for one in tried.values() if isinstance(one, Delivered)]
            return Delivered(reference=next(iter(sids), ""))
        refused = [one.reason for one in tried.values() if isinstance(one, Refused)]
        return Refused(reason=next(iter(refused), "no number takes it"))


def body_of(message: Message, rendered: Rendered, *, limit: int) -> str:
    """The text: one line, our own punctuation in letters that text messages have, at most `limit` code points."""
    short = one_line(rendered.short) or f"{message.severity.upper()} {message.kind.replace('_', ' ')}"
    return cut(short.translate(_PLAIN), limit, mark="...")


def hide_numbers(text: str) -> str:
    """Of everything that may be a telephone number only the last three digits."""
    return _NUMBER.sub(lambda found: f"***{found.group()[-3:]}", text)


def _answer(reply: Reply) -> Mapping[str, Any]:
    try:
        answer = msgspec.json.decode(reply.text)
    except msgspec.DecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _code(answer: Mapping[str, Any]) -> int:
    """Twilio's number for what went wrong: `code` of an error, `error_code` of a message; 0 where there is none."""
    code = answer.get("code") or answer.get("error_code") or 0
    return int(code) if isinstance(code, int | str) and str(code).isdecimal() and len(str(code)) < 8 else 0
