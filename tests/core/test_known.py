from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.core.series import ALWAYS_THE_SAME, at
from watchdog.core.check import KnownLog, KnownRun, Reason, Verdict
from watchdog.core.known import KEPT_FOR, KEPT_RUNS, newest_before, remember
from watchdog.core.rule import Level

HOUR = 3600.0


def verdict(level: Level, seconds: float, *, fresh: bool = True) -> Verdict:
    return Verdict(level=level, reason=Reason.WITHIN, at=at(seconds), fresh=fresh)


def log_of(*seen: tuple[Level, float, str]) -> KnownLog:
    log = KnownLog()
    for level, seconds, version in seen:
        log = remember(log, verdict(level, seconds), version)
    return log


def run(level: Level, version: str, first: float, last: float) -> KnownRun:
    return KnownRun(level=level, version=version, first_at=at(first), last_at=at(last))


def test_equal_verdicts_on_one_version_are_one_run() -> None:
    log = log_of((Level.OK, 0, "v1"), (Level.OK, 30, "v1"), (Level.OK, 60, "v1"))
    assert log.runs == (run(Level.OK, "v1", 0, 60),)


def test_another_level_or_another_version_begins_a_run() -> None:
    log = log_of(
        (Level.OK, 0, "v1"), (Level.CRITICAL, 30, "v1"), (Level.CRITICAL, 60, "v2"), (Level.OK, 90, "v1")
    )
    assert log.runs == (
        run(Level.OK, "v1", 0, 0),
        run(Level.CRITICAL, "v1", 30, 30),
        run(Level.CRITICAL, "v2", 60, 60),
        run(Level.OK, "v1", 90, 90),
    )


def test_two_live_versions_judged_in_turns_are_two_runs() -> None:
    seen = [
        (level, 30.0 * i, v) for i in range(500) for level, v in ((Level.OK, "v1"), (Level.CRITICAL, "v2"))
    ]
    assert log_of(*seen).runs == (run(Level.OK, "v1", 0, 14970), run(Level.CRITICAL, "v2", 0, 14970))


def test_silence_leaves_no_trace() -> None:
    log = log_of((Level.OK, 0, "v1"))
    assert remember(log, verdict(Level.UNKNOWN, 30), "v1") is log


def test_a_repeated_scrape_leaves_no_trace() -> None:
    log = log_of((Level.OK, 0, "v1"))
    assert remember(log, verdict(Level.OK, 30, fresh=False), "v1") is log


def test_runs_that_ended_too_long_ago_are_dropped() -> None:
    kept = log_of((Level.OK, 0, "v1"), (Level.WARNING, 25 * HOUR, "v1"))
    dropped = log_of((Level.OK, 0, "v1"), (Level.WARNING, 25 * HOUR + 1, "v1"))
    assert [entry.level for entry in kept.runs] == [Level.OK, Level.WARNING]
    assert [entry.level for entry in dropped.runs] == [Level.WARNING]


def test_a_run_is_not_extended_over_more_silence_than_is_kept() -> None:
    log = log_of((Level.OK, 0, "v1"), (Level.OK, 26 * HOUR, "v1"))
    assert log.runs == (run(Level.OK, "v1", 26 * HOUR, 26 * HOUR),)


def test_a_flapping_rule_keeps_its_newest_runs() -> None:
    log = log_of(*((Level.WARNING if i % 2 else Level.OK, float(i), "v1") for i in range(KEPT_RUNS + 50)))
    assert len(log.runs) == KEPT_RUNS
    assert log.runs[-1].last_at == at(KEPT_RUNS + 49)
    assert log.runs[0].first_at == at(50)


def test_a_clock_that_goes_back_shortens_no_run() -> None:
    assert log_of((Level.OK, 60, "v1"), (Level.OK, 30, "v1")).runs == (run(Level.OK, "v1", 60, 60),)


def test_the_newest_known_level_before_a_moment_answers() -> None:
    log = log_of(
        (Level.OK, 0, "v1"), (Level.OK, 60, "v1"), (Level.CRITICAL, 120, "v1"), (Level.OK, 300, "v2")
    )
    assert newest_before(log, at(-1)) is None
    assert newest_before(log, at(0)) == (Level.OK, at(0))
    assert newest_before(log, at(30)) == (Level.OK, at(30))
    assert newest_before(log, at(119)) == (Level.OK, at(60))
    assert newest_before(log, at(120)) == (Level.CRITICAL, at(120))
    assert newest_before(log, at(299)) == (Level.CRITICAL, at(120))
    assert newest_before(log, at(9999)) == (Level.OK, at(300))


def test_nothing_known_is_no_answer() -> None:
    assert newest_before(KnownLog(), at(0)) is None


def test_what_was_known_longer_ago_than_a_day_is_not_known() -> None:
    log = log_of((Level.OK, 0, "v1"))
    assert newest_before(log, at(24 * HOUR)) == (Level.OK, at(0))
    assert newest_before(log, at(24 * HOUR + 1)) is None
    assert newest_before(log, at(61), within=timedelta(minutes=1)) is None


def test_of_two_versions_known_at_that_moment_the_worse_answers() -> None:
    for first, second in ((Level.OK, Level.CRITICAL), (Level.CRITICAL, Level.OK)):
        log = log_of((first, 0, "v1"), (second, 1, "v2"), (first, 60, "v1"), (second, 61, "v2"))
        assert newest_before(log, at(30)) == (Level.CRITICAL, at(30))


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Level)), st.integers(0, 120_000), st.sampled_from(["", "v1", "v2"])),
        max_size=60,
    )
)
@ALWAYS_THE_SAME
def test_the_log_stays_bounded_and_never_answers_with_the_future_or_the_unknown(
    seen: list[tuple[Level, int, str]],
) -> None:
    log = KnownLog()
    for level, seconds, version in sorted(seen, key=lambda one: one[1]):
        log = remember(log, verdict(level, seconds), version)
        assert len(log.runs) <= KEPT_RUNS
        found = newest_before(log, at(seconds))
        if level is not Level.UNKNOWN:
            assert all(at(seconds) - entry.last_at <= KEPT_FOR for entry in log.runs)
            assert found is not None
        if found is not None:
            assert found[0] is not Level.UNKNOWN
            assert at(seconds) - timedelta(hours=24) <= found[1] <= at(seconds)
