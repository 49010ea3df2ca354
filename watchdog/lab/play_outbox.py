"""What people of a script are told, and when: at once, with others, or when their channel works again.

As the dispatcher tries, in time but not on a clock. This module must never decide who is told what.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from watchdog.core.events import ChannelDead, ChannelLate
from watchdog.core.gathering import gathered
from watchdog.core.message import Message, MessageKind, Outgoing
from watchdog.core.patience import GIVE_UP_AFTER, LATE_AFTER, pause_after

_REASON = "the channel takes nothing"


class _Waiting:
    """A message that its channel did not take: since when, and how often it was tried."""

    def __init__(self, row: Outgoing, message: Message, since: timedelta) -> None:
        self.row = row
        self.message = message
        self.since = since
        self.attempts = 0
        self.due = since


class PlayedOutbox:
    """`deliver` hears of what a channel took; `look` must be called at every moment that `next_at` answers."""

    def __init__(self, *, seed: int, deliver: Callable[[timedelta, str, Message], None]) -> None:
        self._rng = random.Random(seed)
        self._deliver = deliver
        self._down: dict[str, timedelta] = {}
        self._late_at: dict[str, timedelta] = {}
        self._told: dict[str, set[str]] = {}
        self._waiting: list[_Waiting] = []
        self._together: dict[tuple[str, str], list[Outgoing]] = {}
        self._leaves: dict[tuple[str, str], timedelta] = {}

    def put(self, rows: Iterable[Outgoing], *, at: timedelta, now: datetime) -> None:
        """A turn tells people."""
        for row in rows:
            if row.group and row.due_at > now:
                key = (row.channel, row.group)
                self._together.setdefault(key, []).append(row)
                self._leaves.setdefault(key, at + (row.due_at - now))
            else:
                self._send(row, row.message, at)

    def fail(self, channel: str, until: timedelta) -> None:
        """A channel takes nothing until then."""
        self._down[channel] = max(until, self._down.get(channel, until))

    def next_at(self) -> timedelta | None:
        """When there is something to do."""
        moments = [*self._leaves.values(), *(one.due for one in self._waiting), *self._late_at.values()]
        return min(moments, default=None)

    def look(self, at: timedelta, now: datetime) -> list[ChannelDead | ChannelLate]:
        """Send what is due, and say what people did not hear."""
        for key in [key for key, leaves in self._leaves.items() if leaves <= at]:
            del self._leaves[key]
            rows = self._together.pop(key)
            self._send(rows[0], gathered([row.message for row in rows]), at)
        found: list[ChannelDead | ChannelLate] = []
        for one in [one for one in self._waiting if one.due <= at]:
            if not self._is_down(one.row.channel, at):
                self._waiting.remove(one)
                self._took(at, one.row.channel, one.message)
            elif now - one.message.created_at >= GIVE_UP_AFTER:
                self._waiting.remove(one)
                why = f"given up after {one.attempts + 1} attempts; last: {_REASON}"
                found.append(
                    ChannelDead(channel=one.row.channel, key=one.row.key, message=one.message, reason=why)
                )
            else:
                self._again(one, at)
        for channel in [name for name, moment in self._late_at.items() if moment <= at]:
            found += self._late(channel, at, now)
        return found

    def _send(self, row: Outgoing, message: Message, at: timedelta) -> None:
        if not self._is_down(row.channel, at):
            self._took(at, row.channel, message)
            return
        one = _Waiting(row, message, at)
        self._again(one, at)
        self._waiting.append(one)
        self._plan_late(row.channel)

    def _again(self, one: _Waiting, at: timedelta) -> None:
        """The next attempt that can come to anything."""
        one.due = at
        while one.due == at or (
            self._is_down(one.row.channel, one.due) and one.due - one.since < GIVE_UP_AFTER
        ):
            one.attempts += 1
            share = self._rng.uniform(0.5, 1.0)
            one.due += pause_after(one.attempts, urgent=one.message.urgent, share=share)

    def _took(self, at: timedelta, channel: str, message: Message) -> None:
        self._told.pop(channel, None)
        self._late_at.pop(channel, None)
        self._plan_late(channel)
        self._deliver(at, channel, message)

    def _is_down(self, channel: str, at: timedelta) -> bool:
        return at < self._down.get(channel, timedelta())

    def _untold(self, channel: str) -> list[_Waiting]:
        told = self._told.get(channel, set())
        return [
            one
            for one in self._waiting
            if one.row.channel == channel
            and one.message.urgent
            and one.message.kind is not MessageKind.CHANNEL_LATE
            and one.message.conversation not in told
        ]

    def _plan_late(self, channel: str) -> None:
        untold = self._untold(channel)
        if untold:
            self._late_at[channel] = min(one.since for one in untold) + LATE_AFTER
        else:
            self._late_at.pop(channel, None)

    def _late(self, channel: str, at: timedelta, now: datetime) -> list[ChannelDead | ChannelLate]:
        """Once for each conversation until the channel takes something."""
        del self._late_at[channel]
        if not self._is_down(channel, at):
            return []
        one = min(self._untold(channel), key=lambda each: each.since)
        self._told.setdefault(channel, set()).add(one.message.conversation)
        self._plan_late(channel)
        since = now - (at - one.since)
        return [
            ChannelLate(channel=channel, key=one.row.key, message=one.message, reason=_REASON, since=since)
        ]
