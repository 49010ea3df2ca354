"""The one place that turns an answer into an observation: a value, no data, or an error.

Whatever is missing, doubtful, old or not a number ends as `NoData`; what cannot be true ends as `Failed`; only a
finite number from a fresh sample becomes a `Value`. This module must never read silence as health or as failure.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import msgspec

from watchdog.core.burning import Counted, Slo, burns_of, worst_of
from watchdog.core.observation import Answer, Failed, FailReason, NoData, NoDataReason, Value
from watchdog.core.promql import over
from watchdog.core.rule import Gauge, ProbeForm, Quantile, Query, Rate, Ratio, Rule, Unit

#: How far a sample may lie ahead of our clock (design §5, "Fresh").
LEEWAY = timedelta(seconds=5)
#: How old a sample may be where no scrape interval is known (design §5, "Fresh").
DEFAULT_MAX_AGE = timedelta(seconds=30)
#: A share this little above 1 is floating point, not a mistake: increases of two series are extrapolated apart.
_TOLERANCE = 1e-6
#: Longest text of a source's warnings that is kept.
_WARNING_CHARS = 300
#: What an answer says in which the metric is there and counted nothing: no traffic, rather than no metric.
NO_EVENTS = "no events in the window"
#: What an empty answer says about each form that is one number.
_NOTHING: dict[type, str] = {
    Query: "the query gives no series",
    Rate: "no series with two samples in the window",
    Gauge: "no series",
}


class _Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """When the newest raw sample was taken, and how often samples come."""

    at: datetime
    interval: timedelta | None


def observe(rule: Rule, answer: Answer | Failed, *, now: datetime) -> Value | NoData | Failed:
    """What the answer says about `rule` at `now` (aware UTC; the moment the answer is looked at).

    * Warnings from the source: `PARTIAL`. Several series in a part: `SEVERAL_SERIES`. NaN or ±Inf: `NOT_A_NUMBER`.
    * Ratio: `total` empty or 0 is `EMPTY`; `total` above 0 without `bad` is 0 bad; outside 0..1 is `OUT_OF_RANGE`.
    * Ratio with an `slo`: the same of the shortest window. Other windows without events give no burn rate for their
      level. The value is the burn rate that says most (`watchdog.core.burning.worst_of`), `events` and `bad` are its
      long window's.
    * Query: no `value` is `EMPTY`. An empty answer to `events` is 0 events: nothing happened, so that the verdict is
      "too few events", which is never blindness.
    * Rate, gauge: no `value` is `EMPTY`; a rate of 0 is a value. A negative rate is `OUT_OF_RANGE`.
    * Quantile: without events there is none: `TOO_FEW_EVENTS` when evidence wants some, else `EMPTY`. One beyond the
      highest finite bucket is a value with `more`, just above that bucket's bound.
    * With `unit: ratio`, a value of these outside 0..1 is `OUT_OF_RANGE` too.
    * A sample older than `max_age` is `STALE`, more than 5 s in the future `FUTURE`; a series that was asked for its
      newest sample and has none is no longer scraped: `STALE`.
    * Negative counts are `OUT_OF_RANGE`. A `Failed` stays what it is.

    Raises `ValueError` for a probe rule: probes are not answered by sources.
    """
    if isinstance(answer, Failed):
        return answer
    if answer.warnings:
        return _no_data(answer, NoDataReason.PARTIAL, "; ".join(answer.warnings)[:_WARNING_CHARS])
    numbers = _numbers(answer, nothing_happened=_undefined(rule, answer))
    if isinstance(numbers, NoData):
        return numbers
    match rule.form:
        case Ratio():
            return _ratio(rule, answer, numbers, now)
        case Quantile():
            return _quantile(rule, answer, numbers, now)
        case Query() | Rate() | Gauge():
            return _number(rule, answer, numbers, now)
        case ProbeForm():
            raise ValueError(f"rule {rule.name!r} is a probe; its pulse is an observation already")


def _undefined(rule: Rule, answer: Answer) -> frozenset[str]:
    """The parts that need not be numbers: a quantile of nothing is NaN."""
    happened = any(answer.parts.get("events", ()))
    return (
        frozenset({"value", "highest"}) if isinstance(rule.form, Quantile) and not happened else frozenset()
    )


def _numbers(answer: Answer, *, nothing_happened: frozenset[str]) -> dict[str, float] | NoData:
    """The one number of every part that has any."""
    numbers: dict[str, float] = {}
    for part, series in answer.parts.items():
        if len(series) > 1:
            return _no_data(
                answer, NoDataReason.SEVERAL_SERIES, f"{part}: {len(series)} series, one is wanted"
            )
        if not series or (part in nothing_happened and math.isnan(series[0])):
            continue
        if not math.isfinite(series[0]):
            return _no_data(answer, NoDataReason.NOT_A_NUMBER, f"{part} is {series[0]}")
        numbers[part] = series[0]
    return numbers


def _ratio(rule: Rule, answer: Answer, numbers: dict[str, float], now: datetime) -> Value | NoData | Failed:
    total = numbers.get("total")
    if total is None:
        return _no_data(answer, NoDataReason.EMPTY, "no series for total with two samples in the window")
    if total == 0:
        return _no_data(answer, NoDataReason.EMPTY, NO_EVENTS)
    sampled = _sampled(rule, answer, numbers, now)
    if isinstance(sampled, NoData):
        return sampled
    counted = _counted(answer, total, numbers.get("bad", 0.0))
    if isinstance(counted, Failed):
        return counted
    if rule.slo is not None:
        return _burning(rule, rule.slo, answer, numbers, sampled, counted)
    return _value(answer, sampled, counted.bad / counted.events, events=counted.events, bad=counted.bad)


def _counted(answer: Answer, total: float, bad: float) -> Counted | Failed:
    """The counts of one window that has events."""
    if total < 0 or bad < 0:
        return _out_of_range(answer, f"a count is negative: {bad:g} bad of {total:g}")
    if bad > total * (1 + _TOLERANCE):
        return _out_of_range(answer, f"{bad:g} bad of {total:g} in total is a share above 1")
    return Counted(events=total, bad=min(bad, total))


def _burning(
    rule: Rule, slo: Slo, answer: Answer, numbers: dict[str, float], sampled: _Sampled, shortest: Counted
) -> Value | NoData | Failed:
    """The burn rates of an objective; `shortest` are the counts in the rule's own window."""
    counts = {rule.window: shortest}
    for window in rule.windows:
        total = numbers.get(over("total", window))
        if not total:
            continue
        counted = _counted(answer, total, numbers.get(over("bad", window), 0.0))
        if isinstance(counted, Failed):
            return counted
        counts[window] = counted
    burns = burns_of(slo, counts)
    worst = worst_of(slo, burns)
    if worst is None:
        return _no_data(answer, NoDataReason.EMPTY, "no series for total in any of the long windows")
    burn = worst.burn
    value = _value(answer, sampled, burn.rate, events=burn.events, bad=burn.bad)
    return msgspec.structs.replace(value, burns=burns)


