"""Timestamps of a series as people and exporters write them, read into Unix seconds: one file, one format.

The first one decides the format, all others must have it. Times without a zone are UTC. Where day and month could be
either, the whole file decides; what stays undecided is refused. This module must never guess sample by sample.
"""

from __future__ import annotations

import math
import re
from array import array
from datetime import UTC, date, datetime
from typing import Protocol

import numpy as np

from watchdog.config.problems import quote
from watchdog.lab.track import Floats

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?")
#: Unix times below these are seconds, milliseconds, microseconds; beyond, nanoseconds. 1e11 s is the year 5138.
_UNITS = ((1e11, 1.0, "seconds"), (1e14, 1e3, "milliseconds"), (1e17, 1e6, "microseconds"))
_NANOSECONDS = (math.inf, 1e9, "nanoseconds")
_YEAR_FIRST = re.compile(r"[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}(?![0-9])|[0-9]{8}T[0-9]")
_ZONE = re.compile(r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)$", re.IGNORECASE)
_YEAR_LAST = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4})(?![0-9])")
#: A time of day after a date; the zone is read apart.
_CLOCK = re.compile(
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<rest>[0-9]+))?)?"
    r"\s*(?P<half>[AP]\.?M\.?)?",
    re.IGNORECASE,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_UNZONED = _EPOCH.replace(tzinfo=None)
#: Times of day that are remembered while a file is read.
_CLOCKS = 100_000
_FORMATS = "2018-06-17T00:00:00Z, 2018-06-17 00:00:00, 6/17/2018 0:00, or Unix seconds or milliseconds"


class Reading(Protocol):
    """Takes the timestamps of one file in their order."""

    def take(self, text: str) -> None:
        """One more. Raises `ValueError` with a sentence for what cannot be one of this file's; it is then left out."""
        ...

    def seconds(self) -> tuple[Floats, tuple[str, ...]]:
        """All that were taken, as Unix seconds, and what people should know. Raises `ValueError` when undecided."""
        ...


def reading(first: str) -> Reading:
    """A reading for a file whose first timestamp is `first`. Raises `ValueError` for what is no timestamp."""
    if _NUMBER.fullmatch(first):
        return _Numbers()
    if _YEAR_FIRST.match(first):
        return _YearFirst()
    if _YEAR_LAST.match(first):
        return _YearLast()
    raise ValueError(f"{quote(first)} is not a time; write {_FORMATS}")


class _Numbers:
    """Unix times. All of a file count in the same unit, told by their size."""

    def __init__(self) -> None:
        self._taken = array("d")
        self._limit, self._scale, self._unit = _NANOSECONDS
        self._least = math.inf

    def take(self, text: str) -> None:
        if not (text.isascii() and text.isdigit()) and not _NUMBER.fullmatch(text):
            raise ValueError(f"{quote(text)} is not a Unix time, as the others in this file are")
        number = float(text)
        if not self._taken:
            self._least = 0.0
            for unit in (*_UNITS, _NANOSECONDS):
                self._limit, self._scale, self._unit = unit
                if number < self._limit:
                    break
                self._least = self._limit
        if not self._least <= number < self._limit:
            raise ValueError(f"{quote(text)} cannot be {self._unit}, as the first time of this file is")
        self._taken.append(number)

    def seconds(self) -> tuple[Floats, tuple[str, ...]]:
        return np.frombuffer(self._taken, dtype=np.float64) / self._scale, ()


class _YearFirst:
    """ISO 8601 and its relatives. Either all have a zone or none has."""

    def __init__(self) -> None:
        self._taken = array("d")
        self._zoned: bool | None = None

    def take(self, text: str) -> None:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = _spelled_out(text)
        zoned = moment.tzinfo is not None
        if zoned is not self._zoned:
            if self._zoned is not None:
                raise ValueError(f"{quote(text)} {_zone_words(zoned)}")
            self._zoned = zoned
        self._taken.append((moment - (_EPOCH if zoned else _EPOCH_UNZONED)).total_seconds())

    def seconds(self) -> tuple[Floats, tuple[str, ...]]:
        return np.frombuffer(self._taken, dtype=np.float64).copy(), ()


