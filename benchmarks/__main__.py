"""`make bench`: prints one table. Real Prometheus, Alertmanager and HAProxy on loopback; needs Debian's packages."""

from __future__ import annotations

import argparse
import asyncio
import sys

from rich.console import Console
from rich.table import Table

from benchmarks.figures import percentile, row
from benchmarks.judging import evaluations, steps
from benchmarks.paths import cores, measure

_HEAD = ("milliseconds", "n", "min", "p50", "p90", "p99", "max")


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--starts", type=int, default=10, help="starts of Prometheus, each with another phase"
    )
    parser.add_argument("--trials", type=int, default=5, help="bad deployments a start")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    out = Console(highlight=False)
    table = Table(*_HEAD, title=f"{given.starts} starts, {given.trials} deployments each, {cores()} cores")
    table.add_row(*row("one evaluation", evaluations(20_000)))
    table.add_row(*row("one step of the reactor", steps(20_000)))
    timings = asyncio.run(
        measure(
            starts=given.starts,
            trials=given.trials,
            seed=given.seed,
            tell=lambda line: print(line, file=sys.stderr, flush=True),
        )
    )
    table.add_row(*row("answer arrived → switch acknowledged", timings.answered_to_switched))
    table.add_row(*row("metric crossed → switch acknowledged", timings.crossed_to_switched))
    table.add_row(*row("metric crossed → Alertmanager's webhook", timings.crossed_to_webhook))
    out.print(table)
    ours, theirs = timings.crossed_to_switched, timings.crossed_to_webhook
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        ratio = percentile(theirs, share) / percentile(ours, share)
        out.print(
            f"{name}: Alertmanager tells of it after {ratio:.2f} times the time the watchdog needs to have switched"
        )


if __name__ == "__main__":
    main()
