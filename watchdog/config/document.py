"""A YAML file, read once, as nodes with positions. Everything that YAML allows and a configuration must not is told.

PyYAML's composer does the reading; no constructor ever runs, so no tag can make anything but text.
This module must never know what a key means.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import yaml
from yaml.composer import ComposerError
from yaml.error import Mark, MarkedYAMLError
from yaml.reader import ReaderError

from watchdog.config.composer import DEEPEST, PythonComposer, quickly
from watchdog.config.loaded import Position
from watchdog.config.nodes import Entry, Node
from watchdog.config.problems import Problems, quote
from watchdog.config.scalars import Plain, Trap, interpret
from watchdog.config.secrets import TAGS, Secrets
from watchdog.config.trail import Trail

#: Largest file in bytes. A thousand services fit into a quarter of it.
LARGEST_FILE = 2 * 1024 * 1024
#: Most values, aliases followed: a few lines of aliases of aliases can stand for billions.
MOST_VALUES = 200_000
_TEXT_TAG = "tag:yaml.org,2002:str"


def read(
    path: Path, problems: Problems, *, secrets: Secrets | None, trail: Trail | None = None
) -> Node | None:
    """The one document in the file at `path`; `None` when it cannot be read at all.

    Without `secrets`, `!env` and `!file` are mistakes. `trail` learns what was read.
    """
    start = Position(file=path, line=1, column=1)
    trail = Trail() if trail is None else trail
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as fault:
        trail.failed(path, fault, limit=LARGEST_FILE)
        problems.add(start, f"cannot be read: {fault.strerror}")
        return None
    except ValueError:
        problems.add(start, "cannot be read: this is no path")
        return None
    trail.read(path, content, limit=LARGEST_FILE)
    if len(content) > LARGEST_FILE:
        problems.add(start, f"is larger than {LARGEST_FILE // 1024} KiB")
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        before = content[: fault.start].decode("utf-8-sig", "replace")
        problems.add(_position(path, before, len(before)), "is not text in UTF-8")
        return None
    return _parse(path, text, problems, secrets)


def _parse(path: Path, text: str, problems: Problems, secrets: Secrets | None) -> Node | None:
    start = Position(file=path, line=1, column=1)
    composed = quickly(text)
    if composed is None:
        composed = _by_python(path, text, problems)
        if composed is None:
            return None
    root, tags = composed
    try:
        built = None if root is None else _Builder(path, problems, secrets, tags).build(root, depth=0)
    except _TooMuch as fault:
        problems.add(fault.at, str(fault))
        return None
    if built is None or built.is_nothing:
        problems.add(start, "is empty")
        return None
    return built


def _by_python(path: Path, text: str, problems: Problems) -> tuple[yaml.Node | None, dict[int, str]] | None:
    """The root and its tags, or a problem."""
    try:
        composer = PythonComposer(text)
    except ReaderError as fault:
        problems.add(_position(path, text, fault.position), "is a character that YAML does not allow")
        return None
    try:
        return composer.get_single_node(), composer.tags
    except MarkedYAMLError as fault:
        problems.add(_at(path, fault.problem_mark or fault.context_mark), _syntax(fault))
    except (ValueError, OverflowError, LookupError):
        # PyYAML lets these out for escapes and directives that no character or number has.
        problems.add(_at(path, composer.get_mark()), "is not valid YAML here")
    return None


def _syntax(fault: MarkedYAMLError) -> str:
    if isinstance(fault, ComposerError) and fault.context == "expected a single document in the stream":
        return "a second document begins here; one file holds one"
    words = ", ".join(part for part in (fault.context, fault.problem) if part)
    return f"is not valid YAML: {words}"


def _at(path: Path, mark: Mark | None) -> Position:
    if mark is None:
        return Position(file=path, line=1, column=1)
    return Position(file=path, line=mark.line + 1, column=mark.column + 1)


def _position(path: Path, text: str, offset: int) -> Position:
    lines = text[:offset].split("\n")
    return Position(file=path, line=len(lines), column=len(lines[-1]) + 1)


class _TooMuch(Exception):
    """The document is deeper or larger, aliases followed, than anything a person writes."""

    def __init__(self, at: Position, message: str) -> None:
        super().__init__(message)
        self.at = at


class _Builder:
    """From PyYAML's nodes to ours; aliases become copies, so that each place can be judged by itself."""

    def __init__(self, path: Path, problems: Problems, secrets: Secrets | None, tags: dict[int, str]) -> None:
        self._path = path
        self._problems = problems
        self._secrets = secrets
        self._tags = tags
        self._values = 0
        self._open: set[int] = set()

    def build(self, node: yaml.Node, *, depth: int) -> Node:
        at = _at(self._path, node.start_mark)
        self._values += 1
        if id(node) in self._open:
            raise _TooMuch(at, "contains itself through an alias")
        if depth > DEEPEST:
            raise _TooMuch(at, f"nested deeper than {DEEPEST} levels, aliases followed")
        if self._values > MOST_VALUES:
            raise _TooMuch(at, f"stands for more than {MOST_VALUES} values, aliases followed")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, at)
        built = Node(at=at)
        if (tag := self._tags.get(id(node))) is not None:
            self._bad(built, f"{_shown(tag)} does not go with a mapping or a list")
        self._open.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            built.items = [self._filled(self.build(item, depth=depth + 1)) for item in node.value]
        else:
            built.entries = self._entries(node, depth)
            built.lost = len(built.entries) < len(node.value)
        self._open.discard(id(node))
        return built

    def _entries(self, node: yaml.Node, depth: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            value = self._filled(self.build(value_node, depth=depth + 1))
            at = _at(self._path, key_node.start_mark)
            if key is None:
                continue
            if key in entries:
                self._problems.add(
                    at, f"duplicate key {quote(key)}; it also stands in line {entries[key].at.line}"
                )
                continue
            entries[key] = Entry(at=at, node=value)
        return entries

    def _key(self, node: yaml.Node) -> str | None:
        at = _at(self._path, node.start_mark)
        if not isinstance(node, yaml.ScalarNode) or id(node) in self._tags:
            self._problems.add(at, "a key must be a plain word")
            return None
        if node.value == "<<" and not node.style:
            self._problems.add(at, "merge keys (<<) are not supported; write the keys out")
            return None
        key = self._scalar(node, at)
        if not isinstance(key.value, str):
            if not key.reported:
                self._problems.add(at, f"a key must be text, found {key.describe()}; quote it")
            return None
        return None if key.reported else key.value

    def _scalar(self, node: yaml.ScalarNode, at: Position) -> Node:
        tag = self._tags.get(id(node), "")
        built = Node(at=at, value=node.value, written=node.value, inset=_inset(node))
        if not node.value.isprintable() and (odd := next(filter(_is_odd, node.value), None)):
            built.value = built.written = ""
            self._bad(built, f"the character U+{ord(odd):04X} cannot be used here")
        elif tag in TAGS:
            self._secret(built, tag)
        elif tag not in {"", _TEXT_TAG}:
            self._bad(built, f"unknown tag {_shown(tag)}; only !env NAME and !file PATH can stand here")
        elif not tag and not node.style:
            built.value = self._interpret(built)
        return built

    def _secret(self, built: Node, tag: str) -> None:
        built.tag = f"{tag} {built.written}"
        if self._secrets is None:
            self._bad(built, f"{tag} cannot stand in a rule: a rule is recorded with every incident it opens")
            return
        try:
            built.value = self._secrets.look_up(tag, built.written)
            self._problems.hide(built.value.get_secret_value())
        except ValueError as fault:
            self._bad(built, str(fault))

    def _interpret(self, built: Node) -> Plain:
        try:
            return interpret(built.written)
        except Trap as trap:
            self._bad(built, f"{quote(built.written)} {trap}")
            return built.written

    def _filled(self, node: Node) -> Node:
        if node.is_nothing:
            self._bad(node, "a value is missing here; give one or leave the key out")
        return node

    def _bad(self, node: Node, message: str) -> None:
        node.reported = True
        self._problems.add(node.at, message)


def _inset(node: yaml.ScalarNode) -> int | None:
    """How far behind its beginning a scalar's text stands; `None` where it is not written as it is read."""
    quotes = 1 if node.style else 0
    length = node.end_mark.column - node.start_mark.column
    as_read = node.start_mark.line == node.end_mark.line and length == len(node.value) + 2 * quotes
    return quotes if as_read else None


def _is_odd(letter: str) -> bool:
    return unicodedata.category(letter) in {"Cc", "Cs"} and letter not in "\t\n\r"


def _shown(tag: str) -> str:
    return quote(tag.replace("tag:yaml.org,2002:", "!!"))
