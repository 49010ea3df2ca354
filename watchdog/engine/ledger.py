"""Verdicts on their way into the store: many in one transaction, each kept in memory until it is there.

Whoever sends does not wait for the disk; only so many verdicts may be under way that a crash repeats few messages. What
the store did not take is offered again, and nothing that it speaks of is sent again because of that.

This module must never forget a verdict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime

import structlog

from watchdog.aio.faultpoint import SETTLE, WAIT
from watchdog.aio.supervise import finish
from watchdog.core.message import OutgoingState
from watchdog.engine.outbox import Outbox, Questions, Verdict

#: Verdicts that may wait for the disk while messages are sent: what a crash repeats, at most, beside those being sent.
UNDER_WAY = 16
#: Verdicts in one transaction.
TOGETHER = 100
#: When the store has not taken so many, nothing more is sent until it does.
TOO_MANY = 1000

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Ledger:
    """`on_written` hears of what messages verdicts are in the store, and of none when it took nothing; never blocks."""

    def __init__(
        self, store: Outbox, questions: Questions, *, on_written: Callable[[Collection[str]], None]
    ) -> None:
        self._store = store
        self._questions = questions
        self._on_written = on_written
        self._new: dict[str, Verdict] = {}
        self._offered: dict[str, Verdict] = {}
        self._kept: dict[str, Verdict] = {}
        """The store did not take them."""
        self._entered = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def stuck(self) -> bool:
        """Whether so much is not written that nothing more may be sent."""
        return len(self._kept) >= TOO_MANY

    def of(self, key: str) -> Verdict | None:
        """What is not in the store yet about a message."""
        return self._new.get(key) or self._offered.get(key) or self._kept.get(key)

    def settled(self, now: datetime) -> set[str]:
        """The keys of messages that must not be sent now, whatever the store says of them."""
        waiting = {
            key
            for key, verdict in self._kept.items()
            if verdict.state is not OutgoingState.PENDING or verdict.due_at > now
        }
        return self._new.keys() | self._offered.keys() | waiting

    def enter(self, keys: Iterable[str], verdict: Verdict) -> None:
        """It is to be written."""
        self._new |= dict.fromkeys(keys, verdict)
        self._entered.set()
        if len(self._new) >= UNDER_WAY:
            self._room.clear()

    async def room(self) -> None:
        """Wait until not too much is under way."""
        with WAIT:
            await self._room.wait()

    async def run(self) -> None:
        """Write what is entered until cancelled; what is being written then is written to its end."""
        while True:
            with WAIT:
                await self._entered.wait()
            await finish(self.write())

    async def write(self) -> bool:
        """Write everything that was entered; false when the store did not take it."""
        self._entered.clear()
        while self._new:
            taken = list(self._new)[:TOGETHER]
            self._offered = {key: self._new.pop(key) for key in taken}
            self._room.set()
            written = await self._offer(self._offered)
            if not written:
                self._kept |= self._offered
            self._offered = {}
            if not written:
                self._kept |= self._new
                self._new = {}
                self._room.set()
                self._on_written(())
                return False
        return True

    async def write_again(self, *, but: set[str]) -> bool:
        """Offer what the store did not take; false when it takes nothing now. `but`: whose next verdict comes soon."""
        while left := {key: verdict for key, verdict in self._kept.items() if key not in but}:
            batch = dict(list(left.items())[:TOGETHER])
            if await finish(self._offer(batch)):
                self._written(batch)
            elif len(batch) == 1 or not await self._one_by_one(batch):
                return False
        return True

    async def _one_by_one(self, batch: Mapping[str, Verdict]) -> bool:
        """One that the store can never take must not keep the others out: it comes last from then on."""
        for key, verdict in batch.items():
            one = {key: verdict}
            if not await finish(self._offer(one)):
                if self._kept.get(key) is verdict:
                    self._kept[key] = self._kept.pop(key)
                return False
            self._written(one)
        return True

    def _written(self, batch: Mapping[str, Verdict]) -> None:
        for key, verdict in batch.items():
            if self._kept.get(key) is verdict:
                del self._kept[key]

    async def _offer(self, batch: Mapping[str, Verdict]) -> bool:
        attempts = [verdict.on(key) for key, verdict in batch.items()]
        unknown = await self._questions.ask("settle", SETTLE, self._store.settle_many(attempts))
        if unknown is None:
            return False
        for key in batch:
            if self._kept.get(key) is not batch[key]:
                self._kept.pop(key, None)  # of an attempt before this one
        if unknown:
            _log.error("messages_gone", keys=sorted(unknown)[:10], count=len(unknown))
        self._on_written(batch.keys())
        return True
