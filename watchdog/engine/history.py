"""What each check showed in the last hour, in memory, so that a message can show how it came to this.

Only for looking at: nothing is judged by it, a restart begins with none of it, and it says nothing that the store does
not. It is fed with what the reactor has taken in, a moment later and in small portions, so that no decision waits.

Memory is bounded and flat: a sample is 8 bytes in two arrays (tenths of a second, a single-precision value), at most
256 of them a check. The newest ten minutes are kept as they came, older ones at most every 30 s with what stood out
most. For 1000 services with 10 checks each that is 14 MiB when they are asked every 30 s, 17 MiB every 10 s, and never
more than 25 MiB; taking in a sample takes 4 µs.
This module must never be asked for a decision.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from watchdog.aio.clock import Clock
from watchdog.core.check import CheckId
from watchdog.core.events import Event, Observed, Ticked
from watchdog.core.observation import Observation, Pulse, Value
from watchdog.core.reconfigure import Change, Reconfigured
from watchdog.core.world import World

#: A sample of a check: when, and what it showed; `None` is a gap.
Point = tuple[datetime, float | None]

#: How far back a chart goes.
KEPT_FOR: Final = timedelta(hours=1)
#: Most samples of one check, and how many there is room for at first and from one look to the next.
MOST, _FIRST, _MORE = 256, 64, 32
#: A check that is gone (its version takes no traffic any more) is of interest for so long.
GONE_FOR: Final = timedelta(minutes=15)
#: What was taken in is looked at this often (seconds), so many events at a time; and what is gone, this often.
_EVERY, _PORTION, _SWEEP = 1.0, 200, 60.0
#: In tenths of a second: an hour, the time that is kept as it came, and the distances before that and when too full.
_HOUR, _RECENT, _COARSE, _FINE = 36_000, 6_000, 300, 50


class History:
    """`took` for everything that was taken in; `run` beside; `of` for whoever draws."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._rings: dict[CheckId, _Ring] = {}
        self._waiting: deque[tuple[Sequence[Event | Change], World]] = deque()
        # Times are tenths of a second since then. It moves with the clock, and so does everything at once.
        self._base = clock.now() - 2 * KEPT_FOR
        self._swept_at = clock.monotonic()

    def took(self, events: Sequence[Event | Change], world: World) -> None:
        """The reactor has taken these in, and the world came out. Costs next to nothing here and now."""
        self._waiting.append((events, world))

    async def run(self) -> None:
        """Take in what waits, every second, until cancelled."""
        while True:
            await self._clock.sleep(_EVERY)
            await self.catch_up()

    async def catch_up(self) -> None:
        """Take in all that waits now, giving way to others in between."""
        done = 0
        while self._waiting:
            events, world = self._waiting.popleft()
            for event in events:
                self._take(event, world)
            done += len(events)
            if done >= _PORTION:
                done = 0
                await asyncio.sleep(0)
            if not self._waiting:
                self._sweep(world)

    def _named(self, check: CheckId) -> _Ring | None:
        name = str(check)
        same = (
            ring for one, ring in self._rings.items() if one.service == check.service and str(one) == name
        )
        return max(same, key=lambda ring: ring.times[-1] if ring.times else 0, default=None)

    def of(self, check: CheckId) -> tuple[Point, ...]:
        """The samples of a check, oldest first; none for one that was never asked.

        A check is found by its name, too: an incident knows no more of it, and not on which variant its version is.
        """
        ring = self._rings.get(check) or self._named(check)
        if ring is None or not ring.times:
            return ()
        first = ring.times[-1] - _HOUR
        return tuple(
            (self._base + timedelta(seconds=tick / 10), value if math.isfinite(value) else None)
            for tick, value in zip(ring.times, ring.values, strict=True)
            if tick >= first
        )

    @property
    def size(self) -> int:
        """Bytes that the samples take."""
        return sum(
            len(ring.times) * (ring.times.itemsize + ring.values.itemsize) for ring in self._rings.values()
        )

    def _take(self, event: Event | Change, world: World) -> None:
        if isinstance(event, Observed):
            self._observed(event)
        elif isinstance(event, Ticked) and event.stepped:
            self._base += event.stepped
        elif isinstance(event, Reconfigured):
            self._forget_changed(world)

    def _observed(self, event: Observed) -> None:
        ring = self._rings.get(event.check)
        if ring is None:
            ring = self._rings[event.check] = _Ring()
        at, value = _seen(event.observation, event.arrived_at, ring)
        ring.add(round((at - self._base).total_seconds() * 10), value)

    def _forget_changed(self, world: World) -> None:
        """What was asked under another question is not of the same line."""
        for check in list(self._rings):
            service = world.services.get(check.service)
            if service is None or service.editions.get(check.rule) == world.edition:
                del self._rings[check]

    def _sweep(self, world: World) -> None:
        """Forget checks that are gone for a while."""
        now = self._clock.monotonic()
        if now - self._swept_at < _SWEEP:
            return
        self._swept_at = now
        before = (self._clock.now() - GONE_FOR - self._base).total_seconds() * 10
        for check, ring in list(self._rings.items()):
            service = world.services.get(check.service)
            gone = service is None or check not in service.checks
            if gone and (not ring.times or ring.times[-1] < before):
                del self._rings[check]


class _Ring:
    """The samples of one check. A run of gaps is its first and its last."""

    __slots__ = ("limit", "times", "values")

    def __init__(self) -> None:
        self.times = array("I")
        self.values = array("f")
        self.limit = _FIRST

    def add(self, tick: int, value: float) -> None:
        """One sample; the same one seen again, and one from before the newest, are none."""
        times, values = self.times, self.values
        if tick < 0 or (times and tick <= times[-1]):
            return
        if len(values) > 1 and math.isnan(value) and math.isnan(values[-1]) and math.isnan(values[-2]):
            times[-1] = tick
            return
        times.append(tick)
        values.append(value)
        if len(times) >= self.limit:
            self._thin()

    def _thin(self) -> None:
        self._bucket(_COARSE, 1)
        if len(self.times) > MOST - _MORE:
            self._bucket(_COARSE, _FINE)
        if len(self.times) > MOST - _MORE:
            del self.times[: _MORE - MOST], self.values[: _MORE - MOST]
        self.limit = min(MOST, max(_FIRST, len(self.times) + _MORE))

    def _bucket(self, older: int, newer: int) -> None:
        """At most one of every so many tenths of a second: the value that stands out most, a gap where there is none.

        What is older than an hour goes, and the newest always stays.
        """
        newest = self.times[-1]
        times, values = array("I"), array("f")
        last, before = (0, 0), 0.0
        for tick, value in zip(self.times, self.values, strict=True):
            if tick < newest - _HOUR:
                continue
            width = older if tick < newest - _RECENT else newer
            bucket = (width, tick // width)
            if bucket != last or tick == newest:
                before = values[-1] if values else value
                times.append(tick)
                values.append(value)
            elif not math.isnan(value) and not abs(value - before) <= abs(values[-1] - before):
                times[-1], values[-1] = tick, value  # also where there was a gap, before or then
            last = bucket
        self.times, self.values = times, values


def _seen(observation: Observation, arrived_at: datetime, ring: _Ring) -> tuple[datetime, float]:
    """When it was so, and the number; not a number for a gap. A probe's is how often it failed in a row."""
    match observation:
        case Value():
            return observation.at, observation.value
        case Pulse(passed=True):
            return observation.at, 0.0
        case Pulse():
            before = ring.values[-1] if ring.values else 0.0
            return observation.at, 1.0 if math.isnan(before) else before + 1.0
        case _:
            return arrived_at, math.nan
