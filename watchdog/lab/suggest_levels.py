"""Finds limits and holds on the first part of a history: as near to usual values as the noise there allows.

Everything is tried by replay, so that a limit is judged with its hold and its evidence. This module must never look at
the part on which the noise is measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import msgspec
import numpy as np
from msgspec.structs import replace

from watchdog.core.quantity import format_quantity
from watchdog.core.rule import Direction, Hold, Holds, Lasting, Level, Rule, Samples, Thresholds, Unit
from watchdog.core.units import parse_number
from watchdog.lab.replay import replay
from watchdog.lab.suggest_look import spread, usable
from watchdog.lab.track import Floats, Track
from watchdog.lab.usual import References

#: How often a level may fire in a week, of what nobody marked as an incident.
NOISE = {Level.WARNING: 7.0, Level.CRITICAL: 1.0, Level.ROLLBACK: 0.25}
#: Where the search begins: so many deviations from the median.
NEAREST = {Level.WARNING: 4.0, Level.CRITICAL: 6.0}
#: How much further it goes, as multiples of the nearest distance.
FURTHER = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0)
#: Two levels are never nearer to each other than this share of the milder one's distance.
APART = 1.25
#: Rollback beyond critical, where 150 % of it cannot be: the same half again, of the distance.
ROLLBACK_APART = 1.5
WEEK = timedelta(days=7).total_seconds()
_MINUTE = 60.0


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """Values as badness: more is worse, whatever the direction, and distances mean the same everywhere.

    Shares of what went well become shares of what went badly; other values of which less is worse are compared by their
    logarithm where none is negative, so that a limit below is never below 0; 0 counts as a tenth of the `least` other.
    """

    direction: Direction
    unit: Unit
    logarithmic: bool = False
    least: float = 0.0

    @classmethod
    def of(cls, values: Floats, *, direction: Direction, unit: Unit) -> Scale:
        """The scale that fits these values."""
        known = values[np.isfinite(values)]
        below = direction is Direction.BELOW and unit is not Unit.RATIO
        some = known[known > 0]
        logarithmic = below and bool(np.all(known >= 0)) and len(some) > 0
        least = float(some.min()) / 10 if logarithmic else 0.0
        return cls(direction=direction, unit=unit, logarithmic=logarithmic, least=least)

    def bad(self, values: Floats) -> Floats:
        """How bad each value is."""
        if self.direction is Direction.ABOVE:
            return values
        if self.unit is Unit.RATIO:
            return 1 - values
        if not self.logarithmic:
            return -values
        return -np.log(np.maximum(values, self.least))

    def of_limit(self, limit: float) -> float:
        """How bad a limit is."""
        if self.logarithmic:
            return -math.log(limit) if limit > 0 else math.inf
        return float(self.bad(np.array([limit]))[0])

    def value(self, bad: float) -> float:
        """The value that is so bad."""
        if self.direction is Direction.ABOVE:
            return bad
        if self.unit is Unit.RATIO:
            return 1 - bad
        return math.exp(-bad) if self.logarithmic else -bad


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One level: its limit as it is written, the hold with it, and how far out it lies in deviations of the history."""

    text: str
    limit: float
    hold: Hold
    deviations: float


def noise(
    rule: Rule, track: Track, level: Level, *, references: References | None = None, first: int = 0
) -> int:
    """How often a rule reaches a level on a track, from index `first` on."""
    return len(replay(rule, track, references=references, first=first).episodes.get(level, ()))


def allowed(level: Level, track: Track) -> int:
    """How often a level may fire on so much history.

    One incident may have been one, so that its height is not called usual; but a rollback for nothing is none too few.
    """
    most = math.floor(NOISE[level] * weeks(track))
    return most if level is Level.ROLLBACK else max(1, most)


def weeks(track: Track) -> float:
    """How long a track is; a gap counts, for nothing fired in it."""
    return len(track) * track.step / WEEK if len(track) else 0.0


def holds(level: Level, step: float) -> tuple[Hold, ...]:
    """The holds to try, the default first: where samples are rare, they are counted."""
    if level is Level.ROLLBACK:
        return Samples(2), Samples(3), Samples(5)
    if step < _MINUTE:
        return Lasting(timedelta(minutes=1)), Lasting(timedelta(minutes=2)), Lasting(timedelta(minutes=5))
    return Samples(1), Samples(2), Samples(3)


