"""The forms that both sources evaluate, against each other: the same samples, one evaluation time, the same numbers.

What Prometheus 2.42 answers to `watchdog.core.promql` is the oracle of `watchdog.core.measure`. Where a counter that
began a little before the window was missed at its beginning, later Prometheus guess otherwise than 2.42; we go with
those, so no such thing happens here.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from tests.servers.process import http_get
from tests.servers.prometheus import Prometheus
from watchdog.core.measure import measure
from watchdog.core.promql import parts_of, with_matcher
from watchdog.core.rule import Aggregate, Gauge, Quantile, Rate
from watchdog.core.series import Memory, Scraped

WINDOW = timedelta(seconds=60)
CASES = 40
BOUNDS = ("0.005", "0.01", "0.1", "0.5", "1", "2.5", "10")


@dataclass(kw_only=True)
class Process:
    """One target: a histogram, and a gauge. Restarts now and then, is missed now and then."""

    case: int
    number: int
    random: random.Random
    rate: float = 0.0
    tail: float = 0.0
    bounds: tuple[str, ...] = ()
    counts: list[float] = field(default_factory=list)
    steady: bool = False

    def __post_init__(self) -> None:
        self.rate = self.random.choice((0.0, 0.3, 5.0, 200.0))
        self.tail = self.random.choice((0.0, 0.02, 0.3, 1.0))
        self.bounds = tuple(sorted(self.random.sample(BOUNDS, 5), key=float))
        begun = self.random.choice((0.0, 1e6))
        self.counts = [begun * (1 + index) for index in range(6)]
        self.steady = begun > 0 and self.random.random() < 0.5

    def live(self) -> None:
        if not self.steady and self.random.random() < 0.05:
            self.counts = [0.0] * 6
        events = self.random.randint(0, round(2 * self.rate * 5))
        for _ in range(events):
            beyond = self.random.random() < self.tail
            first = 5 if beyond else self.random.randint(0, 4)
            for index in range(first, 6):
                self.counts[index] += 1

    def missed(self, tick: int) -> bool:
        return self.random.random() < 0.1 and (self.steady or tick not in (11, 12, 13))

    def lines(self) -> Iterator[str]:
        labels = f'case="{self.case}",instance="{self.number}"'
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            yield f'seconds_bucket{{{labels},le="{bound}"}} {count}'
        yield f"depth{{{labels}}} {self.random.choice((-1, 0, 3.5, 1e12, 'NaN'))}"


@dataclass(kw_only=True)
class Both:
    """The same history in a Prometheus and in a scrape source's memory."""

    prometheus: Prometheus
    memory: Memory
    at: float

    def asked(self, form: Quantile | Rate | Gauge) -> dict[tuple[str, str], float]:
        """What Prometheus answers, by part and case."""
        found: dict[tuple[str, str], float] = {}
        for part, text in parts_of(form, WINDOW, by=("case",)).items():
            path = f"/api/v1/query?time={self.at}&query={quote(text)}"
            status, body = http_get(self.prometheus.port, path)
            assert status == 200, body
            for series in json.loads(body)["data"]["result"]:
                found[part, series["metric"]["case"]] = float(series["value"][1])
        return found

    def measured(self, form: Quantile | Rate | Gauge) -> dict[tuple[str, str], float]:
        """What the memory answers, by part and case."""
        found: dict[tuple[str, str], float] = {}
        for case in map(str, range(CASES)):
            after = self.at - WINDOW.total_seconds()
            mine = replace(form, of=with_matcher(form.of, f'case="{case}"'))
            parts = measure(self.memory, mine, after=after, until=self.at).parts
            found |= {(part, case): values[0] for part, values in parts.items() if values}
        return found


@pytest.fixture
def both(start_prometheus: Callable[..., Prometheus]) -> Both:
    source = random.Random(20)
    now = datetime.now(UTC).timestamp() - 10
    memory = Memory()
    for metric in ("seconds_bucket", "depth"):
        memory.want(metric, window=WINDOW.total_seconds(), now=now)
    history = []
    processes = [
        Process(case=case, number=number, random=source) for case in range(CASES) for number in range(2)
    ]
    for process in processes:
        for tick in range(24, 0, -1):
            process.live()
            if process.missed(tick):
                continue
            at = round(now - 5 * tick + source.uniform(0.1, 0.4), 3)
            lines = list(process.lines())
            history += [f"{line} {at:.3f}" for line in lines]
            origin = f"{process.case}-{process.number}"
            memory.add(Scraped(text="\n".join(lines) + "\n", at=at, origin=origin))
    return Both(prometheus=start_prometheus(history="\n".join(history)), memory=memory, at=round(now, 3))


def _same(one: dict[tuple[str, str], float], other: dict[tuple[str, str], float]) -> None:
    assert one.keys() == other.keys()
    different = {
        key: (value, other[key])
        for key, value in one.items()
        if not (math.isnan(value) and math.isnan(other[key]))
        and value != pytest.approx(other[key], rel=1e-6, abs=1e-9)
    }
    assert different == {}


@pytest.mark.timeout(60)
def test_what_we_measure_is_what_prometheus_answers_to_our_questions(both: Both) -> None:
    for q in (0.01, 0.5, 0.95, 0.999):
        form = Quantile(of="seconds", q=q)
        asked = both.asked(form)
        _same(both.measured(form), asked)
        values = [value for (part, _), value in asked.items() if part == "value"]
        assert any(map(math.isnan, values))  # nothing happened
        highest = [
            asked["highest", case] == value for (part, case), value in asked.items() if part == "value"
        ]
        assert any(highest)  # beyond the last bucket
        assert not all(highest)
    others: list[Rate | Gauge] = [
        Rate(of='seconds_bucket{le="+Inf"}'),
        *(Gauge(of="depth", by=by) for by in Aggregate),
    ]
    for other in others:
        _same(both.measured(other), both.asked(other))
