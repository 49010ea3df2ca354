"""The PromQL of a reference: the parts that are asked beside those of the rule itself, in the same question.

A reference lies at another time or on another version. The time is written as a subquery with `@` or `offset`, which
can go around any expression: `@` needs Prometheus 2.33 or what is as new. What the parts mean stands in
`watchdog.core.observation.Answer`. This module must never change what a rule measures: a reference is its own value.
"""

from __future__ import annotations

from datetime import timedelta

from watchdog.core.baseline import LEAST_SAMPLES, SAMPLED_OVER, Earlier
from watchdog.core.promql import parts_of

#: How far apart the values are of which a median is made: a window, but so that 10 of them fit in well.
_CLOSEST, _WIDEST = timedelta(seconds=15), timedelta(minutes=1)


def reference_parts(asked: Earlier, window: timedelta, *, by: tuple[str, ...] = ()) -> dict[str, str]:
    """The PromQL of `reference`, `reference_outer`, `reference_samples` and `reference_points`, as far as it has them.

    What is usual (`outer`) is that of the values other than 0, of which it takes `LEAST_SAMPLES`; all are counted, but
    not its raw samples, which are too many to look at.
    `by` as for `watchdog.core.promql.parts_of`.
    """
    parts = parts_of(asked.form, window, by=by)
    value = _finite(parts["value"] if "value" in parts else _ratio(parts["bad"], parts["total"]))
    moment = _moment(asked)
    counted = parts_of(asked.form, SAMPLED_OVER, by=by).get("samples")
    found = {"reference": f"last_over_time({value}[1s:1s]{moment})" if moment else value}
    if asked.median_over is not None:
        step = step_of(window) if asked.step is None else asked.step
        span = f"[{_seconds(asked.median_over)}:{_seconds(step)}]{moment}"
        over = f"{value}{span}"
        found = {
            "reference": f"quantile_over_time(0.5, {over})",
            "reference_points": f"count_over_time({over})",
        }
        if asked.outer is not None:
            busy = f"({value} != 0){span}"
            median = f"quantile_over_time(0.5, {busy})"
            return found | {
                "reference": f"({median} and count_over_time({busy}) >= {LEAST_SAMPLES})",
                "reference_outer": f"quantile_over_time({asked.outer:g}, {busy})",
            }
    elif counted is None:
        over = f"{value}[{_seconds(SAMPLED_OVER)}:{_seconds(_WIDEST)}]{moment}"
        found["reference_samples"] = f"count_over_time({over})"
    if counted is not None:
        found["reference_samples"] = f"last_over_time(({counted})[1s:1s]{moment})" if moment else counted
    return found


def step_of(window: timedelta) -> timedelta:
    """How far apart the values are of which a median is made, for a rule with this window."""
    return min(max(window, _CLOSEST), _WIDEST)


def _moment(asked: Earlier) -> str:
    """When, as a modifier of a subquery; empty for the evaluation time."""
    if asked.at is not None:
        return f" @ {asked.at.timestamp():.3f}"
    return f" offset {_seconds(asked.ago)}" if asked.ago else ""


def _ratio(bad: str, total: str) -> str:
    """`total` above 0 with no series of `bad` is 0 bad; without any `total` there is none."""
    return f"(({bad}) or ({total}) * 0) / (({total}) > 0)"


def _finite(expression: str) -> str:
    """Only values that are numbers: those of nothing are left out of a median, as they are left out of a verdict."""
    return f"((({expression}\n) > -Inf) < Inf)"


def _seconds(duration: timedelta) -> str:
    milliseconds = max(round(duration.total_seconds() * 1000), 1)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
