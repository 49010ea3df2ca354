"""Messages: what people are told. One shape for every channel; a channel only renders it.

This module must never know a channel. Nothing secret may enter a message.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from watchdog.core.rule import Severity


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
    CUT_OFF = "cut_off"
    REACHABLE_AGAIN = "reachable_again"
    STORE_FAILED = "store_failed"
    PAUSED = "paused"
    RESUMED = "resumed"
    CHANNEL_FAILED = "channel_failed"
    CONFIG_BROKEN = "config_broken"
    CONFIG_REPAIRED = "config_repaired"
    CONFIG_NEEDS_RESTART = "config_needs_restart"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell. `key` is stable over retries and restarts: receivers deduplicate on it.

    `headline` says service, what is wrong, what was done. `facts` are label/value lines in order. `next_step` is the
    one thing to do next; `needs_human` whether anybody must do it. `audit_head` ties the message to the audit chain.
    `also_to` are channels that get it whatever the routes say: they heard of what is over or taken now.
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


class OutgoingState(StrEnum):
    """Where one message on one channel is."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One message on its way to one channel; `key` is the message's key plus the channel's name."""

    key: str
    channel: str
    message: Message
    state: OutgoingState = OutgoingState.PENDING
    attempts: int = 0
    due_at: datetime
    last_error: str = ""
    sent_at: datetime | None = None
