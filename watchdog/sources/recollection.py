"""What a source that collects by itself answers from: the samples of its origins, and how each one's newest look went.

Shared by the sources that remember (`scrape`, `kubernetes`); what they look at is theirs. This module must never ask
the outside anything, nor answer from some origins as if they were all: a failing one that showed the series asked for
(or nothing yet) makes the answer partial, and when all fail there is none.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from watchdog.core.baseline import Earlier, reach_of
from watchdog.core.dealing import Dealt, Key
from watchdog.core.measure import Measurable, measure, selectors_of
from watchdog.core.observation import Answer, Failed, FailReason
from watchdog.core.recalling import recalled
from watchdog.core.rule import Against, Baseline, Gauge, Quantile, Query, Rate, Ratio
from watchdog.core.selector import Selector
from watchdog.core.series import Memory, Scraped
from watchdog.core.units import format_duration
from watchdog.sources.interface import Question
from watchdog.telemetry.redact import one_line, redact

#: Longest window that can be asked for; what is kept is 16 bytes a sample.
LONGEST_WINDOW = timedelta(hours=1)
#: After so many failed looks at every origin in a row the memory begins anew with the first good one.
AWAY_AFTER = 3
#: What is kept of an error for people (characters).
ERROR_CHARS = 200


class Origin:
    """Where samples come from, and how the newest look at it went.

    `key` identifies it, `shown` is its name for people, `labels` are put on its series. `failed` is `None` while the
    newest look went well; `tried` tells "not yet".
    """

    def __init__(self, key: str, *, shown: str, labels: dict[str, str]) -> None:
        self.key = key
        self.shown = shown
        self.labels = labels
        self.tried = False
        self.failed: Failed | None = None
        self.failures = 0
        self.seen_at = -math.inf

    @property
    def trouble(self) -> str:
        """What keeps its newest samples away; empty when nothing does."""
        if not self.tried:
            return f"{self.shown}: not read yet"
        return f"{self.shown}: {self.failed.detail}" if self.failed else ""


class _Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A question that can be answered from memory, and what is the same for everybody who asks it.

    `reads` are the selectors of the question and of its reference.
    """

    form: Measurable
    window: timedelta
    windows: tuple[timedelta, ...]
    reference: Earlier | None
    now: datetime
    selectors: tuple[Selector, ...]
    reads: tuple[Selector, ...]
    since: datetime | None
    asked: str

    def answer(self, memory: Memory, troubled: list[Origin]) -> Answer:
        """From all that is remembered, or from one service's share of it.

        The trouble of the origins that belong to the answer makes it partial: they showed selected series, or nothing
        ever.
        """
        concerned = frozenset[str]()
        if troubled:
            concerned = concerned.union(*(memory.origins(selector) for selector in self.selectors))
        measured = measure(
            memory,
            self.form,
            after=(self.now - self.window).timestamp(),
            until=self.now.timestamp(),
            windows=self.windows,
        )
        reference = self._reference(memory)
        recorded = [measured.record, reference] if self.reference else [measured.record]
        return Answer(
            parts=measured.parts | reference,
            evaluated_at=self.now,
            warnings=tuple(
                origin.trouble
                for origin in troubled
                if origin.seen_at == -math.inf or origin.key in concerned
            ),
            since=self.since,
            asked=self.asked,
            answered=" ".join(msgspec.json.encode(one).decode() for one in recorded),
        )

    def _reference(self, memory: Memory) -> dict[str, tuple[float, ...]]:
        """The parts of the reference, as far back as the source's memory has no hole; none where none is asked for."""
        if self.reference is None:
            return {}
        return recalled(
            memory,
            self.reference,
            window=self.window.total_seconds(),
            since=None if self.since is None else self.since.timestamp(),
            now=self.now.timestamp(),
        )


