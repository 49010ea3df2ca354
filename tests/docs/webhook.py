"""What the real channel sends for one message, for the pages that show its body and a receiver."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

from pydantic import SecretStr

from tests.channels.receiver import Received, Receiver, receiving
from tests.docs.pages import blocks_of
from watchdog.aio.clock import SystemClock
from watchdog.channels.interface import Delivered
from watchdog.channels.webhook import WebhookChannel, WebhookSettings
from watchdog.core.message import Message, MessageKind
from watchdog.core.rule import Severity

SECRET = "a secret of at least some length"

MESSAGE = Message(
    key="rollback_switched:rb-6bfdfe6da5",
    kind=MessageKind.ROLLBACK_SWITCHED,
    severity=Severity.CRITICAL,
    headline="trips: traffic moved back from v1.4.2 to v1.4.1",
    created_at=datetime(2026, 1, 31, 12, 30, 5, tzinfo=UTC),
    service="trips",
    environment="production",
    version="v1.4.2",
    labels={"team": "booking"},
    incident="inc-245e0dc489",
    rollback="rb-6bfdfe6da5",
    facts=(("why", "20% of 350 events were bad in 1m, above 1.5%"), ("asked by", "watchdog")),
    next_step="Being verified now. Stop everything: watchdog pause trips",
    runbook="https://runbooks.example.com/error-rate",
    audit_head="c36288cf5c8eef492b6847f9f501185a8fdfb3ca274e291e5f3c9298f9232d1b",
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
