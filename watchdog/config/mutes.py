"""Mute windows, and times of reports: hours of the week on the clocks of some place.

This module must never ask what time it is.
"""

from __future__ import annotations

import difflib
from functools import cache
from zoneinfo import available_timezones

from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote
from watchdog.config.shape import shape
from watchdog.config.telling import DAYS, MINUTES_A_DAY, MuteShape, WeeklyShape
from watchdog.core.ladder import ReportTime
from watchdog.core.mute import MuteWindow

_SHORT = tuple(day[:3] for day in DAYS)


def window_of(name: str, node: Node, problems: Problems) -> MuteWindow | None:
    """One mute window; what is wrong with it is told."""
    written, broken = shape(MuteShape, node, problems)
    if written is None:
        return None
    if "zone" not in broken and node.has("zone"):
        check_zone(node.get("zone"), problems)
    days = _days(node.get("days"), problems) if "days" not in broken else None
    window = MuteWindow(
        name=name, zone=written.zone, start=written.from_, end=written.to, days=days or tuple(range(7))
    )
    if not broken and days is not None and _never_ends(window):
        problems.add(node.at, "it never ends: a route with it would not tell what can wait at all")
    return window


def report_of(node: Node | None, written: WeeklyShape, problems: Problems) -> ReportTime:
    """When the weekly report leaves; `node` is `reports.weekly`."""
    day = 0
    if node is not None:
        check_zone(node.get("zone"), problems)
        place = node.get("day")
        if place is not None and place.text is not None:
            day = _day(place.text, place, problems) or 0
    return ReportTime(weekday=day, minute=written.at, zone=written.zone)


def check_zone(place: Node | None, problems: Problems) -> None:
    """Tell whether a zone is known to IANA (and to this machine)."""
    if place is None or place.text is None or place.text in _zones():
        return
    guess = _like(place.text)
    hint = f"; did you mean {guess!r}?" if guess else "; write one such as Europe/Berlin or UTC"
    problems.add(place.at, f"unknown time zone {quote(place.text)}{hint}")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _like(text: str) -> str | None:
    """The nearest name; of a place alone (`Berlin`) the zone that has it."""
    names = {zone.lower(): zone for zone in sorted(_zones())}
    wanted = text.lower().replace(" ", "_")
    if wanted in names:
        return names[wanted]
    places = {zone.rpartition("/")[2]: zone for zone in names if "/" in zone}
    for known in (names.keys(), places.keys()):
        found = difflib.get_close_matches(wanted, known, n=1, cutoff=0.75)
        if found:
            return names.get(found[0]) or names[places[found[0]]]
    return None


def _days(place: Node | None, problems: Problems) -> tuple[int, ...] | None:
    """The days in their order; `None` where something is wrong with one of them."""
    if place is None or place.items is None:
        return tuple(range(7))
    if not place.items:
        problems.add(place.at, "an empty list: it would never begin; leave `days` out for every day")
    found: set[int] = set()
    whole = bool(place.items)
    for item in place.items:
        if item.text is None:
            continue
        first, dash, last = item.text.partition("-")
        ends = [_day(word.strip(), item, problems) for word in ((first, last) if dash else (first,))]
        if None in ends:
            whole = False
            continue
        begin, end = ends[0] or 0, ends[-1] or 0
        found |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return tuple(sorted(found)) if whole else None


def _day(word: str, place: Node | None, problems: Problems) -> int | None:
    lowered = word.lower()
    for names in (DAYS, _SHORT):
        if lowered in names:
            return names.index(lowered)
    like = difflib.get_close_matches(lowered, DAYS + _SHORT, n=1, cutoff=0.65)
    hint = f"; did you mean {like[0]!r}?" if like else " such as mon or monday, or a range such as mon-fri"
    if place is not None and not place.reported:
        problems.add(place.at, f"{quote(word)} is no day of the week{hint}")
    return None


def _never_ends(window: MuteWindow) -> bool:
    """Whether one window follows the other without a minute between them."""
    length = window.end - window.start + (MINUTES_A_DAY if window.end <= window.start else 0)
    return len(window.days) == 7 and length >= MINUTES_A_DAY
