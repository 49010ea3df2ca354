from __future__ import annotations

from watchdog.channels.recipients import MOST, Recipients


def test_who_has_it_or_never_takes_it_is_left_out_for_that_message_alone() -> None:
    known = Recipients(["a", "b", "c", "a"])
    assert known.left("k") == ("a", "b", "c")
    known.settle("k", "b", delivered=True)
    known.settle("k", "a", delivered=False)
    assert known.left("k") == ("c",)
    assert known.reached("k") == 1
    assert known.left("other") == ("a", "b", "c")
    known.forget("k")
    known.forget("k")
    assert known.left("k") == ("a", "b", "c")
    assert known.reached("k") == 0


def test_only_the_newest_unfinished_messages_are_remembered() -> None:
    known = Recipients(["a", "b"])
    for number in range(MOST + 10):
        known.settle(f"k{number}", "a", delivered=True)
        known.settle("kept", "a", delivered=True)
    assert known.left("k0") == ("a", "b")
    assert known.left("kept") == ("b",)
    assert sum(known.left(f"k{number}") == ("b",) for number in range(MOST + 10)) == MOST - 1
