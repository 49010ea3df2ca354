"""How a value becomes text in the store and a value again.

This module must never guess: what cannot be written or read whole is an error.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from watchdog.core.errors import StoreCorrupt, StoreError

T = TypeVar("T")


def stamp(at: datetime) -> str:
    """A moment as RFC 3339 in UTC, always with microseconds: the order of the text is the order of time."""
    if at.tzinfo is None:
        raise StoreError(f"the time {at.isoformat()} has no zone and cannot be stored")
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def encode(value: msgspec.Struct) -> str:
    """A whole record as JSON. Raises `StoreError` for one that JSON cannot carry."""
    try:
        return msgspec.json.encode(value).decode()
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        name = type(value).__name__
        raise StoreError(f"this {name} cannot be written as JSON: {type(error).__name__}") from error


def decode(doc: str, shape: type[T]) -> T:
    """A record from its JSON. Raises `StoreCorrupt` when it is not one."""
    try:
        return msgspec.json.decode(doc, type=shape)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise StoreCorrupt(
            f"a stored {shape.__name__} cannot be read: {error}",
            advice="the row was changed from outside or written by another release; restore a backup of the store",
        ) from error
