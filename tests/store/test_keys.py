"""Texts that PostgreSQL cannot hold are written as others, and no two become the same."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from watchdog.store.keys import Key

DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
ANY = st.text(st.sampled_from("a0\x00\ufdd0\ud800\udfff") | st.characters(), max_size=300)


def bound(text: str | None) -> str | None:
    written: str | None = Key().process_bind_param(text, DIALECT)
    return written


@given(ANY)
@example("\ufdd00000")
@example("")
def test_a_text_comes_back_as_it_was_and_can_be_written(text: str) -> None:
    written = bound(text)
    assert written is not None
    assert "\x00" not in written
    written.encode()
    assert Key().process_result_value(written, DIALECT) == text


@given(ANY, ANY)
def test_two_texts_stay_two(one: str, other: str) -> None:
    assert (bound(one) == bound(other)) == (one == other)


def test_a_long_text_keeps_its_beginning_and_stays_different() -> None:
    one, other = "x" * 10_000 + "\x00", "x" * 10_000 + "y"
    for text in (one, other):
        written = bound(text)
        assert written is not None
        assert len(written) < 400
        assert written.startswith("x" * 200)
    assert bound(one) != bound(other)
    assert bound(None) is None
