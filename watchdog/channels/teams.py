"""Channel `teams`: every message is a card in one channel or chat of Microsoft Teams, through a Workflows webhook.

Whoever knows the address can post there, so the whole address is a secret. Its answer means that the flow was started,
not that the card is shown: what the flow does later, nobody tells us. There are no threads and no pictures.

This module must never put the address, or a part of it, into a reason, a log or a repr.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import SecretStr, field_validator
from yarl import URL

from watchdog import __version__
from watchdog.aio.clock import Clock
from watchdog.channels.interface import Chart, Delivery, Later, Refused
from watchdog.channels.posting import Posting, Reply, mask_of, trust, usable
from watchdog.channels.rendering import Rendering
from watchdog.channels.teams_card import card
from watchdog.core.message import Message, Thread
from watchdog.settings.model import ProviderSettings, Secret
from watchdog.telemetry.redact import Mask, register_secret

#: Office connectors answered 200 and said in the text what became of it; a `1` was good.
_FAILED = re.compile(r"fail|error|HTTP [45]\d\d", re.IGNORECASE)
_CODE = re.compile(r"HTTP error (\d{3})")
_PAGE = re.compile(r"\s*<(!doctype|html)", re.IGNORECASE)
#: Parts of an address that are long enough to be a key; shorter ones are words.
_KEY = 12


class TeamsSettings(ProviderSettings):
    """Where to post."""

    url: Secret
    """Address of the Workflows webhook, all of it (`!env NAME` or `!file PATH`)."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust instead of the system's."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: SecretStr) -> SecretStr:
        if not usable(value.get_secret_value().strip()):
            raise ValueError(
                "is not an address such as https://prod-00.westeurope.logic.azure.com/workflows/..."
            )
        return value


class TeamsChannel:
    """Tries once to post a card."""

    Settings = TeamsSettings
    WANTS = ("rendering",)

    def __init__(self, settings: TeamsSettings, *, name: str, clock: Clock, rendering: Rendering) -> None:
        self._rendering = rendering
        address = settings.url.get_secret_value().strip()
        url = URL(address)
        self._posting = Posting(
            url,
            timeout=settings.timeout,
            tls=trust(settings.ca_file, name=name),
            mask=_mask(address, url),
            clock=clock,
            reads=True,
        )

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        body = card(message, self._rendering.of(message))
        headers = {"Content-Type": "application/json", "User-Agent": f"rollback-watchdog/{__version__}"}
        reply = await self._posting.once(body, headers)
        if not isinstance(reply, Reply):
            return reply
        return self._judge(reply)

    async def inspect(self) -> str | None:
        """Connect (with TLS where the address says so) and hang up; nothing is posted."""
        return await self._posting.inspect()

    async def aclose(self) -> None:
        await self._posting.aclose()

    def _judge(self, reply: Reply) -> Delivery:
        """By the status; and where that is good, by the text that a connector answers instead of a status."""
        text = reply.text.strip()
        if not 200 <= reply.status < 300 or text in {"", "1"}:
            return self._posting.judge(reply)
        if _PAGE.match(text):
            return Refused(
                reason=f"answered {reply.status} with a web page; the address is not that of a webhook"
            )
        if not text.startswith("{") and _FAILED.search(text):
            reason = f"answered {reply.status}: {self._posting.shown(text)}"
            code = _CODE.search(text)
            passing = code is not None and (code[1] == "429" or code[1].startswith("5"))
            return Later(reason=reason, after=reply.after) if passing else Refused(reason=reason)
        return self._posting.judge(reply)


def _mask(address: str, url: URL) -> Mask:
    """Everything by which somebody else could post there: the address, and each part that is a key."""
    mask = mask_of(url, [SecretStr(address)])
    for part in (*url.parts, *re.split(r"[/@]", url.path), *url.query.values()):
        if len(part) >= _KEY:
            mask.add(part)
            if any(sign.isdigit() for sign in part):  # others are words, which the log may need
                register_secret(part)
    return mask
