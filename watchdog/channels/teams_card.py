"""A message as the card that Microsoft Teams shows (Adaptive Cards 1.2), never larger than what Teams takes.

Text from outside is Markdown to Teams: it is escaped, or a label could make links and mentions. This module must never
lose the headline, whether somebody must act, or what to do next, however long the rest is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from watchdog.channels.context import context_of
from watchdog.channels.cutting import cut
from watchdog.channels.posting import usable
from watchdog.channels.rendering import Rendered
from watchdog.core.message import Message, MessageKind
from watchdog.core.rule import Severity
from watchdog.telemetry.redact import one_line

#: Bytes of a whole request. Documented are 28 KiB, but connectors were seen to refuse what is above 21,000 bytes.
LIMIT = 20_000

_STYLES = {
    Severity.CRITICAL: "attention",
    Severity.HIGH: "warning",
    Severity.MEDIUM: "accent",
    Severity.LOW: "emphasis",
}
_WELL = {MessageKind.ROLLBACK_COMPLETED, MessageKind.DEPLOYMENT_STABLE}
_MARKUP = re.compile(r"([\\`*_\[\]~#<>|!])")
#: What makes a list at the beginning of a line.
_DASH, _NUMBER = re.compile(r"^[-+](?=\s|$)"), re.compile(r"^(\d+)(?=[.)](\s|$))")
#: The card's own functions: `{{DATE(...)}}` and the like.
_FUNCTION = re.compile(r"\{(?=\{)")
_ADDRESS = re.compile(r"https?://[^\s\"<>\\]{1,1000}", re.IGNORECASE)
_LINES = 200
_SHORT = 300

Pairs = Sequence[tuple[str, str]]


def card(message: Message, rendered: Rendered) -> bytes:
    """The request's body: as much of the message as fits."""
    values = context_of(message)
    body = b""
    for less in _ever_less(values, rendered):
        body = _request(message, values | less)
        if len(body) <= LIMIT:
            break
    return body


def escape(text: str) -> str:
    """Text as Teams shows it as it is, on one line."""
    line = _FUNCTION.sub("{\u200b", _MARKUP.sub(r"\\\1", one_line(text)))
    return _NUMBER.sub(r"\1\\", _DASH.sub(r"\\\g<0>", line))


def _ever_less(values: Mapping[str, Any], rendered: Rendered) -> Iterator[dict[str, Any]]:
    """What is left out: facts, the last ones first, and only then what is longer than anybody reads."""
    lines = rendered.text.splitlines() if rendered.custom else []
    if lines and values["headline"] in lines[0]:
        del lines[0]  # it stands above already
    pairs = [
        *_measured(values),
        *(("guard " + name, why) for name, why in values["guards"]),
        *values["facts"],
    ]
    for kept in range(max(len(pairs), min(len(lines), _LINES)), -1, -1):
        left, more = len(pairs) - kept, len(lines) - kept
        yield {
            "pairs": [*pairs[:kept], ("and", f"{left} more")] if left > 0 else pairs,
            "lines": [*lines[:kept], f"and {more} more lines"] if more > 0 else lines,
        }
    names = ("headline", "next_step", "undo", "explain")
    yield {"pairs": [], "lines": []} | {name: cut(values[name], _SHORT) for name in names}


def _measured(values: Mapping[str, Any]) -> Pairs:
    if not values["rule"]:
        return ()
    limit = f" (limit {values['threshold']})" if values["threshold"] else ""
    return ((values["rule"], f"{values['value'] or 'no value'}{limit} since {values['since']}"),)


def _request(message: Message, values: Mapping[str, Any]) -> bytes:
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.2",
        "fallbackText": values["headline"],
        "msteams": {"width": "Full"},
        "body": [one for one in _blocks(message, values) if one],
        "actions": [
            {"type": "Action.OpenUrl", "title": name.title(), "url": values[name]}
            for name in ("runbook", "dashboard")
            if _ADDRESS.fullmatch(values[name]) and usable(values[name])
        ],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": content,
    }
    return msgspec.json.encode({"type": "message", "attachments": [attachment]})


def _blocks(message: Message, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    named = ("service", "version", "environment")
    where = [values["severity"], *(f"{name} {values[name]}" for name in named if values[name])]
    headline = values["headline"] or values["kind"].replace("_", " ")
    yield {
        "type": "Container",
        "style": "good" if message.ends or message.kind in _WELL else _STYLES[message.severity],
        "bleed": True,
        "items": [
            _text(escape(headline), size="Medium", weight="Bolder"),
            _text(escape(", ".join([*where, values["created_at"]])), isSubtle=True, spacing="None"),
        ],
    }
    step = escape(values["next_step"])
    if message.needs_human:
        yield _text(f"Needs you: {step}" if step else "Needs you.", weight="Bolder", color="Attention")
    else:
        yield _text(f"Nobody needs to do anything. {step}".strip())
    if values["lines"]:
        yield _text("\n\n".join(escape(line) for line in values["lines"]))
    elif values["pairs"]:
        facts = [{"title": escape(name), "value": escape(value)} for name, value in values["pairs"]]
        yield {"type": "FactSet", "facts": facts}
    ids = ", ".join(f"{name} {values[name]}" for name in ("incident", "rollback") if values[name])
    for said, value in (("To take it back", values["undo"]), ("Why, in full", values["explain"]), ("", ids)):
        if value and not values["lines"]:
            yield _text(escape(f"{said}: {value}" if said else value), isSubtle=True, spacing="Small")


def _text(text: str, **looks: Any) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True} | looks
