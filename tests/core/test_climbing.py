"""Ladders as arithmetic, weekly reports on people's clocks, and the timeline of a route."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tests.core.ladders import HOUR, MINUTE, PRODUCTION
from watchdog.core import climbing, weekly
from watchdog.core.climbing import Call
from watchdog.core.ladder import Policy, ReportTime, Step
from watchdog.core.routing import Route
from watchdog.core.rule import Severity
from watchdog.core.timeline import timeline

NOW = datetime(2026, 11, 19, 10, 0, tzinfo=UTC)  # a Thursday


def test_a_severity_without_a_ladder_takes_the_next_louder_one_else_the_next_quieter() -> None:
    only = Policy(name="p", ladders={Severity.MEDIUM: (Step(to=("a",)),), Severity.HIGH: (Step(to=("b",)),)})
    firsts = {severity: climbing.first_channels(only, severity) for severity in Severity}
    assert firsts == {
        Severity.LOW: ("a",),
        Severity.MEDIUM: ("a",),
        Severity.HIGH: ("b",),
        Severity.CRITICAL: ("b",),
    }
    assert climbing.ladder(Policy(name="p", ladders={}), Severity.LOW) == ()


def test_nothing_is_due_before_its_time() -> None:
    climb = climbing.begin(PRODUCTION, Severity.HIGH, NOW)
    early = NOW + 15 * MINUTE - timedelta(microseconds=1)
    assert climbing.advance(climb, early, acknowledged=False) == (climb, ())
    _, calls = climbing.advance(climb, NOW + 15 * MINUTE, acknowledged=False)
    assert [call.call for call in calls] == [Call.STEP]


def test_what_comes_next_is_said_in_one_word() -> None:
    climb = climbing.begin(PRODUCTION, Severity.LOW, NOW)
    assert climbing.coming(climb, acknowledged=False) is Call.LEFT
    climb, _ = climbing.advance(climb, NOW + 24 * HOUR, acknowledged=False)
    assert climbing.coming(climb, acknowledged=False) is Call.REPORT
    taken = climbing.taken(climb, NOW + 25 * HOUR)
    assert climbing.coming(taken, acknowledged=True) is Call.REMINDER
    short = climbing.taken(climb, NOW, lasts=MINUTE)
    assert climbing.coming(short, acknowledged=True) is Call.EXPIRED
    high = climbing.begin(PRODUCTION, Severity.HIGH, NOW)
    assert climbing.coming(high, acknowledged=False) is Call.STEP
    high, _ = climbing.advance(high, NOW + HOUR, acknowledged=False)
    assert climbing.coming(high, acknowledged=False) is Call.REPEAT
    never = replace(high, next_at=None)
    assert climbing.coming(never, acknowledged=False) is None


@pytest.mark.parametrize(
    ("report", "now", "before", "after"),
    [
        # Monday 09:00 in Seoul is Monday 00:00 UTC
        (ReportTime(zone="Asia/Seoul"), "2026-11-23T00:00", "2026-11-23T00:00", "2026-11-30T00:00"),
        (ReportTime(zone="Asia/Seoul"), "2026-11-22T23:59", "2026-11-16T00:00", "2026-11-23T00:00"),
        # the clocks of Berlin jump from 02:00 to 03:00 on Sunday, 29 March 2026: 02:30 comes as 03:30
        (
            ReportTime(weekday=6, minute=150, zone="Europe/Berlin"),
            "2026-03-29T01:30",
            "2026-03-29T01:30",
            "2026-04-05T00:30",
        ),
        # and show 02:30 twice on Sunday, 25 October 2026: the first one counts
        (
            ReportTime(weekday=6, minute=150, zone="Europe/Berlin"),
            "2026-10-25T01:00",
            "2026-10-25T00:30",
            "2026-11-01T01:30",
        ),
        # a report on Sunday evening far in the west, where it is still that week
        (
            ReportTime(weekday=6, minute=23 * 60, zone="Pacific/Honolulu"),
            *["2027-01-04T09:00"] * 2,
            "2027-01-11T09:00",
        ),
    ],
)
def test_reports_leave_on_peoples_clocks(report: ReportTime, now: str, before: str, after: str) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert weekly.before(report, at) == datetime.fromisoformat(before).replace(tzinfo=UTC)
    assert weekly.after(report, at) == datetime.fromisoformat(after).replace(tzinfo=UTC)


def test_the_week_is_that_of_the_place() -> None:
    sunday_evening = datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
    assert weekly.week_of(ReportTime(), sunday_evening) == "2026-W47"
    assert weekly.week_of(ReportTime(zone="Asia/Seoul"), sunday_evening) == "2026-W48"


def test_a_report_is_left_out_for_what_came_after_it() -> None:
    low = Policy(name="p", ladders={Severity.LOW: (Step(to=("m",)), Step(after=HOUR, digest=ReportTime()))})
    climb = climbing.begin(low, Severity.LOW, NOW)
    climb, calls = climbing.advance(climb, NOW + 30 * 24 * HOUR, acknowledged=False)
    assert [call.call for call in calls] == [Call.LEFT]
    assert climb.next_at == weekly.after(ReportTime(), NOW + 30 * 24 * HOUR)


def test_a_clock_that_was_set_brings_no_second_report_of_a_week() -> None:
    low = Policy(name="p", ladders={Severity.LOW: (Step(to=("m",)), Step(after=HOUR, digest=ReportTime()))})
    climb, _ = climbing.advance(climbing.begin(low, Severity.LOW, NOW), NOW + HOUR, acknowledged=False)
    monday = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    climb, calls = climbing.advance(climb, monday, acknowledged=False)
    assert [call.call for call in calls] == [Call.REPORT]
    back = replace(climb, next_at=monday - HOUR)  # as if the clock had been set back
    for moment in (monday - HOUR, monday, monday + HOUR):
        back, calls = climbing.advance(back, moment, acknowledged=False)
        assert calls == ()
    assert back.next_at == monday + 7 * 24 * HOUR


def entries(route: Route, severity: Severity) -> list[tuple[str, str, str]]:
    return [
        (f"{(told.at - NOW) / MINUTE:g}m", ", ".join(told.channels), told.what)
        for told in timeline(route, severity, at=NOW)
    ]


def test_a_timeline_lists_every_step_and_the_first_repeats() -> None:
    assert entries(Route(policy=PRODUCTION), Severity.HIGH) == [
        ("0m", "ops, mail", "step 1 of 3"),
        ("15m", "manager", "step 2 of 3"),
        ("45m", "director", "step 3 of 3"),
        ("285m", "ops, mail, manager, director", "told again (1)"),
        ("525m", "ops, mail, manager, director", "told again (2)"),
    ]


def test_a_timeline_of_a_plain_route_has_one_step() -> None:
    route = Route(to=("ops",), repeat_after=HOUR)
    assert entries(route, Severity.LOW) == [
        ("0m", "ops", "step 1 of 1"),
        ("60m", "ops", "told again (1)"),
        ("120m", "ops", "told again (2)"),
    ]
    assert len(entries(replace(route, repeat_after=None), Severity.LOW)) == 1


def test_a_timeline_shows_what_is_left_to_the_report() -> None:
    assert [(channels, what) for _, channels, what in entries(Route(policy=PRODUCTION), Severity.LOW)] == [
        ("mail", "step 1 of 2"),
        ("", "step 2 of 2: left to the weekly report"),
        ("mail", "weekly report"),
        ("mail", "weekly report"),
    ]


def test_a_timeline_says_who_owns_the_ladder() -> None:
    owned = replace(PRODUCTION, delegate=("oncall",))
    assert entries(Route(policy=owned), Severity.CRITICAL) == [
        ("0m", "oncall, ops", "step 1 of 2; what follows is up to oncall"),
        ("240m", "oncall", "told again (1)"),
        ("480m", "oncall", "told again (2)"),
    ]


def test_a_timeline_waits_for_the_end_of_a_mute_window() -> None:
    def muted_until(at: datetime) -> datetime | None:
        end = NOW + HOUR
        return end if at < end else None

    found = timeline(Route(policy=PRODUCTION), Severity.MEDIUM, at=NOW, repeats=0, muted_until=muted_until)
    assert [told.at for told in found] == [NOW + HOUR, NOW + 2 * HOUR]
