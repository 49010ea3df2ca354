"""From the durable outbox to the channels: every message is tried until it is there, refused, or too old.

At least once: an attempt whose outcome could not be recorded is made again, under the same key. Every channel has a
lane of its own, so that one that hangs holds up nobody else, and in each lane what is urgent goes first. This module
must never decide who is told what, wait for a switch, or make a switch wait.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta

import structlog

from watchdog.aio.clock import Clock
from watchdog.aio.faultpoint import DUE, WAIT
from watchdog.aio.supervise import finish, run_all
from watchdog.channels.interface import Channel, Delivered, Delivery, Refused
from watchdog.core.message import Message, Outgoing, OutgoingState
from watchdog.core.patience import GIVE_UP_AFTER, pause_after
from watchdog.engine.lane import IN_HAND, Lane
from watchdog.engine.ledger import Ledger
from watchdog.engine.outbox import Outbox, Questions, Verdict, clean, outcome, wish
from watchdog.engine.parcel import Parcel, parcels
from watchdog.engine.sending import Charts, Sending, no_chart
from watchdog.store.interface import Wanted

#: The outbox is looked at this often even when nothing says that there is something.
LOOK_INTERVAL = timedelta(seconds=30)
#: So long what this process has in hand is no other's, and so often that is renewed.
LEASE, RENEWED = timedelta(seconds=30), timedelta(seconds=10)
#: The same emergency is told again after this long at the earliest.
EMERGENCY_INTERVAL = timedelta(minutes=10)

_FIRST_STORE_PAUSE, _LONGEST_STORE_PAUSE = 1.0, 10.0
_BATCH, _AT_LEAST = 100, 20
#: Of so many messages that failed it is known when they are due again; the others are found by looking.
_KNOWN = 1000

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Dispatcher:
    """Sends what is due. `run` is one supervised task; `wake` after every commit; `flush` at a clean stop.

    `on_outcome(channel, outcome)` is called after every attempt: `ok`, `retry`, `permanent` or `unknown`.
    `on_dead(outgoing, reason)` is called when a message is given up, before that is recorded: a crash
    between tells twice rather than never, so whoever tells people another way deduplicates by `outgoing.key`
    (and does not choose the channel that failed). `on_late(outgoing, reason, since)` is called when a channel has taken
    nothing for a minute while something urgent waits: once for each conversation until it takes something. None may
    block or raise.
    `charts` makes pictures for channels that show them; a message goes without one that is late. `prepare` adds to a
    message, before it is sent, what only the running configuration knows.
    """

    def __init__(  # noqa: PLR0913 - everything by name
        self,
        store: Outbox,
        channels: Mapping[str, Channel],
        *,
        clock: Clock,
        rng: random.Random,
        on_dead: Callable[[Outgoing, str], None] = lambda _outgoing, _reason: None,
        on_late: Callable[[Outgoing, str, datetime], None] = lambda _outgoing, _reason, _since: None,
        on_outcome: Callable[[str, str], None] = lambda _channel, _outcome: None,
        charts: Charts = no_chart,
        prepare: Callable[[Message], Message] = lambda message: message,
        may_send: Callable[[], bool] = lambda: True,  # the outbox may be another process's by now
    ) -> None:
        self._store = store
        self._lanes = {name: Lane(channel, clock=clock) for name, channel in channels.items()}
        self._leaving: list[Lane] = []  # of channels that are gone, until what they are sending has ended
        self._group: asyncio.TaskGroup | None = None
        self._clock = clock
        self._rng = rng
        self._on_dead = on_dead
        self._on_late = on_late
        self._on_outcome = on_outcome
        self._may_send = may_send
        self._sending = Sending(charts=charts, on_outcome=on_outcome, prepare=prepare)
        self._questions = Questions()
        self._ledger = Ledger(store, self._questions, on_written=self._written)
        self._woken = asyncio.Event()
        self._latest, self._set_back = clock.now(), timedelta()
        self._starting = True
        self._next: dict[str, datetime] = {}
        """When messages that failed here are due again."""
        self._said = set[str]()
        """Messages of conversations, of which it is not known in the store yet what became of them."""
        self._behind = False
        """Whether more may be due than the last look showed."""
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
                group.create_task(self._ledger.run(), name="settle")
                group.create_task(self._watch(), name="outbox")
        finally:
            self._group = None
            self._leaving.clear()
            for lane in self._lanes.values():
                lane.forget()
            await finish(self._ledger.write())

    def _put_to_work(self, name: str, lane: Lane) -> None:
        if self._group is not None:
            for urgent in (False, True):
                self._group.create_task(self._serve(name, lane, urgent=urgent), name=f"send:{name}")

    def use(self, name: str, channel: Channel) -> None:
        """Send through this channel from now on; what is being sent through another of that name goes on there."""
        known = self._lanes.get(name)
        if known is not None:
            known.use(channel)
            self.wake()
            return
        lane = self._lanes[name] = Lane(channel, clock=self._clock)
        self._put_to_work(name, lane)
        self.wake()

    def dismiss(self, name: str) -> None:
        """Send nothing more through a channel. What waits for it is given up, and told through the others."""
        lane = self._lanes.pop(name, None)
        if lane is None:
            return
        lane.close()
        if lane.sending:
            self._leaving.append(lane)
        self.wake()

    async def flush(self, timeout: timedelta) -> None:
        """One attempt for everything due now, for a clean stop: after `run` has ended.

        Channels go side by side, each in order; one that asked for time is left out. What is not done within
        `timeout` stays pending. Raises for no fault outside.
        """
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await self._ledger.write_again(but=set())
                lanes = {f"flush:{name}": self._flush_lane(name) for name in self._lanes}
                await run_all({**lanes, "flush": self._flush_lane(None)})
        except TimeoutError:
            _log.warning("flush_cut_short", after_seconds=timeout.total_seconds())
        finally:
            await finish(self._ledger.write())

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
            answers[name] = await self._sending.send(name, lane, message, f"{message.key}@{name}")

        await run_all({f"emergency:{name}": tell(name, lane) for name, lane in self._lanes.items()})
        if not any(isinstance(answer, Delivered) for answer in answers.values()):
            _log.critical("emergency_not_delivered", headline=message.headline, key=message.key)
        return answers

    async def _watch(self) -> None:
        """Hand out what is due; then sleep until the next is, a wake-up, or the next look."""
        while True:
            self._woken.clear()
            settled = await self._ledger.write_again(but=self._in_hand())
            rows = () if self._ledger.stuck else await self._look()
            handed_out = [self._hand_out(parcel) for parcel in parcels(rows or (), self._lanes)]
            self._notice_late()
            if rows is None or not settled:
                with WAIT:
                    await self._clock.sleep(self._store_pause)
                self._store_pause = min(self._store_pause * 2, _LONGEST_STORE_PAUSE)
                continue
            self._store_pause = _FIRST_STORE_PAUSE
            if not (any(handed_out) and self._behind):
                await self._sleep()

    async def _sleep(self) -> None:
        now = self._due_now()
        pauses = [(at - now).total_seconds() for at in self._next.values()]
        pauses += [late for lane in self._lanes.values() if (late := lane.late_in) is not None]
        pauses += [lane.free_in for lane in self._lanes.values() if lane.held]
        look = RENEWED if self._in_hand() else LOOK_INTERVAL
        try:
            async with asyncio.timeout(max(min([*pauses, look.total_seconds()]), 0.0)):
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

    async def _look(self) -> tuple[Outgoing, ...] | None:
        """What is due and can go now, or some of it; `None` when the store does not answer."""
        now = self._due_now()
        self._next = {key: at for key, at in self._next.items() if at > now}
        # What an earlier process left is due by its clock, which may have been set back since: it is tried at once.
        starting = self._starting and len(self._next) < _KNOWN
        # A lane is filled again once half of it is sent: else every row is read again and again until it fits.
        busy = self._in_hand() | self._ledger.settled(now)
        room = {name: lane.room(urgent=False) for name, lane in self._lanes.items()}
        fits = sum(free for free in room.values() if free >= IN_HAND // 2)
        wanted = Wanted(
            now=now,
            limit=min(max(fits, _AT_LEAST), _BATCH),
            full=frozenset(name for name, free in room.items() if free < IN_HAND // 2),
            full_for_urgent=frozenset(n for n, lane in self._lanes.items() if not lane.room(urgent=True)),
            in_hand=frozenset(busy | self._next.keys() if starting else busy),
            whatever=starting,
            lease=LEASE,
        )
        rows = await self._questions.ask("due", DUE, self._store.take(wanted))
        if rows is not None:
            self._starting = starting and bool(rows or wanted.full)
            self._behind = len(rows) >= wanted.limit or starting
        return rows

    def _in_hand(self) -> set[str]:
        return {key for lane in (*self._lanes.values(), *self._leaving) for key in lane.known}

    def _hand_out(self, parcel: Parcel) -> bool:
        """Whether it went into its lane; what does not fit is still due."""
        lane = self._lanes.get(parcel.first.channel)
        if lane is None:
            self._orphan(parcel)
            return True
        if lane.in_hand.keys() & parcel.keys or not lane.room(urgent=parcel.urgent):
            return False
        lane.put(parcel)
        return True

    def _orphan(self, parcel: Parcel) -> None:
        """The configuration has changed since the message was made."""
        channel = parcel.first.channel
        refused = Refused(reason=f"there is no channel {channel} in the configuration any more")
        self._on_outcome(channel, outcome(refused))
        self._enter(parcel, self._judge(parcel, refused))

    async def _serve(self, name: str, lane: Lane, *, urgent: bool) -> None:
        lane.workers += 1
        try:
            while True:
                await lane.wait(urgent=urgent)
                if lane.closed:
                    break
                parcel = lane.next(urgent=urgent)
                if parcel is None:
                    continue
                await self._attempt(name, lane, parcel)
                if lane.room(urgent=parcel.urgent) == IN_HAND // 2:
                    self.wake()  # there may be more than fitted
                await self._ledger.room()
        finally:
            lane.workers -= 1
        if lane in self._leaving and not lane.sending:
            self._leaving.remove(lane)
            self.wake()

    async def _flush_lane(self, name: str | None) -> None:
        """Everything due of one channel; of `None`, of those that are gone."""
        others = frozenset(self._lanes) - {name}
        tried = set[str]()
        while name is None or not self._lanes[name].held:
            now = self._due_now()
            wanted = Wanted(
                now=now,
                limit=IN_HAND,
                full=others,
                full_for_urgent=others,
                in_hand=frozenset(tried | self._ledger.settled(now)),
                lease=LEASE,
            )
            rows = await self._questions.ask("due", DUE, self._store.take(wanted))
            mine = [
                row for row in rows or () if (row.channel if row.channel in self._lanes else None) == name
            ]
            if not mine:
                return
            for parcel in parcels(mine, self._lanes):
                tried |= parcel.keys
                if name is None:
                    self._orphan(parcel)
                elif not self._lanes[name].held:
                    await self._attempt(name, self._lanes[name], parcel)
            await finish(self._ledger.write())

    async def _attempt(self, name: str, lane: Lane, parcel: Parcel) -> None:
        lane.sending.add(parcel)
        try:
            if not self._may_send():
                return  # it stays pending
            delivery = await self._sending.parcel(name, lane, parcel)
            self._learn(lane, parcel, delivery)
            self._enter(parcel, self._judge(parcel, delivery))
        finally:
            lane.done(parcel)

    def _learn(self, lane: Lane, parcel: Parcel, delivery: Delivery) -> None:
        """What it says of the channel."""
        if isinstance(delivery, Delivered):
            lane.took(delivery.reference, parcel)
        elif not isinstance(delivery, Refused):
            lane.failed(clean(delivery.reason))
            # A receiver that asks for time (429, 503) means the sender, not the one message.
            if (left_alone_for := wish(delivery)) is not None:
                lane.hold(left_alone_for)

    def _notice_late(self) -> None:
        for name, lane in self._lanes.items():
            late = lane.is_late()
            if late is None:
                continue
            row, seconds = late
            reason = lane.reason or "it has not answered"
            if lane.late_since is None:
                _log.error("channel_late", channel=name, since_seconds=round(seconds), reason=reason)
                lane.late_since = self._clock.now() - timedelta(seconds=seconds)
            self._on_late(row, reason, lane.late_since)

    def _judge(self, parcel: Parcel, delivery: Delivery) -> Verdict:
        now = self._due_now()
        before = self._ledger.of(parcel.first.key)
        attempts = max(parcel.attempts, before.attempts if before else 0) + 1
        if isinstance(delivery, Delivered):
            return Verdict(
                state=OutgoingState.SENT,
                due_at=now,
                attempts=attempts,
                sent_at=self._clock.now(),
                reference=delivery.reference,
            )
        reason = clean(delivery.reason)
        if isinstance(delivery, Refused):
            return Verdict(state=OutgoingState.DEAD, due_at=now, attempts=attempts, last_error=reason)
        if now - parcel.message.created_at >= GIVE_UP_AFTER:
            given_up = f"given up after {attempts} attempts; last: {reason}"
            return Verdict(state=OutgoingState.DEAD, due_at=now, attempts=attempts, last_error=given_up)
        share = self._rng.uniform(0.5, 1.0)
        own = pause_after(attempts, urgent=parcel.urgent, share=share)
        pause = max(own, wish(delivery) or timedelta())
        return Verdict(state=OutgoingState.PENDING, due_at=now + pause, attempts=attempts, last_error=reason)

    def _enter(self, parcel: Parcel, verdict: Verdict) -> None:
        lane = self._lanes.get(parcel.first.channel)
        if lane is not None and verdict.state is not OutgoingState.PENDING:
            lane.over(parcel)
        if verdict.state is OutgoingState.DEAD:
            _log.error(
                "message_dead", channel=parcel.first.channel, key=parcel.key, reason=verdict.last_error
            )
            self._on_dead(parcel.as_row(), verdict.last_error)
        if verdict.state is OutgoingState.PENDING and len(self._next) < _KNOWN:
            self._next |= dict.fromkeys(parcel.keys, verdict.due_at)
            self.wake()  # the watch sleeps until what it knew before
        if parcel.conversations:
            self._said |= parcel.keys
        self._ledger.enter(parcel.keys, verdict)

    def _written(self, keys: Collection[str]) -> None:
        """What waited for earlier messages of its conversation may go now; or the store takes nothing."""
        if not keys or self._said & set(keys):
            self._said.difference_update(keys)
            self.wake()
