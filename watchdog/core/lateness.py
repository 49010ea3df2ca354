"""What is late now: the audit of the watchdog by itself, each finding a sentence. Pure.

While anything is late the heartbeat is withheld, so that somebody outside notices; nobody is paged for it through what
is broken already. This module must never decide what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from watchdog.core import escalation
from watchdog.core.message import Message, Outgoing
from watchdog.core.units import format_duration
from watchdog.core.world import World

#: A step of a ladder is taken by the next tick, a second later (Grafana OnCall's auditor allows five minutes).
STEP_AFTER = timedelta(seconds=60)
#: A message is tried at once; then it is due again when its pause is over. A channel may ask for more time than this,
#: but not of a message that nobody ever tried.
TRIED_AFTER = timedelta(minutes=2)
#: By now some channel should have taken what needs somebody.
HEARD_AFTER = timedelta(minutes=10)
#: The reactor hears a tick every second.
TURN_AFTER = timedelta(seconds=30)
#: The auditor looks every few seconds; a store that hangs keeps it for ten.
LOOK_AFTER = timedelta(seconds=60)
#: Rounds of the critical checks that may be missed, and at least so long.
ROUNDS, ROUND_AFTER = 3, timedelta(minutes=1)


class What(StrEnum):
    """What can be late; the label of `watchdog_late`."""

    ESCALATION = "escalation"
    OUTBOX = "outbox"
    MESSAGE = "message"
    REACTOR = "reactor"
    STORE = "store"
    CHECKS = "checks"
    AUDIT = "audit"


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is late, `since` when it should have happened."""

    what: What
    since: datetime
    detail: str


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What only looking can tell. `turn_at` is the reactor's last progress, `store_error` what is wrong with the store.

    `overdue` is the message that has waited for its turn longest; `unheard` needs somebody and was taken by no channel.
    `unpolled` is the check that was polled longest ago, of those polled every `critical` or more often, and when.
    """

    turn_at: datetime
    store_error: str = ""
    overdue: Outgoing | None = None
    unheard: Message | None = None
    unpolled: tuple[str, datetime] | None = None
    critical: timedelta = timedelta(seconds=30)


def late(world: World, looked: Looked, now: datetime) -> tuple[Late, ...]:
    """Everything that is late, in a fixed order. Nothing where another process leads: it is that one's to do."""
    if not world.leader:
        return ()
    return tuple(_late(world, looked, now))


def _late(world: World, looked: Looked, now: datetime) -> Iterator[Late]:
    if now - looked.turn_at > TURN_AFTER:
        detail = f"the reactor has made no progress for {_for(looked.turn_at, now)}"
        yield Late(what=What.REACTOR, since=looked.turn_at, detail=detail)
    if looked.store_error:
        detail = f"the store does not work: {looked.store_error}"
        yield Late(what=What.STORE, since=now, detail=detail)
    if (step := _step(world, now)) is not None:
        yield step
    if (row := looked.overdue) is not None and not row.attempts and now - row.due_at > TRIED_AFTER:
        detail = f"a message for {row.channel} has waited {_for(row.due_at, now)} to be tried"
        yield Late(what=What.OUTBOX, since=row.due_at, detail=detail)
    if (message := looked.unheard) is not None and now - message.created_at > HEARD_AFTER:
        detail = f"no channel took a message that needs somebody for {_for(message.created_at, now)}"
        yield Late(what=What.MESSAGE, since=message.created_at, detail=detail)
    if looked.unpolled is not None:
        check, at = looked.unpolled
        if now - at > max(looked.critical * ROUNDS, ROUND_AFTER):
            detail = f"{check} was not polled for {_for(at, now)}"
            yield Late(what=What.CHECKS, since=at, detail=detail)


def unseen(since: datetime, now: datetime) -> Late | None:
    """Whether nobody looked for too long: then nobody knows what is late."""
    if now - since <= LOOK_AFTER:
        return None
    return Late(what=What.AUDIT, since=since, detail=f"nobody looked for what is late for {_for(since, now)}")


def _step(world: World, now: datetime) -> Late | None:
    """The ladder that waits longest for its next step, or for whatever else is due on it, with nothing to hold it."""
    overdue = [
        (incident.climb.next_at, incident)
        for incident in escalation.overdue(world, now - STEP_AFTER)
        if incident.climb is not None and incident.climb.next_at is not None
    ]
    if not overdue:
        return None
    due_at, incident = min(overdue, key=lambda one: (one[0], one[1].id))
    more = f", and of {len(overdue) - 1} more" if len(overdue) > 1 else ""
    detail = f"the next step of {incident.id} is {_for(due_at, now)} late{more}"
    return Late(what=What.ESCALATION, since=due_at, detail=detail)


def _for(since: datetime, now: datetime) -> str:
    return format_duration(timedelta(seconds=int((now - since).total_seconds())))
