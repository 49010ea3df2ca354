"""Burn rates: how many times faster than its budget a service fails, over a long and a short window at once (`slo:`).

A burn rate of 1 uses up the error budget (1 − objective) exactly in the period of the objective. A level is reached
when both windows burn faster than its factor: the long one says that it matters, the short one that it still goes on.
Factors and windows are those of The Site Reliability Workbook, chapter 5, table 5-8.
This module must never guess what was not counted: a level without counts in one of its windows is not measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import msgspec

#: The levels, mildest first, by the names that `watchdog.core.rule.Level` has.
LEVELS = ("warning", "critical", "rollback")


class BurnLimit(msgspec.Struct, frozen=True, kw_only=True):
    """One level: the burn rate that both windows must exceed. `short` is shorter than `long`."""

    factor: float
    long: timedelta
    short: timedelta


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """An objective (share of good events, 0..1, both ends excluded) and what burning it too fast is.

    The factors are the rule's thresholds, too. `None`: never reaches that level.
    """

    objective: float
    warning: BurnLimit | None = BurnLimit(factor=1.0, long=timedelta(days=3), short=timedelta(hours=6))
    critical: BurnLimit | None = BurnLimit(factor=6.0, long=timedelta(hours=6), short=timedelta(minutes=30))
    rollback: BurnLimit | None = BurnLimit(factor=14.4, long=timedelta(hours=1), short=timedelta(minutes=5))

    @property
    def budget(self) -> float:
        """The share of events that may be bad: 99.9 % leaves 0.001, not 0.0010000000000000009."""
        return float(1 - Decimal(str(self.objective)))

    @property
    def limits(self) -> dict[str, BurnLimit]:
        """The levels that it has, mildest first."""
        every = zip(LEVELS, (self.warning, self.critical, self.rollback), strict=True)
        return {level: limit for level, limit in every if limit is not None}

    @property
    def windows(self) -> tuple[timedelta, ...]:
        """Every window once, the shortest first."""
        limits = self.limits.values()
        return tuple(sorted({window for limit in limits for window in (limit.long, limit.short)}))


class Burn(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured for one level: burn rates of both windows, and the counts of the long one.

    `recent` is how many events there were in the short one; `None` in records that do not say.
    """

    long: float
    short: float
    events: float
    bad: float
    recent: float | None = None

    @property
    def rate(self) -> float:
        """What is compared with the level's factor: that of the window that burns less."""
        return min(self.long, self.short)


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """The events in one window, and how many of them were bad. There are some."""

    events: float
    bad: float


def burns_of(slo: Slo, counts: Mapping[timedelta, Counted]) -> dict[str, Burn]:
    """The burn rates of every level that has counts for both of its windows."""
    budget = slo.budget
    found: dict[str, Burn] = {}
    for level, limit in slo.limits.items():
        long, short = counts.get(limit.long), counts.get(limit.short)
        if long is not None and short is not None:
            found[level] = Burn(
                long=long.bad / long.events / budget,
                short=short.bad / short.events / budget,
                events=long.events,
                bad=long.bad,
                recent=short.events,
            )
    return found


class Burnt(msgspec.Struct, frozen=True, kw_only=True):
    """One level's limit and what was measured for it."""

    level: str
    limit: BurnLimit
    burn: Burn

    @property
    def beyond(self) -> bool:
        """Whether both windows burn faster than the factor. Equal is not."""
        return self.burn.rate > self.limit.factor


def measured(slo: Slo, burns: Mapping[str, Burn]) -> list[Burnt]:
    """The levels that were measured, mildest first."""
    return [
        Burnt(level=level, limit=limit, burn=burns[level])
        for level, limit in slo.limits.items()
        if level in burns
    ]


def worst_of(slo: Slo, burns: Mapping[str, Burn]) -> Burnt | None:
    """The one that says most: the worst level beyond its factor; the mildest that was measured where none is."""
    known = measured(slo, burns)
    beyond = [one for one in known if one.beyond]
    return beyond[-1] if beyond else next(iter(known), None)


def at_rest(slo: Slo, burns: Mapping[str, Burn]) -> bool:
    """Whether the shortest window burns no faster than the mildest factor: whatever was, it does not go on.

    The long windows remember a failure for days after it is over; a rollback that helped is seen here within minutes.
    """
    now = [one.burn.short for one in _shortest(slo, burns)]
    return bool(now) and max(now) <= min(limit.factor for limit in slo.limits.values())


def hushed(slo: Slo, burns: Mapping[str, Burn], *, least: float) -> bool:
    """Whether the shortest window says nothing, because hardly anything happened in it.

    It has fewer events than `least`, and fewer than half of what its long window had in as much time: a service that
    never has many is not hushed, one whose requests stay away is. That nothing fails any more is no recovery then.
    """
    return any(
        one.burn.recent is not None
        and one.burn.recent < min(least, one.burn.events * (one.limit.short / one.limit.long) / 2)
        for one in _shortest(slo, burns)
    )


def _shortest(slo: Slo, burns: Mapping[str, Burn]) -> list[Burnt]:
    """The levels measured over the shortest window that there is."""
    shortest = min(limit.short for limit in slo.limits.values())
    return [one for one in measured(slo, burns) if one.limit.short == shortest]


def possible(slo: Slo, burns: Mapping[str, Burn], *, rounding: float) -> bool:
    """Whether these can be shares and counts at all; `rounding` is what adding up floats may have added."""
    most = (1 + rounding) / slo.budget
    return all(
        -rounding <= burn.rate <= max(burn.long, burn.short) <= most
        and -rounding <= burn.bad <= burn.events * (1 + rounding) + rounding
        and (burn.recent is None or burn.recent >= -rounding)
        for burn in burns.values()
    )


def finite(burns: Mapping[str, Burn]) -> bool:
    """Whether nothing in them is NaN or infinite."""
    return all(
        math.isfinite(number)
        for burn in burns.values()
        for number in (burn.long, burn.short, burn.events, burn.bad, burn.recent or 0.0)
    )
