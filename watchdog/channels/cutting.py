"""Text that is too long for where it goes: cut by code points, where that is cheap between characters people see.

Limits of receivers count code points; a cut through an emoji that is made of several would leave
other signs than were written. This module must never return more than was asked for.
"""

from __future__ import annotations

import unicodedata

#: Joins emoji; what stands before or after it belongs together.
_JOINER = "\u200d"
#: So far back a character may begin; text that goes on longer without a place to cut is cut anywhere.
_FAR = 24


def cut(text: str, limit: int, *, mark: str = "…") -> str:
    """At most `limit` code points of `text`; what was cut ends in `mark`."""
    if len(text) <= limit:
        return text
    keep = limit - len(mark)
    if keep <= 0:
        return mark[: max(limit, 0)]
    return text[: _place(text, keep)].rstrip() + mark


def _place(text: str, at: int) -> int:
    """Where a character begins, at `at` or a little before it."""
    for place in range(at, max(at - _FAR, 0), -1):
        if not _belongs(text[place - 1], text[place] if place < len(text) else ""):
            return place
    return at


def _belongs(before: str, after: str) -> bool:
    """Whether two code points are (most likely) one character: joined, accented, coloured, or a flag."""
    if not after:
        return False
    if _JOINER in (before, after) or unicodedata.combining(after) or "\ufe00" <= after <= "\ufe0f":
        return True
    return "\U0001f3fb" <= after <= "\U0001f3ff" or (_is_flag(before) and _is_flag(after))


def _is_flag(sign: str) -> bool:
    return "\U0001f1e6" <= sign <= "\U0001f1ff"
