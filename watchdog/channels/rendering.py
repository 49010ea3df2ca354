"""A message in words, by one set of templates for all channels: ours, and where they are given, the user's.

What matters first: the headline alone must say enough to act on. A template that fails costs its looks, never the
message: ours takes its place, and behind that stands plain text. This module must never add a judgement of its own,
and never let text from outside break out of its line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from importlib.resources import files
from typing import Any

import msgspec
import structlog

from watchdog.channels.context import HEADLINE, context_of
from watchdog.channels.specimens import trials
from watchdog.channels.templating import Words, line_of
from watchdog.core.message import Message
from watchdog.telemetry.redact import one_line

#: The templates of a set. What each makes is no longer than this, in characters.
LIMITS = {"headline": 2_000, "text": 100_000, "short": 2_000, "html": 500_000}
NAMES = tuple(LIMITS)

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class TemplateProblem(Exception):
    """A template of the user's cannot be used: `name` says which, `line` where (1 when that is not known)."""

    def __init__(self, name: str, line: int, message: str) -> None:
        super().__init__(f"template {name}, line {line}: {message}")
        self.name = name
        self.line = line
        self.message = message


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
    """Messages in words. One for the whole process: what `use` exchanges, all channels use from then on."""

    def __init__(self, templates: Mapping[str, str] | None = None) -> None:
        """`templates` are the user's texts by name (`NAMES`). Raises `TemplateProblem` like `use`."""
        self._ours = {name: _compiled(name, _shipped(name)) for name in NAMES}
        self._given: dict[str, str] = {}
        self._theirs: dict[str, Words] = {}
        self._failed: set[str] = set()
        self.on_failure: Callable[[str], None] = _ignore
        self.use(templates or {})

    def use(self, templates: Mapping[str, str]) -> None:
        """Take these in the place of the user's templates before. Costs nothing when they are the same.

        Raises `TemplateProblem` for one that cannot be compiled, or fails for any kind of message; then all is as it
        was.
        """
        if dict(templates) == self._given:
            return
        theirs = {name: _checked(name, text) for name, text in templates.items()}
        self._given, self._theirs = dict(templates), theirs
        self._failed.clear()

    def of(self, message: Message, *, chart: bool = False) -> Rendered:
        """A message in words; `chart`: a picture goes with it. Never raises: what fails is told plainly."""
        values = context_of(message, chart=chart)
        made = {name: self._made(name, values) for name in NAMES}
        return Rendered(
            headline=made["headline"],
            text=made["text"],
            short=made["short"],
            html=made["html"],
            colour=values["colour"],
            custom="text" in self._theirs,
        )

    def one(self, name: str, message: Message) -> str:
        """Only what one of the templates (`NAMES`) makes of a message, for whoever needs no more. Never raises."""
        return self._made(name, context_of(message))

    def _made(self, name: str, values: Mapping[str, Any]) -> str:
        for words in (self._theirs.get(name), self._ours[name]):
            if words is not None:
                try:
                    return _filled(name, words, values)
                except Exception as error:  # noqa: BLE001  whatever it is: a page is never lost over its looks
                    self._fell(name, error)
        return _PLAIN[name](values)

    def _fell(self, name: str, error: Exception) -> None:
        """Count it; log it once, because the next message would say the same."""
        self.on_failure(name)
        if name not in self._failed:
            self._failed.add(name)
            said = one_line(f"{type(error).__name__}: {error}", limit=300)
            _log.error("template_failed", template=name, line=line_of(error), error=said)


def as_text(message: Message) -> str:
    """The whole message as plain text, one thing a line, as our own template has it. Empty parts are left out."""
    return plain(context_of(message))


def plain(values: Mapping[str, Any]) -> str:
    """The same of what a template sees: what stands behind every template, so there is nothing in it that can fail."""
    names = ("service", "version", "environment")
    where = [*(f"{name} {values[name]}" for name in names if values[name]), values["created_at"]]
    limit = f" (limit {values['threshold']})" if values["threshold"] else ""
    ids = ", ".join(f"{name} {values[name]}" for name in ("incident", "rollback") if values[name])
    lines = [
        f"[{values['severity']}] {values['headline']}",
        "Needs you." if values["needs_human"] else "Nobody needs to do anything.",
        ", ".join(where),
        f"{values['rule']}: {values['value'] or 'no value'}{limit} since {values['since']}"
        if values["rule"]
        else "",
        *(f"guard {name}: {reason}" for name, reason in values["guards"]),
        *(f"{name}: {value}" for name, value in values["facts"]),
        *(f"{said}: {values[name]}" for name, said in _SAID.items() if values[name]),
        ids,
        f"audit head {values['audit_head']}" if values["audit_head"] else "",
    ]
    return "\n".join(line for line in lines if line)


_SAID = {
    "next_step": "Next",
    "undo": "To take it back",
    "explain": "Why, in full",
    "runbook": "Runbook",
    "dashboard": "Dashboard",
}
_PLAIN: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "headline": lambda values: str(values["headline"]),
    "text": plain,
    "short": lambda values: f"{values['severity'].upper()} {values['headline']}",
    "html": lambda values: f"<!doctype html><pre>{escape(plain(values))}</pre>",
}


def _shipped(name: str) -> str:
    """Our own template, as it comes with the package."""
    return files("watchdog.channels").joinpath("templates", f"{name}.j2").read_text(encoding="utf-8")


def _compiled(name: str, text: str) -> Words:
    return Words(text, html=name == "html")


def _checked(name: str, text: str) -> Words:
    """A template of the user's, tried on every kind of message. Raises `TemplateProblem`."""
    if name not in LIMITS:
        raise TemplateProblem(name, 1, f"there is no such template; there are {', '.join(NAMES)}")
    try:
        words = _compiled(name, text)
    except Exception as error:
        raise TemplateProblem(name, line_of(error), _said(error)) from error
    for message in trials():
        try:
            _filled(name, words, context_of(message, chart=True))
        except Exception as error:
            said = f"{_said(error)} (tried on a message of kind {message.kind})"
            raise TemplateProblem(name, line_of(error), said) from error
    return words


def _said(error: Exception) -> str:
    return one_line(str(getattr(error, "message", "") or error) or type(error).__name__, limit=300)


def _filled(name: str, words: Words, values: Mapping[str, Any]) -> str:
    """Raises `ValueError` for nothing at all, and whatever a template raises."""
    text = words.filled(values, limit=LIMITS[name]).strip()
    if name in ("headline", "short"):
        text = one_line(" ".join(text.split()), limit=HEADLINE if name == "headline" else None)
    if not text and values["headline"]:
        raise ValueError("makes no text")
    return text


def _ignore(_name: str) -> None:
    pass
