"""The commands that a message names, read as the command line reads them."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import typer

from watchdog.cli.main import app
from watchdog.core.request import RequestKind

#: A command goes on to the end of its clause; what ends that is no part of a word.
_COMMAND = re.compile(r"\bwatchdog((?: [\w@/.:-]*[\w@/-])+)")
_KINDS: dict[tuple[str, ...], RequestKind] = {
    ("ack",): RequestKind.ACKNOWLEDGE,
    ("incidents", "close"): RequestKind.CLOSE,
    **{(kind.value.replace("_", "-"),): kind for kind in RequestKind},
}


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command: its words up to the arguments, and what the command line made of the rest."""

    text: str
    path: tuple[str, ...]
    given: dict[str, Any]

    @property
    def kind(self) -> RequestKind | None:
        """What it asks of the daemon; nothing where it only looks."""
        return _KINDS.get(self.path)

    @property
    def target(self) -> str:
        return str(self.given.get("incident") or self.given.get("service") or "")

    @property
    def body(self) -> dict[str, Any]:
        return {name: self.given[name] for name in ("reason", "to", "version") if self.given.get(name)}


def commands(text: str) -> tuple[Command, ...]:
    """Every command in a text. Raises a usage error for one that does not exist, or is called wrongly."""
    return tuple(_parsed(found.group(1).split()) for found in _COMMAND.finditer(text))


def _parsed(words: list[str]) -> Command:
    group: Any = typer.main.get_command(app)
    path: list[str] = []
    text = " ".join(["watchdog", *words])
    context = group.make_context("watchdog", list(words))
    while hasattr(group, "resolve_command"):
        words = [*context._protected_args, *context.args]  # noqa: SLF001  it has no other name
        if not words and group.invoke_without_command:
            break
        name, group, rest = group.resolve_command(context, words)
        path.append(name)
        context = group.make_context(name, list(rest), parent=context)
    return Command(text=text, path=tuple(path), given=dict(context.params))
