"""What a template sees of a message: names that stay, values that are text. docs/how-to/notifications.md lists them.

This module must never hand out an object with methods, a secret, or text that breaks out of its line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from watchdog.channels.cutting import cut
from watchdog.core.message import Evidence, Message, MessageKind
from watchdog.core.quantity import format_quantity
from watchdog.core.rule import Severity
from watchdog.telemetry.redact import one_line, redact

#: What a severity looks like, wherever there are colours.
COLOURS = {
    Severity.CRITICAL: "#b3261e",
    Severity.HIGH: "#c75b12",
    Severity.MEDIUM: "#b58900",
    Severity.LOW: "#4a6785",
}
#: What is over, or went well.
GOOD = "#2e7d32"
#: How much of a text from outside people can read: in a name, a value, a headline, what is to be done.
NAME, VALUE, HEADLINE, STEP = 100, 1000, 500, 2000
#: So many facts and labels; the others are counted.
FACTS, LABELS = 40, 40
#: A command of ours: words, and what a shell would read as one.
_COMMAND = re.compile(r"\bwatchdog(?: (?:'[^']*'|[\w@/.:-]*[\w@/-]))+")
_BETWEEN = " .,;"
#: Guards that say no are facts with such names.
GUARD = "guard "

#: Every name, and what it holds; the page about templates shows this.
MEANINGS = {
    "headline": "One line: the service, what is wrong, what was done.",
    "severity": "`low`, `medium`, `high` or `critical`.",
    "kind": "What happened: a [kind](../webhook.md#kinds).",
    "service": "The service; empty where it is about none.",
    "version": "The version that it is about.",
    "environment": "The service's environment.",
    "created_at": "When, such as `2026-01-31 12:30:05 UTC`.",
    "needs_human": "Whether somebody must act: true or false, for `if`.",
    "next_step": "The one thing to do next.",
    "steps": "The same in pairs of words and the command behind them, to set commands apart.",
    "rule": "The rule behind it: the worst of those that are breached.",
    "value": "What that rule saw, in its unit, such as `8.25%`.",
    "threshold": "What it was measured against, in the same unit.",
    "since": "Since when, such as `2026-01-31 12:29:31 UTC`.",
    "facts": "The other facts: pairs of name and value, for `for name, value in facts`.",
    "guards": "The guards that said no: pairs of name and reason.",
    "undo": "The command that takes back what was done.",
    "explain": "The command that shows why it was decided.",
    "incident": "The incident's id.",
    "rollback": "The rollback's id.",
    "runbook": "The rule's `runbook`, an address.",
    "dashboard": "An address to look at: the rule's `dashboard`, else the watchdog's own.",
    "labels": "The service's labels by name: `labels.team`, or `labels.team | default('nobody')`.",
    "audit_head": "The newest audit record's hash.",
    "colour": "The colour of the severity, such as `#b3261e`; green for what is over.",
    "chart": "Whether a picture goes with it: in a mail it is `cid:chart`.",
}


def context_of(message: Message, *, chart: bool = False) -> dict[str, Any]:
    """The names of `MEANINGS` and their values. What a message does not have is empty."""
    guards = [(name, value) for name, value in message.facts if name.startswith(GUARD)]
    facts = [(name, value) for name, value in message.facts if not name.startswith(GUARD)]
    told = next((one for one in facts if message.evidence and one[0] == message.evidence.check.rule), None)
    if told is not None:
        facts.remove(told)  # `rule`, `value`, `threshold` and `since` say it
    return {
        "headline": text_of(message.headline, HEADLINE),
        "severity": message.severity.value,
        "kind": message.kind.value,
        "service": text_of(message.service, NAME),
        "version": text_of(message.version, NAME),
        "environment": text_of(message.environment, NAME),
        "created_at": clock(message.created_at),
        "needs_human": message.needs_human,
        "next_step": text_of(message.next_step, STEP),
        "steps": steps_of(text_of(message.next_step, STEP)),
        **_measured(message.evidence),
        "facts": _pairs(facts),
        "guards": _pairs([(name.removeprefix(GUARD), value) for name, value in guards]),
        "undo": text_of(message.undo, VALUE),
        "explain": text_of(message.explain, VALUE),
        "incident": text_of(message.incident or "", NAME),
        "rollback": text_of(message.rollback or "", NAME),
        "runbook": text_of(message.runbook or "", VALUE),
        "dashboard": text_of(message.dashboard or "", VALUE),
        "labels": _labels(message.labels),
        "audit_head": text_of(message.audit_head, NAME),
        "colour": colour_of(message),
        "chart": chart,
    }


def text_of(text: str, limit: int) -> str:
    """Text from outside as people may read it: no secret, one line, not endless. Hidden before it is cut."""
    return cut(one_line(redact(text)), limit)


def steps_of(text: str) -> tuple[tuple[str, str], ...]:
    """What is to be done, cut at its commands: each with the words before it. What stands last may have none.

    Advice is written so that a command goes on to the end of its clause (`watchdog.core.advice`).
    """
    found: list[tuple[str, str]] = []
    end = 0
    for match in _COMMAND.finditer(text):
        found.append((text[end : match.start()].strip(_BETWEEN), match.group()))
        end = match.end()
    rest = text[end:].strip(_BETWEEN)
    return (*found, (rest, "")) if rest else tuple(found)


def clock(moment: datetime) -> str:
    """A moment as people read it, always UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def colour_of(message: Message) -> str:
    """The colour of a message: green where it says that something is over or went well."""
    good = message.ends or message.kind in (MessageKind.ROLLBACK_COMPLETED, MessageKind.DEPLOYMENT_STABLE)
    return GOOD if good else COLOURS[message.severity]


def in_numbers(evidence: Evidence) -> str:
    """What a rule saw, in one line: `8.25% (limit 1.5%) since 2026-01-31 12:29:31 UTC`."""
    said = _measured(evidence)
    limit = f" (limit {said['threshold']})" if said["threshold"] else ""
    return f"{said['value'] or 'no value'}{limit} since {said['since']}"


def _measured(evidence: Evidence | None) -> dict[str, str]:
    if evidence is None:
        return dict.fromkeys(("rule", "value", "threshold", "since"), "")
    value, limit = evidence.value, evidence.limit
    return {
        "rule": text_of(evidence.check.rule, NAME),
        "value": format_quantity(value, evidence.unit) if value is not None else "",
        "threshold": format_quantity(limit, evidence.unit) if limit is not None else "",
        "since": clock(evidence.since),
    }


def _pairs(pairs: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    shown = tuple((text_of(name, NAME), text_of(value, VALUE)) for name, value in pairs[:FACTS])
    more = len(pairs) - FACTS
    return (*shown, ("and", f"{more} more")) if more > 0 else shown


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    return {text_of(name, NAME): text_of(labels[name], VALUE) for name in sorted(labels)[:LABELS]}
