"""`python -m benchmarks.evidence`: why the evidence of a ratio is what it is by default (design §5).

Each row changes one of its numbers: how often a healthy service would be rolled back then, and how soon a fault is
believed. Simulated requests, the daemon's own evaluation; seeded: the same figures every time.
"""

from __future__ import annotations

import argparse
import math
import os
from concurrent.futures import Future, ProcessPoolExecutor
from statistics import median

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from watchdog.core.rule import Evidence
from watchdog.lab.noise import NOISES, RATES, WEEK
from watchdog.lab.score_figures import poisson_interval
from watchdog.lab.simulate import Judge, delay, episodes, error_rate

VARIATIONS: dict[str, Evidence | None] = {
    "the defaults": Evidence(),
    "min_events 5": Evidence(min_events=5),
    "min_events 50": Evidence(min_events=50),
    "min_bad 0": Evidence(min_bad=0),
    "min_bad 5": Evidence(min_bad=5),
    "min_bad 20": Evidence(min_bad=20),
    "confidence 90 %": Evidence(confidence=0.9),
    "confidence 95 %": Evidence(confidence=0.95),
    "confidence 99.9 %": Evidence(confidence=0.999),
    "excess 0 %": Evidence(excess=0.0),
    "excess 10 %": Evidence(excess=0.1),
    "excess 40 %": Evidence(excess=0.4),
    "confidence 95 %, min_bad 5, excess 10 %": Evidence(confidence=0.95, min_bad=5, excess=0.1),
    "none of it": None,
}
#: Requests a second, and the share that fails.
FAULTS = ((1.0, 1.0), (10.0, 1.0), (1.0, 0.2), (10.0, 0.2), (10.0, 0.1), (10.0, 0.05))
Row = tuple[list[list[Future[int]]], list[list[Future[float | None]]]]


def main() -> None:
    """Read the arguments, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weeks", type=int, default=2, help="service-weeks of each noise and rate")
    parser.add_argument("--faults", type=int, default=100, help="faults of each share and rate")
    given = parser.parse_args()
    names = [*NOISES, *(f"{share:.0%} fail, {rate:g}/s" for rate, share in FAULTS)]
    table = Table("evidence", *names, box=MARKDOWN)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        rows = {
            name: _row(pool, evidence, given.weeks, given.faults) for name, evidence in VARIATIONS.items()
        }
        for name, (lives, faults) in rows.items():
            cells = [_weekly([one.result() for one in found], given.weeks * len(RATES)) for found in lives]
            cells += [_median([one.result() for one in found]) for found in faults]
            table.add_row(name, *cells)
    Console(highlight=False, width=240).print(table)


def _row(pool: ProcessPoolExecutor, evidence: Evidence | None, weeks: int, faults: int) -> Row:
    judge = Judge(name="", rule=error_rate(evidence))
    # What has no evidence is wrong so often that two days say it.
    slots = WEEK if evidence is not None else 2 * WEEK // 7
    lives = [
        [
            pool.submit(episodes, judge, noise, rate, slots=slots, seed=f"{name}/{rate}/{week}")
            for rate in RATES
            for week in range(weeks if evidence is not None else math.ceil(weeks * 3.5))
        ]
        for name, noise in NOISES.items()
    ]
    believed = [
        [
            pool.submit(delay, judge, share, rate, seed=f"fault/{share}/{rate}/{number}")
            for number in range(faults)
        ]
        for rate, share in FAULTS
    ]
    return lives, believed


def _weekly(counts: list[int], weeks: float) -> str:
    low, high = poisson_interval(sum(counts))
    return f"{sum(counts) / weeks:.3g} ({low / weeks:.2g}–{high / weeks:.2g})"


def _median(taken: list[float | None]) -> str:
    found = median(math.inf if one is None else one for one in taken)
    return "–" if math.isinf(found) else f"{found:g}"


if __name__ == "__main__":
    main()
