"""What the commands say of who heard of an incident and who is next."""

from __future__ import annotations

from typing import Any

import pytest

from watchdog.cli.ladders import coming, told

CLIMB: dict[str, Any] = {
    "policy": "production",
    "severity": "high",
    "step": 1,
    "steps": 2,
    "heard_by": ["ops", "mail"],
    "next": "step",
    "next_at": "2026-03-02T10:15:00Z",
    "next_to": ["manager"],
    "repeats": 0,
    "acknowledged_until": None,
    "delegated": False,
}


def incident(**climb: Any) -> dict[str, Any]:
    return {"closed_at": None, "climb": {**CLIMB, **climb}}


def test_it_says_who_heard_and_who_is_next() -> None:
    assert told(incident()) == [
        ("told", "ops, mail (step 1 of 2 of production)"),
        ("told next", "manager at 2026-03-02T10:15:00Z"),
        ("held until", ""),
    ]


@pytest.mark.parametrize(
    ("coming_next", "words"),
    [
        ("repeat", "everybody again at T"),
        ("left", "left to the weekly report at T"),
        ("report", "weekly report to manager at T"),
        ("reminder", "a reminder at T"),
        ("expired", "its ladder begins again at T"),
    ],
)
def test_it_says_what_is_due_next(coming_next: str, words: str) -> None:
    assert coming(incident(next=coming_next, next_at="T")) == words


def test_nothing_is_due_of_what_is_over_or_nobody_heard_of() -> None:
    assert coming(incident(next=None, next_at=None)) == ""
    assert coming({**incident(), "closed_at": "2026-03-02T10:15:00Z"}) == ""
    assert told({"closed_at": None, "climb": None}) == []
    assert told({"closed_at": None}) == []


def test_a_ladder_that_a_channel_owns_is_up_to_that() -> None:
    one = incident(next=None, next_at=None, delegated=True)
    assert coming(one) == "up to a channel that tells people by itself"


def test_it_counts_how_often_everybody_was_told_again() -> None:
    assert told(incident(policy="", repeats=2))[0] == ("told", "ops, mail (step 1 of 2, told again 2 times)")
