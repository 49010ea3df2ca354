"""A person wants a message tried again that was given up. Pure.

Whether there is such a message only the store knows: who asks has looked, and one that was not given up stays as it is.
"""

from __future__ import annotations

from datetime import datetime

from watchdog.core.audit import AuditDraft
from watchdog.core.request import Reply, Request
from watchdog.core.turn import Resend


def resend(request: Request, now: datetime) -> tuple[Resend, AuditDraft, Reply]:
    """The wish as it goes to the outbox, with its record and its answer."""
    body = {"key": request.target, "by": request.by, "reason": str(request.body.get("reason") or "")}
    return (
        Resend(key=request.target, at=now),
        AuditDraft(at=now, kind="message_resent", subject="", body=body),
        Reply(request=request.id, status=200, body={"id": request.target}),
    )
