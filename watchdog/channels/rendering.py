"""A message as plain text for people: the one wording that every text channel shares.

What matters first: the headline alone must say enough to act on. This module must never add a judgement of
its own, and never let text from outside break out of its line.
"""

from __future__ import annotations

from watchdog.core.message import Message
from watchdog.telemetry.redact import one_line


def as_text(message: Message) -> str:
    """The whole message, one thing a line. Empty parts are left out, nothing is cut.

    In order: headline, where, facts (guards among them, as given), next step, runbook, ids, head of the audit
    chain.
    """
    where = ", ".join(
        f"{label} {one_line(value)}"
        for label, value in (
            ("service", message.service),
            ("environment", message.environment),
            ("version", message.version),
        )
        if value
    )
    ids = ", ".join(
        f"{label} {one_line(value)}"
        for label, value in (("incident", message.incident), ("rollback", message.rollback))
        if value
    )
    lines = [
        f"[{message.severity}] {one_line(message.headline)}",
        where,
        *(f"{one_line(name)}: {one_line(value)}" for name, value in message.facts),
        _next_step(message),
        f"Runbook: {one_line(message.runbook)}" if message.runbook else "",
        ids,
        f"audit head {one_line(message.audit_head)}" if message.audit_head else "",
    ]
    return "\n".join(line for line in lines if line)


def _next_step(message: Message) -> str:
    if message.next_step:
        label = "Needs you" if message.needs_human else "Next"
        return f"{label}: {one_line(message.next_step)}"
    return "Needs you." if message.needs_human else ""
