"""Rule files: which ones a list of patterns names, and every rule in them.

Tests of rules (`NAME.test.yaml`) stand beside the rules and are none. This module must never know a service.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from watchdog.config.document import read
from watchdog.config.forms import Forms
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote
from watchdog.config.rules import Known, Surroundings, compile_rule
from watchdog.config.schema import RulesFileShape
from watchdog.config.services import where
from watchdog.config.shape import shape
from watchdog.config.trail import Trail, matches

#: How the names of files with tests of rules end.
TESTS = (".test.yaml", ".test.yml")


def is_test(name: str) -> bool:
    """Whether a file of that name holds tests of rules."""
    return name.endswith(TESTS)


def named(base: Path, place: Node, problems: Problems, trail: Trail) -> tuple[dict[Path, Node], bool]:
    """The files that the patterns in a list match below `base`, each with the pattern that named it first.

    And whether every pattern could be read and matched something.
    """
    files: dict[str, tuple[Path, Node]] = {}
    whole = True
    for item in place.items or ():
        pattern = item.text
        if pattern is None or item.tag or item.reported:
            if not item.reported and item.tag:
                problems.add(item.at, f"expected a pattern of rule files, found {item.describe()}")
            continue
        names = matches(base, pattern)
        trail.matched(base, pattern, names)
        found = [file for name in names if not is_test(name) and not (file := base / name).is_dir()]
        if not found:
            whole = False
            problems.add(item.at, _no_file(pattern))
        for file in found:
            files.setdefault(os.path.realpath(file), (file, item))
    return dict(files.values()), whole


def _no_file(pattern: str) -> str:
    if is_test(pattern):
        return f"{quote(pattern)} names tests of rules, which `watchdog rules test` plays; name the rules"
    return f"{quote(pattern)} matches no file"


class RuleBook:
    """Reads rule files one by one; what several of them must not share is remembered here."""

    def __init__(self, around: Surroundings, forms: Forms, problems: Problems, trail: Trail) -> None:
        self._around = around
        self._forms = forms
        self._problems = problems
        self._trail = trail
        #: Every rule that has a name, those with mistakes included.
        self.rules: dict[str, Known] = {}
        #: Whether every rule could be read; else nobody knows which names are unknown.
        self.whole = True

    def read(self, files: Iterable[Path]) -> None:
        """Read these files, too."""
        for file in files:
            root = read(file, self._problems, secrets=None, trail=self._trail)
            if root is None or (written := shape(RulesFileShape, root, self._problems)[0]) is None:
                self.whole = False
                continue
            want_version(root, self._problems)
            place = root.get("rules")
            self.whole = self.whole and bool(written.rules)
            if place is not None and not written.rules:
                self._problems.add(place.at, "no rules: at least one is needed")
            for node in (place.items or ()) if place is not None else ():
                self._add(node)

    def _add(self, node: Node) -> None:
        known = compile_rule(node, self._around, self._forms, self._problems)
        if known is None:
            self.whole = False
        elif known.name in self.rules:
            other = where(self.rules[known.name].at)
            self._problems.add(known.at, f"duplicate rule {quote(known.name)}; it also stands at {other}")
        else:
            self.rules[known.name] = known


def want_version(root: Node, problems: Problems) -> None:
    """Every file says which version of its format it is in."""
    if not root.has("version"):
        problems.add(root.at, "missing key 'version'; write version: 1")
