"""What is one event, which alerts found it, and how late: worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from watchdog.lab.score_events import Alert, Event, Found, events_of, found


def labels(text: str) -> np.ndarray:
    """`..1.1` as labels."""
    return np.array([letter == "1" for letter in text], dtype=np.int8)


def events(*pairs: tuple[int, int]) -> tuple[Event, ...]:
    return tuple(Event(first=first, last=last) for first, last in pairs)


def met(happened: tuple[Event, ...], *alerts: tuple[int, int]) -> Found:
    return found(happened, [Alert(first=first, last=last) for first, last in alerts])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("....", ()),
        ("..1..", ((2, 2),)),
        ("111", ((0, 2),)),
        ("1.1", ((0, 2),)),  # two samples apart are one
        ("1..1", ((0, 0), (3, 3))),  # three are two
        ("1.1.1..1", ((0, 4), (7, 7))),
        ("......1", ((6, 6),)),
    ],
)
def test_labels_at_most_two_samples_apart_are_one_event(
    text: str, expected: tuple[tuple[int, int], ...]
) -> None:
    assert events_of(labels(text)) == events(*expected)


def test_an_event_that_began_in_the_calibration_is_cut_where_scoring_begins() -> None:
    assert events_of(labels("111111.."), first=4) == events((4, 5))
    assert events_of(labels("111....."), first=4) == (), "it was over"
    assert events_of(labels("...1.1.."), first=4) == events((5, 5)), "and what is before does not join it"


@pytest.mark.parametrize(
    ("alert", "delay"),
    [
        ((10, 10), 0),  # at its first sample
        ((12, 12), 2),
        ((14, 14), 4),  # at its last
        ((15, 15), 5),  # one after it
        ((16, 20), 6),  # two after it
        ((17, 17), None),  # three are too late
        ((9, 9), None),  # before it, and over
        ((9, 10), 0),  # before it, and lasts into it: there is nothing to be late for
        ((1, 30), 0),
    ],
)
def test_an_alert_counts_in_the_event_or_at_most_two_samples_after_it(
    alert: tuple[int, int], delay: int | None
) -> None:
    expected = (1, 0, (delay,)) if delay is not None else (0, 1, ())
    result = met(events((10, 14)), alert)
    assert (result.true, result.false, result.delays) == expected


def test_one_alert_may_find_several_events() -> None:
    result = met(events((5, 6), (10, 11), (20, 20)), (4, 12))
    assert (result.events, result.true, result.false, result.delays) == (3, 1, 0, (0, 0))
    assert result.late == ((5, 5), (10, 10))


def test_the_first_of_several_alerts_says_how_late_an_event_was_found_and_each_of_them_is_true() -> None:
    result = met(events((5, 15)), (12, 12), (7, 8))
    assert (result.true, result.false, result.delays, result.late) == (2, 0, (2,), ((5, 7),))


def test_one_alert_after_an_event_and_before_the_next_may_count_for_the_first_alone() -> None:
    result = met(events((5, 5), (9, 9)), (7, 7))
    assert (result.true, result.delays, result.late) == (1, (2,), ((5, 7),))


def test_alerts_without_events_are_false_and_events_without_alerts_are_missed() -> None:
    assert met((), (1, 2), (5, 5)) == Found(events=0, true=0, false=2)
    assert met(events((1, 1))) == Found(events=1, true=0, false=0)
