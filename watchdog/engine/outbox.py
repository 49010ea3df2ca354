"""What the dispatcher works with: the durable outbox, one waiting line a channel, and what became of an attempt.

This module must never send anything.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from watchdog.channels.interface import Channel, Delivery, Later
from watchdog.core.message import Outgoing, OutgoingState
from watchdog.telemetry.redact import one_line, redact

#: What a receiver may ask us to wait, at most.
LONGEST_WISH = timedelta(hours=1)


class Outbox(Protocol):
    """What the dispatcher needs of `watchdog.store.interface.Store`; the promises are the same."""

    async def due(self, *, now: datetime, limit: int = 100) -> tuple[Outgoing, ...]:
        """Pending messages whose time has come, oldest first."""
        ...

    async def settle(
        self,
        key: str,
        *,
        state: OutgoingState,
        due_at: datetime,
        last_error: str = "",
        sent_at: datetime | None = None,
    ) -> None:
        """Record what became of one attempt (and count it)."""
        ...


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt, as it goes to the store; `attempts` counts this one."""

    state: OutgoingState
    due_at: datetime
    attempts: int
    last_error: str = ""
    sent_at: datetime | None = None


class Lane:
    """One channel's waiting line. `sending` is the key of what is being sent now, `closed` once the channel is gone."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.waiting: asyncio.Queue[Outgoing] = asyncio.Queue()
        self.in_hand: set[str] = set()
        self.held_until = 0.0
        """Monotonic time before which the receiver wants to hear nothing."""
        self.failing = ""
        self.sending = ""
        self.closed = False
        self.worker: asyncio.Task[None] | None = None


def wish(delivery: Delivery) -> timedelta | None:
    """How long the receiver wants to be left alone, within reason; `None` when it said nothing."""
    if not isinstance(delivery, Later) or delivery.after is None:
        return None
    return min(max(delivery.after, timedelta()), LONGEST_WISH)


def outcome(delivery: Delivery) -> str:
    """What the attempt is called in logs and metrics."""
    return str(delivery.__struct_config__.tag)


def clean(reason: str) -> str:
    """What a channel said, as one line that holds no secret."""
    return one_line(redact(reason), limit=300)
