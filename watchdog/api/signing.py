"""Signatures on what is sent to the inbound webhooks: who signed it, when, and that it is taken once.

A signature that does not cover a time can be sent again for ever by whoever has seen it. Ours covers the second at
which it was made, counts for five minutes, and once. GitHub's covers only the body: it is taken for GitHub's events
alone, which name their time and themselves in it. This module must never tell which part of a signature was wrong.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta

#: GitHub's: HMAC-SHA256 of the body as it came, in hexadecimal digits behind `sha256=`.
HUB = "X-Hub-Signature-256"
#: Ours, as of the messages that we send: `v1=` and HMAC-SHA256 of timestamp (Unix seconds), a full stop and the body.
SIGNATURE, TIMESTAMP = "X-Watchdog-Signature", "X-Watchdog-Timestamp"
#: A signature is older, or newer, than this by our clock: it does not count.
FRESH_FOR = timedelta(minutes=5)


class Signature:
    """What a request brings: `own` tells ours from GitHub's."""

    def __init__(self, headers: Mapping[str, str], raw: bytes) -> None:
        self.own = SIGNATURE in headers
        given = headers.get(SIGNATURE if self.own else HUB, "")
        self.given = given.strip().lower().encode("utf-8", "surrogateescape")
        self.timestamp = headers.get(TIMESTAMP, "").strip()
        self._raw = raw

    def fits(self, secret: str) -> bool:
        """Whether this secret made it. Takes the same time whatever is wrong."""
        key = secret.encode()
        if self.own:
            signed = self.timestamp.encode("utf-8", "surrogateescape") + b"." + self._raw
            return hmac.compare_digest(b"v1=" + _hex(key, signed), self.given)
        return hmac.compare_digest(b"sha256=" + _hex(key, self._raw), self.given)

    def stale(self, now: datetime) -> bool:
        """Whether the time that it covers is not now; of GitHub's, the event must say."""
        return self.own and not fresh(self.timestamp, now)


class Taken:
    """The signatures that counted already. Only good ones get here, so nobody can fill it."""

    def __init__(self) -> None:
        self._until: dict[bytes, datetime] = {}

    def take(self, given: bytes, now: datetime) -> bool:
        """Whether this one comes for the first time. It is remembered for as long as it could count."""
        self._until = {known: until for known, until in self._until.items() if until > now}
        if given in self._until:
            return False
        self._until[given] = now + 2 * FRESH_FOR
        return True


def fresh(timestamp: str, now: datetime) -> bool:
    """Whether a timestamp is one, and close enough to now."""
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
        return False
    return abs(now.timestamp() - int(timestamp)) <= FRESH_FOR.total_seconds()


def is_signed(headers: Mapping[str, str]) -> bool:
    """Whether a request brings a signature of either kind."""
    return HUB in headers or SIGNATURE in headers


def _hex(key: bytes, signed: bytes) -> bytes:
    return hmac.new(key, signed, hashlib.sha256).hexdigest().encode()
