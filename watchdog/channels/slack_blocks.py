"""A message as Slack shows it: headline, what became of it, facts, the next step, commands, buttons; within its limits.

Slack refuses a message as a whole for one block that is too long, so everything is measured before it is sent. What
must never be lost to a limit is headline, "needs you" and next step: facts give way first. This module must never send.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from watchdog.channels.context import clock, context_of
from watchdog.channels.rendering import Rendered
from watchdog.channels.slack_text import QUOTE, code, escape, lines, link, plain
from watchdog.core.message import Message, MessageKind
from watchdog.core.rule import Severity
from watchdog.telemetry.redact import one_line, redact

Block = dict[str, Any]

#: Slack takes about 13,200 characters of blocks; what is measured here is a little more than what it counts.
MOST = 12_000
_HEADER, _FIELDS = 150, 10
_FACTS, _NAME, _VALUE = 40, 80, 600
_NEXT, _COMMAND, _WHERE, _HEADLINE, _STATUS = 1400, 500, 200, 900, 400
_CUSTOM = 2900

_ICONS = {Severity.CRITICAL: "🔴", Severity.HIGH: "🟠", Severity.MEDIUM: "🟡", Severity.LOW: "🔵"}
_GOOD = "✅"
_K = MessageKind
_WELL = frozenset({_K.ROLLBACK_COMPLETED, _K.DEPLOYMENT_STABLE})
_STATUS_ICONS = {
    _K.INCIDENT_CLOSED: _GOOD,
    _K.REACHABLE_AGAIN: _GOOD,
    _K.CONFIG_REPAIRED: _GOOD,
    _K.ROLLBACK_COMPLETED: _GOOD,
    _K.INCIDENT_ACKNOWLEDGED: "👀",
    _K.ROLLBACK_SWITCHED: "↩️",
    _K.APPROVAL_WANTED: "✋",
    _K.ROLLBACK_BLOCKED: "⛔",
    _K.ESCALATED: "📣",
    _K.INCIDENT_WORSENED: "🔺",
}


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """What is posted. `text` is for notifications, and for screen readers."""

    text: str
    blocks: list[Block]
    attachments: list[Block]

    def body(self) -> dict[str, Any]:
        """As Slack's methods take it."""
        return {"text": self.text, "blocks": self.blocks, "attachments": self.attachments}


def post(
    message: Message,
    rendered: Rendered,
    *,
    news: Iterable[Message] = (),
    buttons: list[Block] | None = None,
    mention: Iterable[str] = (),
    colour: str = "",
) -> Post:
    """A message with what became of it since (`news`, in the order in which it is shown)."""
    said = context_of(message)
    body = [*_news(news)]
    end = [*_next(said), *_commands(said), *_context(said), *(buttons or [])]
    top = _top(message, rendered, tuple(mention))
    left = MOST - _size([*top, *body, *end])
    body += _custom(rendered, left) if rendered.custom else _facts(_shown(said), left)
    shown = {
        "color": colour or rendered.colour,
        "fallback": plain(rendered.headline, _HEADER),
        "blocks": body + end,
    }
    return Post(text=fallback(message, rendered), blocks=top, attachments=[shown])


def fallback(message: Message, rendered: Rendered) -> str:
    """The message as plain text: what a notification shows, and all there is where Slack refuses the rest."""
    said = context_of(message)
    where = ", ".join(said[name] for name in ("service", "environment", "version") if said[name])
    parts = [
        f"[{message.severity}] {escape(rendered.headline, _HEADLINE) or 'no headline'}",
        escape(where, 2 * _WHERE),
        _step(said, escape(said["next_step"], _NEXT)),
    ]
    return "\n".join(part for part in parts if part)


def _top(message: Message, rendered: Rendered, mention: tuple[str, ...]) -> list[Block]:
    icon = _GOOD if is_good(message) else _ICONS[message.severity]
    headline = one_line(rendered.headline) or "no headline"
    header = plain(f"{icon} {headline}", _HEADER)
    blocks: list[Block] = [{"type": "header", "text": {"type": "plain_text", "text": header, "emoji": True}}]
    if header.endswith("…") and not headline.endswith("…"):
        blocks.append(_section(_bold(headline, _HEADLINE)))
    if mention:
        blocks.append(_section(" ".join(mention)))
    return blocks


