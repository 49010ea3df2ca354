"""What a server's refusal of a range query means: ask for less, ask later, or not at all.

This module must never take a limit of the server for a mistake in the query, or the other way round.
"""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

from watchdog.telemetry.redact import one_line, redact

_WORDS = 300


class Way(StrEnum):
    """What to do about it."""

    LESS = "less"  #: a limit of the server: ask for fewer points at once
    QUICKER = "quicker"  #: it took too long: ask for fewer points at once
    LATER = "later"  #: try again
    APART = "apart"  #: this question fails at these moments; at others it may not
    GET = "get"  #: a proxy that takes no POST
    NO = "no"  #: nothing will help but a person


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no answer, in words without a secret."""

    way: Way
    words: str


class _Said(msgspec.Struct):
    status: str = ""
    errorType: str = ""  # noqa: N815 - the API's own word
    error: str = ""


_said = msgspec.json.Decoder(_Said)
#: The words of limits: Prometheus ("exceeded maximum resolution", "would load too many samples"), and what speaks its
#: API ("too many points", "exceeds the limit", "response too large").
_LIMIT = re.compile(r"exceed|too many|too large|limit|resource exhausted", re.IGNORECASE)
_SLOW = re.compile(r"timed out|timeout|deadline", re.IGNORECASE)
_WAYS = {408: Way.QUICKER, 504: Way.QUICKER, 524: Way.QUICKER, 413: Way.LESS, 429: Way.LATER}


def of_status(status: int, body: bytes, location: str, *, posted: bool) -> Fault:
    """The fault that an answer other than 200 is."""
    said = _read(body)
    text = f"{said.errorType}: {said.error}" if said.error else body[:2000].decode(errors="replace")
    words = clean(f"status {status}: {text}".rstrip(": "))
    if 300 <= status < 400:
        where = f"redirects to {location}; write that address as url" if location else "redirects"
        return Fault(way=Way.NO, words=clean(f"status {status}: {where}"))
    if posted and status in {405, 501}:
        return Fault(way=Way.GET, words=words)
    return Fault(way=_way(status, said, text), words=words)


def _way(status: int, said: _Said, text: str) -> Way:
    if said.errorType == "timeout":
        return Way.QUICKER
    if status in _WAYS:
        return _WAYS[status]
    if "parse error" in text:  # quotes the query, whatever words that has
        return Way.NO
    if status in {400, 422, 500, 503} and _LIMIT.search(text):
        return Way.LESS
    if status == 422:
        return Way.APART
    if status >= 500:
        return Way.QUICKER if _SLOW.search(text) else Way.LATER
    return Way.NO


def _read(body: bytes) -> _Said:
    try:
        return _said.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Said()


def clean(text: str) -> str:
    """One harmless line, without a secret."""
    return one_line(redact(text), limit=_WORDS)
