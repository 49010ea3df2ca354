"""Mute windows: hours of the week in which people do not want to hear of some things. On their clocks, not on ours.

A window mutes what a silence could (`watchdog.core.silence.SILENCED`) and notices, never what is told of rollbacks,
limits, the store or the channels; nothing that is watched or rolled back changes. What is still open when a window
ends is told then. Pure, but for the table of a zone, which is read once.

What counts is what the clock shows there: when it is set forward over the beginning of a window, the window begins with
that; what the clock shows twice in autumn is muted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

_DAY = timedelta(days=1)
_MIDNIGHT = 1440
#: Every window that ever ends does so within a week.
_AHEAD = 9


class MuteWindow(msgspec.Struct, frozen=True, kw_only=True):
    """`start` and `end` are minutes of the day (0 to 1440) on the clocks of the IANA `zone`.

    `days` are weekdays (0 is Monday) on which it begins. With `end` at or before `start` it ends on the next day.
    """

    name: str
    zone: str
    start: int = 0
    end: int = 1440
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)

    def holds(self, now: datetime) -> bool:
        """Whether it is in force."""
        clock = now.astimezone(ZoneInfo(self.zone))
        minute, today = clock.hour * 60 + clock.minute, clock.weekday()
        if self.start < self.end:
            return today in self.days and self.start <= minute < self.end
        began = today in self.days and minute >= self.start
        return began or ((today - 1) % 7 in self.days and minute < self.end)


def muted(windows: Iterable[MuteWindow], now: datetime) -> MuteWindow | None:
    """The first of the windows that is in force."""
    return next((window for window in windows if window.holds(now)), None)


def ends_at(windows: Iterable[MuteWindow], now: datetime) -> datetime | None:
    """When nothing is muted any more; `None` when nothing is now, or when it never ends."""
    windows = tuple(windows)
    if muted(windows, now) is None:
        return None
    moments = {moment for window in windows for moment in _moments(window, now) if moment > now}
    return next((moment for moment in sorted(moments) if muted(windows, moment) is None), None)


def _moments(window: MuteWindow, now: datetime) -> Iterator[datetime]:
    """Every moment of the next days at which a window could end: by its own end, or because clocks are set."""
    zone = ZoneInfo(window.zone)
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    for day in range(-1, _AHEAD):
        shown = today + timedelta(days=day + window.end // _MIDNIGHT, minutes=window.end % _MIDNIGHT)
        for fold in (0, 1):
            yield shown.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        begin = now.astimezone(UTC) + day * _DAY
        if begin.astimezone(zone).utcoffset() != (begin + _DAY).astimezone(zone).utcoffset():
            yield _change(zone, begin, begin + _DAY)


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """When between two moments the clocks of a zone are set, to the second."""
    offset = before.astimezone(zone).utcoffset()
    first, last = int(before.timestamp()), int(after.timestamp()) + 1
    while last - first > 1:
        middle = (first + last) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            first = middle
        else:
            last = middle
    return datetime.fromtimestamp(last, UTC)
