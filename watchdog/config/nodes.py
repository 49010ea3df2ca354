"""Values of a YAML file with the place of each, so that every message can point at what it means.

This module must never know what a key means, and never judge a value.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import SecretStr

from watchdog.config.loaded import Position
from watchdog.config.problems import quote
from watchdog.config.scalars import Plain

Part = str | int


@dataclass(slots=True, eq=False, kw_only=True)
class Node:
    """One value: a mapping (`entries`), a list (`items`) or a scalar (`value`, as `written`).

    `tag` is `!env NAME` or `!file PATH` where the value was looked up; then `value` is a `SecretStr`, which becomes
    plain text once something `reveal`s it. `inset` is how far behind `at` the text itself begins, `None` where it does
    not stand in one line. `reported` says that this value's mistake is told already, `lost` that an entry of this
    mapping was told and left out.
    """

    at: Position
    value: Plain | SecretStr = None
    written: str = ""
    inset: int | None = None
    tag: str = ""
    revealed: bool = False
    reported: bool = False
    lost: bool = False
    entries: dict[str, Entry] | None = None
    items: list[Node] | None = None

    def get(self, *path: Part) -> Node | None:
        """The value at a path of keys and indexes, if everything on the way is there."""
        node: Node | None = self
        for part in path:
            node = None if node is None else node.child(part)
        return node

    def child(self, part: Part) -> Node | None:
        """One step down."""
        if self.entries is not None and isinstance(part, str) and part in self.entries:
            return self.entries[part].node
        if self.items is not None and isinstance(part, int) and 0 <= part < len(self.items):
            return self.items[part]
        return None

    def find(self, path: tuple[Part, ...]) -> Node:
        """The value at a path of which some parts may be no keys (pydantic names union members too)."""
        node = self
        for part in path:
            node = node.child(part) or node
        return node

    def at_value(self, *path: Part) -> Position:
        """Where the value at `path` stands; where this one stands when there is none."""
        node = self.get(*path)
        return self.at if node is None else node.at

    def at_key(self, *path: Part) -> Position:
        """Where the key that ends `path` stands; where this value stands when there is none."""
        parent = self.get(*path[:-1])
        if parent is None or parent.entries is None or path[-1] not in parent.entries:
            return self.at
        return parent.entries[str(path[-1])].at

    def has(self, key: str) -> bool:
        """Whether this is a mapping with that key."""
        return self.entries is not None and key in self.entries

    def keys(self) -> tuple[str, ...]:
        """The keys of a mapping, in order; nothing for other values."""
        return tuple(self.entries or ())

    def spot(self, offset: int) -> Position:
        """Where a character of the text stands, as far as that can be told; `offset` counts from 0."""
        if self.inset is None:
            return self.at
        return replace(self.at, column=self.at.column + self.inset + offset)

    def rename(self, old: str, new: str) -> None:
        """Read the key `old` as `new` from here on."""
        if self.entries is not None:
            self.entries = {new if key == old else key: entry for key, entry in self.entries.items()}

    def drop(self, key: str) -> None:
        """Read the mapping as if `key` were not there."""
        if self.entries is not None:
            self.entries = {name: entry for name, entry in self.entries.items() if name != key}

    def without(self, *keys: str) -> Node:
        """The same mapping without some keys; the values are shared."""
        return replace(self, entries={k: e for k, e in (self.entries or {}).items() if k not in keys})

    def data(self) -> Any:
        """As plain dicts, lists and scalars; secrets that nobody revealed stay `SecretStr`."""
        if self.entries is not None:
            return {key: entry.node.data() for key, entry in self.entries.items()}
        if self.items is not None:
            return [item.data() for item in self.items]
        if self.revealed and isinstance(self.value, SecretStr):
            return self.value.get_secret_value()
        return self.value

    def fingerprint(self) -> Hashable:
        """Equal for equal content, wherever it stands; secrets count by their tag."""
        if self.entries is not None:
            return frozenset((key, entry.node.fingerprint()) for key, entry in self.entries.items())
        if self.items is not None:
            return tuple(item.fingerprint() for item in self.items)
        return self.tag, self.written

    def leaves(self) -> Iterator[Node]:
        """Every scalar below, this one included."""
        children = [entry.node for entry in (self.entries or {}).values()] + (self.items or [])
        for node in children:
            yield from node.leaves()
        if self.entries is None and self.items is None:
            yield self

    @property
    def is_nothing(self) -> bool:
        """Whether nothing was written, or `null`."""
        return self.value is None and self.entries is None and self.items is None

    @property
    def text(self) -> str | None:
        """The value if it is text that may be shown."""
        return self.value if isinstance(self.value, str) else None

    def describe(self) -> str:
        """What stands there, for `expected …, found …`. Never a secret."""
        if self.entries is not None:
            return "a mapping"
        if self.items is not None:
            return "a list"
        if self.tag:
            return f"the value of {self.tag}"
        if self.value is None:
            return "nothing"
        if isinstance(self.value, bool):
            return self.written
        return quote(self.value) if isinstance(self.value, str) else f"the number {self.written}"


@dataclass(slots=True, eq=False, kw_only=True)
class Entry:
    """One entry of a mapping: where its key stands, and its value."""

    at: Position
    node: Node
