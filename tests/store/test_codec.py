"""Times as text, records as text, and cursors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store import samples
from watchdog.core.errors import StoreCorrupt, StoreError
from watchdog.core.incident import Incident
from watchdog.store.codec import decode, encode, stamp
from watchdog.store.cursor import read_number_cursor, read_time_cursor, write_cursor

MOMENTS = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(MOMENTS, MOMENTS, ZONES)
def test_the_order_of_the_text_is_the_order_of_time(one: datetime, other: datetime, zone: timezone) -> None:
    assert (stamp(one) < stamp(other.astimezone(zone))) == (one < other)
    assert len(stamp(one)) == len("2026-03-01T12:00:00.000000Z")
    assert datetime.fromisoformat(stamp(one)) == one


def test_a_record_is_read_as_it_was_written() -> None:
    assert decode(encode(samples.incident(1)), Incident) == samples.incident(1)


def test_a_record_that_json_cannot_carry_is_an_error_without_its_content() -> None:
    with pytest.raises(StoreError, match="Request") as caught:
        encode(samples.request(1, body={"token": object()}))
    assert "token" not in str(caught.value)


@pytest.mark.parametrize("doc", ["", "nonsense", "{}", "[]", '{"id": 1}', "[" * 100_000])
def test_text_that_is_no_record_is_corrupt(doc: str) -> None:
    with pytest.raises(StoreCorrupt, match="Incident"):
        decode(doc, Incident)


@given(MOMENTS, st.text(st.characters(exclude_categories=["Cs"])))
def test_a_time_cursor_is_read_as_it_was_written(at: datetime, identity: str) -> None:
    cursor = write_cursor("incidents", stamp(at), identity)
    assert read_time_cursor("incidents", cursor) == (stamp(at), identity)


@given(st.text())
def test_no_text_makes_a_cursor_raise_anything_but_value_error(text: str) -> None:
    for read in (read_time_cursor, read_number_cursor):
        with pytest.raises(ValueError, match="list of incidents"):
            read("incidents", text)


@pytest.mark.parametrize("number", [0, -1, 2**63, 2**80])
def test_a_number_that_no_record_has_is_no_cursor(number: int) -> None:
    with pytest.raises(ValueError, match="cursor"):
        read_number_cursor("audit", write_cursor("audit", number))
