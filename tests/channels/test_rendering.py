from __future__ import annotations

import pytest

from tests.channels.messages import AWKWARD, USUAL, message
from watchdog.channels.rendering import as_text


def test_a_message_reads_headline_first_and_audit_head_last() -> None:
    assert as_text(USUAL).splitlines() == [
        "[critical] trips: error-rate is 21% (rollback above 1.5%); traffic goes back to v1.4.1",
        "service trips, environment production, version v1.4.2",
        "error-rate: 21%, held for 2 samples",
        "guards: all allow",
        "Next: Nothing to do now; look at why v1.4.2 fails.",
        "Runbook: https://runbooks.example.com/error-rate",
        "incident i-1, rollback r-1",
        f"audit head {'ab' * 32}",
    ]


def test_a_message_that_needs_a_person_says_so() -> None:
    assert "Needs you: Call somebody." in as_text(message(needs_human=True, next_step="Call somebody."))
    assert "Needs you." in as_text(message(needs_human=True, next_step=""))


def test_parts_that_are_empty_leave_no_line() -> None:
    assert as_text(AWKWARD["empty"]).splitlines() == ["[low] "]


@pytest.mark.parametrize("name", AWKWARD)
def test_text_from_outside_stays_on_its_line(name: str) -> None:
    text = as_text(AWKWARD[name])
    text.encode()
    parts = 8 - 2 + len(AWKWARD[name].facts)
    assert len(text.splitlines()) <= parts
    assert not any(ord(character) < 0x20 and character != "\n" for character in text)
