"""References from the memory of a scrape source: the parts that PromQL would have answered.

They mean what `watchdog.core.referring` asks for. What lies before the memory's beginning, or before a hole in it, is
left out: this module must never make a value of a window that is only half remembered.
"""

from __future__ import annotations

import math
from datetime import timedelta
from statistics import median

from watchdog.core.baseline import SAMPLED_OVER, Earlier
from watchdog.core.measure import Measurable, measure
from watchdog.core.referring import step_of
from watchdog.core.rule import Query
from watchdog.core.series import Memory


def recalled(
    memory: Memory, asked: Earlier, *, window: float, since: float | None, now: float
) -> dict[str, tuple[float, ...]]:
    """The parts of a reference; times are Unix seconds, `window` seconds. The memory is whole from `since` on.

    Raises `ValueError` for a form that cannot be measured here.
    """
    form = asked.form
    if isinstance(form, Query):
        raise ValueError("raw PromQL needs a source of kind prometheus")
    at = now - asked.ago.total_seconds() if asked.at is None else asked.at.timestamp()
    moments = [at]
    if asked.median_over is not None:
        moments = _moments(
            at,
            over=asked.median_over.total_seconds(),
            step=step_of(timedelta(seconds=window)).total_seconds(),
        )
    values = [
        value
        for moment in moments
        if since is not None and moment - window >= since
        if (value := _value(memory, form, after=moment - window, until=moment)) is not None
    ]
    raw = measure(memory, form, after=at - SAMPLED_OVER.total_seconds(), until=at, past=True)
    parts = {
        "reference": (median(values),) if values else (),
        "reference_samples": raw.parts.get("samples", ()),
    }
    if asked.median_over is not None:
        parts["reference_points"] = (float(len(values)),)
    return parts


def _moments(at: float, *, over: float, step: float) -> list[float]:
    """The multiples of `step` in the time up to `at`, as a subquery has them."""
    last = math.floor(at / step)
    return [number * step for number in range(math.floor((at - over) / step) + 1, last + 1)]


def _value(memory: Memory, form: Measurable, *, after: float, until: float) -> float | None:
    """The one number that the form is; `None` where it has none or is none."""
    parts = {
        part: series[0]
        for part, series in measure(memory, form, after=after, until=until, past=True).parts.items()
        if series
    }
    if "total" in parts:
        total = parts["total"]
        return parts.get("bad", 0.0) / total if total > 0 else None
    value = parts.get("value")
    return value if value is not None and math.isfinite(value) else None
