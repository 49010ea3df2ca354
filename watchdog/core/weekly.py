"""When a weekly report leaves: a time of the week on people's clocks, as moments of ours.

A time that the clocks skip comes as much later as they do; of a time that they show twice it is the first. This module
must never read a clock, and raises `zoneinfo.ZoneInfoNotFoundError` for a zone that the configuration let through.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from watchdog.core.ladder import ReportTime

_WEEK = timedelta(days=7)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def before(report: ReportTime, now: datetime) -> datetime:
    """The last time at or before now at which a report was to leave."""
    monday = _monday(report, now)
    found = [_slot(report, monday + _WEEK * weeks) for weeks in (-1, 0)]
    return max(slot for slot in found if slot <= now)


def after(report: ReportTime, now: datetime) -> datetime:
    """The first time after now."""
    monday = _monday(report, now)
    found = [_slot(report, monday + _WEEK * weeks) for weeks in (0, 1)]
    return min(slot for slot in found if slot > now)


def week_of(report: ReportTime, at: datetime) -> str:
    """The ISO week of a moment where people are, such as `2026-W47`."""
    year, week, _ = at.astimezone(_zone(report.zone)).isocalendar()
    return f"{year}-W{week:02}"


def _monday(report: ReportTime, now: datetime) -> date:
    today = now.astimezone(_zone(report.zone)).date()
    return today - timedelta(days=today.weekday())


def _slot(report: ReportTime, monday: date) -> datetime:
    minute = time(report.minute // 60, report.minute % 60)
    there = datetime.combine(monday + timedelta(days=report.weekday), minute, tzinfo=_zone(report.zone))
    return there.astimezone(UTC)
