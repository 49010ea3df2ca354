"""What the daemon and the process that draws say to each other: one question, one answer, each with its length before.

Both sides bound what they read: whatever the other has become, nobody waits for a gigabyte. This module must never
import a drawing library.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from watchdog.charts.picture import LARGEST, Picture

#: Four bytes, the highest first: how many follow.
LENGTH: Final = struct.Struct(">I")
#: The largest question and the largest answer, in bytes. A thousand points take about 30 KiB.
LARGEST_WISH: Final = 512 * 1024
LARGEST_ANSWER: Final = LARGEST + 1024


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Draw this. The answer bears the same `number`."""

    number: int
    picture: Picture


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: a PNG, or why there is none."""

    number: int
    png: bytes = b""
    fault: str = ""


def framed(value: Wish | Drawn) -> bytes:
    """As it goes through the pipe."""
    content = msgspec.msgpack.encode(value)
    return LENGTH.pack(len(content)) + content


wish_of = msgspec.msgpack.Decoder(Wish).decode
drawn_of = msgspec.msgpack.Decoder(Drawn).decode
