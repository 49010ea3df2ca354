"""The one sentence of a verdict, for people: the number, its events, its window, and the threshold beside it.

Messages, API, audit and `explain` show the same sentence. This module must never decide anything.
"""

from __future__ import annotations

import math
from datetime import datetime

from watchdog.core.baseline import described
from watchdog.core.burning import Burnt, Slo
from watchdog.core.check import Reason
from watchdog.core.judge import Judgement
from watchdog.core.observation import Reference, Value
from watchdog.core.quantity import format_count, format_quantity
from watchdog.core.rule import Direction, Level, Rate, Ratio, Rule, Unit
from watchdog.core.units import format_duration

#: From here on `12 times` reads better than `1100% above`.
_TIMES = 10

#: Units in which a rate has no time left in it: seconds a second are a share of time.
_SHARES = frozenset({Unit.RATIO, Unit.SECONDS})

_UNKNOWN = {
    Reason.EMPTY: "there is no data",
    Reason.NOT_A_NUMBER: "the answer is not a finite number",
    Reason.SEVERAL_SERIES: "the answer has several series where one was asked for",
    Reason.TOO_FEW_EVENTS: "there are too few events",
    Reason.STALE: "the newest sample is too old",
    Reason.FUTURE: "the newest sample is in the future",
    Reason.PARTIAL: "the source warned that its answer is partial",
    Reason.NO_REFERENCE: "there is nothing to compare it with",
    Reason.UNREACHABLE: "the source cannot be reached",
    Reason.TIMEOUT: "no answer came in time",
    Reason.HTTP_STATUS: "the source answered with an HTTP error",
    Reason.QUERY_ERROR: "the source refused the query",
    Reason.MALFORMED: "the answer cannot be understood",
    Reason.OUT_OF_RANGE: "the answer is impossible for this rule",
    Reason.UNABLE: "the probe could not be tried",
}


def of_sample(rule: Rule, value: Value, judgement: Judgement) -> str:
    """For example `8.2% of 412 events were bad in 1m, above 1.5%`."""
    burnt = judgement.burnt
    told = value.value if burnt is None else burnt.burn.rate
    number, limit = format_quantity(told, rule.unit), format_quantity(judgement.limit, rule.unit)
    text = _burnt(rule.slo, burnt) if rule.slo and burnt else _measured(rule, value, number)
    side = "above" if rule.direction is Direction.ABOVE else "below"
    if value.reference is not None:
        text += _compared(rule, value, value.reference)
        side = "beyond the limit of"
    if judgement.reason is Reason.WITHIN:
        none = ", beyond which no share can be" if _out_of_reach(rule, judgement.limit) else ""
        return f"{text}, within {limit}{none}"
    # Rounding must not make a breach look like an equality, which is none.
    just = "just " if number == limit and not value.more else ""
    text = f"{text}, {just}{side} {limit}"
    if judgement.reason is Reason.NOT_SIGNIFICANT:
        return f"{text}, which is not significant: {judgement.lacking}"
    if judgement.level is Level.UNKNOWN:
        return f"{text}, which may be chance: {judgement.lacking}"
    if judgement.shown:
        text = f"{text}, and {judgement.shown}"
    if judgement.worse is not None:
        return f"{text}; {side} {format_quantity(judgement.worse, rule.unit)} too, but {judgement.lacking}"
    return text


def _compared(rule: Rule, value: Value, reference: Reference) -> str:
    """For example ` is 41% below 530, the median in the 30m before the deployment`. A share of a share is `times`."""
    link = "," if value.events is not None else " is"
    if reference.spread is not None:
        return f"{link} {_deviating(rule, value.value, reference, reference.spread)}"
    times = value.value / reference.value if reference.value > 0 else math.inf
    if not math.isfinite(times):
        return ""
    if times == 1:
        compared = ""
    elif rule.unit is Unit.RATIO or times >= _TIMES or times <= 0:
        compared = f"{times:.3g} times "
    else:
        share = format_quantity(abs(times - 1), Unit.RATIO)
        compared = f"{share} {'above' if times > 1 else 'below'} "
    return f"{link} {compared}{format_quantity(reference.value, rule.unit)}, {described(rule, reference)}"