class Recollection:
    """The samples of a source's origins, and the answers to questions about them. `kind` is the source's, for words.

    With `look_back` a metric is remembered from the pages at hand on when it is first asked about, without it from the
    first question on.
    """

    def __init__(self, origins: Sequence[Origin], *, kind: str, look_back: bool = True) -> None:
        self._origins = origins
        self._kind = kind
        #: All that is remembered; only to be looked at.
        self.memory = Memory(look_back=look_back)

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics that were asked about."""
        return self.memory.wanted

    def ask(self, question: Question, *, now: datetime) -> Answer | Failed:
        """As `Source.ask` promises, at once."""
        prepared = self._prepared(question, now)
        if isinstance(prepared, Failed):
            return prepared
        return prepared.answer(self.memory, self._troubled())

    async def deal(self, question: Question, *, by: tuple[str, ...], now: datetime) -> Dealt | Failed:
        """As `Source.deal` promises; lets others run in between."""
        prepared = self._prepared(question, now)
        if isinstance(prepared, Failed):
            return prepared
        troubled = self._troubled()
        shares = self.memory.dealt((selector.name for selector in prepared.reads), by)
        hands: dict[Key, Answer] = {}
        for key, memory in shares.items():
            if any(True for selector in prepared.reads for _ in memory.selected(selector)):
                hands[key] = prepared.answer(memory, troubled)
                if question.reference is not None:
                    await asyncio.sleep(0)  # a median is made of dozens of values
        return Dealt(hands=hands, nothing=prepared.answer(Memory(), troubled))

    def missed(self, origin: Origin, failed: Failed) -> None:
        """A look at an origin that gave nothing."""
        origin.tried, origin.failed = True, failed
        origin.failures += 1

    def take(self, origin: Origin, text: str, *, at: float, openmetrics: bool = False) -> None:
        """What an origin showed in a look that began `at` (Unix seconds), as an exposition page.

        A page that cannot be read is as good as none.
        """
        away = all(one.failures >= AWAY_AFTER for one in self._origins)
        # Or the clock was set back: times before and after do not compare.
        if away or at <= origin.seen_at:
            self.memory.clear()
            for one in self._origins:
                one.seen_at = -math.inf
        page = Scraped(text=text, at=at, origin=origin.key, labels=origin.labels, openmetrics=openmetrics)
        try:
            self.memory.add(page)
        except ValueError as error:
            detail = f"not a page of metrics: {one_line(redact(str(error)), limit=ERROR_CHARS)}"
            self.missed(origin, Failed(reason=FailReason.MALFORMED, detail=detail))
            return
        origin.seen_at = at
        origin.tried, origin.failed, origin.failures = True, None, 0

    def _prepared(self, question: Question, now: datetime) -> _Prepared | Failed:
        """What is the same for every answer to this question."""
        form, window, windows = question.form, question.window, question.windows
        earlier = question.reference.form if question.reference else form
        if isinstance(form, Query) or isinstance(earlier, Query):
            return Failed(
                reason=FailReason.QUERY_ERROR, detail="raw PromQL needs a source of kind prometheus"
            )
        asked = _described(form, window)
        if windows:
            asked += f", and over {', '.join(f'{one.total_seconds():g} s' for one in windows)}"
        if question.reference is not None:
            asked += f"; to compare with {_moment(question.reference)}: {_described(earlier, window)}"
        if max((window, *windows)) > LONGEST_WINDOW:
            minutes = LONGEST_WINDOW.total_seconds() / 60
            detail = f"a {self._kind} source remembers {minutes:g} minutes, not more"
            return Failed(reason=FailReason.QUERY_ERROR, detail=detail, asked=asked)
        try:
            selectors = tuple(selectors_of(form).values())
            reads = selectors if earlier is form else (*selectors, *selectors_of(earlier).values())
        except ValueError as error:
            return Failed(reason=FailReason.QUERY_ERROR, detail=str(error), asked=asked)
        keep = max(window, *windows, question.remember).total_seconds()
        for selector in selectors:
            self.memory.want(selector.name, window=keep, now=now.timestamp())
        failures = [origin.failed for origin in self._origins if origin.failed is not None]
        if len(failures) == len(self._origins):
            detail = one_line("; ".join(origin.trouble for origin in self._origins), limit=ERROR_CHARS)
            return Failed(reason=failures[0].reason, detail=detail, asked=asked)
        since = self.memory.reaches_back_to(selector.name for selector in selectors)
        return _Prepared(
            form=form,
            window=window,
            windows=windows,
            reference=question.reference,
            now=now,
            selectors=selectors,
            reads=tuple(dict.fromkeys(reads)),
            since=None if since is None else datetime.fromtimestamp(since, UTC),
            asked=asked,
        )

    def _troubled(self) -> list[Origin]:
        """The origins whose newest look failed. Before the very first one there is no trouble, only no data."""
        if not any(origin.tried for origin in self._origins):
            return []
        return [origin for origin in self._origins if origin.trouble]


def window_fault(kind: str, interval: timedelta, window: timedelta) -> str:
    """Why no rule with this window can ever have data of a source that looks each `interval`; empty when it can."""
    if window > LONGEST_WINDOW:
        longest = format_duration(LONGEST_WINDOW)
        return f"a window of {format_duration(window)} is longer than a {kind} source remembers ({longest})"
    if window < 2 * interval:
        scraped = format_duration(interval)
        return f"a window of {format_duration(window)} is shorter than two scrapes of it, one each {scraped}"
    return ""


def baseline_fault(kind: str, baseline: Baseline, window: timedelta) -> str:
    """Why no rule with this baseline and window can ever have a reference in memory; empty when it can."""
    beyond = reach_of(baseline, window) - LONGEST_WINDOW
    if beyond <= timedelta():
        return ""
    longest = format_duration(LONGEST_WINDOW)
    if baseline.against is Against.USUAL:
        over = format_duration(baseline.over or timedelta())
        return (
            f"what is usual in {over} is more than a {kind} source remembers ({longest}); ask a source of kind "
            "prometheus, or compare with `before-deployment`"
        )
    if baseline.ago is not None:
        most = baseline.ago - beyond
        advice = f"; write at most {format_duration(most)}" if most > window else ""
        return (
            f"{format_duration(baseline.ago)} ago, and the samples before that, is more than a {kind} source "
            f"remembers ({longest}){advice}"
        )
    return (
        f"the time before a deployment, in windows of {format_duration(window)}, is more than a {kind} source "
        f"remembers ({longest}); write a window of at most {format_duration(window - beyond)}"
    )


def _moment(asked: Earlier) -> str:
    """When a reference is measured, in words."""
    if asked.median_over is not None and asked.at is not None:
        return f"the median of {format_duration(asked.median_over)} up to {asked.at:%Y-%m-%dT%H:%M:%SZ}"
    return f"{format_duration(asked.ago)} earlier" if asked.ago else "the same time"


def _described(form: Measurable, window: timedelta) -> str:
    """What is asked, in words; there is no PromQL."""
    span = f"over {window.total_seconds():g} s"
    match form:
        case Ratio():
            return f"increase {span} of bad: {form.bad} and total: {form.total}"
        case Quantile():
            return f"quantile {form.q:g} {span} of the buckets of {form.of}"
        case Rate():
            return f"rate {span} of {form.of}"
        case Gauge():
            return f"{form.by} of {form.of}"
