"""Simulated services: what is drawn, that skipping changes nothing, and that the same seed gives the same figures."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from tests.lab.tracks import QUEUE
from watchdog.core.errors import ConfigError
from watchdog.core.observation import NoData, Value
from watchdog.core.rule import Direction, Evidence, Thresholds
from watchdog.lab.noise import DAY, NOISES, SLOT, Counts, Fault, Noise, counts
from watchdog.lab.simulate import (
    BARE,
    DEFAULT,
    FOR_3,
    NO_EVIDENCE,
    Judge,
    delay,
    episodes,
    error_rate,
    held,
    judge_of,
)
from watchdog.lab.simulate_plan import Plan, simulate

#: So noisy that every judge finds something.
WILD = Noise(healthy=0.01, burst=2.0, blips_a_day=20, blip_slots=60, blip_share=0.3)


def test_requests_arrive_as_often_and_fail_as_often_as_was_said() -> None:
    seen = counts(Noise(healthy=0.02), 10.0, DAY, seed="a")
    assert seen.total[-1] == pytest.approx(10 * 86400, rel=0.01)
    assert seen.bad[-1] / seen.total[-1] == pytest.approx(0.02, rel=0.05)


def test_bursts_leave_the_mean_as_it_is_and_spread_it() -> None:
    even, bursty = (
        np.diff(counts(Noise(healthy=0.02, burst=burst), 10.0, 5 * DAY, seed="b").bad) for burst in (0.0, 1.0)
    )
    assert bursty.mean() == pytest.approx(even.mean(), rel=0.05)
    assert bursty.var() > 1.5 * even.var()


def test_blips_are_as_many_and_as_long_as_was_said() -> None:
    noise = Noise(healthy=0.0, blips_a_day=3, blip_slots=36, blip_share=0.5)
    bad = np.diff(counts(noise, 100.0, DAY, seed="c").bad)
    assert np.count_nonzero(bad) == pytest.approx(3 * 36, abs=36), "two may overlap, one may begin at the end"


def test_a_fault_begins_at_its_slot() -> None:
    seen = counts(Noise(healthy=0.0), 100.0, 200, seed="d", fault=Fault(share=1.0, begins=120))
    assert seen.bad[120] == 0
    assert seen.total[-1] - seen.total[120] == seen.bad[-1] > 0, "nothing succeeds any more"
    half = counts(Noise(healthy=0.0), 100.0, 2000, seed="d", fault=Fault(share=0.5, begins=0))
    assert half.bad[-1] / half.total[-1] == pytest.approx(0.5, rel=0.02)


def test_a_poll_sees_the_window_before_it() -> None:
    given = iter((5, 5, 5, 0, 0))
    seen = Counts(iter((1, 2, 0, 0, 0)), lambda: next(given))
    value = seen.seen(2, 2)
    assert isinstance(value, Value)
    assert (value.bad, value.events, value.value) == (3.0, 13.0, 3 / 13)
    good = seen.seen(2, 2, good=True)
    assert isinstance(good, Value)
    assert (good.bad, good.value) == (10.0, 10 / 13)
    assert isinstance(seen.seen(5, 2), NoData)
    bad, total = seen.windows(2)
    assert bad.tolist() == [0, 0, 3, 2, 0, 0]
    assert total.tolist() == [0, 0, 13, 12, 5, 0]


@pytest.mark.parametrize("noise", [*NOISES.values(), WILD], ids=[*NOISES, "wild"])
@pytest.mark.parametrize("judge", [DEFAULT, BARE, FOR_3, NO_EVIDENCE], ids=lambda judge: judge.name)
def test_polls_that_are_skipped_would_have_changed_nothing(judge: Judge, noise: Noise) -> None:
    for rate in (0.3, 10.0):
        seen = counts(noise, rate, DAY // 4, seed=f"skip/{rate}")
        assert list(held(judge, seen, DAY // 4)) == list(held(judge, seen, DAY // 4, skip=False))


@pytest.mark.parametrize(
    "evidence", [Evidence(confidence=0.8, min_bad=0, excess=0.0), Evidence(min_events=200, excess=0.5)]
)
def test_nor_with_other_evidence_windows_and_holds(evidence: Evidence) -> None:
    rule = replace(
        error_rate(evidence, 1), window=timedelta(minutes=5), interval=timedelta(seconds=60), clear=5
    )
    judge = Judge(name="other", rule=rule)
    for rate in (1.0, 20.0):
        seen = counts(WILD, rate, DAY // 2, seed=f"other/{rate}")
        found = list(held(judge, seen, DAY // 2))
        assert found == list(held(judge, seen, DAY // 2, skip=False))
        assert found or rate < 20, "there was something to find"


def test_a_share_of_what_went_well_is_simulated_too() -> None:
    rule = replace(
        error_rate(Evidence()),
        direction=Direction.BELOW,
        thresholds=Thresholds(critical=0.99, rollback=0.985),
    )
    judge = judge_of(rule)
    seen = counts(WILD, 10.0, DAY // 2, seed="below")
    assert list(held(judge, seen, DAY // 2)) == list(held(DEFAULT, seen, DAY // 2))
    assert list(held(judge, seen, DAY // 2)) == list(held(judge, seen, DAY // 2, skip=False))


def test_a_total_failure_is_believed_within_a_minute_and_a_fifth_within_three() -> None:
    for share, within in ((1.0, 60.0), (0.2, 180.0)):
        delays = sorted(delay(DEFAULT, share, 10.0, seed=f"{share}/{number}") or 1e9 for number in range(15))
        assert delays[7] <= within


def test_without_a_recheck_a_fault_is_believed_later() -> None:
    slow = replace(DEFAULT, recheck=False)
    one, other = (
        [delay(judge, 0.5, 10.0, seed=f"{number}") or 1e9 for number in range(10)]
        for judge in (DEFAULT, slow)
    )
    assert sum(one) < sum(other)


def test_a_plan_gives_the_same_figures_with_any_number_of_processes() -> None:
    plan = Plan(noise=WILD, rates=(1.0, 10.0), weeks=1, shares=(1.0, 0.02), faults=12, life=DAY // 2)
    steps: list[None] = []
    alone = simulate(plan, done=lambda: steps.append(None))
    assert len(steps) == plan.steps
    assert simulate(plan, jobs=2, done=lambda: steps.append(None)) == alone
    assert len(steps) == 2 * plan.steps
    assert simulate(msgspec.structs.replace(plan, seed=1)) != alone


def test_the_outcome_of_all_rates_is_that_of_their_sum() -> None:
    plan = Plan(judge=NO_EVIDENCE, rates=(1.0, 3.0), weeks=2, shares=(1.0,), faults=3, life=DAY // 4)
    one, other, both = simulate(plan)
    assert (one.rate, other.rate, both.rate) == (1.0, 3.0, None)
    assert both.false_rollbacks == one.false_rollbacks + other.false_rollbacks > 0
    assert both.weeks == pytest.approx(1 / 7)
    assert both.false_per_week == pytest.approx(both.false_rollbacks * 7, abs=1e-3)
    low, high = both.false_per_week_ci
    assert low < both.false_per_week < high
    assert both.faults[0].faults == 6
    assert one.faults[0].delay_seconds_median is not None


def test_what_is_never_decided_has_no_delay() -> None:
    (outcome, _) = simulate(Plan(rates=(0.1,), weeks=1, shares=(1.0,), faults=3))
    assert (outcome.faults[0].decided, outcome.faults[0].delay_seconds_median) == (0, None)


def test_episodes_close_together_are_one() -> None:
    noise = Noise(healthy=0.0, blips_a_day=4, blip_slots=1200 // SLOT, blip_share=0.5)
    assert episodes(DEFAULT, noise, 10.0, slots=DAY, seed="one") <= 4


def test_only_rules_that_count_requests_can_be_simulated() -> None:
    with pytest.raises(ConfigError, match="no `ratio`"):
        judge_of(QUEUE)
    with pytest.raises(ConfigError, match="never rolls back"):
        judge_of(replace(error_rate(Evidence()), thresholds=Thresholds(critical=0.01)))
