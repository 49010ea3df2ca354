"""Which ticks of a script matter: the daemon has one every second, and nearly all of them find nothing to do.

What a tick finds to do stays to be done until a tick does it, so that one tick speaks for all before it. Only mute
windows come and go by themselves, with a minute of the day: where there are any, no minute is skipped. This module must
never leave out a tick that changes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from watchdog.core.step import Stepped
from watchdog.core.world import World

#: Time between ticks.
TICK = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
#: One tick speaks for so many at most.
_MANY = 86_400
#: Fields of the world in which a tick may put something that is no news: what is counted follows from the services.
_RENEWED = frozenset({"services", "count"})


class Ticks:
    """`last` is the second of the last tick that was taken in, or that is known to change nothing.

    `tick` answers what the tick of a second would come to; `dated` the time of day of a moment.
    """

    def __init__(
        self,
        tick: Callable[[int], Stepped],
        dated: Callable[[timedelta], datetime],
        *,
        muted: bool,
        thorough: bool,
    ) -> None:
        self.last = -1
        self._tick = tick
        self._dated = dated
        self._muted = muted
        self._thorough = thorough

    def news_before(self, end: timedelta, world: World) -> Stepped | None:
        """What the first tick before a moment comes to that changes anything; `last` is its second then."""
        until = (end - timedelta.resolution) // TICK
        while self.last < until:
            high = min(until, self._alike())
            stepped = self._first(self.last + 1, high, world)
            if stepped is not None:
                return stepped
            self.last = high
        return None

    def _alike(self) -> int:
        """The last second up to which one tick speaks for all from now on."""
        first = self.last + 1
        if self._thorough:
            return first
        if not self._muted:
            return first + _MANY
        clock = self._dated(first * TICK)
        left = _MINUTE - timedelta(seconds=clock.second, microseconds=clock.microsecond)
        return first + (left - timedelta.resolution) // TICK

    def _first(self, low: int, high: int, world: World) -> Stepped | None:
        stepped = self._tick(high)
        if _no_news(world, stepped):
            return None
        while low < high:
            middle = (low + high) // 2
            sooner = self._tick(middle)
            if _no_news(world, sooner):
                low = middle + 1
            else:
                high, stepped = middle, sooner
        self.last = high
        return stepped


def _no_news(world: World, stepped: Stepped) -> bool:
    """Whether a tick changed nothing."""
    if any(getattr(stepped, field) for field in Stepped.__struct_fields__ if field != "world"):
        return False
    after = stepped.world
    for field in World.__struct_fields__:
        was, now = getattr(world, field), getattr(after, field)
        if field not in _RENEWED and was is not now and was != now:
            return False
    return all(
        one is world.services.get(name) or one == world.services.get(name)
        for name, one in after.services.items()
    )
