"""What the API answers about messages on their way.

This module must never hold a field for a secret.
"""

from __future__ import annotations

from datetime import datetime

from watchdog.api.shapes import Shape
from watchdog.core.message import MessageKind, Outgoing, OutgoingState
from watchdog.core.rule import Severity


class OutboxEntry(Shape, frozen=True, kw_only=True):
    """One message on its way to one channel, sent, or given up (`dead`).

    `last_error` is why the last attempt failed: of a dead one, why it was given up. `due_at` is when a pending one is
    tried (again). `reference` is what the provider calls it.
    """

    id: str
    channel: str
    state: OutgoingState
    kind: MessageKind
    severity: Severity
    headline: str
    service: str | None
    incident: str | None
    needs_human: bool
    created_at: datetime
    due_at: datetime
    sent_at: datetime | None
    attempts: int
    last_error: str
    reference: str


def present_outgoing(row: Outgoing) -> OutboxEntry:
    """One message."""
    message = row.message
    return OutboxEntry(
        id=row.key,
        channel=row.channel,
        state=row.state,
        kind=message.kind,
        severity=message.severity,
        headline=message.headline,
        service=message.service or None,
        incident=message.incident,
        needs_human=message.needs_human,
        created_at=message.created_at,
        due_at=row.due_at,
        sent_at=row.sent_at,
        attempts=row.attempts,
        last_error=row.last_error,
        reference=row.reference,
    )
