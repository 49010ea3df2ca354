"""Variables in a rule's texts: which are named, and whether each one exists.

This module must never fill one in.
"""

from __future__ import annotations

from typing import Any

import msgspec

from watchdog.config.nodes import Node
from watchdog.config.problems import Problems
from watchdog.core.rule import Form
from watchdog.core.variables import NAMES, names_in
from watchdog.settings.registry import nearest

_LABEL = "label."
#: What a readiness probe's address is written as. Only `traffic.ready` knows it.
ADDRESS = "{address}"


def check(node: Node, problems: Problems) -> None:
    """Tell every unknown variable in every text below `node`, at its text."""
    for leaf in node.leaves():
        for name in names_in(leaf.text or ""):
            if name not in NAMES and not name.startswith(_LABEL):
                problems.add(leaf.at, _unknown(name))
        if ADDRESS in (leaf.text or ""):
            problems.add(
                leaf.at, f"{ADDRESS} is known only in `traffic.ready`; write $service or a $label.NAME"
            )


def labels_in(form: Form) -> frozenset[str]:
    """The labels that a rule needs of every service that uses it."""
    names = {name for text in _texts(msgspec.to_builtins(form)) for name in names_in(text)}
    return frozenset(name.removeprefix(_LABEL) for name in names if name.startswith(_LABEL))


def _unknown(name: str) -> str:
    guess = "label.NAME" if name == "label" else nearest(name, NAMES)
    hint = f"; did you mean ${guess}?" if guess else ""
    return f"unknown variable ${name}{hint} (known: {', '.join('$' + it for it in NAMES)}, $label.NAME)"


def _texts(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        return [text for value in tree.values() for text in _texts(value)]
    if isinstance(tree, list):
        return [text for value in tree for text in _texts(value)]
    return [tree] if isinstance(tree, str) else []
