"""Charts for messages: begun when a message is written, handed to every channel that shows pictures, late for none.

A chart is drawn once for a message, at once, while the outbox is still being read; whoever sends waits for it no
longer than 0.6 seconds from then on, and sends without it. This module must never raise into a message's way, never
hold a message, and never draw more than a few at a time: in a storm most messages go without.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from watchdog.aio.clock import Clock
from watchdog.aio.crew import Crew
from watchdog.channels.interface import Chart
from watchdog.charts.picture import Mark, Picture
from watchdog.core.deployment import Origin
from watchdog.core.events import Event
from watchdog.core.message import Evidence, Message
from watchdog.core.quantity import format_quantity
from watchdog.core.reconfigure import Change
from watchdog.core.rule import Direction, Level
from watchdog.core.turn import Turn
from watchdog.core.world import World
from watchdog.engine.history import History, Point

#: A message waits for its chart so long from the moment at which it was begun, in seconds, whatever becomes of it.
WAIT: Final = 0.6
#: A chart that took so much longer (seconds) may still go with a message that is sent again.
WORTH: Final = 10.0
#: Charts that are kept, for how long, and how many are under way at most.
KEPT, KEPT_FOR, UNDER_WAY = 64, timedelta(minutes=10), 16
#: A message that is older than this was not written by now, but is sent again: it waits for no new chart.
YOUNG: Final = timedelta(minutes=1)

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Draws(Protocol):
    """Who draws (`watchdog.charts.artist`)."""

    @property
    def idle(self) -> bool:
        """Whether a picture would be begun at once."""
        ...

    async def draw(self, picture: Picture, *, within: float) -> bytes | None:
        """A PNG, or `None` when there is none within so many seconds. Never raises, safe to cancel."""
        ...


class _Begun:
    """One message's chart: until when (monotonic) anybody waits for it, until when it is kept, and whether it ended."""

    def __init__(self, now: float) -> None:
        self.wait_until = now + WAIT
        self.keep_until = now + KEPT_FOR.total_seconds()
        self.ended = asyncio.Event()
        self.chart: Chart | None = None


class Charting:
    """`committed` for every turn, `chart` for whoever sends. `aclose` ends what is under way."""

    def __init__(
        self,
        artist: Draws,
        *,
        history: History,
        world: Callable[[], World | None],
        shows: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        """`shows`: whether the channel of that name is given pictures. Nothing is remembered or drawn before `on`."""
        self.on = False
        self._artist = artist
        self._history = history
        self._world = world
        self._shows = shows
        self._clock = clock
        self._begun: dict[str, _Begun] = {}
        self._crew = Crew("charts")

    def committed(self, after: World, turn: Turn, events: Sequence[Event | Change]) -> None:
        """A turn is on disk. Never waits, never raises."""
        if not self.on:
            return
        self._history.took(events, after)
        for row in turn.outbox:
            if row.message.evidence is not None and self._shows(row.channel):
                self._begin(row.message, row.message.evidence)

    async def chart(self, message: Message) -> Chart | None:
        """The chart of a message, when there is one in time. Never raises, safe to cancel."""
        if message.evidence is None:
            return None
        begun = self._begun.get(message.key)
        if begun is None:
            if not self._artist.idle or self._clock.now() - message.created_at > YOUNG:
                return None
            begun = self._begin(message, message.evidence)
        if begun is None:
            return None
        left = begun.wait_until - self._clock.monotonic()
        if not begun.ended.is_set() and left > 0:
            try:
                async with asyncio.timeout(left):
                    await begun.ended.wait()
            except TimeoutError:
                _log.info("chart_late", key=message.key)
        return begun.chart

    async def aclose(self) -> None:
        """End what is under way. Idempotent."""
        await self._crew.stop()

    def _begin(self, message: Message, evidence: Evidence) -> _Begun | None:
        now = self._clock.monotonic()
        known = self._begun.get(message.key)
        if known is not None or len(self._crew.names) >= UNDER_WAY:
            return known
        self._begun = {key: one for key, one in self._begun.items() if one.keep_until > now}
        while len(self._begun) >= KEPT:
            del self._begun[next(iter(self._begun))]
        begun = self._begun[message.key] = _Begun(now)
        if self._crew.busy(message.key):  # forgotten while it is being drawn
            begun.ended.set()
        else:
            self._crew.start(message.key, self._draw(message, evidence, begun))
        return begun

    async def _draw(self, message: Message, evidence: Evidence, begun: _Begun) -> None:
        try:
            await self._history.catch_up()
            points = self._history.of(evidence.check)
            if sum(value is not None for _, value in points) < 2:
                return  # nothing that a number would not say
            picture = picture_of(evidence, points, marks=marks_of(self._world(), evidence))
            png = await self._artist.draw(picture, within=WORTH)
            if png is not None:
                begun.chart = Chart(png=png, alt=alt_of(evidence, message.created_at))
        finally:
            begun.ended.set()


def picture_of(evidence: Evidence, points: Sequence[Point], *, marks: Sequence[Mark] = ()) -> Picture:
    """What the chart of this evidence shows."""
    check = evidence.check
    return Picture(
        title=" · ".join(part for part in (check.service, check.rule, check.version) if part),
        unit=evidence.unit,
        direction=evidence.direction,
        points=tuple(points),
        warning=evidence.warning,
        critical=evidence.critical,
        rollback=evidence.rollback,
        marks=tuple(marks),
    )


def marks_of(world: World | None, evidence: Evidence) -> tuple[Mark, ...]:
    """When versions of the service began to take traffic, and when the watchdog took it from them."""
    service = world.services.get(evidence.check.service) if world is not None else None
    if service is None:
        return ()
    moves = [
        Mark(at=one.live_at, label=f"{one.version} deployed")
        for one in service.deployments.values()
        if one.live_at is not None and one.origin in (Origin.POSTED, Origin.SEEN)
    ]
    switches = [
        Mark(at=one.applied_at, label=f"back to {one.to_version}")
        for one in service.rollbacks.values()
        if one.applied_at is not None
    ]
    return tuple(sorted((*moves, *switches), key=lambda mark: mark.at))


def alt_of(evidence: Evidence, at: datetime) -> str:
    """The chart in one line: value, threshold, since when."""
    told = f"Chart of {evidence.check} until {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if evidence.value is None or not math.isfinite(evidence.value):
        return f"{told}: no value since {evidence.since.astimezone(UTC):%H:%M:%S} UTC"
    told = f"{told}: {format_quantity(evidence.value, evidence.unit)}"
    if evidence.limit is None:
        return told
    beyond = "above" if evidence.direction is Direction.ABOVE else "below"
    limit = format_quantity(evidence.limit, evidence.unit)
    if evidence.level in (Level.OK, Level.UNKNOWN):
        return f"{told}, the threshold is {limit}"
    since = f"{evidence.since.astimezone(UTC):%H:%M:%S} UTC"
    return f"{told}, {beyond} the {evidence.level} threshold of {limit} since {since}"