def find(rule: Rule, track: Track, level: Level, *, beyond: float | None) -> Found | None:
    """The nearest limit for warning or critical that is quiet enough, with the shortest hold; `None`: there is none.

    `beyond` is the milder level's badness, which the limit lies clearly beyond.
    """
    values = usable(track)
    scale = Scale.of(values, direction=rule.direction, unit=rule.unit)
    bad = scale.bad(values[np.isfinite(values)])
    middle, deviation = float(np.median(bad)), spread(bad)
    near = NEAREST[level] * deviation or (float(np.max(bad)) - middle) / 2
    if beyond is not None:
        near = max(near, APART * (beyond - middle))
    if not (math.isfinite(near) and near > 0):
        return None
    most = allowed(level, track)
    for text, limit in _tried(scale, middle, near):
        for hold in holds(level, track.step):
            if noise(_with(rule, level, limit, hold), track, level) <= most:
                away = scale.of_limit(limit) - middle
                return Found(
                    text=text, limit=limit, hold=hold, deviations=away / deviation if deviation else math.inf
                )
    return None


def _tried(scale: Scale, middle: float, near: float) -> Iterator[tuple[str, float]]:
    """Limits from near to far, as they are written and as they are read again."""
    for times in FURTHER:
        text = written(scale.value(middle + times * near), scale.unit, scale.direction)
        limit = parse_number(text, scale.unit)
        if reachable(limit, scale.unit, scale.direction):
            yield text, limit


def hold_of_rollback(rule: Rule, track: Track, limit: float) -> Hold | None:
    """The shortest hold with which a limit is quiet enough to roll back by; `None`: there is none."""
    most = allowed(Level.ROLLBACK, track)
    for hold in holds(Level.ROLLBACK, track.step):
        if noise(_with(rule, Level.ROLLBACK, limit, hold), track, Level.ROLLBACK) <= most:
            return hold
    return None


def further(rule: Rule, track: Track, critical: float) -> Iterator[tuple[str, float]]:
    """Limits for a rollback beyond critical, by distance from the median: where a share of critical cannot be."""
    values = usable(track)
    scale = Scale.of(values, direction=rule.direction, unit=rule.unit)
    middle = float(np.median(scale.bad(values[np.isfinite(values)])))
    near = scale.of_limit(critical) - middle
    for text, limit in _tried(scale, middle, ROLLBACK_APART * near):
        if limit > critical if rule.direction is Direction.ABOVE else limit < critical:
            # A percentage at `rollback` would be one of critical.
            yield (_plain(Decimal(repr(limit))) if rule.unit is Unit.RATIO else text), limit


def _with(rule: Rule, level: Level, limit: float, hold: Hold) -> Rule:
    """The rule with this level alone."""
    return replace(
        rule,
        baseline=None,
        thresholds=Thresholds(**{level.value: limit}),
        hold=replace(Holds(), **{level.value: hold}),
    )


def reachable(limit: float, unit: Unit, direction: Direction) -> bool:
    """Whether a value can lie beyond a limit, as far as its unit says."""
    if not math.isfinite(limit):
        return False
    if unit is Unit.RATIO:
        return 0 <= limit < 1 if direction is Direction.ABOVE else 0 < limit <= 1
    return direction is Direction.ABOVE or unit is Unit.NONE or limit > 0


def written(limit: float, unit: Unit, direction: Direction) -> str:
    """A limit as people write it: two figures, rounded away from health, in the unit that reads best."""
    if direction is Direction.BELOW and unit is Unit.RATIO:
        return _percent(Decimal(1) - Decimal(_two(Decimal(repr(1 - limit)), up=True)))
    rounded = _two(Decimal(repr(limit)), up=direction is Direction.ABOVE)
    match unit:
        case Unit.RATIO:
            return _percent(rounded)
        case Unit.SECONDS if abs(rounded) < 1:
            return _plain(rounded * 1000) + "ms"
        case Unit.SECONDS:
            return _plain(rounded) + "s"
        case Unit.BYTES:
            return _bytes(limit, up=direction is Direction.ABOVE)
        case _:
            return _plain(rounded)


def _two(number: Decimal, *, up: bool) -> Decimal:
    """Two figures, to the larger or to the smaller number."""
    if not number:
        return number
    unit = Decimal(1).scaleb(number.adjusted() - 1)
    return number.quantize(unit, rounding=ROUND_CEILING if up else ROUND_FLOOR)


def _percent(share: Decimal) -> str:
    return _plain(share * 100) + "%"


def _bytes(size: float, *, up: bool) -> str:
    for name, scale in (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if abs(size) >= scale:
            return _plain(_two(Decimal(repr(size / scale)), up=up)) + name
    return _plain(_two(Decimal(repr(size)), up=up))


def _plain(number: Decimal) -> str:
    text = f"{number.normalize():f}"
    return "0" if text in {"-0", "0"} else text


def shown(limit: float, unit: Unit) -> str:
    """A limit in a sentence."""
    return format_quantity(limit, unit)