def _quantile(
    rule: Rule, answer: Answer, numbers: dict[str, float], now: datetime
) -> Value | NoData | Failed:
    events = numbers.get("events")
    if events is None:
        detail = "no buckets of a classic histogram with two samples in the window"
        return _no_data(answer, NoDataReason.EMPTY, detail)
    sampled = _sampled(rule, answer, numbers, now)
    if isinstance(sampled, NoData):
        return sampled
    if events < 0:
        return _out_of_range(answer, f"the number of events is negative: {events:g}")
    if events == 0:
        wanted = rule.evidence is not None and rule.evidence.min_events > 0
        reason = NoDataReason.TOO_FEW_EVENTS if wanted else NoDataReason.EMPTY
        return _no_data(answer, reason, NO_EVENTS)
    value = numbers.get("value")
    if value is None:
        return _no_data(answer, NoDataReason.EMPTY, "the histogram has no quantile")
    # Beyond the finite buckets every quantile is the highest bound, which is exactly the quantile 1. Below, one of
    # less than 1 is smaller than that; only buckets up to 0 have no lower end to count from.
    more = value > 0 and value == numbers.get("highest")
    if more:
        value = math.nextafter(value, math.inf)  # what lies in the last bucket is larger than its lower bound
    if (wrong := _not_a_share(rule, answer, value)) is not None:
        return wrong
    return _value(answer, sampled, value, events=events, bad=None, more=more)


