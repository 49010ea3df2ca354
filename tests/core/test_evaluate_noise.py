"""Detection quality at a 30 s poll: a healthy service in its noise, and how soon real faults are believed.

The figures of the failure catalogue (§2.2) as a test: half a percent of errors, critical at 1 %, rollback at 1.5 %.
`python -m benchmarks.noise` prints them; what is simulated here is a part of that.
"""

from __future__ import annotations

import pytest

from tests.soak import Counted
from watchdog.lab.noise import DAY, NOISES, RATES, WEEK
from watchdog.lab.score_figures import poisson_interval
from watchdog.lab.simulate import BARE, DEFAULT, FOR_3, NO_EVIDENCE, Judge
from watchdog.lab.simulate import delay as delayed
from watchdog.lab.simulate import episodes as counted_episodes

INDEPENDENT, BURSTY, SIXTY, THREE_MINUTES = NOISES


def episodes(judge: Judge, noise: str, rate: float, *, slots: int = WEEK, seed: int) -> int:
    """How often a healthy service would be rolled back."""
    return counted_episodes(judge, NOISES[noise], rate, slots=slots, seed=f"{noise}/{rate}/{seed}")


def delay(judge: Judge, share: float, rate: float, seed: int) -> float | None:
    """Seconds until a fault is believed."""
    return delayed(judge, share, rate, seed=f"fault/{share}/{rate}/{seed}")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("rate", [1.0, 10.0])
def test_a_healthy_week_has_no_false_rollback(rate: float) -> None:
    assert episodes(DEFAULT, INDEPENDENT, rate, seed=1000) == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("noise", NOISES)
def test_no_noise_rolls_back_a_healthy_service_in_a_day(noise: str) -> None:
    rates = RATES if noise == BURSTY else RATES[::2]
    assert sum(episodes(DEFAULT, noise, rate, slots=DAY, seed=2000) for rate in rates) == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("judge", [BARE, NO_EVIDENCE, FOR_3], ids=lambda judge: judge.name)
def test_a_naive_rule_would_have_rolled_back_again_and_again(judge: Judge) -> None:
    assert sum(episodes(judge, INDEPENDENT, rate, slots=DAY, seed=30) for rate in (0.3, 1.0)) > 20


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("noise", "allowed"), [(INDEPENDENT, 0.05), (BURSTY, 0.05), (SIXTY, 0.05), (THREE_MINUTES, 0.5)]
)
@pytest.mark.parametrize("part", range(2))
def test_weeks_of_noise_have_fewer_false_rollbacks_than_allowed(
    noise: str, allowed: float, part: int, counted: Counted
) -> None:
    """Twelve weeks of every rate in each part: even the upper end of what is found is below what is allowed."""
    weeks = 12
    found = {
        rate: sum(
            episodes(DEFAULT, noise, rate, seed=seed) for seed in range(weeks * part, weeks * (part + 1))
        )
        for rate in RATES
    }
    counted(weeks * len(RATES), f"service-weeks of noise: {noise}")
    counted(sum(found.values()), f"false rollbacks in noise: {noise}")
    _, at_most = poisson_interval(sum(found.values()))
    assert at_most / (weeks * len(RATES)) <= allowed, found


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("share", "held"), [(1.0, 90.0), (0.5, 90.0), (0.2, 180.0), (0.1, 300.0), (0.05, 750.0)]
)
def test_nineteen_of_twenty_faults_are_decided_in_time(share: float, held: float) -> None:
    delays = [delay(DEFAULT, share, 10.0, seed) for seed in range(40)]
    assert sum(one is not None and one <= held for one in delays) >= 38


def test_a_service_with_too_few_requests_is_never_rolled_back_on_a_ratio() -> None:
    assert delay(DEFAULT, 1.0, RATES[0], 1) is None, "people are told that nothing is known"


@pytest.mark.parametrize(("count", "low", "high"), [(0, 0.0, 3.689), (10, 4.795, 18.39), (100, 81.36, 121.6)])
def test_the_interval_of_a_count_is_that_of_the_tables(count: int, low: float, high: float) -> None:
    """Garwood's exact limits."""
    found = poisson_interval(count)
    assert found[0] == pytest.approx(low, rel=0.001)
    assert found[1] == pytest.approx(high, rel=0.001)
