"""What may appear in text that leaves the process: no known secret, no URL password, no control characters.

The last gate, not the only one: secrets are `SecretStr` and providers build their own reasons. This module
must never raise on any input, keep a secret's name, or answer whether a text is a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

#: What stands where a secret stood.
MASK = "***"
#: Secrets shorter than this are masked only where they stand alone, or "a" would blacken every log line.
_ALONE_BELOW = 8
#: Everything between `://` and the last `@` before the path. Anchored at `://`, so that long words stay
#: linear.
_USERINFO = re.compile(r"(?<=://)[^/\s?#\"'<>]*@")
#: C0 and C1 controls, line separators, direction overrides (they make text read differently than it is), lone
#: surrogates (they cannot be encoded). Joiners stay: emoji are made of them.
_UNSAFE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ufeff\\ud800-\\udfff]"
)
_SPACES = "\t\n\v\f\r\x85\u2028\u2029"


class Mask:
    """Some secrets, and one pattern that finds them all."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        """Hide `value` from now on, also URL-quoted or escaped. Blank values are ignored."""
        if not value.strip():
            return
        self._forms |= {value, value.strip(), quote(value, safe="", errors="replace"), repr(value)[1:-1]}
        self._forms |= {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        # Longest first: one secret may begin with another.
        ordered = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(_found(form) for form in ordered))

    def hide(self, text: str) -> str:
        """`text` with every secret replaced."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)


def _found(form: str) -> str:
    escaped = re.escape(form)
    return escaped if len(form) >= _ALONE_BELOW else rf"(?<!\w){escaped}(?!\w)"


_process = Mask()


def register_secret(value: str) -> None:
    """Mask `value` in everything from now on, also URL-quoted or escaped. Blank values are ignored.

    Process-wide and kept for the life of the process: a secret that was replaced is still a secret.
    """
    _process.add(value)


def redact(text: str) -> str:
    """`text` without known secrets and without the user name and password of URLs. Idempotent."""
    text = _process.hide(text)
    return _USERINFO.sub(f"{MASK}@", text) if "@" in text else text


def one_line(text: str, *, limit: int | None = None) -> str:
    """`text` as one harmless line: white space becomes blanks, other control characters are shown as hex.

    Longer than `limit` characters it is cut, and ends in an ellipsis then.
    """
    line = _UNSAFE.sub(_shown, text).strip()
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


def _shown(match: re.Match[str]) -> str:
    character = match.group()
    if character in _SPACES:
        return " "
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def redact_event(_logger: Any, _method: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """The structlog processor: the whole event, keys and nested values too, as redacted plain values.

    Comes after exceptions were formatted and right before rendering. Objects are rendered here, by `repr`, so
    that nothing is turned into text behind it.
    """
    return {redact(str(key)): _plain(value) for key, value in event.items()}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact(str(value))
    if isinstance(value, Mapping):
        return {redact(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, BaseException):
        return redact(f"{type(value).__name__}: {value}")
    return redact(repr(value))
