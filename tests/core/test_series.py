"""What a scrape source remembers, against an oracle that keeps everything and adds up slowly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.core import series as module
from watchdog.core.extrapolation import increase
from watchdog.core.selector import parse_selector
from watchdog.core.series import MARGIN, PAGES_FOR, Count, Memory, Scraped, Series

T0 = 1_700_000_000.0


def page(at: float, *lines: str, origin: str = "one", labels: dict[str, str] | None = None) -> Scraped:
    return Scraped(text="\n".join(lines) + "\n", at=T0 + at, origin=origin, labels=labels or {})


def remember(*pages: Scraped, metric: str = "a", window: float = 60) -> Memory:
    memory = Memory()
    memory.want(metric, window=window, now=T0)
    for one in pages:
        memory.add(one)
    return memory


def count(memory: Memory, selector: str = "a", *, until: float, window: float = 60) -> Count:
    return memory.count(parse_selector(selector), after=T0 + until - window, until=T0 + until)


def test_an_increase_is_the_sum_of_the_steps() -> None:
    assert increase([3, 5, 5, 9]) == 6


def test_after_a_reset_the_counter_counts_from_zero() -> None:
    assert increase([3, 5, 2, 4]) == 2 + 2 + 2
    assert increase([5, 0, 0]) == 0


def test_fewer_than_two_samples_say_nothing() -> None:
    assert increase([]) is None
    assert increase([7]) is None


def test_nan_stays_nan() -> None:
    assert math.isnan(increase([1, math.nan, 2]) or 0)


class Process:
    """An oracle: a process whose counter is counted from outside, restarts and all."""

    def __init__(self) -> None:
        self.counter = 0.0

    def live(self, events: int, *, restarted: bool) -> float:
        """What happened between two scrapes; answers the events that the next scrape can know of."""
        if restarted:
            before, self.counter = self.counter, float(events)
            # A counter that climbed past its old value shows only the difference: nobody can know of the reset.
            return events if events < before else events - before
        self.counter += events
        return events


LIVES = st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=40)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(LIVES, min_size=1, max_size=4), st.integers(2, 45))
def test_the_increase_over_a_window_is_what_an_onlooker_counted(
    processes: Sequence[Sequence[tuple[int, bool]]], width: int
) -> None:
    """One scrape a second of several processes; the window ends at the last scrape."""
    memory = remember(window=width)
    known: list[tuple[int, float]] = []
    last = max(map(len, processes)) - 1
    for number, lives in enumerate(processes):
        process = Process()
        for second, (events, restarted) in enumerate(lives):
            seen = process.live(events, restarted=restarted)
            if second > 0 and second - 1 > last - width:
                known.append((number, seen))
            memory.add(page(second, f'a{{n="{number}"}} {process.counter}', origin=str(number)))
    found = count(memory, until=last, window=width).increases
    assert found == (sum(seen for _, seen in known) if known else None)


def test_only_selected_series_are_added_up_over_all_targets() -> None:
    memory = remember()
    for at, (good, bad) in enumerate([(10, 0), (20, 1), (40, 3)]):
        for origin in ("one", "two"):
            lines = (f'a{{status="200"}} {good}', f'a{{status="500"}} {bad}', f"b {at}")
            memory.add(page(at, *lines, origin=origin))
    assert count(memory, until=2) == Count(increases=66, newest=T0 + 2, samples=3, series=4)
    assert count(memory, 'a{status=~"5.."}', until=2).increases == 6
    assert count(memory, 'a{status="404"}', until=2) == Count()
    assert count(memory, "b", until=2) == Count()


def test_a_series_that_appears_counts_from_its_first_sample_on() -> None:
    memory = remember(page(0, "b 1"), page(1, 'a{status="500"} 7'), page(2, 'a{status="500"} 9'))
    assert count(memory, until=1) == Count(newest=T0 + 1, samples=1, series=1)
    assert count(memory, until=2).increases == 2


def test_the_window_has_a_beginning_and_an_end() -> None:
    memory = remember(*(page(at, f"a {at * at}") for at in range(10)))
    assert count(memory, until=5, window=3).increases == 25 - 9  # 3, 4 and 5: the edge itself is outside
    assert count(memory, until=5, window=3).newest == T0 + 5


def test_the_labels_of_the_target_are_put_on_its_series_as_prometheus_does() -> None:
    labels = {"instance": "10.0.0.1:80", "job": "app"}
    lines = 'a{job="own",x="y"} '
    memory = remember(page(0, lines + "1", labels=labels), page(1, lines + "2", labels=labels))
    assert (
        count(memory, 'a{job="app",instance="10.0.0.1:80",exported_job="own",x="y"}', until=1).increases == 1
    )
    assert count(memory, 'a{job="own"}', until=1) == Count()


def test_the_same_series_of_two_targets_are_two() -> None:
    memory = remember()
    for at in range(3):
        memory.add(page(at, f"a {at}", origin="one"))
        memory.add(page(at + 0.5, f"a {100 + at}", origin="two"))
    assert count(memory, until=3).increases == 4


def test_labels_in_another_order_are_the_same_series() -> None:
    memory = remember(page(0, 'a{b="c",d="e"} 1'), page(1, 'a{d="e", b="c"} 2'), page(2, 'a{b="c",d="e",} 4'))
    assert count(memory, until=2) == Count(increases=3, newest=T0 + 2, samples=3, series=1)


def test_the_same_scrape_seen_twice_is_one_sample() -> None:
    stamp = int(T0 * 1000)
    memory = remember(*(page(at, f"a 5 {stamp}") for at in range(3)))
    assert count(memory, until=2) == Count(newest=T0, samples=1, series=1)


def test_a_page_that_cannot_be_read_leaves_nothing_behind() -> None:
    memory = remember(page(0, "a 1"), page(1, "a 2"))
    with pytest.raises(ValueError, match="line 2"):
        memory.add(page(2, "a 900", "a nonsense"))
    assert count(memory, until=2) == Count(increases=1, newest=T0 + 1, samples=2, series=1)


def test_the_first_question_looks_back_over_the_pages_at_hand() -> None:
    memory = Memory()
    for at in range(0, 60, 5):
        memory.add(page(at, f"a {at}"))
    assert count(memory, until=55) == Count()
    memory.want("a", window=60, now=T0 + 57)
    assert count(memory, until=57).increases == 55
    assert memory.reaches_back_to(["a"]) == T0


def test_pages_are_kept_for_two_minutes_and_the_memory_says_how_far_it_reaches() -> None:
    memory = Memory()
    for at in range(0, 300, 5):
        memory.add(page(at, f"a {at}"))
    memory.want("a", window=600, now=T0 + 297)
    assert memory.reaches_back_to(["a"]) == T0 + 295 - PAGES_FOR
    assert count(memory, until=297, window=600).increases == PAGES_FOR


def test_pages_are_bounded_in_size() -> None:
    filler = "# " + "x" * (module.PAGES_BYTES // 4)
    memory = Memory()
    for at in range(10):
        memory.add(page(at, f"a {at}", filler))
    memory.want("a", window=60, now=T0 + 9)
    assert count(memory, until=9).samples == 3
    assert memory.reaches_back_to(["a"]) == T0 + 7


def test_a_longer_window_is_known_to_lack_what_was_dropped() -> None:
    memory = Memory()
    memory.want("a", window=10, now=T0)
    for at in range(200):
        memory.add(page(at, f"a {at}"))
    assert memory.reaches_back_to(["a"]) == T0
    memory.want("a", window=100, now=T0 + 199)
    assert memory.reaches_back_to(["a"]) == T0 + 199 - 10 - MARGIN


def test_old_samples_and_vanished_series_are_forgotten() -> None:
    memory = Memory()
    memory.want("a", window=10, now=T0)
    for at in range(1000):
        memory.add(page(at, f'a{{pod="{at // 100}"}} {at}'))
    assert memory.series == 1
    assert count(memory, until=999, window=1000).samples < 100


def test_what_a_dead_target_showed_last_is_not_forgotten() -> None:
    memory = Memory()
    memory.want("a", window=10, now=T0)
    memory.add(page(0, 'a{version="v2"} 1', origin="dead"))
    for at in range(500):
        memory.add(page(at, f'a{{version="v1"}} {at}', origin="alive"))
    assert memory.origins(parse_selector('a{version="v2"}')) == {"dead"}
    assert memory.origins(parse_selector('a{version="v1"}')) == {"alive"}
    assert count(memory, 'a{version="v2"}', until=499, window=10) == Count()


def test_clearing_forgets_samples_and_keeps_the_questions() -> None:
    memory = remember(page(0, "a 1"), page(1, "a 2"))
    memory.clear()
    assert memory.reaches_back_to(["a"]) is None
    assert count(memory, until=1) == Count()
    memory.add(page(2, "a 3"))
    memory.add(page(3, "a 5"))
    assert memory.reaches_back_to(["a"]) == T0 + 2
    assert count(memory, until=3).increases == 2


def test_too_many_series_refuse_the_page() -> None:
    memory = Memory(max_series=3)
    memory.want("a", window=10, now=T0)
    memory.add(page(0, *(f'a{{n="{n}"}} 1' for n in range(3)), *(f'b{{n="{n}"}} 1' for n in range(99))))
    with pytest.raises(ValueError, match="more than 3 series"):
        memory.add(page(1, *(f'a{{n="{n}"}} 1' for n in range(4))))


def test_dropping_keeps_the_newest_sample() -> None:
    series = Series({}, "one")
    for at in range(100):
        series.add(float(at), float(at))
    series.forget(1000.0)
    assert list(series.window(after=0, until=1000)) == [99]


def test_a_series_that_its_page_shows_no_more_has_no_newest_sample() -> None:
    memory = remember(page(0, 'a{n="1"} 1', 'a{n="2"} 1'), page(1, 'a{n="1"} 2', 'a{n="2"} 2'))
    memory.add(page(2, 'a{n="2"} 3'))
    assert count(memory, 'a{n="1"}', until=2) == Count(increases=1, newest=None, samples=2, series=1)
    assert count(memory, until=2).newest == T0 + 2


def test_a_kept_page_that_turns_out_unreadable_is_a_hole_in_the_memory() -> None:
    memory = Memory()
    memory.add(page(0, "a 1"))
    memory.add(page(1, "a nonsense"))  # nobody asked about it yet, so nobody read the value
    memory.add(page(2, "a 3"))
    memory.add(page(3, "a 5"))
    memory.want("a", window=60, now=T0 + 3)
    assert memory.reaches_back_to(["a"]) == T0 + 1
    assert count(memory, until=3).samples == 3
