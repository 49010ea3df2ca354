"""What a message is to PagerDuty: an alert to open, take or close, a change to note, or nothing.

One conversation is one alert, under a key that says which: the same message sent twice is still one alert, and an
answer from there names our incident. Sizes are those that PagerDuty refuses beyond. This module must never send
anything, and never lose the headline, that somebody is needed, or the next step.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from watchdog.channels.context import in_numbers
from watchdog.channels.rendering import Rendered
from watchdog.core.message import Message, MessageKind
from watchdog.core.rule import Severity
from watchdog.telemetry.redact import one_line

#: Begins every key of ours; then `incident/ID`, or what else the messages have in common.
PREFIX = "rollback-watchdog/"
#: Characters, as documented (Events API v2): a longer summary is refused, not cut.
LONGEST_KEY, LONGEST_SUMMARY = 255, 1024
#: Ours, so that an event stays far below 512 KB whatever it is told: facts, and characters of one's name and value.
_FACTS, _NAME, _VALUE, _TEXT = 64, 100, 1000, 20_000
#: Characters of a field that names something.
_FIELD = 255

_INCIDENT = f"{PREFIX}incident/"
_PLAIN = re.compile(r"[\x21-\x7e]+")
_ADDRESS = re.compile(r"https?://[^\s]{1,2000}")
_LOUDNESS = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "info",
}
#: What nobody there needs: PagerDuty reminds its own people.
_NOTHING = frozenset({MessageKind.ACKNOWLEDGEMENT_REMINDER, MessageKind.WEEKLY_REPORT})
#: What is a mark on the timeline, and wakes nobody unless it needs somebody.
_CHANGES = frozenset(
    {
        MessageKind.ROLLBACK_SWITCHED,
        MessageKind.ROLLBACK_COMPLETED,
        MessageKind.ROLLBACK_ENDED,
        MessageKind.DEPLOYMENT_WATCHED,
        MessageKind.DEPLOYMENT_STABLE,
        MessageKind.PAUSED,
        MessageKind.RESUMED,
        MessageKind.CONFIG_NEEDS_RESTART,
    }
)


class Does(StrEnum):
    """What is asked of PagerDuty; the first three are `event_action`s."""

    TRIGGER = "trigger"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    CHANGE = "change"
    TRY = "try"  #: open an alert and close it
    NOTHING = "nothing"


def does(message: Message) -> Does:
    """What a message comes to there."""
    kind = message.kind
    if message.ends:
        return Does.RESOLVE
    if kind is MessageKind.INCIDENT_ACKNOWLEDGED:
        return Does.ACKNOWLEDGE
    if kind is MessageKind.TEST:
        return Does.TRY
    if kind in _NOTHING:
        return Does.NOTHING
    return Does.CHANGE if kind in _CHANGES and not message.needs_human else Does.TRIGGER


def key_of(message: Message) -> str:
    """The `dedup_key`: the same for all messages of a conversation, at most 255 plain characters."""
    name = f"incident/{message.incident}" if message.incident else f"about/{message.conversation}"
    key = f"{PREFIX}{name}"
    if len(key) <= LONGEST_KEY and _PLAIN.fullmatch(key):
        return key
    return f"{PREFIX}sha256/{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()}"


def incident_of(key: object) -> str | None:
    """The incident that a key of ours names; `None` for others' keys, and for what is about no incident."""
    if not isinstance(key, str) or not key.startswith(_INCIDENT):
        return None
    return key.removeprefix(_INCIDENT) or None


def key_of_incident(incident: str) -> str:
    """The key under which an incident is known there."""
    return f"{_INCIDENT}{incident}"


def alert(message: Message, rendered: Rendered) -> dict[str, Any]:
    """The rest of a `trigger` event: `payload`, `links`, `client`, `client_url`."""
    rule = message.evidence.check.rule if message.evidence else message.kind.value
    payload = {
        "summary": _summary(rendered),
        "source": _field(message.service) or "rollback-watchdog",
        "severity": "info" if message.kind is MessageKind.TEST else _LOUDNESS[message.severity],
        "timestamp": message.created_at.isoformat(),
        "component": _field(message.version),
        "group": _field(message.environment),
        "class": _field(rule),
        "custom_details": _details(message, rendered),
    }
    body: dict[str, Any] = {
        "payload": {name: value for name, value in payload.items() if value != ""},
        "client": "Rollback Watchdog",
    }
    if message.dashboard and _ADDRESS.fullmatch(message.dashboard):
        body["client_url"] = message.dashboard
    if links := _links(message):
        body["links"] = links
    return body


def change(message: Message, rendered: Rendered) -> dict[str, Any]:
    """A change event: `payload` and `links`."""
    body: dict[str, Any] = {
        "payload": {
            "summary": _summary(rendered),
            "source": _field(message.service) or "rollback-watchdog",
            "timestamp": message.created_at.isoformat(),
            "custom_details": _details(message, rendered),
        }
    }
    if links := _links(message):
        body["links"] = links
    return body


def _summary(rendered: Rendered) -> str:
    return one_line(rendered.headline, limit=LONGEST_SUMMARY) or "no headline"


def _field(text: str) -> str:
    return one_line(text, limit=_FIELD)


def _links(message: Message) -> list[dict[str, str]]:
    named = (("Runbook", message.runbook), ("Dashboard", message.dashboard))
    return [{"href": href, "text": text} for text, href in named if href and _ADDRESS.fullmatch(href)]


def _details(message: Message, rendered: Rendered) -> dict[str, str]:
    """In the order in which somebody needs them at night; PagerDuty keeps it."""
    found: dict[str, str] = {}
    for name, value in _told(message, rendered):
        if not value:
            continue
        label, number = one_line(name, limit=_NAME) or "fact", 2
        while label in found:  # two facts of one name are two facts
            label, number = f"{one_line(name, limit=_NAME - 6) or 'fact'} ({number})", number + 1
        found[label] = value
    return found


def _told(message: Message, rendered: Rendered) -> Iterator[tuple[str, str]]:
    yield "needs you" if message.needs_human else "next", _value(message.next_step)
    if message.needs_human and not message.next_step:
        yield "needs you", "yes"
    if rendered.custom:
        yield "text", _lines(rendered.text)
    else:
        evidence = message.evidence
        if evidence is not None and all(name != evidence.check.rule for name, _ in message.facts):
            yield evidence.check.rule, _value(in_numbers(evidence))
        for name, value in message.facts[:_FACTS]:
            yield name, _value(value)
        if len(message.facts) > _FACTS:
            yield "and more", f"{len(message.facts) - _FACTS} facts; see the incident"
    yield "undo", _value(message.undo)
    yield "explain", _value(message.explain)
    yield "severity", message.severity.value
    yield "service", _value(message.service)
    yield "version", _value(message.version)
    yield "environment", _value(message.environment)
    yield "incident", _value(message.incident or "")
    yield "rollback", _value(message.rollback or "")
    yield "what happened", message.kind.value
    yield "audit head", _value(message.audit_head)


def _value(text: str) -> str:
    return one_line(text, limit=_VALUE)


def _lines(text: str) -> str:
    kept = "\n".join(one_line(line) for line in text.splitlines())
    return kept if len(kept) <= _TEXT else f"{kept[: _TEXT - 1]}…"