def mentions(called: Iterable[str]) -> tuple[str, ...]:
    """Whom the settings name, as Slack writes it."""
    forms = {"U": "<@{}>", "W": "<@{}>", "S": "<!subteam^{}>"}
    return tuple(forms.get(one[0], "<!{}>").format(one) for one in called)


def _news(news: Iterable[Message]) -> list[Block]:
    shown = [
        f"{_STATUS_ICONS.get(one.kind, '•')} {escape(redact(one.headline), _STATUS)} · {clock(one.created_at)}"
        for one in news
    ]
    return [_section("\n".join(shown))] if shown else []


def _facts(facts: Iterable[tuple[str, str]], left: int) -> list[Block]:
    """As many as fit, in two columns, and how many do not."""
    fields = []
    for name, value in facts:
        text = f"{_bold(name, _NAME)}\n{escape(value, _VALUE) or '–'}"
        fields.append({"type": "mrkdwn", "text": text, "verbatim": True})
    kept: list[Block] = []
    left -= 300  # what says that there are more
    for field in fields[:_FACTS]:
        left -= _size([field]) + 10
        if left < 0:
            break
        kept.append(field)
    blocks: list[Block] = [
        {"type": "section", "fields": kept[at : at + _FIELDS]} for at in range(0, len(kept), _FIELDS)
    ]
    if more := len(fields) - len(kept):
        blocks.append(_section(f"… and {more} more"))
    return blocks


def _custom(rendered: Rendered, left: int) -> list[Block]:
    text = lines(rendered.text, min(_CUSTOM, max(left // 2, 200)))
    return [_section(text)] if text.strip() else []


def _shown(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The evidence, the guards that said no, everything else."""
    if said["rule"]:
        limit = f" (limit {said['threshold']})" if said["threshold"] else ""
        yield said["rule"], f"{said['value'] or 'no value'}{limit} since {said['since']}"
    for name, reason in said["guards"]:
        yield f"guard {name}", reason
    yield from said["facts"]


def _next(said: Mapping[str, Any]) -> list[Block]:
    """What is to be done, with its commands to be copied."""
    steps = [
        " ".join(part for part in (escape(words, _NEXT), code(command, _COMMAND) if command else "") if part)
        for words, command in said["steps"]
    ]
    whole = "\n".join(steps)
    copied = any(command for _, command in said["steps"]) and len(whole) <= 2 * _NEXT
    text = _step(said, whole if copied else escape(said["next_step"], _NEXT), bold="*")
    return [_section(text)] if text else []


def _step(said: Mapping[str, Any], step: str, *, bold: str = "") -> str:
    if step:
        return f"{bold}{'Needs you' if said['needs_human'] else 'Next'}:{bold} {step}"
    return f"{bold}Needs you.{bold}" if said["needs_human"] else ""


def _commands(said: Mapping[str, Any]) -> list[Block]:
    named = (("Undo", said["undo"]), ("Why", said["explain"]))
    shown = [f"{name}: {code(command, _COMMAND)}" for name, command in named if command]
    links = [link(said["runbook"], "Runbook"), link(said["dashboard"], "Dashboard")]
    if any(links):
        shown.append(" · ".join(one for one in links if one))
    return [_section("\n".join(shown))] if shown else []


def _context(said: Mapping[str, Any]) -> list[Block]:
    parts = (
        ("", said["severity"]),
        ("", said["service"]),
        ("", said["environment"]),
        ("", said["version"]),
        ("", said["created_at"]),
        ("incident ", said["incident"]),
        ("", "somebody must act" if said["needs_human"] else "nobody has to act"),
        ("audit ", said["audit_head"][:12]),
    )
    text = " · ".join(f"{name}{escape(value, _WHERE)}" for name, value in parts if value)
    return [{"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True}]}]


def is_good(message: Message) -> bool:
    """Whether it says that something is over, or went well."""
    return message.ends or message.kind in _WELL


def _bold(text: str, limit: int) -> str:
    return f"*{escape(text.replace('*', QUOTE), limit) or '–'}*"


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _size(blocks: Iterable[Mapping[str, Any]]) -> int:
    """In UTF-16, which is the larger way to count."""
    return len(json.dumps(list(blocks), ensure_ascii=False).encode("utf-16-le", "surrogatepass")) // 2
