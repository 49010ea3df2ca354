"""What people ask for through a channel, as the request that everybody else makes, and its answer in words for them.

One place for buttons, for callbacks and for whatever else a channel hears. This module must never let a wish through
that its channel has not allowed.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import msgspec

from watchdog.channels.interface import Answer, Heard
from watchdog.core.request import Reply, Request, RequestKind
from watchdog.telemetry.redact import one_line

#: What a channel may ask for. Everything else is for the API and the command line.
KINDS = frozenset(
    {
        RequestKind.ACKNOWLEDGE,
        RequestKind.UNACKNOWLEDGE,
        RequestKind.APPROVE,
        RequestKind.REJECT,
        RequestKind.PAUSE,
        RequestKind.RESUME,
        RequestKind.ROLLBACK,
    }
)
NOT_ALLOWED = Answer(
    done=False, text="You may not do that here: the watchdog's configuration does not name you."
)
NOT_ANSWERED = Answer(
    done=False, text="That is stored, but not answered yet. Look at the incident before you ask again."
)
NOT_STORED = Answer(
    done=False, text="That could not be stored, so nothing is done: ask again, or use the command line."
)

_DONE = {
    RequestKind.ACKNOWLEDGE: "Acknowledged: nobody else is told of it for now.",
    RequestKind.UNACKNOWLEDGE: "The acknowledgement is taken back: others are told again.",
    RequestKind.APPROVE: "Approved: traffic is being moved back.",
    RequestKind.REJECT: "Rejected: nothing is rolled back.",
    RequestKind.PAUSE: "The automation of {target} is paused.",
    RequestKind.RESUME: "The automation of {target} goes on.",
    RequestKind.ROLLBACK: "The rollback of {target} is under way.",
}
_BY, _REASON = 200, 500


def request_of(heard: Heard, *, channel: str, now: datetime) -> Request | None:
    """The request; `None` for one that a channel may not make. The same delivery makes the same request."""
    if not heard.allowed or heard.kind not in KINDS:
        return None
    identity = msgspec.json.encode([channel, one_line(heard.id), heard.kind, one_line(heard.target)])
    body: dict[str, Any] = {}
    if heard.reason:
        body["reason"] = one_line(heard.reason, limit=_REASON)
    if heard.kind is RequestKind.ROLLBACK and heard.version:
        body["from"] = one_line(heard.version)
    return Request(
        id=hashlib.sha256(identity).hexdigest()[:32],
        kind=heard.kind,
        target=one_line(heard.target),
        by=one_line(heard.by, limit=_BY),
        at=now,
        body=body,
    )


def answer_of(request: Request, reply: Reply) -> Answer:
    """What came of it."""
    if reply.status >= 400:
        return Answer(done=False, text=f"Not done: {reply.detail or 'the request was refused'}")
    return Answer(done=True, text=_DONE[request.kind].format(target=request.target))
