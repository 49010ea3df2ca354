"""Mute windows: hours of the week in which people do not want to hear of some things. On their clocks, not on ours.

A window mutes what a silence could (`watchdog.core.silence.SILENCED`) and notices, never what is told of rollbacks,
limits, the store or the channels; nothing that is watched or rolled back changes. What is still open when a window
ends is told then.
"""

from __future__ import annotations

import msgspec


class MuteWindow(msgspec.Struct, frozen=True, kw_only=True):
    """`start` and `end` are minutes of the day (0 to 1440) on the clocks of the IANA `zone`.

    `days` are weekdays (0 is Monday) on which it begins. With `end` at or before `start` it ends on the next day.
    """

    name: str
    zone: str
    start: int = 0
    end: int = 1440
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
