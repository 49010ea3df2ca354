"""From the durable outbox to the channels: every message is tried until it is there, refused, or too old.

At least once: an attempt whose outcome could not be recorded is made again, under the same key. One worker
a channel, so that one that hangs holds up nobody else. This module must never decide who is told what, wait
for a switch, or make a switch wait.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog

from watchdog.aio.clock import Clock
from watchdog.aio.faultpoint import DUE, SEND, SETTLE, WAIT, Around
from watchdog.aio.supervise import asked_to_end, finish, run_all
from watchdog.channels.interface import Channel, Delivered, Delivery, Refused, Unclear
from watchdog.core.errors import StoreError
from watchdog.core.message import Message, Outgoing, OutgoingState
from watchdog.engine.outbox import Lane, Outbox, Verdict, clean, outcome, wish

T = TypeVar("T")

#: First pause after a failed attempt; it doubles up to the longest. Jitter takes up to half of it away, so
#: that messages that failed together do not come back together.
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=5)
#: A message that nobody took this long after it was made is given up (after one more attempt).
GIVE_UP_AFTER = timedelta(hours=24)
#: The outbox is looked at this often even when nothing says that there is something.
LOOK_INTERVAL = timedelta(seconds=30)
#: A channel ends every call within its own timeout; this bound is for one that breaks its promise.
SEND_LIMIT = timedelta(minutes=2)
STORE_LIMIT = timedelta(seconds=10)
#: The same emergency is told again after this long at the earliest.
EMERGENCY_INTERVAL = timedelta(minutes=10)
#: Messages a channel may have in memory; the others wait in the store.
IN_HAND = 50

_EVER = datetime.max.replace(tzinfo=UTC)
_FIRST_STORE_PAUSE, _LONGEST_STORE_PAUSE = 1.0, 10.0
_BATCH = 100

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Dispatcher:
    """Sends what is due. `run` is one supervised task; `wake` after every commit; `flush` at a clean stop.

    `on_outcome(channel, outcome)` is called after every attempt: `ok`, `retry`, `permanent` or `unknown`.
    `on_dead(outgoing, reason)` is called when a message is given up, before that is recorded: a crash
    between tells twice rather than never, so whoever tells people another way deduplicates by `outgoing.key`
    (and does not choose the channel that failed). Neither may block or raise.
    """

    def __init__(
        self,
        store: Outbox,
        channels: Mapping[str, Channel],
        *,
        clock: Clock,
        rng: random.Random,
        on_dead: Callable[[Outgoing, str], None] = lambda _outgoing, _reason: None,
        on_outcome: Callable[[str, str], None] = lambda _channel, _outcome: None,
        may_send: Callable[[], bool] = lambda: True,  # the outbox may be another process's by now
    ) -> None:
        self._store = store
        self._lanes = {name: Lane(channel) for name, channel in channels.items()}
        self._leaving: list[Lane] = []  # of channels that are gone, until what they are sending has ended
        self._group: asyncio.TaskGroup | None = None
        self._clock = clock
        self._rng = rng
        self._on_dead = on_dead
        self._on_outcome = on_outcome
        self._may_send = may_send
        self._woken = asyncio.Event()
        self._latest, self._set_back = clock.now(), timedelta()
        self._starting = True
        self._next: dict[str, datetime] = {}
        """When messages that failed here are due again."""
        self._behind = False
        """Whether more may be due than the last look showed."""
        self._unsettled: dict[str, Verdict] = {}
        """Verdicts the store did not take: what was sent must not be sent again because of that."""
        self._store_faults: dict[str, str] = {}
        self._store_pause = _FIRST_STORE_PAUSE
        self._told: dict[str, float] = {}

    def wake(self) -> None:
        """There may be something to send. Never blocks; to be called on the loop's thread."""
        self._woken.set()

    async def run(self) -> None:
        """Send until cancelled. A message whose sending is cancelled stays pending."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for name, lane in self._lanes.items():
                    self._put_to_work(name, lane)
                group.create_task(self._watch(), name="outbox")
        finally:
            self._group = None
            self._leaving.clear()
            for lane in self._lanes.values():
                lane.waiting = asyncio.Queue()
                lane.in_hand.clear()

    def _put_to_work(self, name: str, lane: Lane) -> None:
        if self._group is not None:
            lane.worker = self._group.create_task(self._serve(name, lane), name=f"send:{name}")

    def use(self, name: str, channel: Channel) -> None:
        """Send through this channel from now on; what is being sent through another of that name goes on there."""
        known = self._lanes.get(name)
        if known is not None:
            known.channel, known.held_until, known.failing = channel, 0.0, ""
            return
        lane = self._lanes[name] = Lane(channel)
        self._put_to_work(name, lane)
        self.wake()

    def dismiss(self, name: str) -> None:
        """Send nothing more through a channel. What waits for it is given up, and told through the others."""
        lane = self._lanes.pop(name, None)
        if lane is None:
            return
        lane.closed = True
        if lane.sending:
            lane.in_hand = {lane.sending}
            self._leaving.append(lane)
        elif lane.worker is not None:
            lane.worker.cancel()
        self.wake()

    async def flush(self, timeout: timedelta) -> None:
        """One attempt for everything due now, for a clean stop: after `run` has ended.

        Channels go side by side, each in order; one that asked for time is left out. What is not done within
        `timeout` stays pending. Raises for no fault outside.
        """
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await self._settle_again()
                due: dict[str, list[Outgoing]] = {}
                for row in await self._look(everything=True) or ():
                    due.setdefault(row.channel, []).append(row)
                await run_all({f"flush:{name}": self._flush_lane(name, rows) for name, rows in due.items()})
        except TimeoutError:
            _log.warning("flush_cut_short", after_seconds=timeout.total_seconds())

    async def emergency(self, message: Message) -> dict[str, Delivery]:
        """Tell every channel at once, without the store: for when the store itself is what is broken.

        Best effort, one attempt each, at most once in 10 minutes for one `message.key`; else the answer is
        empty. Takes as long as the slowest channel: nothing that switches may wait for it. Raises for no
        fault outside.
        """
        now = self._clock.monotonic()
        span = EMERGENCY_INTERVAL.total_seconds()
        self._told = {key: at for key, at in self._told.items() if now - at < span}
        if message.key in self._told:
            return {}
        self._told[message.key] = now
        answers: dict[str, Delivery] = {}

        async def tell(name: str, lane: Lane) -> None:
            answers[name] = await self._send(name, lane, message, f"{message.key}@{name}")

        await run_all({f"emergency:{name}": tell(name, lane) for name, lane in self._lanes.items()})
        if not any(isinstance(answer, Delivered) for answer in answers.values()):
            _log.critical("emergency_not_delivered", headline=message.headline, key=message.key)
        return answers

    async def _watch(self) -> None:
        """Hand out what is due; then sleep until the next is, a wake-up, or the next look."""
        while True:
            self._woken.clear()
            settled = await self._settle_again()
            rows = await self._look()
            for row in rows or ():
                await self._hand_out(row)
            if rows is None or not settled:
                with WAIT:
                    await self._clock.sleep(self._store_pause)
                self._store_pause = min(self._store_pause * 2, _LONGEST_STORE_PAUSE)
                continue
            self._store_pause = _FIRST_STORE_PAUSE
            if not (rows and self._behind):
                await self._sleep()

    async def _sleep(self) -> None:
        now = self._due_now()
        pause = min([at - now for at in self._next.values()] + [LOOK_INTERVAL])
        try:
            async with asyncio.timeout(max(pause.total_seconds(), 0.0)):
                with WAIT:
                    await self._woken.wait()
        except TimeoutError:
            return

    def _due_now(self) -> datetime:
        """What is due goes by this: it never goes back, so that a clock that was set back delays no message."""
        now = self._clock.now() + self._set_back
        if now < self._latest:
            self._set_back += self._latest - now
            now = self._latest
        self._latest = now
        return now

    async def _look(self, *, everything: bool = False) -> tuple[Outgoing, ...] | None:
        """What is due and can go now (or just some of it); `None` when the store does not answer.

        Rows in hand, and rows that wait for a busy channel, stay due: the look goes on behind them.
        """
        now = self._due_now()
        self._next = {key: at for key, at in self._next.items() if at > now}
        # What an earlier process left is due by its clock, which may have been set back since: it is tried at once.
        until = _EVER if self._starting and not everything else now
        limit = _BATCH
        while True:
            # A row may be sent and settled while the store answers: in hand before is not free after.
            busy = self._in_hand() | (self._next.keys() if self._starting else set())
            rows = await self._ask("due", DUE, self._store.due(now=until, limit=limit))
            if rows is None:
                return None
            left = [row for row in rows if row.key not in busy]
            free = tuple(row for row in left if self._may_go(row))
            self._behind = len(rows) >= limit
            if not self._behind or (free and not everything):
                break
            limit *= 4
        self._starting = self._starting and bool(left)
        return free

    def _in_hand(self) -> set[str]:
        return {key for lane in (*self._lanes.values(), *self._leaving) for key in lane.in_hand}

    def _may_go(self, row: Outgoing) -> bool:
        verdict = self._unsettled.get(row.key)
        if verdict is not None and (
            verdict.state is not OutgoingState.PENDING or verdict.due_at > self._due_now()
        ):
            return False
        lane = self._lanes.get(row.channel)
        return lane is None or (row.key not in lane.in_hand and len(lane.in_hand) < IN_HAND)

    async def _hand_out(self, row: Outgoing) -> None:
        lane = self._lanes.get(row.channel)
        if lane is None:
            await self._orphan(row)
        elif self._may_go(row):
            lane.in_hand.add(row.key)
            lane.waiting.put_nowait(row)

    async def _orphan(self, row: Outgoing) -> None:
        """The configuration has changed since the message was made."""
        refused = Refused(reason=f"there is no channel {row.channel} in the configuration any more")
        self._on_outcome(row.channel, outcome(refused))
        await finish(self._record(row, self._judge(row, refused)))

    async def _serve(self, name: str, lane: Lane) -> None:
        while not lane.closed:
            with WAIT:
                row = await lane.waiting.get()
                await self._clock.sleep(lane.held_until - self._clock.monotonic())
            await self._attempt(name, lane, row)
            if len(lane.in_hand) == IN_HAND // 2:
                self.wake()  # there may be more than fitted
        self._leaving.remove(lane)
        self.wake()

    async def _flush_lane(self, name: str, rows: list[Outgoing]) -> None:
        lane = self._lanes.get(name)
        for row in rows:
            if lane is None:
                await self._orphan(row)
            elif lane.held_until <= self._clock.monotonic():
                await self._attempt(name, lane, row)

    async def _attempt(self, name: str, lane: Lane, row: Outgoing) -> None:
        lane.in_hand.add(row.key)
        lane.sending = row.key
        try:
            if not self._may_send():
                return  # it stays pending
            delivery = await self._send(name, lane, row.message, row.key)
            # A receiver that asks for time (429, 503) means the sender, not the one message.
            if (left_alone_for := wish(delivery)) is not None:
                lane.held_until = self._clock.monotonic() + left_alone_for.total_seconds()
            await finish(self._record(row, self._judge(row, delivery)))
        finally:
            lane.sending = ""
            lane.in_hand.discard(row.key)

    async def _send(self, name: str, lane: Lane, message: Message, key: str) -> Delivery:
        """One attempt, bounded, that never raises: here ends what a channel can do wrong."""
        fault: Exception | None = None
        try:
            async with asyncio.timeout(SEND_LIMIT.total_seconds()):
                with SEND:
                    delivery = await lane.channel.send(message, key=key)
        except TimeoutError:
            delivery = Unclear(reason="the channel did not answer in time")
        except asyncio.CancelledError:
            if asked_to_end():
                raise
            delivery = Unclear(reason="the channel cancelled itself")
        except Exception as error:  # noqa: BLE001 - the border to plugins; a send that broke may have gone out
            fault = error
            delivery = Unclear(reason=f"the channel raised {type(error).__name__}")
        self._on_outcome(name, outcome(delivery))
        self._tell_change(name, lane, delivery, fault)
        return delivery

    def _tell_change(self, name: str, lane: Lane, delivery: Delivery, fault: Exception | None) -> None:
        if isinstance(delivery, Delivered):
            if lane.failing:
                _log.info("channel_recovered", channel=name)
            lane.failing = ""
            return
        kind, reason = outcome(delivery), clean(delivery.reason)
        failing = f"{kind} {reason}" if fault else kind
        if lane.failing != failing:
            _log.warning("channel_failed", channel=name, outcome=kind, reason=reason, exc_info=fault)
        lane.failing = failing

    def _judge(self, row: Outgoing, delivery: Delivery) -> Verdict:
        now = self._due_now()
        before = self._unsettled.get(row.key)
        attempts = max(row.attempts, before.attempts if before else 0) + 1
        if isinstance(delivery, Delivered):
            return Verdict(state=OutgoingState.SENT, due_at=now, attempts=attempts, sent_at=self._clock.now())
        reason = clean(delivery.reason)
        if isinstance(delivery, Refused):
            return Verdict(state=OutgoingState.DEAD, due_at=now, attempts=attempts, last_error=reason)
        if now - row.message.created_at >= GIVE_UP_AFTER:
            given_up = f"given up after {attempts} attempts; last: {reason}"
            return Verdict(state=OutgoingState.DEAD, due_at=now, attempts=attempts, last_error=given_up)
        pause = max(self._pause(attempts), wish(delivery) or timedelta())
        return Verdict(state=OutgoingState.PENDING, due_at=now + pause, attempts=attempts, last_error=reason)

    def _pause(self, attempts: int) -> timedelta:
        """1 s, 2 s, 4 s … 5 min, less up to half of it."""
        full = min(FIRST_PAUSE * 2.0 ** min(attempts - 1, 20), LONGEST_PAUSE)
        return full * self._rng.uniform(0.5, 1.0)

    async def _record(self, row: Outgoing, verdict: Verdict) -> None:
        if verdict.state is OutgoingState.DEAD:
            _log.error("message_dead", channel=row.channel, key=row.key, reason=verdict.last_error)
            self._on_dead(row, verdict.last_error)
        if await self._settle(row.key, verdict):
            self._unsettled.pop(row.key, None)
        else:
            self._unsettled[row.key] = verdict
        if verdict.state is OutgoingState.PENDING:
            self._next[row.key] = verdict.due_at
            self.wake()  # the watch sleeps until what it knew before

    async def _settle_again(self) -> bool:
        """Offer the store what it did not take; false when it takes nothing now."""
        busy = self._in_hand()  # their worker settles them
        for key in [key for key in self._unsettled if key not in busy]:
            if not await finish(self._settle(key, self._unsettled[key])):
                return False
            self._unsettled.pop(key, None)
        return True

    async def _settle(self, key: str, to: Verdict) -> bool:
        async def settle() -> bool:
            await self._store.settle(
                key, state=to.state, due_at=to.due_at, last_error=to.last_error, sent_at=to.sent_at
            )
            return True

        return await self._ask("settle", SETTLE, settle()) is not None

    async def _ask(self, what: str, around: Around, question: Awaitable[T]) -> T | None:
        """The store's answer, or `None` when it has none; told when that changes, not every time."""
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
        before = self._store_faults.get(what, "")
        self._store_faults[what] = fault
        if fault and fault != before:
            _log.error("outbox_store_failed", operation=what, error=fault)
        elif before and not fault:
            _log.info("outbox_store_recovered", operation=what)
        return answer
