"""YAML text as PyYAML's nodes: by libyaml where it is there and surely says the same, else by Python alone.

A configuration of a thousand services takes Python seconds, in which the daemon does nothing else. libyaml reads the
same language with a few differences at its edges; what may lie there, and everything that it refuses, is read by
Python, so that a file means the same everywhere and messages stay what they are. This module must never let libyaml
decide what a mistake is.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.composer import Composer, ComposerError
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from watchdog.config.secrets import TAGS

#: Deepest nesting, aliases followed. The deepest thing that means something has eight levels.
DEEPEST = 64
#: Where the two read differently: tabs, line ends other than LF, marks of byte order, what tells documents apart and
#: directives, and keys that begin with `?`.
_EDGES = re.compile(r"[\t\r\x85\u2028\u2029\ufeff]|^(?:---|\.\.\.|%)|(?:^|[\s\[{,:])\?", re.MULTILINE)
#: The two read others differently, too, and none of them means anything.
_TAGS = frozenset({None, *TAGS})


class Tagging(Composer, BaseResolver):
    """A composer without implicit types; `tags` are the tags that stand in the file, by the node's `id`."""

    def __init__(self) -> None:
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self.tags: dict[int, str] = {}
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[attr-defined]  # a parser is beside it in every subclass
        if self._depth >= DEEPEST:
            raise ComposerError(None, None, f"nested deeper than {DEEPEST} levels", event.start_mark)
        tag = getattr(event, "tag", None)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if tag is not None:
            self.tags[id(node)] = tag
        return node


class PythonComposer(Reader, Scanner, Parser, Tagging):
    """PyYAML itself, which says where a mistake is."""

    def __init__(self, text: str) -> None:
        """Raises `ReaderError` for a character that YAML does not allow."""
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Tagging.__init__(self)


if yaml.__with_libyaml__:
    from yaml._yaml import CParser

    class _LibyamlComposer(Tagging, CParser):
        """The same by libyaml's events."""

        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            Tagging.__init__(self)

        def compose_node(self, parent: Any, index: Any) -> Any:
            node = super().compose_node(parent, index)
            tag = self.tags.get(id(node))
            plain = isinstance(node, yaml.ScalarNode) and not node.style
            if tag not in _TAGS or (plain and (not node.value or "?" in node.value)):
                raise ComposerError(None, None, "Python may read this otherwise", node.start_mark)
            return node


def quickly(text: str) -> tuple[yaml.Node | None, dict[int, str]] | None:
    """The root of the one document in `text`, and its tags, exactly as `PythonComposer` has them.

    `None` where only that one can tell, which is with every mistake.
    """
    if not yaml.__with_libyaml__ or not text.endswith("\n") or _EDGES.search(text):
        return None
    try:
        composer = _LibyamlComposer(text)
        root: yaml.Node | None = composer.get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError, LookupError):
        return None
    return root, composer.tags
