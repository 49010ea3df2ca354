from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.core.mute import MuteWindow, ends_at, muted

MINUTE = timedelta(minutes=1)
EVERY_DAY = tuple(range(7))
NIGHTS = MuteWindow(name="nights", zone="Europe/Berlin", start=22 * 60, end=7 * 60, days=(0, 1, 2, 3, 4))
#: Zones whose clocks are set at different times, by half an hour, or never.
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "UTC")
#: Around changes of clocks in these zones, and in between.
BEGINNINGS = [
    datetime(2026, 3, 28, tzinfo=UTC),
    datetime(2026, 10, 24, tzinfo=UTC),
    datetime(2026, 3, 7, tzinfo=UTC),
    datetime(2026, 10, 31, tzinfo=UTC),
    datetime(2026, 4, 4, tzinfo=UTC),
    datetime(2026, 10, 3, tzinfo=UTC),
    datetime(2026, 4, 23, tzinfo=UTC),
    datetime(2026, 10, 29, tzinfo=UTC),
    datetime(2026, 7, 1, tzinfo=UTC),
]


def at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def shown(window: MuteWindow, now: datetime) -> bool:
    """What a person would say who looks at the clock on the wall and lists the windows of the last two days."""
    clock = now.astimezone(ZoneInfo(window.zone)).replace(tzinfo=None)
    for back in (0, 1):
        day = clock.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=back)
        end = window.end if window.start < window.end else window.end + 1440
        begins, ends = day + window.start * MINUTE, day + end * MINUTE
        if day.weekday() in window.days and begins <= clock < ends:
            return True
    return False


@pytest.mark.parametrize(
    ("clock", "held"),
    [
        ("2026-07-06T21:59", False),  # a Monday
        ("2026-07-06T22:00", True),
        ("2026-07-07T00:00", True),
        ("2026-07-07T06:59", True),
        ("2026-07-07T07:00", False),
        ("2026-07-10T23:00", True),  # Friday night
        ("2026-07-11T06:59", True),  # which ends on a Saturday
        ("2026-07-11T22:00", False),
        ("2026-07-13T06:00", False),  # no window began on Sunday
    ],
)
def test_a_night_begins_on_its_days_and_ends_on_the_next(clock: str, held: bool) -> None:
    assert (muted([NIGHTS], at(clock)) is NIGHTS) is held


def test_the_first_window_in_force_is_named() -> None:
    always = MuteWindow(name="always", zone="UTC")
    now = at("2026-07-06T23:00")

    assert muted([NIGHTS, always], now) is NIGHTS
    assert muted([always, NIGHTS], now) is always
    assert muted([], now) is None


def test_a_window_until_midnight_ends_at_midnight() -> None:
    evening = MuteWindow(name="evening", zone="Europe/Berlin", start=20 * 60, end=1440, days=(6,))

    assert muted([evening], at("2026-07-05T23:59")) is evening
    assert muted([evening], at("2026-07-06T00:00")) is None
    assert ends_at([evening], at("2026-07-05T20:00")) == at("2026-07-06T00:00")


def test_a_window_that_ends_when_it_begins_lasts_a_whole_day() -> None:
    day = MuteWindow(name="day", zone="UTC", start=540, end=540, days=(0,))

    assert ends_at([day], at("2026-07-06T09:00", "UTC")) == at("2026-07-07T09:00", "UTC")
    assert muted([day], at("2026-07-06T08:59", "UTC")) is None


def test_windows_that_follow_each_other_end_with_the_last() -> None:
    weekend = MuteWindow(name="weekend", zone="Europe/Berlin", days=(5, 6))

    assert ends_at([NIGHTS, weekend], at("2026-07-10T22:30")) == at("2026-07-13T00:00")
    assert ends_at([NIGHTS, weekend], at("2026-07-10T12:00")) is None


def test_what_is_always_muted_never_ends() -> None:
    assert ends_at([MuteWindow(name="always", zone="UTC")], at("2026-07-06T12:00")) is None


def test_a_beginning_that_the_clocks_skip_in_spring_comes_with_the_change() -> None:
    window = MuteWindow(name="w", zone="Europe/Berlin", start=150, end=300)  # 02:30 to 05:00
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)  # 02:00 becomes 03:00

    assert muted([window], change - MINUTE) is None
    assert muted([window], change) is window
    assert ends_at([window], change) == at("2026-03-29T05:00")


def test_an_end_that_the_clocks_skip_in_spring_comes_with_the_change() -> None:
    window = MuteWindow(name="w", zone="Europe/Berlin", start=1320, end=150)  # 22:00 to 02:30

    assert ends_at([window], at("2026-03-28T23:00")) == datetime(2026, 3, 29, 1, tzinfo=UTC)


def test_what_the_clocks_show_twice_in_autumn_is_muted_twice() -> None:
    window = MuteWindow(name="w", zone="Europe/Berlin", start=120, end=150)  # 02:00 to 02:30

    first, second = at("2026-10-25T02:10"), at("2026-10-25T02:10", fold=1)
    assert second - first == timedelta(hours=1)
    assert ends_at([window], first) == at("2026-10-25T02:30")
    assert ends_at([window], second) == at("2026-10-25T02:30", fold=1)


def test_a_beginning_is_taken_back_when_the_clocks_are_set_back_over_it() -> None:
    window = MuteWindow(name="w", zone="Europe/Berlin", start=165, end=360)  # 02:45 to 06:00

    assert ends_at([window], at("2026-10-25T02:50")) == datetime(2026, 10, 25, 1, tzinfo=UTC)
    assert ends_at([window], at("2026-10-25T02:50", fold=1)) == at("2026-10-25T06:00")


windows = st.builds(
    MuteWindow,
    name=st.just("w"),
    zone=st.sampled_from(ZONES),
    start=st.integers(0, 1439),
    end=st.integers(0, 1440),
    days=st.lists(st.integers(0, 6), min_size=1, unique=True).map(tuple),
)


@given(window=windows, begin=st.sampled_from(BEGINNINGS), offset=st.integers(0, 3 * 1440))
def test_a_window_holds_exactly_while_the_clock_on_the_wall_says_so(
    window: MuteWindow, begin: datetime, offset: int
) -> None:
    now = begin + offset * MINUTE

    assert window.holds(now) is shown(window, now)


@settings(max_examples=40, deadline=None)
@given(
    some=st.lists(windows, min_size=1, max_size=3),
    begin=st.sampled_from(BEGINNINGS),
    offset=st.integers(0, 3 * 1440),
)
def test_the_end_is_the_first_minute_in_which_nothing_is_muted(
    some: list[MuteWindow], begin: datetime, offset: int
) -> None:
    now = begin + offset * MINUTE
    minutes = (now + step * MINUTE for step in range(8 * 1440))
    free = next((minute for minute in minutes if not any(shown(window, minute) for window in some)), None)

    if muted(some, now) is None:
        assert ends_at(some, now) is None
    else:
        assert ends_at(some, now) == free
