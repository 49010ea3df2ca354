"""Every request is announced once, in whatever order it is stored, seen and answered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.store import samples
from watchdog.core.request import Request
from watchdog.store.hearing import Hearing

ONE, OTHER = samples.request(1), samples.request(2)


def test_nothing_is_heard_before_it_starts_nor_what_was_known_then() -> None:
    heard: list[Request] = []
    hearing = Hearing(heard.append)
    hearing.stored(ONE)
    hearing.looked(hearing.look(), (ONE,))
    hearing.start((ONE,))
    hearing.stored(ONE)
    hearing.looked(hearing.look(), (ONE, OTHER))
    hearing.start(())
    hearing.looked(hearing.look(), (ONE, OTHER))
    assert heard == [OTHER]


def test_a_look_of_the_life_before_says_nothing() -> None:
    heard: list[Request] = []
    hearing = Hearing(heard.append)
    hearing.start(())
    look = hearing.look()
    hearing.stop()
    hearing.start(())
    hearing.looked(look, (ONE,))
    assert heard == []
    hearing.looked(hearing.look(), (ONE,))
    assert heard == [ONE]


@given(st.lists(st.sampled_from(["store here", "store there", "answer", "look", "told"]), max_size=60))
def test_no_order_of_events_announces_a_request_twice_or_never(events: list[str]) -> None:
    heard: list[str] = []
    hearing = Hearing(lambda request: heard.append(request.id))
    hearing.start(())
    unanswered: dict[str, Request] = {}
    stored: list[str] = []
    late: list[Request] = []
    for event in [*events, "told", "look"]:
        if event.startswith("store"):
            request = samples.request(len(stored))
            stored.append(request.id)
            unanswered[request.id] = request
            if event == "store here":
                late.append(request)  # this process hears of its own a moment later
        elif event == "told" and late:
            hearing.stored(late.pop(0))
        elif event == "look":
            look, found = hearing.look(), tuple(unanswered.values())
            if late:
                hearing.stored(late.pop(0))
            hearing.looked(look, found)
        elif event == "answer":
            # Only what the writer has heard of is answered.
            for known in [one for one in unanswered if one in heard]:
                del unanswered[known]
    assert len(heard) == len(set(heard))
    assert set(heard) == set(stored)
