"""`python -m benchmarks.noise`: how often a healthy service would be rolled back, and how soon a fault is believed.

Prints what `watchdog.lab.simulate` simulates, for weeks; nothing is judged here. Seeded: the same figures every time.
"""

from __future__ import annotations

import argparse
import math
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.figures import percentile
from watchdog.lab.noise import DAY, NOISES, RATES, WEEK
from watchdog.lab.score_figures import poisson_interval
from watchdog.lab.simulate import BARE, DEFAULT, JUDGES, Judge, delay, episodes

FAULTS = (1.0, 0.5, 0.2, 0.1, 0.05)


def per_week(count: int, weeks: float) -> str:
    """A rate with its interval."""
    low, high = poisson_interval(count)
    return f"{count / weeks:.3g} ({low / weeks:.3g}–{high / weeks:.3g})"


def main() -> None:
    """Read the arguments, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--days", type=int, default=84, help="days of each noise and rate; whole weeks from 7 on"
    )
    parser.add_argument("--faults", type=int, default=200, help="faults of each share and rate")
    given = parser.parse_args()
    out = Console(highlight=False)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        out.print(_false_rollbacks(pool, given.days))
        for rate in (1.0, 10.0):
            out.print(_delays(pool, given.faults, rate))


def _false_rollbacks(pool: ProcessPoolExecutor, days: int) -> Table:
    """The naive judges are wrong so often that a sixth of the time says it."""
    slots = min(days, 7) * DAY
    runs = {judge.name: max(1, days // (7 if judge is DEFAULT else 42)) for judge in JUDGES}
    table = Table(
        "noise",
        *(judge.name for judge in JUDGES),
        title=f"false rollbacks a service-week, {len(RATES)} services of {RATES[0]:g} to {RATES[-1]:g} requests/s; "
        f"{runs[DEFAULT.name]} times {slots // DAY} days each, of the others {runs[BARE.name]} times",
    )
    jobs = {
        (noise, judge.name): [
            pool.submit(episodes, judge, NOISES[noise], rate, slots=slots, seed=f"{noise}/{rate}/{seed}")
            for rate in RATES
            for seed in range(runs[judge.name])
        ]
        for noise in NOISES
        for judge in JUDGES
    }
    for noise in NOISES:
        cells = []
        for judge in JUDGES:
            weeks = runs[judge.name] * len(RATES) * slots / WEEK
            cells.append(per_week(sum(job.result() for job in jobs[noise, judge.name]), weeks))
        table.add_row(noise, *cells)
    return table


def _delays(pool: ProcessPoolExecutor, faults: int, rate: float) -> Table:
    table = Table(
        "requests that fail",
        *(judge.name for judge in JUDGES),
        title=f"seconds until the rollback is decided, {rate:g} requests/s: median, 95 % of {faults}",
    )
    for share in FAULTS:
        cells = []
        for judge in JUDGES:
            found = pool.map(partial(_delay, judge, share, rate), range(faults), chunksize=20)
            taken = [math.inf if one is None else one for one in found]
            cells.append(f"{median(taken):g}, {percentile(taken, 0.95):g}")
        table.add_row(f"{share:.0%}", *cells)
    return table


def _delay(judge: Judge, share: float, rate: float, number: int) -> float | None:
    return delay(judge, share, rate, seed=f"fault/{share}/{rate}/{number}")


if __name__ == "__main__":
    main()
