"""Rules and small tracks written by hand, for the tests of what is replayed over them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
from msgspec.structs import replace

from watchdog.core.rule import Aggregate, Evidence, Gauge, Holds, Ratio, Rule, Samples, Thresholds, Unit
from watchdog.lab.track import Track

BEGIN = 1_767_225_600.0  #: 2026-01-01T00:00:00Z
NAN = float("nan")

#: Warning beyond 10, critical beyond 20, rollback beyond 30; every hold is two samples.
QUEUE = Rule(
    name="queue",
    form=Gauge(of="queue", by=Aggregate.MAX),
    thresholds=Thresholds(warning=10, critical=20, rollback=30),
    hold=Holds(warning=Samples(2), critical=Samples(2), rollback=Samples(2)),
    blind_after=timedelta(minutes=2),
)
#: Critical beyond 1 %, rollback beyond 1.5 %, with the usual evidence.
ERRORS = Rule(
    name="error-rate",
    form=Ratio(bad="bad", total="total"),
    unit=Unit.RATIO,
    thresholds=Thresholds(critical=0.01, rollback=0.015),
    hold=Holds(critical=Samples(2), rollback=Samples(2)),
    evidence=Evidence(),
)


def track(*values: float, step: float = 30.0, late: dict[int, float] | None = None, **changed: Any) -> Track:
    """These values, a step apart; from each index of `late` on everything is so many seconds later."""
    times = BEGIN + step * np.arange(len(values), dtype=np.float64)
    for index, seconds in (late or {}).items():
        times[index:] += seconds
    made = Track(name="hand.csv", times=times, values=np.array(values, dtype=np.float64), step=step)
    return replace(made, **changed)