class _YearLast:
    """`6/17/2018 0:00` and `17.6.2018`: both orders are read until the file has decided. Dots mean day first."""

    def __init__(self) -> None:
        self._month_first, self._day_first = array("d"), array("d")
        self._separator = ""
        self._zoned: bool | None = None
        self._shown: dict[str, str] = {}  #: the first time that only one order can read, by that order
        #: What was read before: both midnights by the date, seconds by the time of day.
        self._dates: dict[str, tuple[float, float]] = {}
        self._clocks: dict[str, float] = {}

    def take(self, text: str) -> None:
        day, _, clock = text.partition(" ")
        midnights, within = self._dates.get(day), self._clocks.get(clock)
        if midnights is None or within is None:
            midnights, within = self._read(text)
            if clock and len(self._clocks) < _CLOCKS:
                self._dates[day], self._clocks[clock] = midnights, within
        self._month_first.append(midnights[0] + within)
        self._day_first.append(midnights[1] + within)

    def _read(self, text: str) -> tuple[tuple[float, float], float]:
        found = _YEAR_LAST.match(text)
        if found is None:
            raise ValueError(f"{quote(text)} is not a time such as {_example(self._separator)}")
        one, separator, other, year = found.groups()
        if self._separator and separator != self._separator:
            raise ValueError(
                f"{quote(text)}: the first time of this file has {self._separator!r} in its date"
            )
        month_first = math.nan if separator == "." else _midnight(year, one, other)
        day_first = _midnight(year, other, one)
        if math.isnan(month_first) and math.isnan(day_first):
            raise ValueError(f"{quote(text)}: there is no such day")
        clock, zone = _split_zone(text[found.end() :])
        if self._zoned is not None and self._zoned is not (zone is not None):
            raise ValueError(f"{quote(text)} {_zone_words(zone is not None)}")
        within = _of_day(clock, text) - (zone or 0.0)
        only = "month" if math.isnan(day_first) else "day" if math.isnan(month_first) else ""
        other_order = {"month": "day", "day": "month"}.get(only, "")
        if separator != "." and other_order in self._shown:
            shown = self._shown[other_order]
            raise ValueError(f"{quote(text)} has the {only} first, {quote(shown)} the {other_order}")
        if only:
            self._shown.setdefault(only, text)
        self._separator, self._zoned = separator, zone is not None
        return (month_first, day_first), within

    def seconds(self) -> tuple[Floats, tuple[str, ...]]:
        month_first = np.frombuffer(self._month_first, dtype=np.float64)
        day_first = np.frombuffer(self._day_first, dtype=np.float64)
        if "month" in self._shown:
            return month_first.copy(), ()
        if "day" in self._shown:
            return day_first.copy(), ()
        steps, other_steps = np.diff(month_first), np.diff(day_first)
        if np.array_equal(steps, other_steps):
            if np.array_equal(month_first, day_first):
                return month_first.copy(), ()
            note = "its dates could have the day first as well; read with the month first: distances stay the same"
            return month_first.copy(), (note,)
        evenness, other_evenness = _evenness(steps), _evenness(other_steps)
        if evenness == other_evenness:
            raise ValueError("day and month cannot be told apart; write dates as 2018-06-17")
        order, chosen = ("month", month_first) if evenness > other_evenness else ("day", day_first)
        note = f"its dates are read with the {order} first: only so are its samples evenly spaced"
        return chosen.copy(), (note,)


def _evenness(steps: Floats) -> int:
    """How many steps are the usual one, and forward."""
    return int(np.count_nonzero((steps == np.median(steps)) & (steps > 0)))


def _midnight(year: str, month: str, day: str) -> float:
    try:
        return (date(int(year), int(month), int(day)) - date(1970, 1, 1)).days * 86400.0
    except ValueError:
        return math.nan


def _spelled_out(text: str) -> datetime:
    """What Python's reader of ISO 8601 is too strict for: slashes, one-digit hours, `UTC`, AM and PM."""
    head = re.match(r"([0-9]{4})([-/.])([0-9]{1,2})\2([0-9]{1,2})(?![0-9])", text)
    if head is None:
        raise ValueError(f"{quote(text)} is not a time such as 2018-06-17 00:00:00")
    year, _, month, day = head.groups()
    midnight = _midnight(year, month, day)
    if math.isnan(midnight):
        raise ValueError(f"{quote(text)}: there is no such day")
    clock, zone = _split_zone(text[head.end() :])
    moment = datetime.fromtimestamp(midnight + _of_day(clock, text) - (zone or 0.0), UTC)
    return moment if zone is not None else moment.replace(tzinfo=None)


def _split_zone(rest: str) -> tuple[str, float | None]:
    """The time of day without its zone, and the zone's offset (seconds east); `None` without a zone."""
    rest = rest.strip()
    if rest[-3:].upper() in {"UTC", "GMT"}:
        return rest[:-3].rstrip(), 0.0
    found = _ZONE.search(rest)
    if found is None:
        return rest, None
    zone = found.group()
    clock = rest[: found.start()].rstrip()
    if zone in {"Z", "z"}:
        return clock, 0.0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    east = int(digits[:2]) * 3600.0 + int(digits[2:]) * 60.0
    return clock, -east if zone[0] == "-" else east


def _of_day(clock: str, text: str) -> float:
    """Seconds since midnight; a date alone is midnight."""
    clock = clock.lstrip("Tt, ")
    if not clock:
        return 0.0
    found = _CLOCK.fullmatch(clock)
    if found is None:
        raise ValueError(f"{quote(text)}: {quote(clock)} is not a time of day")
    hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
    if found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(f"{quote(text)}: {quote(clock)} is not a time of day")
        hour = hour % 12 + (12 if found["half"][0] in "Pp" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"{quote(text)}: {quote(clock)} is not a time of day")
    return hour * 3600.0 + minute * 60.0 + second + (float(f"0.{found['rest']}") if found["rest"] else 0.0)


def _zone_words(zoned: bool) -> str:  # noqa: FBT001 - the only argument
    return (
        "has a zone, the first time of this file has none" if zoned else "has no zone, the first time has one"
    )


def _example(separator: str) -> str:
    return f"6{separator}17{separator}2018 0:00" if separator != "." else "17.6.2018 0:00"
