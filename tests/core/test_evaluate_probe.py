"""Probes: `N failures` is the hold, and only our own inability to try is unknown."""

from __future__ import annotations

from tests.core.series import Check, at, number, probe_rule, pulse
from watchdog.core.check import Reason
from watchdog.core.evaluate import wants_recheck
from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason
from watchdog.core.rule import Level

UNABLE = Failed(reason=FailReason.UNABLE, detail="no route to host")


def test_consecutive_failures_reach_levels_and_hold_at_once() -> None:
    check = Check(probe_rule(warning=2, critical=3, rollback=5))
    seen = [check.see(pulse(second, passed=False)) for second in range(6)]
    levels = [Level.OK, Level.WARNING, Level.CRITICAL, Level.CRITICAL, Level.ROLLBACK, Level.ROLLBACK]
    assert [each.verdict.level for each in seen] == levels
    assert [each.state.held for each in seen] == levels
    assert [each.state.latched for each in seen] == levels
    assert [each.verdict.limit for each in seen] == [2, 2, 3, 3, 5, 5]
    assert [each.verdict.value for each in seen] == [1, 2, 3, 4, 5, 6]
    assert {each.verdict.reason for each in seen} == {Reason.FAILURES}


def test_one_success_starts_the_count_afresh() -> None:
    check = Check(probe_rule())
    for second, passed in enumerate((False, False, True, False, False)):
        assert check.see(pulse(second, passed=passed)).state.held is Level.OK
    assert check.see(pulse(9, passed=False)).state.held is Level.CRITICAL


def test_a_dead_service_is_latched_until_enough_probes_passed() -> None:
    check = Check(probe_rule())
    check.live_through(pulse(second, passed=False) for second in range(5))
    seen = check.live_through(pulse(second, passed=True) for second in range(5, 8))
    assert [each.verdict.reason for each in seen] == [Reason.PASSED] * 3
    assert [each.verdict.level for each in seen] == [Level.OK] * 3
    assert [each.state.held for each in seen] == [Level.OK] * 3
    assert [each.state.latched for each in seen] == [Level.ROLLBACK, Level.ROLLBACK, Level.OK]


def test_a_failed_probe_starts_clearing_afresh() -> None:
    check = Check(probe_rule())
    check.live_through(pulse(second, passed=False) for second in range(3))
    for second, passed in enumerate((True, True, False, True, True), start=3):
        assert check.see(pulse(second, passed=passed)).state.latched is Level.CRITICAL
    assert check.see(pulse(9, passed=True)).state.latched is Level.OK


def test_our_own_inability_is_unknown_and_leaves_the_count_alone() -> None:
    check = Check(probe_rule())
    check.live_through(pulse(second, passed=False) for second in range(2))
    verdict = check.verdict(UNABLE, now=10)
    assert (verdict.level, verdict.reason) == (Level.UNKNOWN, Reason.UNABLE)
    assert check.state.probe_failures == 2
    assert check.state.blind_since == at(10)
    assert check.see(pulse(20, passed=False)).state.held is Level.CRITICAL
    assert check.state.blind_since is None


def test_inability_for_too_long_resets_the_count() -> None:
    check = Check(probe_rule())
    check.live_through(pulse(second, passed=False) for second in range(2))
    check.see(UNABLE, now=10)
    assert check.see(UNABLE, now=100).state.probe_failures == 2
    assert check.see(UNABLE, now=100.1).state.probe_failures == 0
    assert check.see(pulse(101, passed=False)).state.held is Level.OK


def test_inability_before_a_late_answer_resets_the_count_too() -> None:
    check = Check(probe_rule())
    check.live_through(pulse(second, passed=False) for second in range(4))
    check.see(UNABLE, now=10)
    assert check.see(pulse(200, passed=False)).state.probe_failures == 1


def test_probes_are_never_quarantined() -> None:
    check = Check(probe_rule(rollback=1, critical=None))
    for second in range(5):
        check.see(UNABLE, now=second)
    assert check.see(pulse(6, passed=False)).state.held is Level.ROLLBACK
    assert check.state.failures == 0


def test_every_probe_is_fresh() -> None:
    check = Check(probe_rule())
    verdicts = [check.verdict(pulse(0, passed=False)) for _ in range(3)]
    assert all(verdict.fresh for verdict in verdicts)
    assert check.state.held is Level.CRITICAL


def test_the_first_failure_begins_an_episode_and_wants_a_recheck() -> None:
    check = Check(probe_rule())
    check.see(pulse(0, passed=True))
    assert (check.state.breached_at, wants_recheck(check.state, at(1))) == (None, False)
    check.see(pulse(30, passed=False))
    assert (check.state.breached_at, wants_recheck(check.state, at(31))) == (at(30), True)
    check.see(pulse(60, passed=True))
    assert (check.state.breached_at, wants_recheck(check.state, at(61))) == (None, False)


def test_a_probe_that_can_do_no_worse_is_not_rechecked() -> None:
    check = Check(probe_rule(critical=2, rollback=None))
    check.see(pulse(0, passed=False))
    assert wants_recheck(check.state, at(1))
    check.see(pulse(5, passed=False))
    assert check.state.held is Level.CRITICAL
    assert not wants_recheck(check.state, at(6))


def test_a_number_for_a_probe_is_unknown() -> None:
    check = Check(probe_rule())
    verdict = check.verdict(number(99, 0))
    assert (verdict.level, verdict.reason) == (Level.UNKNOWN, Reason.MALFORMED)
    assert check.verdict(NoData(reason=NoDataReason.EMPTY), now=1).reason is Reason.EMPTY