def _deviating(rule: Rule, value: float, reference: Reference, spread: float) -> str:
    """For example `5.2 deviations of 0.1% above 0.3%, the usual value (the median of 14d)`."""
    usual = f"{format_quantity(reference.value, rule.unit)}, {described(rule, reference)}"
    off = (value - reference.value) / spread if spread > 0 else math.inf
    if off == 0 or not math.isfinite(off):
        return usual
    many = f"{abs(off):.3g} deviation{'' if abs(off) == 1 else 's'} of {format_quantity(spread, rule.unit)}"
    return f"{many} {'above' if off > 0 else 'below'} {usual}"


def _out_of_reach(rule: Rule, limit: float) -> bool:
    """Whether a limit that follows from a reference lies where no value of the rule can."""
    if rule.baseline is None or rule.unit is not Unit.RATIO:
        return False
    return limit >= 1 if rule.direction is Direction.ABOVE else limit <= 0


def of_beyond_buckets(rule: Rule, value: Value) -> str:
    """For example `more than 5s from 412 events in 1m: the histogram has no bucket up to 10s, …`."""
    limit = format_quantity(rule.thresholds.mildest, rule.unit)
    text = _measured(rule, value, format_quantity(value.value, rule.unit))
    return f"{text}: the histogram has no bucket up to {limit}, so nobody can tell"


def of_too_few(rule: Rule, events: float, needed: int) -> str:
    """For example `12 events in 1m, a verdict needs 20`."""
    window = rule.window if rule.slo is None else max(rule.slo.windows)
    return f"{format_count(events)} events in {format_duration(window)}, a verdict needs {needed}"


def of_quarantine(until: datetime | None) -> str:
    """For example `the source was away; samples count again from 10:31:00Z, when …`."""
    if until is None:
        return "the source was away; samples count again when a full window of them exists"
    return (
        f"the source was away; samples count again from {until:%H:%M:%SZ}, when a full window of them exists"
    )


def of_unknown(reason: Reason, detail: str) -> str:
    """For example `the source cannot be reached: connection refused`."""
    return _UNKNOWN[reason] + (f": {detail}" if detail else "")


def of_probe(failures: int, detail: str) -> str:
    """For example `3 probes in a row failed: connection refused`."""
    if failures == 0:
        return "the probe passed"
    counted = "1 probe failed" if failures == 1 else f"{failures} probes in a row failed"
    return counted + (f": {detail}" if detail else "")


def _burnt(slo: Slo, burnt: Burnt) -> str:
    """For example `412 of 25123 events were bad in 1h: 16.4x what 99.9% allows, and 18.2x over 5m`."""
    burn, limit = burnt.burn, burnt.limit
    return (
        f"{format_count(burn.bad)} of {format_count(burn.events)} events were bad in {format_duration(limit.long)}: "
        f"{format_quantity(burn.long, Unit.TIMES)} what {format_quantity(slo.objective, Unit.RATIO)} allows, "
        f"and {format_quantity(burn.short, Unit.TIMES)} over {format_duration(limit.short)}"
    )


def _measured(rule: Rule, value: Value, number: str) -> str:
    """What was measured. A `below` ratio counts the good events."""
    window = format_duration(rule.window)
    if value.more:
        number = f"more than {number}"
    if isinstance(rule.form, Rate) and rule.unit not in _SHARES and value.reference is None:
        return f"{number} a second in {window}"
    if value.events is None:
        return number
    if isinstance(rule.form, Ratio):
        kind = "bad" if rule.direction is Direction.ABOVE else "good"
        return f"{number} of {format_count(value.events)} events were {kind} in {window}"
    return f"{number} from {format_count(value.events)} events in {window}"
