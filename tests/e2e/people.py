"""The people who are told: a webhook on loopback that keeps every message and checks its signature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from tests.channels.receiver import Receiver, receiving
from watchdog.channels.webhook import verify

SECRET = "e2e-webhook-secret-77aa"


class People:
    """What they heard, oldest first. Delivery is at least once, so the same key counts once."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    @property
    def url(self) -> str:
        return self._receiver.url

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Every message; each is surely from this watchdog."""
        found: dict[str, dict[str, Any]] = {}
        for one in self._receiver.received:
            stamp, mark = one.headers["x-watchdog-timestamp"], one.headers["x-watchdog-signature"]
            assert verify(SECRET, stamp, one.body, mark, datetime.now(UTC)), "a message that nobody signed"
            message = json.loads(one.body)
            hashed = hashlib.sha256(message["key"].encode()).hexdigest()
            assert one.headers["idempotency-key"] in (message["key"], f"sha256:{hashed}")
            found.setdefault(message["key"], message)
        return list(found.values())

    def answer(self, status: int) -> None:
        """Answer everything with this status from now on."""
        self._receiver.status = status

    def heard(self, kind: str, *, service: str | None = None) -> list[dict[str, Any]]:
        """The messages of one kind."""
        return [
            message
            for message in self.messages
            if message["kind"] == kind and service in {None, message["service"]}
        ]

    @property
    def kinds(self) -> list[str]:
        """What kinds of messages came, in order."""
        return [message["kind"] for message in self.messages]


@asynccontextmanager
async def people() -> AsyncIterator[People]:
    async with receiving(Receiver()) as receiver:
        yield People(receiver)
