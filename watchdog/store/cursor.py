"""Cursors: where a page ended, as one opaque word. Stable while records are added.

A cursor names the list it belongs to and the key of the last record shown. This module must never trust one.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TypeVar

import msgspec

T = TypeVar("T")
#: Above every sequence number that the tables can hold.
_LARGEST = 2**31
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def write_cursor(listing: str, *key: str | int) -> str:
    """The cursor after the record with this key."""
    return base64.urlsafe_b64encode(msgspec.json.encode((str(listing), *key))).decode().rstrip("=")


def read_time_cursor(listing: str, cursor: str) -> tuple[str, str]:
    """Time and id out of a cursor. Raises `ValueError` for one that is malformed or of another list."""
    named, at, identity = _read(cursor, tuple[str, str, str], listing)
    if named != listing or _TIME.fullmatch(at) is None:
        raise _malformed(listing)
    return at, identity


def read_number_cursor(listing: str, cursor: str) -> int:
    """The number out of a cursor. Raises `ValueError` for one that is malformed or of another list."""
    named, number = _read(cursor, tuple[str, int], listing)
    if named != listing or not 0 < number < _LARGEST:
        raise _malformed(listing)
    return number


def _read(cursor: str, shape: type[T], listing: str) -> T:
    try:
        plain = base64.b64decode(
            cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        )
        return msgspec.json.decode(plain, type=shape)
    except (binascii.Error, UnicodeError, msgspec.DecodeError) as error:
        raise _malformed(listing) from error


def _malformed(listing: str) -> ValueError:
    return ValueError(
        f"this is not a cursor of the list of {listing}; take `next` of the page before, unchanged"
    )
