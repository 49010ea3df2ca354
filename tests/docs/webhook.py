"""What the real channel sends for one message, for the pages that show its body and a receiver."""

from __future__ import annotations

import asyncio
import json

from msgspec.structs import replace
from pydantic import SecretStr

from tests.channels.receiver import Received, Receiver, receiving
from tests.docs.pages import blocks_of
from watchdog.aio.clock import SystemClock
from watchdog.channels.interface import Delivered
from watchdog.channels.specimens import specimens
from watchdog.channels.webhook import WebhookChannel, WebhookSettings
from watchdog.core.message import MessageKind

SECRET = "a secret of at least some length"

MESSAGE = replace(
    specimens()[MessageKind.ROLLBACK_SWITCHED],
    dashboard="https://watchdog.example.com/#incident=inc-245e0dc489",
)


async def sent(secret: str = SECRET) -> Received:
    """One delivery of `MESSAGE` by the real channel, as it arrives."""
    async with receiving(Receiver()) as receiver:
        settings = WebhookSettings(url=receiver.url, secret=SecretStr(secret))
        channel = WebhookChannel(settings, name="hook", clock=SystemClock())
        try:
            assert await channel.send(MESSAGE, key=f"{MESSAGE.key}@hook") == Delivered()
        finally:
            await channel.aclose()
    return receiver.received[0]


def shown(received: Received) -> str:
    """The body as a page shows it."""
    return json.dumps(json.loads(received.body), indent=2, ensure_ascii=False) + "\n"


def with_body(page: str) -> str:
    """The page with the body that is sent now."""
    text = page
    for block in reversed(blocks_of(page)):
        if block.kind == "json webhook":
            text = text[: block.start] + shown(asyncio.run(sent())) + text[block.end :]
    return text
