"""What pydantic found, said for the person who wrote the file.

This module must never repeat a value that was looked up with `!env` or `!file`.
"""

from __future__ import annotations

import re
from datetime import timedelta

from pydantic_core import ErrorDetails

from watchdog.config.nodes import Node
from watchdog.settings.registry import nearest

_WANTED = {
    "string_type": "text",
    "path_type": "a path",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_OWN_WORDS = frozenset({"value_error", "assertion_error"})
#: What may let somebody in where an address was meant, whatever scheme was written: the user, and all after `?`.
_LETS_IN = re.compile(r"(?<=://)[^/\s?#]*@|(?<=\?)[^'\s]+")


def wording(error: ErrorDetails, node: Node) -> str:
    """One sentence for one error of pydantic about the value `node`."""
    kind, context = error["type"], error.get("ctx", {})
    found = _LETS_IN.sub("…", node.describe()) if "://" in node.describe() else node.describe()
    if kind in _OWN_WORDS:
        return f"{found} cannot be used here" if node.tag else str(context.get("error", error["msg"]))
    if kind in {"enum", "literal_error"}:
        return _choice(str(context.get("expected", "")), node)
    if kind in _WANTED:
        advice = "; quote it" if _is_unquoted(kind, node) else ""
        return f"expected {_WANTED[kind]}, found {found}{advice}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        bound = context.get(name)
        shown = "0s" if str(bound) == repr(timedelta()) else bound
        return f"{found} is out of range: {words} {shown} is needed"
    if kind == "too_short" and node.entries is not None:
        return f"at least {context.get('min_length')} are needed, found {context.get('actual_length')}"
    if kind == "too_short" and node.items is not None:
        return f"an empty list: at least {context.get('min_length')} is needed"
    if kind == "string_pattern_mismatch":
        return _pattern(str(context.get("pattern", "")), found)
    words = error["msg"].replace("Input", "the value").replace("String", "the text")
    return f"{found}: {words}"


def _is_unquoted(kind: str, node: Node) -> bool:
    return kind == "string_type" and isinstance(node.value, bool | int | float)


def _choice(expected: str, node: Node) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    if not choices:
        return f"expected {expected}, found {node.describe()}"
    guess = nearest(node.text, choices) if node.text and not node.tag else None
    hint = f"; did you mean {guess!r}?" if guess else ""
    return f"{node.describe()} is not one of {', '.join(choices)}{hint}"


def _pattern(pattern: str, found: str) -> str:
    if pattern.startswith("^https?://"):
        return f"{found} is not an address such as http://HOST:PORT"
    return f"{found} does not look as it must (pattern {pattern})"
