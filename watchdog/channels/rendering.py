"""A message as plain text for people: the one wording that every text channel shares.

What matters first: the headline alone must say enough to act on. This module must never add a judgement of
its own, and never let text from outside break out of its line.
"""

from __future__ import annotations

from html import escape

import msgspec

from watchdog.core.message import Message, MessageKind
from watchdog.core.rule import Severity
from watchdog.telemetry.redact import one_line

#: What a severity looks like, wherever there are colours.
COLOURS = {
    Severity.CRITICAL: "#b3261e",
    Severity.HIGH: "#c75b12",
    Severity.MEDIUM: "#b58900",
    Severity.LOW: "#4a6785",
}
#: What is over, or went well.
GOOD = "#2e7d32"


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """One message in every length. All of it is text from outside, too: whoever has a markup escapes it again.

    `headline` is one line. `text` is all of it, plain. `short` is what fits into one or two text messages. `html` is a
    whole document of a mail, escaped already, that shows the picture `cid:chart` where there is a chart. `colour` is
    `#rrggbb`. `custom`: `text` comes from a template of the user's, so structured channels show it instead of facts.
    """

    headline: str
    text: str
    short: str
    html: str
    colour: str
    custom: bool = False


class Rendering:
    """Messages in words, by one set of templates for all channels."""

    def of(self, message: Message, *, chart: bool = False) -> Rendered:
        """A message in words; `chart`: a picture goes with it. Never raises: what fails is told plainly."""
        headline = one_line(message.headline)
        return Rendered(
            headline=headline,
            text=as_text(message),
            short=headline,
            html=f"<!doctype html><pre>{escape(as_text(message))}</pre>",
            colour=colour_of(message),
        )


def colour_of(message: Message) -> str:
    """The colour of a message: green where it says that something is over or went well."""
    good = message.ends or message.kind in (MessageKind.ROLLBACK_COMPLETED, MessageKind.DEPLOYMENT_STABLE)
    return GOOD if good else COLOURS[message.severity]


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
