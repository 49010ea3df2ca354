"""What an unquoted word in YAML is: text, a number, true, false, nothing, or a trap.

Only spellings that every YAML reader understands the same way become numbers and booleans. What YAML 1.1 and 1.2 read
differently (`on`, `1:30`, `010`, `1_000`, `2026-01-01`) is a mistake, never silently one or the other.
This module must never know where a word stands.
"""

from __future__ import annotations

import re

Plain = str | int | float | bool | None

#: Longest number in digits; beyond, nobody means a number.
_LONGEST_NUMBER = 400
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_TRAPS = (
    (
        re.compile(r"(?:yes|no|on|off)", re.IGNORECASE),
        "is true or false to some YAML readers and a word to others; write true or false, or quote it",
    ),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"),
        "is a number in base 60 to some YAML readers; write a duration such as 90s, or quote it",
    ),
    (
        re.compile(r"[-+]?0(?:[0-9_]+|[xX][0-9a-fA-F_]+|[bB][01_]+|[oO][0-7_]+)"),
        "is not a decimal number to some YAML readers; write it in decimal, or quote it",
    ),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?"),
        "is a number to some YAML readers and text to others; write it without '_', or quote it",
    ),
    (
        re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt\s].*)?"),
        "is a date to some YAML readers; quote it",
    ),
    (
        re.compile(r"[-+]?\.(?:inf|nan)", re.IGNORECASE),
        "is no number that can be used here; quote it to mean text",
    ),
    (re.compile(r"="), "has a meaning of its own to some YAML readers; quote it"),
)


class Trap(ValueError):
    """An unquoted word that YAML readers disagree about; the text says what to write."""


def interpret(word: str) -> Plain:
    """The value of an unquoted word. Raises `Trap` for one that has no clear meaning."""
    if word in _NOTHING:
        return None
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    if len(word) > _LONGEST_NUMBER:
        return word
    if _INTEGER.fullmatch(word):
        return int(word)
    if _FLOAT.fullmatch(word) and not re.fullmatch(r"[-+]?0[0-9]+(?:[eE].*)?", word):
        number = float(word)
        if number in {float("inf"), float("-inf")}:
            raise Trap("is too large for a number")
        return number
    for pattern, why in _TRAPS:
        if pattern.fullmatch(word):
            raise Trap(why)
    return word
