"""The outbox of the store in memory: the twin of `watchdog.store.outbox`, over a mapping of rows.

This module must never answer a value that somebody could change a stored record through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from watchdog.core.message import Attempted, Outgoing, OutgoingState, Thread
from watchdog.core.turn import Resend
from watchdog.store.codec import decode, stamp
from watchdog.store.interface import Standing, Wanted
from watchdog.store.outbox import LARGEST_GROUP, PATIENCE, Hold, resent, settled
from watchdog.store.rows import ORDINARY, URGENT, Row, outgoing_row

_PENDING = OutgoingState.PENDING


class MemoryOutbox:
    """Works on the rows that it is given; a row also has `holder` and `held_until` once it was leased."""

    def __init__(self, rows: dict[str, Row]) -> None:
        self._rows = rows

    def add(self, rows: Iterable[Row], followed: Iterable[Row]) -> None:
        """Store messages whose keys are new; what was said before in a conversation goes with what is urgent."""
        for row in rows:
            self._rows.setdefault(row["key"], row)
        for one in followed:
            for row in self._said(one["on"], one["of"]):
                if row["state"] == _PENDING and row["number"] < one["before"]:
                    row["rank"] = URGENT
                    row["due_at"] = min(row["due_at"], one["at"]) if row["gathering"] else row["due_at"]

    def take(self, wanted: Wanted, hold: Hold | None) -> tuple[Outgoing, ...]:
        """What may be handed out now, and nobody else's from now on."""
        found: dict[str, Row] = {}
        for rank, full in ((URGENT, wanted.full_for_urgent), (ORDINARY, wanted.full)):
            rows = [
                row for row in self._due(wanted, hold) if row["rank"] == rank and row["channel"] not in full
            ]
            found |= {row["key"]: row for row in rows[: max(wanted.limit - len(found), 0)]}
        room, left_out = LARGEST_GROUP, set[tuple[str, str]]()
        groups = {(row["channel"], row["gathering"]) for row in found.values() if row["gathering"]}
        for group in sorted(groups):
            if room <= 0:
                left_out.add(group)
                continue
            rows = [row for row in self._due(wanted, hold) if (row["channel"], row["gathering"]) == group]
            found |= {row["key"]: row for row in rows[:LARGEST_GROUP]}
            room -= len(rows)
        taken = [row for row in found.values() if (row["channel"], row["gathering"]) not in left_out]
        if hold is not None:
            kept = [self._rows[key] for key in wanted.in_hand if key in self._rows]
            for row in (*taken, *kept):
                if row.get("holder") != hold.epoch or row["held_until"] < (hold.now + hold.until) // 2:
                    row |= {"holder": hold.epoch, "held_until": hold.until}
        return tuple(self._taken(row) for row in taken)

    def settle(self, attempts: Sequence[Attempted]) -> frozenset[str]:
        """Record attempts; answers the keys that are not there."""
        known = [one for one in attempts if one.key in self._rows]
        for attempt in known:
            self._put(settled(self._value(self._rows[attempt.key]), attempt))
        return frozenset(one.key for one in attempts) - {one.key for one in known}

    def resend(self, wishes: Iterable[Resend]) -> None:
        """Messages that were given up are pending again."""
        for again in wishes:
            row = self._rows.get(again.key)
            if row is not None and row["state"] == OutgoingState.DEAD:
                self._put(resent(self._value(row), again))

    def listed(self, state: OutgoingState | None, channel: str | None) -> list[Row]:
        """Rows of a list, newest first."""
        rows = [
            row
            for row in self._rows.values()
            if state in {None, row["state"]} and channel in {None, row["channel"]}
        ]
        return sorted(rows, key=lambda row: -row["number"])

    def pending(self) -> list[Row]:
        """Messages that wait, in the order in which they were stored."""
        rows = (row for row in self._rows.values() if row["state"] == _PENDING)
        return sorted(rows, key=lambda row: int(row["number"]))

    def standing(self) -> Standing:
        """How things stand."""
        pending = self.pending()
        urgent = [row for row in pending if row["rank"] == URGENT]
        overdue = min(pending, key=lambda row: (row["due_at"], row["rank"], row["number"]), default=None)
        dead = (row["channel"] for row in self._rows.values() if row["state"] == OutgoingState.DEAD)
        return Standing(
            pending=dict(Counter(row["channel"] for row in pending)),
            dead=dict(Counter(dead)),
            oldest=self._value(pending[0]) if pending else None,
            needed=self._value(urgent[0]) if urgent else None,
            overdue=self._value(overdue) if overdue else None,
        )

    def prune(self, before: datetime, limit: int, *, is_open: Callable[[str], bool]) -> int:
        """Forget what is old; `is_open`: whether an incident is."""
        old = [
            row
            for row in self._rows.values()
            if row["state"] != _PENDING
            and row["due_at"] < stamp(before)
            and not self._goes_on(row, before)
            and not is_open(row["conversation"])
        ]
        for row in old[:limit]:
            del self._rows[row["key"]]
        return len(old[:limit])

    def _goes_on(self, row: Row, before: datetime) -> bool:
        return bool(row["conversation"]) and any(
            one["state"] == _PENDING or one["due_at"] >= stamp(before)
            for one in self._said(row["channel"], row["conversation"])
        )

    def _due(self, wanted: Wanted, hold: Hold | None) -> list[Row]:
        rows = [
            row
            for row in self._rows.values()
            if row["state"] == _PENDING
            and (wanted.whatever or row["due_at"] <= stamp(wanted.now))
            and row["key"] not in wanted.in_hand
            and self._free(row, wanted)
            and (hold is None or row.get("holder", 0) == hold.epoch or row.get("held_until", 0) <= hold.now)
        ]
        return sorted(rows, key=lambda row: (row["due_at"], row["number"]))

    def _free(self, row: Row, wanted: Wanted) -> bool:
        """Whether nothing waits that was said earlier in its conversation, or it is urgent and has waited enough."""
        waited = row["rank"] == URGENT and row["due_at"] <= stamp(wanted.now - PATIENCE)
        if not row["conversation"] or waited:
            return True
        return not any(
            one["state"] == _PENDING
            and one["number"] < row["number"]
            and not (row["gathering"] and row["gathering"] == one["gathering"])
            for one in self._said(row["channel"], row["conversation"])
        )

    def _said(self, channel: str, conversation: str) -> list[Row]:
        rows = (
            row
            for row in self._rows.values()
            if row["conversation"] == conversation and row["channel"] == channel
        )
        return sorted(rows, key=lambda row: int(row["number"]))

    def _taken(self, row: Row) -> Outgoing:
        value = self._value(row)
        value = replace(value, hastened=row["rank"] == URGENT and not value.message.urgent)
        if not value.conversation:
            return value
        for said in self._said(row["channel"], row["conversation"]):
            if said["state"] == OutgoingState.SENT and said["reference"]:
                first = self._value(said)
                return replace(value, thread=Thread(reference=first.reference, message=first.message))
        return value

    def _put(self, value: Outgoing) -> None:
        number = self._rows[value.key]["number"]
        self._rows[value.key] = {**outgoing_row(value), "number": number}

    def _value(self, row: Row) -> Outgoing:
        return decode(row["doc"], Outgoing)
