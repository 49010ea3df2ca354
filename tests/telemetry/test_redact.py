from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from watchdog.telemetry.redact import Mask, one_line, redact, redact_event, register_secret

CANARY = 'canary/7f3e"\n\\end'
register_secret(CANARY)


class Careless:
    def __repr__(self) -> str:
        return f"Careless({CANARY})"


@pytest.mark.parametrize(
    "written",
    [
        CANARY,
        quote(CANARY, safe=""),
        json.dumps(CANARY),
        repr(CANARY),
        f"https://x/?t={quote(CANARY, safe='')}&a=1",
    ],
    ids=["plain", "url quoted", "json", "repr", "in an address"],
)
def test_a_known_secret_is_masked_however_it_is_written(written: str) -> None:
    shown = redact(f"before {written} after")
    assert "7f3e" not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://bob:pa55@db/watchdog", "postgresql://***@db/watchdog"),
        ("http://bob@host", "http://***@host"),
        ("http://bob:p@ss@host/x@y", "http://***@host/x@y"),
        ("see http://a:b@c and https://d:e@f.", "see http://***@c and https://***@f."),
        ("http://host/path?mail=a@b", "http://host/path?mail=a@b"),
        ("mail ops@example.com", "mail ops@example.com"),
    ],
    ids=str,
)
def test_the_user_of_an_address_is_masked(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


def test_an_event_is_masked_in_keys_values_and_nested_objects() -> None:
    event = {
        "event": f"tried {CANARY}",
        CANARY: 1,
        "list": [CANARY, {"deep": (CANARY,)}],
        "bytes": CANARY.encode(),
        "object": Careless(),
        "error": ValueError(f"bad token {CANARY}"),
        "secret": SecretStr(CANARY),
        "url": "http://a:b@c",
    }
    shown = repr(redact_event(None, "info", event))
    assert "7f3e" not in shown
    assert "a:b" not in shown
    assert "ValueError: bad token ***" in shown


def test_plain_values_stay_what_they_are() -> None:
    event = {"count": 3, "share": 0.5, "on": True, "none": None, "text": "fine", "many": {1}}
    assert redact_event(None, "info", event) == event | {"many": [1]}
    at = datetime(2026, 1, 2, tzinfo=UTC)
    assert redact_event(None, "info", {"at": at, "for": timedelta(seconds=90)}) == {
        "at": "2026-01-02T00:00:00+00:00",
        "for": 90.0,
    }


def test_a_short_secret_is_masked_only_where_it_stands_alone() -> None:
    mask = Mask()
    mask.add("abc")
    assert mask.hide("token abc, abcdef, x=abc") == "token ***, abcdef, x=***"


@pytest.mark.parametrize("blank", ["", " ", "\n"], ids=["empty", "blank", "newline"])
def test_a_blank_secret_is_ignored(blank: str) -> None:
    mask = Mask()
    mask.add(blank)
    assert mask.hide("a b\nc") == "a b\nc"


def test_a_secret_read_with_its_newline_is_masked_without_it_too() -> None:
    mask = Mask()
    mask.add("hunter2hunter2\n")
    assert mask.hide("said hunter2hunter2 loudly") == "said *** loudly"


def test_of_two_secrets_that_begin_alike_the_longer_leaves_no_rest() -> None:
    mask = Mask()
    mask.add("token-one")
    mask.add("token-one-longer")
    assert mask.hide("x token-one-longer y") == "x *** y"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\r\nlines\tand\u2028more", "two  lines and more"),
        ("\x1b[31mred\x00", "\\x1b[31mred\\x00"),
        ("abc\u202edef", "abc\\u202edef"),
        ("family 👨‍👩‍👧 ok", "family 👨‍👩‍👧 ok"),
        ("half \ud83d", "half \\ud83d"),
        ("  trimmed \n", "trimmed"),
    ],
    ids=["newlines", "escape sequence", "direction override", "emoji", "surrogate", "edges"],
)
def test_one_line_shows_what_would_be_obeyed(text: str, line: str) -> None:
    assert one_line(text) == line


def test_one_line_cuts_with_an_ellipsis_at_the_limit() -> None:
    assert one_line("x" * 10, limit=10) == "x" * 10
    assert one_line("x" * 11, limit=10) == "x" * 9 + "…"


@given(st.text(alphabet=st.characters()))
def test_one_line_is_one_printable_encodable_line_for_any_text(text: str) -> None:
    line = one_line(text)
    line.encode()
    assert len(line.splitlines()) <= 1
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in line)
    assert one_line(line) == line


@given(st.text(), st.text(min_size=8).filter(lambda text: len(text.strip()) >= 8))
def test_no_text_makes_masking_raise_or_miss(text: str, secret: str) -> None:
    mask = Mask()
    mask.add(secret)
    if "*" not in secret:
        assert secret not in mask.hide(f"{text}{secret}{text}")


@pytest.mark.timeout(5)
def test_redacting_long_text_stays_fast() -> None:
    for text in ("a" * 200_000, "://" * 60_000, "://" + "a" * 200_000, "@" * 200_000, "http://a" * 30_000):
        redact(text)
        one_line(text)
