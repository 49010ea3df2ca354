"""A lane: one channel's waiting line, what is being sent there, and how the channel does.

What is urgent goes before what is not, and does not wait for it to be sent: there are two to send. Of one conversation
only one message is on its way. This module must never send anything.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from datetime import datetime, timedelta

from watchdog.aio.clock import Clock
from watchdog.aio.faultpoint import WAIT
from watchdog.channels.interface import Channel
from watchdog.core.message import MessageKind, Outgoing, Thread
from watchdog.core.patience import LATE_AFTER
from watchdog.engine.parcel import Parcel

#: Parcels of each kind (urgent, and not) that a channel may have in memory; the others wait in the store.
IN_HAND = 50
#: After so many failures one after the other it is the channel that fails, not a message ...
DOWN_AFTER = 20
#: ... and one message is tried now and then; the pause doubles up to this. Nobody is told later than that.
LONGEST_REST = timedelta(seconds=30)
#: Conversations whose beginning is remembered, beside the store.
_THREADS = 100
#: Urgent messages whose waiting is watched.
_WATCHED = 100


class Lane:
    """`in_hand` are the keys of the rows that the lane has, `sending` the parcels that are on their way now."""

    def __init__(self, channel: Channel, *, clock: Clock) -> None:
        self.channel = channel
        self.in_hand: dict[str, Parcel] = {}
        self.sending: set[Parcel] = set()
        self.failing = ""
        """What it failed with last, in a word; empty while it works."""
        self.reason = ""
        self.failures = 0
        """How often it failed since it took something."""
        self.closed = False
        """The channel is gone."""
        self.workers = 0
        """How many tasks send for it."""
        self.threads: OrderedDict[str, Thread] = OrderedDict()
        self._clock = clock
        self._lines: dict[bool, deque[Parcel]] = {True: deque(), False: deque()}
        self._filled = {True: asyncio.Event(), False: asyncio.Event()}
        self._held_until = 0.0
        self._wanting: dict[str, tuple[Outgoing, float]] = {}
        self._noted = set[str]()
        """Rows that wait in the store while the channel is to be left alone."""
        self._told = set[str]()
        """Conversations of which was said, since it took something, that they wait."""
        self._took_at = clock.monotonic()
        self.late_since: datetime | None = None
        """The beginning of an outage that was noticed."""

    def room(self, *, urgent: bool) -> int:
        """How many more parcels fit; while the channel is left alone only urgent ones, to know that they wait."""
        if self.held:
            return _WATCHED - len(self._wanting) if urgent else 0
        return IN_HAND - len(self._lines[urgent]) - sum(parcel.urgent is urgent for parcel in self.sending)

    @property
    def known(self) -> set[str]:
        """The keys of all rows that need not be handed to it."""
        return self.in_hand.keys() | (self._noted if self.held else set())

    def put(self, parcel: Parcel) -> None:
        """One more waits: here, or in the store while the channel is to be left alone."""
        if self.held:
            self._noted |= parcel.keys
        else:
            self.in_hand |= dict.fromkeys(parcel.keys, parcel)
            self._lines[parcel.urgent].append(parcel)
            self._wake(urgent=parcel.urgent)
        late = parcel.message.kind is MessageKind.CHANNEL_LATE  # which is told of no channel in turn
        if parcel.urgent and not late and len(self._wanting) < _WATCHED:
            self._wanting.setdefault(parcel.first.key, (parcel.as_row(), self._clock.monotonic()))

    async def wait(self, *, urgent: bool) -> None:
        """Until there may be something to send for this worker."""
        with WAIT:
            await self._filled[urgent].wait()

    def next(self, *, urgent: bool) -> Parcel | None:
        """What goes next, which is on its way from now on. `urgent`: nothing else for this worker."""
        talking = {one for parcel in self.sending for one in parcel.conversations}
        for line in self._lines_of(urgent=urgent):
            for parcel in line:
                if not parcel.conversations & talking:
                    line.remove(parcel)
                    self.sending.add(parcel)
                    return parcel
        self._filled[urgent].clear()
        return None

    def done(self, parcel: Parcel) -> None:
        """It is not on its way any more, whatever came of it."""
        self.sending.discard(parcel)
        for key in parcel.keys:
            self.in_hand.pop(key, None)
        for urgent, line in self._lines.items():
            if line:  # what belongs to the same conversation may go now
                self._wake(urgent=urgent)

    def over(self, parcel: Parcel) -> None:
        """It was taken or given up: nobody waits for it any more."""
        for key in parcel.keys:  # what was gathered may be another one's company by now
            self._wanting.pop(key, None)

    def close(self) -> None:
        """Nothing more is sent but what is on its way."""
        self.closed = True
        self.in_hand = {key: parcel for parcel in self.sending for key in parcel.keys}
        self._wake(urgent=True)

    def forget(self) -> None:
        """Everything is in the store, and comes again from there."""
        for line in self._lines.values():
            line.clear()
        self.in_hand.clear()
        self.sending.clear()
        self._wanting.clear()
        self._told.clear()

    # How the channel does

    @property
    def held(self) -> bool:
        """Whether the receiver wants to hear nothing for now, or takes nothing anyway."""
        return self.free_in > 0

    @property
    def free_in(self) -> float:
        """Seconds until it is sent to again; not above 0 when it may be."""
        return self._held_until - self._clock.monotonic()

    def hold(self, time: timedelta) -> None:
        """Leave the receiver alone for so long. What has waited here goes on waiting in the store."""
        self._held_until = max(self._held_until, self._clock.monotonic() + time.total_seconds())
        self._noted.clear()
        for line in self._lines.values():
            line.clear()
        self.in_hand = {key: parcel for parcel in self.sending for key in parcel.keys}

    def use(self, channel: Channel) -> None:
        """It is another channel from now on, which has not failed yet."""
        self.channel = channel
        self._held_until, self.failures, self.failing = 0.0, 0, ""

    def took(self, reference: str, parcel: Parcel) -> None:
        """The channel took something."""
        self._took_at, self.failures, self.late_since = self._clock.monotonic(), 0, None
        self._told.clear()
        row = parcel.first
        if reference and row.conversation and len(parcel.rows) == 1 and row.conversation not in self.threads:
            self.threads[row.conversation] = Thread(reference=reference, message=row.message)
            if len(self.threads) > _THREADS:
                self.threads.popitem(last=False)

    def failed(self, reason: str) -> None:
        """The channel did not take something, and may take it later."""
        self.reason = reason
        self.failures += 1
        if self.failures >= DOWN_AFTER:
            self.hold(min(timedelta(seconds=2.0 ** min(self.failures - DOWN_AFTER, 10)), LONGEST_REST))

    def thread_of(self, parcel: Parcel) -> Thread | None:
        """How the conversation began; several that were gathered belong to none."""
        if len(parcel.rows) > 1:
            return None
        return parcel.first.thread or self.threads.get(parcel.first.conversation)

    @property
    def late_in(self) -> float | None:
        """Seconds until the channel is late, if nothing is taken; `None` while nothing urgent waits, or it is told."""
        if not (self.failures or self.sending) or not (waiting := self._untold()):
            return None
        since = max(self._took_at, min(at for _, at in waiting))
        return since + LATE_AFTER.total_seconds() - self._clock.monotonic()

    def is_late(self) -> tuple[Outgoing, float] | None:
        """What has waited for longest, and since how many seconds nothing is taken. Once for each conversation."""
        left = self.late_in
        if left is None or left > 0:
            return None
        row, at = min(self._untold(), key=lambda one: one[1])
        self._told.add(_spoken_of(row))
        return row, self._clock.monotonic() - max(self._took_at, at)

    def _untold(self) -> list[tuple[Outgoing, float]]:
        return [one for one in self._wanting.values() if _spoken_of(one[0]) not in self._told]

    def _lines_of(self, *, urgent: bool) -> Iterator[deque[Parcel]]:
        yield self._lines[True]
        if not urgent:
            yield self._lines[False]

    def _wake(self, *, urgent: bool) -> None:
        self._filled[False].set()
        if urgent:
            self._filled[True].set()


def _spoken_of(row: Outgoing) -> str:
    return row.conversation or row.key
