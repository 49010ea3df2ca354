from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchdog.channels.posting import retry_after

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "after"),
    [
        ("7", timedelta(seconds=7)),
        ("0", timedelta()),
        (" 120 ", timedelta(minutes=2)),
        ("86400", timedelta(hours=1)),
        ("9" * 5000, timedelta(hours=1)),
        ("Thu, 01 Jan 2026 12:00:30 GMT", timedelta(seconds=30)),
        ("Thu, 01 Jan 2026 11:00:00 GMT", timedelta()),
        ("Fri, 02 Jan 2026 12:00:00 GMT", timedelta(hours=1)),
        ("Thursday, 01-Jan-26 12:00:30 GMT", timedelta(seconds=30)),
        ("Thu Jan  1 12:00:30 2026", timedelta(seconds=30)),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        ("Thu, 99 Jan 2026 99:00:30 GMT", None),
        ("Thu, 01 Jan 99999 12:00:30 GMT", None),
    ],
    ids=lambda value: str(value)[:34],
)
def test_retry_after_is_understood_and_bounded(written: str, after: timedelta | None) -> None:
    assert retry_after(written, now=NOW) == after


@given(st.text(max_size=60))
def test_no_retry_after_raises_or_leaves_its_bounds(written: str) -> None:
    after = retry_after(written, now=NOW)
    assert after is None or timedelta() <= after <= timedelta(hours=1)
