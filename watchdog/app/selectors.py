"""Whether selectors have ever matched anything, and how often what they match is scraped.

A selector with a misspelt name or label is silent for ever, and silence is no breach: nobody would notice. Asked of the
source itself. This module must never judge a value.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from watchdog.core.histogram import buckets_of
from watchdog.core.observation import Failed, FailReason
from watchdog.core.rule import Aggregate, Gauge, MetricForm, Quantile, Query, Rate, Ratio
from watchdog.core.selector import Selector, parse_selector
from watchdog.core.units import format_duration
from watchdog.sources.interface import Lists, Question, Source

#: How far back "ever" looks.
BACK: Final = "1d"
BACK_SECONDS: Final = 86400
_WINDOW: Final = timedelta(minutes=1)
#: A series without a newer sample is shown no more: as far back as Prometheus looks for one by default.
_LOOKBACK: Final = timedelta(minutes=5)
#: How much alike (0 to 1) two names must be to be told as a guess.
_ALIKE: Final = 0.6
#: A window holds at least so many scrapes, so that some may be lost; a little less is a scrape that came late.
SCRAPES: Final = 4
_LATE: Final = 0.95


def selectors_of(form: MetricForm) -> Iterator[tuple[str, bool]]:
    """The selectors of a form, each with whether it may well have matched nothing yet: nothing bad ever happened."""
    match form:
        case Ratio():
            yield form.total, False
            yield form.bad, True
        case Quantile():
            yield buckets_of(form.of), False
        case Rate() | Gauge():
            yield form.of, False
        case Query():
            return


def has_window(form: MetricForm) -> bool:
    """Whether rates are taken, over the rule's window."""
    return isinstance(form, Ratio | Quantile | Rate)


async def never_matched(text: str, source: Source, *, spared: bool, now: datetime) -> str | None:
    """Why a selector has matched nothing in the last day, in words; `None` when it has, or when nobody can say.

    `spared`: matching nothing is no news, only a name or a label that does not exist at all is.
    """
    if await _matched(text, source, now) is not False:
        return None
    selector = parse_selector(text)
    if await _matched(selector.name, source, now) is False:
        return f"no series is named {selector.name}"
    for matcher in selector.matchers:
        if matcher.accepts(""):
            continue  # it holds of series that have no such label, too
        if await _matched(f'{selector.name}{{{matcher.label}!=""}}', source, now) is False:
            return f"no series of {selector.name} has a label {matcher.label}"
    if spared:
        return None
    return await _the_condition(selector, source, now)


async def _the_condition(selector: Selector, source: Source, now: datetime) -> str:
    for matcher in selector.matchers:
        alone = f"{matcher.label}{matcher.operator}{quoted(matcher.value)}"
        if await _matched(f"{selector.name}{{{alone}}}", source, now) is False:
            return f"no series of {selector.name} has {alone}"
    return "no series fits all its conditions together"


async def vanished(text: str, source: Source, *, spared: bool, now: datetime) -> str | None:
    """That a selector matched in the last day and matches no more, in words: the metric was renamed, or a label is new.

    `spared`: only that there is no such metric at all any more is news.
    """
    selector = parse_selector(text)
    gone = await _newest(selector.name, source, now)
    if gone is not None and now - gone > _LOOKBACK:
        return f"no series is named {selector.name} since {_clock(gone)}"
    newest = None if spared else await _newest(text, source, now)
    if newest is None or now - newest <= _LOOKBACK:
        return None
    return f"nothing fits {text} since {_clock(newest)}, though there is {selector.name}"


async def alike(text: str, source: Source, *, now: datetime) -> str | None:
    """The metric whose name is most like that of a selector; `None` when that one exists, or nobody says.

    A source goes on listing a name for hours after its last sample.
    """
    name = parse_selector(text).name
    newest = await _newest(name, source, now)
    if newest is not None and now - newest <= _LOOKBACK:
        return None
    names = await source.names() if isinstance(source, Lists) else None
    if names is None or (newest is None and name in names):
        return None
    others = [one for one in names if one != name]
    return next(iter(difflib.get_close_matches(name, others, n=1, cutoff=_ALIKE)), None)


async def _newest(selector: str, source: Source, now: datetime) -> datetime | None:
    """The time of the newest sample of the last day that a selector matches; `None` where nobody says."""
    query = Query(query=f"max(max_over_time(timestamp({selector})[{BACK}:1m]))")
    answer = await source.ask(Question(form=query, window=_WINDOW), now=now)
    if isinstance(answer, Failed) or answer.warnings:
        return None
    values = answer.parts.get("value", ())
    known = len(values) == 1 and 0 < values[0] < now.timestamp() + BACK_SECONDS
    return datetime.fromtimestamp(values[0], UTC) if known else None


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


async def scraped_every(form: MetricForm, source: Source, *, now: datetime) -> timedelta | None:
    """How often the slowest of what a form takes rates of is scraped; `None` when nobody can say.

    From the newest samples of ten minutes: their span, seen in steps of five seconds, by their number.
    """
    if not has_window(form):
        return None
    selector = next(selectors_of(form))[0]
    at = f"timestamp({selector})[10m:5s]"
    query = f"max((max_over_time({at}) - min_over_time({at})) / count_over_time({selector}[10m]))"
    answer = await source.ask(Question(form=Query(query=query), window=_WINDOW), now=now)
    if isinstance(answer, Failed):
        return None
    values = answer.parts.get("value", ())
    return timedelta(seconds=values[0]) if len(values) == 1 and 0 < values[0] < 3600 else None


def too_short(window: timedelta, interval: timedelta) -> str | None:
    """What is wrong with a window over what is scraped that often; `None` when it is long enough."""
    if window >= SCRAPES * interval * _LATE:
        return None
    better = timedelta(seconds=math.ceil(SCRAPES * interval.total_seconds() - 1e-3))
    return (
        f"its window of {format_duration(window)} is shorter than four scrape intervals of "
        f"{format_duration(interval)}; write window: {format_duration(better)} or scrape more often"
    )


async def _matched(selector: str, source: Source, now: datetime) -> bool | None:
    """Whether there were such series in the last day, or, where nobody remembers, now. `None`: nobody says."""
    query = Query(query=f"count(last_over_time({selector}[{BACK}]))")
    answer = await source.ask(Question(form=query, window=_WINDOW), now=now)
    if isinstance(answer, Failed) and answer.reason is FailReason.QUERY_ERROR:
        # A source without PromQL knows what its pages show.
        gauge = Gauge(of=selector, by=Aggregate.MAX)
        answer = await source.ask(Question(form=gauge, window=_WINDOW), now=now)
    if isinstance(answer, Failed) or "value" not in answer.parts or answer.warnings:
        return None
    return bool(answer.parts["value"])


def quoted(value: str) -> str:
    """A text as PromQL writes it."""
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'
