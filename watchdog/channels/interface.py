"""What every channel promises: one message out, and an honest answer about what became of it.

The outbox owns retries; a channel tries once. It never raises for an outside fault and never leaks a secret into its
answer.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import msgspec

from watchdog.core.message import Message


class Delivered(msgspec.Struct, frozen=True, kw_only=True, tag="ok"):
    """The receiver has it. `reference` is the provider's id for it, where there is one."""

    reference: str = ""


class Later(msgspec.Struct, frozen=True, kw_only=True, tag="retry"):
    """Certainly not delivered, may work later; `after` is the receiver's own wish, where it said one."""

    reason: str
    after: timedelta | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="permanent"):
    """Will never work like this (wrong token, bad request): the next channel must be tried."""

    reason: str


class Unclear(msgspec.Struct, frozen=True, kw_only=True, tag="unknown"):
    """May have been delivered (answer lost). Sent again under the same key: a duplicate rather than a miss."""

    reason: str


Delivery = Delivered | Later | Refused | Unclear


class Channel(Protocol):
    """One way to reach people."""

    async def send(self, message: Message, *, key: str) -> Delivery:
        """Try once to deliver. `key` is stable over retries; receivers that can deduplicate are given it.

        Never raises for an outside fault, safe to cancel, done within the channel's timeout.
        """
        ...

    async def inspect(self) -> str | None:
        """Say what is wrong with the channel without sending anything; `None` when nothing is. Never raises."""
        ...

    async def aclose(self) -> None:
        """Close connections. Idempotent, never raises."""
        ...
