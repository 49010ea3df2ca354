"""Requests: what a person, CI or a webhook asks of the daemon. Stored first, answered by the reactor.

This module must never carry a credential; `by` is the name of the token, not the token.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec


class RequestKind(StrEnum):
    """What is asked."""

    DEPLOYMENT = "deployment"
    ROLLBACK = "rollback"
    PAUSE = "pause"
    RESUME = "resume"
    ACKNOWLEDGE = "acknowledge"
    UNACKNOWLEDGE = "unacknowledge"
    APPROVE = "approve"
    REJECT = "reject"
    CLOSE = "close"
    TAINT = "taint"
    UNTAINT = "untaint"
    MARK_GOOD = "mark_good"
    SILENCE = "silence"
    EXPIRE = "expire"  #: end a silence early
    ALERT = "alert"  #: somebody else's alert fires: look now, and judge as ever
    RESEND = "resend"  #: try a message again that was given up; the target is its key in the outbox
    GITOPS_RESUME = "gitops_resume"  #: let who was suspended for a rollback write the target again


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `target` is a service's name or an incident's or a silence's id; `body` its validated parameters.

    A silence that is to be made has no target yet.
    """

    id: str
    kind: RequestKind
    target: str
    by: str
    at: datetime
    body: dict[str, Any] = {}


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The reactor's answer. `status` is an HTTP status; `body` the record made, or `detail` why not."""

    request: str
    status: int
    detail: str = ""
    body: dict[str, Any] = {}
