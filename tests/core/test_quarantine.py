from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.core.series import at, number
from watchdog.core.check import CheckState
from watchdog.core.observation import Value
from watchdog.core.quarantine import failures_after_answer, until, was_away

MINUTE = timedelta(minutes=1)


def sample(seconds: float, *, since: float | None = None) -> Value:
    return Value(value=1.0, at=at(seconds), since=None if since is None else at(since))


@pytest.mark.parametrize(("failures", "away"), [(0, False), (2, False), (3, True), (300, True)])
def test_three_failed_polls_in_a_row_are_an_absence(failures: int, *, away: bool) -> None:
    assert was_away(CheckState(failures=failures)) is away


@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 0), (3, 3), (9, 9)])
def test_an_absence_is_remembered_until_a_sample_comes(before: int, after: int) -> None:
    assert failures_after_answer(CheckState(failures=before)) == after


def test_a_source_that_was_always_there_is_not_quarantined() -> None:
    assert until(CheckState(failures=2), sample(0), window=MINUTE, now=at(0)) is None


def test_the_first_sample_after_an_absence_begins_a_full_window() -> None:
    assert until(CheckState(failures=3), sample(10), window=MINUTE, now=at(12)) == at(70)


def test_a_quarantine_ends_with_the_sample_that_completes_the_window() -> None:
    state = CheckState(quarantine_until=at(60))
    assert until(state, sample(59.9), window=MINUTE, now=at(100)) == at(60)
    assert until(state, sample(60), window=MINUTE, now=at(60)) is None


@pytest.mark.parametrize(("since", "ends"), [(-61.0, None), (-60.0, None), (-59.0, 1.0), (0.0, 60.0)])
@pytest.mark.parametrize("known", [None, -9999.0])
def test_a_restart_counts_while_its_window_is_not_full(
    since: float, ends: float | None, known: float | None
) -> None:
    state = CheckState(source_since=None if known is None else at(known))
    found = until(state, sample(0, since=since), window=MINUTE, now=at(0))
    assert found == (None if ends is None else at(ends))


def test_a_source_that_has_run_for_a_window_is_trusted_even_when_its_newest_sample_is_older() -> None:
    assert until(CheckState(), sample(-2, since=-60), window=MINUTE, now=at(0)) is None
    assert until(CheckState(), sample(-2, since=-59.9), window=MINUTE, now=at(0)) == at(0.1)


def test_the_same_start_counts_once() -> None:
    state = CheckState(source_since=at(0))
    assert until(state, sample(10, since=0), window=MINUTE, now=at(10)) is None


def test_the_later_of_several_ends_counts() -> None:
    state = CheckState(failures=3, quarantine_until=at(40))
    assert until(state, sample(10, since=5), window=MINUTE, now=at(10)) == at(70)
    state = CheckState(quarantine_until=at(400))
    assert until(state, sample(10, since=5), window=MINUTE, now=at(10)) == at(400)


def test_the_end_of_time_is_no_fault() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    late = Value(value=1.0, at=last - timedelta(seconds=5))
    assert until(CheckState(failures=3), late, window=MINUTE, now=at(0)) == last


def test_a_sample_needs_no_start_of_its_source() -> None:
    assert until(CheckState(source_since=at(0)), number(1, 10), window=MINUTE, now=at(10)) is None
