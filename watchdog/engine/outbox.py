"""What the dispatcher works with: the durable outbox, how it is asked, and what became of an attempt.

This module must never send anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import msgspec
import structlog

from watchdog.aio.faultpoint import Around
from watchdog.channels.interface import Delivery, Later
from watchdog.core.errors import StoreError
from watchdog.core.message import Attempted, Outgoing, OutgoingState
from watchdog.store.interface import Wanted
from watchdog.telemetry.redact import one_line, redact

T = TypeVar("T")

#: What a receiver may ask us to wait, at most.
LONGEST_WISH = timedelta(hours=1)
STORE_LIMIT = timedelta(seconds=10)

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Outbox(Protocol):
    """What the dispatcher needs of `watchdog.store.interface.Store`; the promises are the same."""

    async def take(self, wanted: Wanted) -> tuple[Outgoing, ...]:
        """Pending messages whose time has come, what is urgent first; nobody else's while the lease lasts."""
        ...

    async def settle_many(self, attempts: Sequence[Attempted]) -> frozenset[str]:
        """Record what became of attempts (and count them); answers the keys that are not there any more."""
        ...


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt, as it goes to the store; `attempts` counts this one."""

    state: OutgoingState
    due_at: datetime
    attempts: int
    last_error: str = ""
    sent_at: datetime | None = None
    reference: str = ""

    def on(self, key: str) -> Attempted:
        """The same about one message."""
        return Attempted(
            key=key,
            state=self.state,
            due_at=self.due_at,
            last_error=self.last_error,
            sent_at=self.sent_at,
            reference=self.reference,
        )


class Questions:
    """Asks the store, bounded in time, and tells what is wrong with it when that changes, not every time."""

    def __init__(self) -> None:
        self._faults: dict[str, str] = {}

    async def ask(self, what: str, around: Around, question: Awaitable[T]) -> T | None:
        """The store's answer, or `None` when it has none."""
        fault = ""
        answer: T | None = None
        try:
            async with asyncio.timeout(STORE_LIMIT.total_seconds()):
                with around:
                    answer = await question
        except TimeoutError:
            fault = "no answer in time"
        except StoreError as error:
            fault = str(error) or type(error).__name__
        before = self._faults.get(what, "")
        self._faults[what] = fault
        if fault and fault != before:
            _log.error("outbox_store_failed", operation=what, error=fault)
        elif before and not fault:
            _log.info("outbox_store_recovered", operation=what)
        return answer


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
