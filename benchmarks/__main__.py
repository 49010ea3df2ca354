"""`make bench`: prints one table. Real Prometheus, Alertmanager and HAProxy on loopback; needs Debian's packages."""

from __future__ import annotations

import argparse
import asyncio
import sys

from rich.console import Console
from rich.table import Table

from benchmarks.deciding import decisions
from benchmarks.figures import percentile, row
from benchmarks.fleet import Fleet
from benchmarks.fleet import measure as cost_of
from benchmarks.judging import evaluations, steps
from benchmarks.paths import cores, measure
from benchmarks.storm import measure as storm_of
from watchdog.app.run import tune
from watchdog.core.units import parse_duration

_HEAD = ("milliseconds", "n", "min", "p50", "p90", "p99", "max")


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--starts", type=int, default=10, help="starts of Prometheus, each with another phase"
    )
    parser.add_argument("--trials", type=int, default=5, help="bad deployments a start")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--services", type=int, default=1000, help="services of the daemon's cost; 0 leaves it out"
    )
    parser.add_argument("--rules", type=int, default=10, help="rules with `match` of each of them")
    parser.add_argument("--interval", default="10s", help="how often each of these rules is asked")
    parser.add_argument("--seconds", type=float, default=60, help="how long the daemon's cost is measured")
    parser.add_argument("--storm", type=int, default=1000, help="services that turn red at once; 0: none")
    given = parser.parse_args()
    out = Console(highlight=False)
    tune()
    if given.storm:
        _storm(given.storm, out)
    if given.starts:
        _speed(given, out)
    if given.services:
        _cost(given, out)


def _cost(given: argparse.Namespace, out: Console) -> None:
    fleet = Fleet(services=given.services, rules=given.rules, interval=parse_duration(given.interval))
    cost = asyncio.run(
        cost_of(fleet, seconds=given.seconds, tell=lambda line: print(line, file=sys.stderr, flush=True))
    )
    table = Table(
        "the daemon's cost", "measured", title=f"{fleet.name}, {cost.seconds:.0f} s, {cores()} cores"
    )
    table.add_row("share of one core", f"{cost.cpu:.0%}")
    table.add_row("memory (RSS; most of it)", f"{cost.resident / 2**20:.0f} MiB; {cost.peak / 2**20:.0f} MiB")
    table.add_row("questions asked of those planned", f"{cost.asked} of {cost.planned:.0f}")
    waits = ", ".join(f"{percentile(cost.waits, share) * 1000:.3g}" for share in (0.5, 0.9, 0.99))
    table.add_row("GET /healthz meanwhile: p50, p90, p99 (ms)", waits)
    out.print(table)


def _storm(services: int, out: Console) -> None:
    """Three times, each in a world of its own: the middle one, and the worst."""
    found = sorted((asyncio.run(storm_of(services)) for _ in range(3)), key=lambda storm: storm.told_after)
    middle, worst = found[1], found[-1]
    table = Table(f"{services} services red in one tick", "median", "worst of 3", title=f"{cores()} cores")
    table.add_row("processor time (s)", f"{middle.spent:.3g}", f"{worst.spent:.3g}")
    table.add_row(
        "all decided, on disk, and messages due (s)", f"{middle.told_after:.3g}", f"{worst.told_after:.3g}"
    )
    table.add_row("switches allowed", str(middle.intended), str(worst.intended))
    for name, storm in (("median", middle), ("worst", worst)):
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(storm.told.items()))
        out.print(f"messages, {name}: {told}")
    out.print(table)


def _speed(given: argparse.Namespace, out: Console) -> None:
    table = Table(*_HEAD, title=f"{given.starts} starts, {given.trials} deployments each, {cores()} cores")
    table.add_row(*row("one evaluation", evaluations(20_000)))
    table.add_row(*row("one step of the reactor", steps(20_000)))
    decided = asyncio.run(decisions(300))
    table.add_row(*row("one decision, until it is on disk", decided.whole))
    table.add_row(*row("  of that: guards, asked twice", decided.guards))
    table.add_row(*row("  of that: audit records, built and linked", decided.linked))
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
    spent = percentile(decided.guards, 0.5) + decided.audit
    share = spent / percentile(timings.answered_to_switched, 0.5)
    out.print(f"guards and audit: {share:.1%} of the way from the answer to the acknowledged switch (p50)")
    ours, theirs = timings.crossed_to_switched, timings.crossed_to_webhook
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        ratio = percentile(theirs, share) / percentile(ours, share)
        out.print(
            f"{name}: Alertmanager tells of it after {ratio:.2f} times the time the watchdog needs to have switched"
        )


if __name__ == "__main__":
    main()
