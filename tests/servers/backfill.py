"""History for a real Prometheus: OpenMetrics text with timestamps, which `Prometheus(history=...)` takes at its start.

Samples lie a step apart and begin at a whole step. Deterministic: the same arguments give the same text.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Labels = Mapping[str, str]


@dataclass(kw_only=True)
class Backfill:
    """Metrics from `begin` (Unix seconds) on, one sample every `step` seconds."""

    begin: int
    step: int = 60
    families: dict[str, list[str]] = field(default_factory=dict)

    def counter(self, name: str, labels: Labels, rises: Iterable[float | None]) -> None:
        """`name` without `_total`. What it rose in each step; `None` is a scrape that did not happen."""
        total = 0.0
        values: list[float | None] = []
        for rise in rises:
            total += rise or 0.0
            values.append(None if rise is None else total)
        self._series("counter", name, f"{name}_total", labels, values)

    def gauge(self, name: str, labels: Labels, values: Iterable[float | None]) -> None:
        """Its values; `None` is a scrape that did not happen."""
        self._series("gauge", name, name, labels, values)

    def _series(
        self, kind: str, family: str, name: str, labels: Labels, values: Iterable[float | None]
    ) -> None:
        lines = self.families.setdefault(family, [f"# TYPE {family} {kind}"])
        shown = ",".join(f'{label}="{value}"' for label, value in labels.items())
        lines += [
            f"{name}{{{shown}}} {value!r} {self.begin + number * self.step}"
            for number, value in enumerate(values)
            if value is not None
        ]

    def text(self) -> str:
        """All of it, without the end mark."""
        return "\n".join(line for lines in self.families.values() for line in lines) + "\n"


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A history of a service `trips`, and what happened in it (Unix seconds).

    Version v1 served from `begin` to `deployed`, v2 from then to `end`. From `failing` on v2 answered a fifth of its
    requests with 500, for 20 minutes. In the hour from `silent` on nothing was scraped. At `blip` one minute was bad.
    """

    text: str
    begin: int
    deployed: int
    failing: int
    silent: int
    blip: int
    end: int


def shop(end: int, *, days: float = 3, step: int = 60, service: str = "trips") -> Shop:
    """`http_requests_total{service,version,status}` and `queue_depth{service}`, until `end`, 600 requests a step."""
    count = int(days * 86400 / step)
    begin = end - end % step - count * step
    deployed, silent, blip = count // 2, count // 4, count // 8
    failing = deployed + 600 // step
    chance = random.Random(service)
    rises: dict[tuple[str, str], list[float | None]] = {
        (version, status): [] for version in ("v1", "v2") for status in ("200", "500")
    }
    depths: list[float | None] = []
    for at in range(count + 1):
        serving = "v2" if at >= deployed else "v1"
        share = 0.2 if failing <= at < failing + 1200 // step or at == blip else 0.001
        bad = sum(chance.random() < share for _ in range(600))
        quiet = silent <= at < silent + 3600 // step
        depths.append(None if quiet else float(chance.randint(0, 40)))
        for (version, status), rise in rises.items():
            served = 0 if version != serving else bad if status == "500" else 600 - bad
            unborn = version == "v2" and at < deployed - 5
            rise.append(None if quiet or unborn else float(served))
    made = Backfill(begin=begin, step=step)
    for (version, status), rise in rises.items():
        made.counter("http_requests", {"service": service, "version": version, "status": status}, rise)
    made.gauge("queue_depth", {"service": service}, depths)
    moments = {
        name: begin + at * step
        for name, at in {"deployed": deployed, "failing": failing, "silent": silent, "blip": blip}.items()
    }
    return Shop(text=made.text(), begin=begin, end=begin + count * step, **moments)
