"""Cursors of lists that are ordered by name: one opaque word, as those of the store are.

This module must never trust one.
"""

from __future__ import annotations

import base64
import binascii

import msgspec


def write_name(listing: str, name: str) -> str:
    """The cursor after the item with this name."""
    return base64.urlsafe_b64encode(msgspec.json.encode((listing, name))).decode().rstrip("=")


def read_name(listing: str, cursor: str) -> str:
    """The name out of a cursor. Raises `ValueError` for one that is malformed or of another list."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        named, name = msgspec.json.decode(
            base64.b64decode(padded, altchars=b"-_", validate=True), type=tuple[str, str]
        )
    except (binascii.Error, UnicodeError, msgspec.DecodeError) as error:
        raise ValueError("malformed cursor") from error
    if named != listing:
        raise ValueError(f"a cursor of the list of {named}")
    return name