def _number(rule: Rule, answer: Answer, numbers: dict[str, float], now: datetime) -> Value | NoData | Failed:
    """The number of a query, a rate or a gauge."""
    value = numbers.get("value")
    if value is None:
        return _no_data(answer, NoDataReason.EMPTY, _NOTHING[type(rule.form)])
    sampled = _sampled(rule, answer, numbers, now)
    if isinstance(sampled, NoData):
        return sampled
    if (wrong := _not_a_share(rule, answer, value)) is not None:
        return wrong
    if isinstance(rule.form, Rate) and value < 0:
        return _out_of_range(answer, f"a rate is negative: {value:g}")
    if rule.unit is Unit.RATIO:
        value = min(max(value, 0.0), 1.0)
    asks_events = isinstance(rule.form, Query) and rule.form.events is not None
    events = numbers.get("events", 0.0) if asks_events else None
    if events is not None and events < 0:
        return _out_of_range(answer, f"the number of events is negative: {events:g}")
    return _value(answer, sampled, value, events=events, bad=None)


def _not_a_share(rule: Rule, answer: Answer, value: float) -> Failed | None:
    if rule.unit is not Unit.RATIO or -_TOLERANCE <= value <= 1 + _TOLERANCE:
        return None
    return _out_of_range(answer, f"{value:g} is not a share between 0 and 1, as unit ratio says")


def _sampled(rule: Rule, answer: Answer, numbers: dict[str, float], now: datetime) -> _Sampled | NoData:
    """The time of the newest sample, judged. Compared as plain seconds: no number overflows into a date."""
    evaluated = answer.evaluated_at.timestamp()
    newest = numbers.get("newest")
    if newest is None:
        if "newest" in answer.parts or (isinstance(rule.form, Query) and rule.form.freshness is not None):
            return _no_data(answer, NoDataReason.STALE, "no target shows the series any more")
        newest = evaluated
    interval = _learnt(rule.window.total_seconds(), evaluated - newest, numbers.get("samples"))
    allowed = rule.max_age or (2 * interval if interval else DEFAULT_MAX_AGE)
    age = now.timestamp() - newest
    if age > allowed.total_seconds():
        return _no_data(
            answer,
            NoDataReason.STALE,
            f"newest sample is {age:.1f} s old, allowed {allowed.total_seconds():.1f} s",
        )
    if age < -LEEWAY.total_seconds():
        return _no_data(answer, NoDataReason.FUTURE, f"newest sample is {-age:.1f} s in the future")
    return _Sampled(at=datetime.fromtimestamp(newest, UTC), interval=interval)


def _learnt(window: float, age: float, samples: float | None) -> timedelta | None:
    """The scrape interval (seconds in, duration out) behind `samples` raw samples in the window.

    They lie between the window's start and the newest sample. Dividing the whole window instead would let the learnt
    interval, and with it the allowed age, grow while a dead target's samples leave the window; like this a target
    that became stale (after 1.6 to 2 intervals) stays it.
    """
    if samples is None or samples < 1:
        return None
    span = window - age if 0 <= age < window else window
    return timedelta(seconds=max(span / samples, 0.001))


def _value(
    answer: Answer,
    sampled: _Sampled,
    value: float,
    *,
    events: float | None,
    bad: float | None,
    more: bool = False,
) -> Value:
    return Value(
        value=value,
        at=sampled.at,
        events=events,
        bad=bad,
        scrape_interval=sampled.interval,
        since=answer.since,
        more=more,
        asked=answer.asked,
        answered=answer.answered,
    )


def _no_data(answer: Answer, reason: NoDataReason, detail: str) -> NoData:
    return NoData(reason=reason, detail=detail, asked=answer.asked, answered=answer.answered)


def _out_of_range(answer: Answer, detail: str) -> Failed:
    return Failed(reason=FailReason.OUT_OF_RANGE, detail=detail, asked=answer.asked)
