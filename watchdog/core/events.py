"""Everything that can happen to the reactor. There is one door in, and these are what comes through it."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from watchdog.core.check import CheckId
from watchdog.core.guards import GuardFacts
from watchdog.core.message import Message
from watchdog.core.observation import Observation
from watchdog.core.request import Request
from watchdog.core.rollback import Veto
from watchdog.core.traffic import TrafficState


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """A poll of a check ended. `arrived_at` is when the answer was in our hands.

    `edition` is the world's when the question was asked.
    """

    check: CheckId
    observation: Observation
    arrived_at: datetime
    edition: int = 0


class TrafficSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A switch was read. `edition` is the world's when the read began."""

    service: str
    state: TrafficState
    edition: int = 0


class TrafficUnseen(msgspec.Struct, frozen=True, kw_only=True):
    """A switch could not be read."""

    service: str
    error: str
    edition: int = 0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A stored request is to be answered."""

    request: Request


class Ticked(msgspec.Struct, frozen=True, kw_only=True):
    """Time passed. Carries what only I/O can know: the pause file, the leadership and the machine's clock.

    `stepped` is how far that clock was set away from the one that everything is dated by (`watchdog.core.shifting`).
    """

    paused_by_file: str = ""
    leader: bool = True
    epoch: int = 0
    stepped: timedelta = timedelta()


class Stood(msgspec.Struct, frozen=True, kw_only=True):
    """The whole process stood still, or the machine slept: nothing was watched from `since` until now."""

    since: datetime


class OutcomeKind(StrEnum):
    """What became of an intent."""

    APPLIED = "applied"  #: the switch acknowledged; `state` was read back
    FOUND_DONE = "found_done"  #: after a restart: the end state is in place
    OVERTAKEN = "overtaken"  #: the world is neither as it was nor as it should be
    VETOED = "vetoed"  #: a guard said no right before the write
    REFUSED = "refused"  #: the target refused; nothing was changed
    HALF_DONE = "half_done"  #: a part of the change is in place and cannot be finished
    LAPSED = "lapsed"  #: the intent expired before it could be carried out


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The executor's word on one rollback. `facts` are what the guards were asked on right before the last write."""

    rollback: str
    service: str
    kind: OutcomeKind
    at: datetime
    state: TrafficState | None = None
    before: TrafficState | None = None
    detail: str = ""
    vetoes: tuple[Veto, ...] = ()
    facts: GuardFacts | None = None
    attempts: int = 0


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request to let go on what was suspended: what that was, or why not."""

    service: str
    request: Request
    done: bool
    detail: str
    at: datetime


class References(msgspec.Struct, frozen=True, kw_only=True):
    """The targets of `self_check` were asked. `answered`: any of them; `None`: there is no reason to ask any more."""

    answered: bool | None


class ChannelDead(msgspec.Struct, frozen=True, kw_only=True):
    """A message was given up on one channel; somebody must hear of it another way."""

    channel: str
    key: str
    message: Message
    reason: str


class ChannelLate(msgspec.Struct, frozen=True, kw_only=True):
    """A channel has taken nothing since `since`; a message that needs somebody waits there, and is tried on."""

    channel: str
    key: str
    message: Message
    reason: str
    since: datetime


Event = (
    Observed
    | TrafficSeen
    | TrafficUnseen
    | Asked
    | Ticked
    | Stood
    | Outcome
    | Resumed
    | ChannelDead
    | ChannelLate
    | References
)


def service_of(event: object) -> str:
    """The one service that an event is about; empty where it may concern any."""
    match event:
        case Observed(check=check):
            return check.service
        case TrafficSeen() | TrafficUnseen() | Outcome() | Resumed():
            return event.service
        case _:
            return ""
