"""`python -m benchmarks.backtest`: how fast rules are replayed over history, beside every sample evaluated.

A month of polls every 30 seconds for each of a hundred checks of several kinds: mostly healthy, with noise, incidents,
silences and nights without traffic. Seconds are those of one core; what loads the data does not count. In the same run
some of the checks are replayed sample by sample, and both ways must say the same in full.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import timedelta

import numpy as np
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from watchdog.core.burning import BurnLimit, Slo
from watchdog.core.rule import (
    Against,
    Aggregate,
    Baseline,
    Direction,
    Evidence,
    Gauge,
    Holds,
    Quantile,
    Rate,
    Ratio,
    Rule,
    Samples,
    Thresholds,
    Unit,
)
from watchdog.lab.replay import plain, replay
from watchdog.lab.track import Track
from watchdog.lab.usual import References, references_of

STEP = 30.0
DAY = int(86400 / STEP)
#: 2026-01-05, a Monday.
_BEGIN = 1_767_571_200.0
_HOLDS = Holds(rollback=Samples(2))

ERRORS = Rule(
    name="error-rate",
    form=Ratio(bad="bad", total="total"),
    unit=Unit.RATIO,
    thresholds=Thresholds(warning=0.005, critical=0.01, rollback=0.015),
    evidence=Evidence(),
    hold=_HOLDS,
)
SLOW = Rule(
    name="latency-p95",
    form=Quantile(of="latency", q=0.95),
    unit=Unit.SECONDS,
    thresholds=Thresholds(warning=0.5, critical=1.0, rollback=1.5),
    evidence=Evidence(min_events=100, bound=False),
    hold=_HOLDS,
)
QUEUE = Rule(
    name="queue",
    form=Gauge(of="queue", by=Aggregate.MAX),
    unit=Unit.COUNT,
    thresholds=Thresholds(warning=1000, critical=5000),
    hold=_HOLDS,
)
REQUESTS = Rule(
    name="requests",
    form=Rate(of="requests"),
    unit=Unit.COUNT,
    direction=Direction.BELOW,
    baseline=Baseline(
        against=Against.EARLIER,
        ago=timedelta(days=1),
        margins=Thresholds(warning=0.5, critical=0.6, rollback=0.9),
    ),
    hold=_HOLDS,
)
BUDGET = replace(
    ERRORS,
    name="error-budget",
    slo=Slo(
        objective=0.99,
        warning=None,
        critical=BurnLimit(factor=6.0, long=timedelta(hours=6), short=timedelta(minutes=30)),
    ),
    thresholds=Thresholds(critical=6.0, rollback=14.4),
)
#: How many of a hundred checks are of which rule.
MIX = ((ERRORS, 40), (SLOW, 25), (QUEUE, 20), (REQUESTS, 10), (BUDGET, 5))


def history(rule: Rule, days: int, seed: int) -> tuple[Track, References | None]:
    """A made-up month of one check: a day's rhythm, noise, an incident a week, some silences."""
    rng = np.random.default_rng(seed)
    count = days * DAY
    day = np.sin(np.arange(count) / DAY * 2 * np.pi)
    bad = np.zeros(count, dtype=np.bool_)
    for _ in range(max(1, days // 7)):
        first = int(rng.integers(0, count))
        bad[first : first + int(rng.integers(4, 120))] = True
    events = rng.poisson(float(rng.choice([60, 600, 6000])) * (1.2 + day)).astype(np.float64)
    failing: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
    if rule.unit is Unit.RATIO:
        failing = rng.binomial(events.astype(np.int64), np.where(bad, 0.08, 0.002)).astype(np.float64)
        values = failing / np.maximum(events, 1)
    elif rule.unit is Unit.SECONDS:
        values = np.where(bad, 2.0, 0.2) * rng.lognormal(0, 0.12, count)
    elif rule.direction is Direction.BELOW:
        values = np.where(bad, 1.0, 100.0) * (1.6 + day) * rng.lognormal(0, 0.05, count)
    else:
        values = np.where(bad, 6000.0, 200.0) * rng.lognormal(0, 0.3, count)
    for _ in range(days // 3):
        first = int(rng.integers(0, count))
        values[first : first + int(rng.integers(1, 60))] = np.nan
    track = Track(
        name=f"{rule.name}-{seed}",
        times=_BEGIN + STEP * np.arange(count, dtype=np.float64),
        values=values,
        step=STEP,
        events=None if rule.evidence is None else np.where(np.isnan(values), np.nan, events),
        bad=None if failing is None else np.where(np.isnan(values), np.nan, failing),
    )
    return track, references_of(rule, track)


def main() -> int:
    """Print the figures; 1 when the two ways differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checks", type=int, default=100, help="how many checks")
    parser.add_argument("--days", type=int, default=30, help="how much history of each")
    parser.add_argument(
        "--plain", type=int, default=1, help="how many of each rule are evaluated sample by sample"
    )
    wanted = parser.parse_args()
    table = Table(title="Back-test, one core", title_justify="left")
    for column in (
        "rule",
        "checks",
        "evaluations",
        "seconds",
        "a second",
        "sample by sample",
        "times",
        "same",
    ):
        table.add_column(column, justify="left" if column == "rule" else "right")
    whole = samples = 0.0
    same = True
    for rule, share in MIX:
        checks = max(1, share * wanted.checks // 100)
        fast, slow, alike, evaluated = _measured(rule, checks, wanted.days, wanted.plain)
        count = checks * wanted.days * DAY
        whole, samples, same = whole + fast, samples + count, same and alike
        each = f"{evaluated / slow:,.0f}" if slow else "-"
        ratio = f"{count / fast / (evaluated / slow):.0f}" if slow else "-"
        table.add_row(
            rule.name,
            str(checks),
            f"{count:,}",
            f"{fast:.2f}",
            f"{count / fast:,.0f}",
            each,
            ratio,
            ("yes" if alike else "NO") if slow else "-",
        )
    table.add_row(
        "all", str(wanted.checks), f"{samples:,.0f}", f"{whole:.2f}", f"{samples / whole:,.0f}", "", "", ""
    )
    Console(highlight=False, width=110).print(table)
    return 0 if same else 1


def _measured(rule: Rule, checks: int, days: int, compared: int) -> tuple[float, float, bool, int]:
    """Seconds of the fast way for all checks and of the plain way for some; whether they agree; plain evaluations."""
    fast = slow = 0.0
    alike, evaluated = True, 0
    for seed in range(checks):
        track, references = history(rule, days, seed)
        began = time.process_time()
        told = replay(rule, track, references=references)
        fast += time.process_time() - began
        if seed < compared:
            began = time.process_time()
            alike = plain(rule, track, references=references) == told and alike
            slow += time.process_time() - began
            evaluated += len(track)
    return fast, slow, alike, evaluated


if __name__ == "__main__":
    sys.exit(main())
