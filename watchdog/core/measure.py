"""What a rule's form measures in the memory of a scrape source: the parts that PromQL would have answered.

Each part means what `watchdog.core.observation.Answer` says, so that a rule moves between sources unchanged. Rates and
the events of quantiles are extrapolated to the window's edges as in Prometheus; the counts of a ratio are not (see
`watchdog.core.series`). This module must never judge a number.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, assert_never

import msgspec

from watchdog.core.extrapolation import extrapolated
from watchdog.core.histogram import buckets_of, quantile
from watchdog.core.promql import over
from watchdog.core.rule import Aggregate, Gauge, Quantile, Rate, Ratio
from watchdog.core.selector import Matcher, Operator, Selector, compile_pattern, parse_selector
from watchdog.core.series import Count, Memory, Series

#: What can be measured without PromQL.
Measurable = Ratio | Quantile | Rate | Gauge
#: A histogram's bucket of all observations.
_ALL = Matcher("le", Operator.EQUAL, "+Inf")


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of an answer, and what they were made of, for the record."""

    parts: dict[str, tuple[float, ...]]
    record: dict[str, Any]


def selectors_of(form: Measurable) -> dict[str, Selector]:
    """The selectors that are read for a form. Raises `ValueError` for what cannot be read or matched here."""
    match form:
        case Ratio():
            texts = {"bad": form.bad, "total": form.total}
        case Quantile():
            texts = {"buckets": buckets_of(form.of)}
        case Rate() | Gauge():
            texts = {"value": form.of}
        case _:
            assert_never(form)
    return {part: _readable(text) for part, text in texts.items()}


def measure(
    memory: Memory,
    form: Measurable,
    *,
    after: float,
    until: float,
    past: bool = False,
    windows: tuple[timedelta, ...] = (),
) -> Measured:
    """The form's parts in the window (`after`, `until`] (Unix seconds). Raises `ValueError` as `selectors_of` does.

    In the `past`, a gauge counts that has a sample in the window, be it shown still or not. A ratio is counted over all
    of `windows`, too, which end at `until`.
    """
    selectors = selectors_of(form)
    match form:
        case Ratio():
            measured = _ratio(
                memory.count(selectors["bad"], after=after, until=until),
                memory.count(selectors["total"], after=after, until=until),
            )
            return _counted_over(measured, memory, selectors, windows, until=until) if windows else measured
        case Quantile():
            return _quantile(memory, selectors["buckets"], form.q, after=after, until=until)
        case Rate():
            found = list(memory.selected(selectors["value"]))
            risen = _risen(found, after=after, until=until)
            value = None if risen is None else risen / (until - after)
            return _measured(value=value, **_sampled(memory, found, after=after, until=until))
        case Gauge():
            found = [
                one
                for one in memory.selected(selectors["value"])
                if (one.window(after=after, until=until) if past else memory.shows(one))
            ]
            values = [value for one in found if (value := one.latest(until=until)) is not None]
            number = _aggregated(form.by, values)
            return _measured(value=number, **_sampled(memory, found, after=after, until=until))
        case _:
            assert_never(form)


def _ratio(bad: Count, total: Count) -> Measured:
    samples = float(total.samples) if total.samples else None
    measured = _measured(bad=bad.increases, total=total.increases, newest=total.newest, samples=samples)
    return msgspec.structs.replace(measured, record={"bad": bad, "total": total})


def _counted_over(
    measured: Measured,
    memory: Memory,
    selectors: dict[str, Selector],
    windows: tuple[timedelta, ...],
    *,
    until: float,
) -> Measured:
    """The same with the counts of other windows."""
    counts = {
        over(part, window): memory.count(selector, after=until - window.total_seconds(), until=until)
        for window in windows
        for part, selector in selectors.items()
    }
    found = _measured(**{part: count.increases for part, count in counts.items()})
    return Measured(parts=measured.parts | found.parts, record=measured.record | found.record)


def _quantile(memory: Memory, selector: Selector, q: float, *, after: float, until: float) -> Measured:
    grouped: dict[float, list[Series]] = {}
    for series in memory.selected(selector):
        bound = _bound(series.labels.get("le", ""))
        if bound is not None:
            grouped.setdefault(bound, []).append(series)
    buckets = {
        bound: risen
        for bound, found in grouped.items()
        if (risen := _risen(found, after=after, until=until)) is not None
    }
    everything = [one for one in grouped.get(math.inf, []) if _ALL.accepts(one.labels["le"])]
    measured = _measured(
        value=quantile(q, buckets) if buckets else None,
        highest=quantile(1, buckets) if buckets else None,
        events=_risen(everything, after=after, until=until),
        **_sampled(memory, everything, after=after, until=until),
    )
    shown = {f"{bound:g}".replace("inf", "+Inf"): buckets[bound] for bound in sorted(buckets)}
    return msgspec.structs.replace(measured, record={**measured.record, "buckets": shown})


def _bound(written: str) -> float | None:
    """The upper bound of a bucket; Prometheus leaves series out whose `le` is no number."""
    try:
        return None if "_" in written else float(written)
    except ValueError:
        return None


def _risen(found: list[Series], *, after: float, until: float) -> float | None:
    """How far these counters rose together in the window; `None` where none has two samples in it."""
    rises = [
        rise
        for one in found
        if (rise := extrapolated(*one.span(after=after, until=until), after=after, until=until)) is not None
    ]
    return sum(rises) if rises else None


def _aggregated(by: Aggregate, values: list[float]) -> float | None:
    """One number for several, as in PromQL: `max` and `min` prefer any number to NaN, sums do not."""
    if not values:
        return None
    numbers = [value for value in values if not math.isnan(value)]
    match by:
        case Aggregate.MAX:
            return max(numbers, default=math.nan)
        case Aggregate.MIN:
            return min(numbers, default=math.nan)
        case Aggregate.SUM:
            return sum(values)
        case Aggregate.AVG:
            return sum(values) / len(values)


def _sampled(memory: Memory, found: list[Series], *, after: float, until: float) -> dict[str, float | None]:
    """The time of the newest sample of those that are still shown, and the samples of the best series."""
    times = [at for one in found if memory.shows(one) and (at := one.newest(until=until)) is not None]
    most = max((len(one.window(after=after, until=until)) for one in found), default=0)
    return {"newest": max(times, default=None), "samples": float(most) if most else None}


def _measured(**numbers: float | None) -> Measured:
    parts: dict[str, tuple[float, ...]] = {
        part: () if number is None else (number,) for part, number in numbers.items()
    }
    return Measured(parts=parts, record=dict(numbers))


def _readable(text: str) -> Selector:
    selector = parse_selector(text)
    for matcher in selector.matchers:
        if matcher.operator.endswith("~"):
            compile_pattern(matcher.value)
    return selector
