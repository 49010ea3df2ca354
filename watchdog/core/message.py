"""Messages: what people are told. One shape for every channel; a channel only renders it.

This module must never know a channel. Nothing secret may enter a message.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from watchdog.core.check import CheckId
from watchdog.core.rule import Direction, Level, Severity, Unit


class MessageKind(StrEnum):
    """What happened. Fixed words, part of the webhook's contract."""

    INCIDENT_OPENED = "incident_opened"
    INCIDENT_WORSENED = "incident_worsened"
    INCIDENT_CLOSED = "incident_closed"
    INCIDENT_ACKNOWLEDGED = "incident_acknowledged"
    ROLLBACK_BLOCKED = "rollback_blocked"
    APPROVAL_WANTED = "approval_wanted"
    ROLLBACK_SWITCHED = "rollback_switched"
    ROLLBACK_COMPLETED = "rollback_completed"
    ROLLBACK_ENDED = "rollback_ended"
    SWITCH_UNDONE = "switch_undone"
    BREAKER_OPEN = "breaker_open"
    BREAKER_CLOSED = "breaker_closed"
    CUT_OFF = "cut_off"
    REACHABLE_AGAIN = "reachable_again"
    STORE_FAILED = "store_failed"
    PAUSED = "paused"
    RESUMED = "resumed"
    CHANNEL_FAILED = "channel_failed"
    CONFIG_BROKEN = "config_broken"
    CONFIG_REPAIRED = "config_repaired"
    CONFIG_NEEDS_RESTART = "config_needs_restart"
    ESCALATED = "escalated"  #: nobody acknowledged: the next step of the ladder
    INCIDENT_REPEATED = "incident_repeated"  #: nobody acknowledged, the ladder is over: told again
    INCIDENT_UNACKNOWLEDGED = "incident_unacknowledged"  #: an acknowledgement expired or was taken back
    ACKNOWLEDGEMENT_REMINDER = "acknowledgement_reminder"  #: somebody has it, and it is still not over
    CHANNEL_LATE = "channel_late"  #: a channel takes nothing for a while: others take over, it is tried on
    WEEKLY_REPORT = "weekly_report"
    DEPLOYMENT_WATCHED = "deployment_watched"
    DEPLOYMENT_STABLE = "deployment_stable"
    GROUPED = "grouped"  #: several messages of one group as one
    TEST = "test"  #: `watchdog doctor --send-test`


#: Good to know, and never a reason to be woken: they go where a route says `notices`, and nowhere else.
NOTICES = frozenset({MessageKind.DEPLOYMENT_WATCHED, MessageKind.DEPLOYMENT_STABLE})
#: What ends what an earlier message with the same `conversation` began.
ENDS = frozenset(
    {
        MessageKind.INCIDENT_CLOSED,
        MessageKind.BREAKER_CLOSED,
        MessageKind.REACHABLE_AGAIN,
        MessageKind.CONFIG_REPAIRED,
    }
)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers behind a message: those of its worst check, in the rule's unit, and what a chart of it shows.

    `limit` is the threshold that decided; the three thresholds are `None` where the rule has none.
    """

    check: CheckId
    unit: Unit
    direction: Direction
    level: Level
    since: datetime
    value: float | None = None
    limit: float | None = None
    warning: float | None = None
    critical: float | None = None
    rollback: float | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell. `key` is stable over retries and restarts: receivers deduplicate on it.

    `headline` says service, what is wrong, what was done. `facts` are label/value lines in order. `next_step` is the
    one thing to do next; `needs_human` whether anybody must do it. `audit_head` ties the message to the audit chain.
    `also_to` are channels that get it whatever the routes say: they heard of what is over or taken now.
    `only_to`, where it is not empty, are the only channels that get it: those of one step of a ladder.
    `about` ties messages together that are about no incident (`conversation`). `undo` is the command that takes back
    what was done, `explain` the one that shows why; `dashboard` an address to look at.
    """

    key: str
    kind: MessageKind
    severity: Severity
    headline: str
    created_at: datetime
    service: str = ""
    environment: str = ""
    version: str = ""
    labels: dict[str, str] = {}
    incident: str | None = None
    rollback: str | None = None
    facts: tuple[tuple[str, str], ...] = ()
    next_step: str = ""
    needs_human: bool = False
    runbook: str | None = None
    audit_head: str = ""
    also_to: tuple[str, ...] = ()
    only_to: tuple[str, ...] = ()
    about: str = ""
    evidence: Evidence | None = None
    undo: str = ""
    explain: str = ""
    dashboard: str | None = None

    @property
    def conversation(self) -> str:
        """What ties messages together: a thread, a mail's references, a key for which a provider keeps one incident."""
        return self.incident or self.about or self.key

    @property
    def ends(self) -> bool:
        """Whether it says that what its conversation is about is over."""
        return self.kind in ENDS

    @property
    def urgent(self) -> bool:
        """Whether it goes before whatever else waits for its channel."""
        return self.needs_human or self.severity is Severity.CRITICAL


class OutgoingState(StrEnum):
    """Where one message on one channel is."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    """How a conversation began on one channel: the provider's `reference` for its first message, and that message."""

    reference: str
    message: Message


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One message on its way to one channel; `key` is the message's key plus the channel's name.

    Rows with the same `group` and channel that are due together leave as one message. `reference` is what the provider
    called it when it took it. `thread`, and `hastened` (it goes with something urgent of its conversation), are filled
    in by `Store.take` and never stored.
    """

    key: str
    channel: str
    message: Message
    state: OutgoingState = OutgoingState.PENDING
    attempts: int = 0
    due_at: datetime
    last_error: str = ""
    sent_at: datetime | None = None
    group: str = ""
    reference: str = ""
    thread: Thread | None = None
    hastened: bool = False

    @property
    def conversation(self) -> str:
        """What ties it to other messages on its channel; empty for one that stands alone."""
        return self.message.incident or self.message.about


class Attempted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt at the message `key`: where it is now, and when it is due again."""

    key: str
    state: OutgoingState
    due_at: datetime
    last_error: str = ""
    sent_at: datetime | None = None
    reference: str = ""
