"""The PromQL of a rule's form, part by part: what a source that speaks PromQL is asked.

Each part is one expression by itself, so that it can be wrapped (an offset, a subquery) or marked and joined with the
others into one question. What the parts mean stands in `watchdog.core.observation.Answer`; how a source without
PromQL gets the same numbers stands in `watchdog.core.series` and `watchdog.core.histogram`.
This module must never judge whether a selector is one: configuration did, and quoted what was filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import assert_never

from msgspec.structs import replace

from watchdog.core.histogram import buckets_of
from watchdog.core.rule import Gauge, MetricForm, Quantile, Query, Rate, Ratio


def over(part: str, window: timedelta) -> str:
    """The name of a ratio's part in another window than the rule's: `bad` over an hour is `bad_3600s`."""
    return f"{part}_{_range(window)}"


def parts_of(
    form: MetricForm,
    window: timedelta,
    *,
    by: tuple[str, ...] = (),
    windows: tuple[timedelta, ...] = (),
) -> dict[str, str]:
    """The PromQL of every part of a form, by the part's name. A ratio is counted over all of `windows`, too.

    With `by`, every part keeps these labels and gives one series for each of their values; without it, one series at
    most. A `query` is what its author wrote: `by` changes nothing about it.
    """
    span = _range(window)
    match form:
        case Ratio():
            return {
                "bad": _increases(form.bad, span, by),
                "total": _increases(form.total, span, by),
                **{
                    over(part, longer): _increases(selector, _range(longer), by)
                    for longer in windows
                    for part, selector in (("bad", form.bad), ("total", form.total))
                },
                **_sampled(form.total, span, by),
            }
        case Quantile():
            buckets = buckets_of(form.of)
            everything = with_matcher(buckets, 'le="+Inf"')
            rates = f"{_grouped('sum', (*by, 'le'))}(rate({buckets}[{span}]))"
            return {
                "value": f"histogram_quantile({form.q!r}, {rates})",
                "highest": f"histogram_quantile(1, {rates})",
                "events": f"{_grouped('sum', by)}(increase({everything}[{span}]))",
                **_sampled(everything, span, by),
            }
        case Rate():
            return {
                "value": f"{_grouped('sum', by)}(rate({form.of}[{span}]))",
                **_sampled(form.of, span, by),
            }
        case Gauge():
            return {"value": f"{_grouped(form.by, by)}({form.of})", **_sampled(form.of, span, by)}
        case Query():
            asked = {"value": form.query, "events": form.events, "newest": form.freshness}
            return {part: text for part, text in asked.items() if text is not None}
        case _:
            assert_never(form)


def with_selectors(form: MetricForm, change: Callable[[str], str]) -> MetricForm:
    """The form with every selector and every query changed; the rest of it stays."""
    match form:
        case Ratio():
            return Ratio(bad=change(form.bad), total=change(form.total))
        case Quantile() | Rate() | Gauge():
            return replace(form, of=change(form.of))
        case Query():
            return Query(
                query=change(form.query),
                events=None if form.events is None else change(form.events),
                freshness=None if form.freshness is None else change(form.freshness),
            )
        case _:
            assert_never(form)


def with_matcher(selector: str, matcher: str) -> str:
    """The selector with one more condition. Its braces, if any, are the last thing of it."""
    selector = selector.rstrip()
    if not selector.endswith("}"):
        return f"{selector}{{{matcher}}}"
    inside = selector[:-1].rstrip()
    return f"{inside}{'' if inside[-1] in '{,' else ','}{matcher}}}"


def _increases(selector: str, span: str, by: tuple[str, ...]) -> str:
    return f"{_grouped('sum', by)}(increase({selector}[{span}]))"


def _sampled(selector: str, span: str, by: tuple[str, ...]) -> dict[str, str]:
    """When the newest raw sample was taken, and how many the best series has in the window."""
    return {
        "newest": f"{_grouped('max', by)}(timestamp({selector}))",
        "samples": f"{_grouped('max', by)}(count_over_time({selector}[{span}]))",
    }


def _grouped(aggregation: str, by: tuple[str, ...]) -> str:
    return f"{aggregation} by ({', '.join(by)}) " if by else aggregation


def _range(window: timedelta) -> str:
    milliseconds = max(round(window.total_seconds() * 1000), 1)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
