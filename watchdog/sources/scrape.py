"""The source `scrape`: reads exposition pages itself and answers rules from memory, so that no Prometheus is needed.

Every address is read at once and then each `interval`, each in a loop of its own, never twice at the same time. A
metric is remembered from the first question about it on, looking back over the pages at hand (about two minutes).
Series get the labels `instance` (host and port) and `job` (the source's name), as in Prometheus. Asking costs no
round trip. What is measured, and how it differs from Prometheus, stands in `watchdog.core.measure`.

This module must never mix a page that it could not read completely into its memory, nor answer from some targets as
if they were all: a failing address that showed the series asked for (or nothing yet) makes the answer partial, and
when all fail there is none.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import aiohttp
import msgspec
from pydantic import AfterValidator, Field
from yarl import URL

from watchdog.aio.clock import Clock, SystemClock
from watchdog.aio.fetch import Page, Wanted, fetch, open_session
from watchdog.aio.supervise import run_all
from watchdog.core.baseline import Earlier, reach_of
from watchdog.core.dealing import Dealt, Key
from watchdog.core.exposition import names_on
from watchdog.core.measure import Measurable, measure, selectors_of
from watchdog.core.observation import Answer, Failed, FailReason
from watchdog.core.recalling import recalled
from watchdog.core.rule import Baseline, Gauge, Quantile, Query, Rate, Ratio
from watchdog.core.selector import Selector
from watchdog.core.series import Memory, Scraped
from watchdog.core.units import format_duration
from watchdog.settings.access import Access, Address
from watchdog.settings.model import PositiveDuration, ProviderSettings
from watchdog.sources.interface import Question, SourceReport
from watchdog.telemetry.redact import one_line, redact, register_secret

#: Largest page, decompressed.
PAGE_BYTES = 32 * 2**20
#: Longest window that can be asked for; what is kept is 16 bytes a sample.
LONGEST_WINDOW = timedelta(hours=1)
#: After so many failed scrapes of every target in a row the memory begins anew with the first good one.
AWAY_AFTER = 3
_ERROR_CHARS = 200
_PLAIN_TEXT = "text/plain;version=0.0.4;q=1,*/*;q=0.1"


def _distinct(urls: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(urls)) < len(urls):
        raise ValueError("an address is written twice; its requests would count twice")
    return urls


class ScrapeSettings(ProviderSettings, Access):
    """Settings of the source `scrape`. The timeout of one scrape is at most the interval."""

    urls: Annotated[tuple[Address, ...], Field(min_length=1), AfterValidator(_distinct)]
    """The pages to read, `http://` or `https://`."""
    interval: PositiveDuration = timedelta(seconds=5)
    """Time between two scrapes of one page."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust instead of the system's."""


class _Target:
    """One page, and how its newest scrape went. `failed` is `None` while that went well; `tried` tells "not yet"."""

    def __init__(self, url: str, *, job: str) -> None:
        self.url = URL(url)
        self.shown = str(self.url.with_query(None).with_fragment(None))
        self.labels = {"instance": f"{self.url.host}:{self.url.port}", "job": job}
        self.tried = False
        self.failed: Failed | None = None
        self.failures = 0
        self.scraped_at = -math.inf

    @property
    def trouble(self) -> str:
        """What keeps its newest page away; empty when nothing does."""
        if not self.tried:
            return f"{self.shown}: not scraped yet"
        return f"{self.shown}: {self.failed.detail}" if self.failed else ""


class _Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A question that can be answered from memory, and what is the same for everybody who asks it.

    `reads` are the selectors of the question and of its reference.
    """

    form: Measurable
    window: timedelta
    reference: Earlier | None
    now: datetime
    selectors: tuple[Selector, ...]
    reads: tuple[Selector, ...]
    since: datetime | None
    asked: str

    def answer(self, memory: Memory, troubled: list[_Target]) -> Answer:
        """From all that is remembered, or from one service's share of it.

        The trouble of the targets that belong to the answer makes it partial: they showed selected series, or nothing
        ever.
        """
        concerned = frozenset[str]()
        if troubled:
            concerned = concerned.union(*(memory.origins(selector) for selector in self.selectors))
        measured = measure(
            memory, self.form, after=(self.now - self.window).timestamp(), until=self.now.timestamp()
        )
        reference = self._reference(memory)
        recorded = [measured.record, reference] if self.reference else [measured.record]
        return Answer(
            parts=measured.parts | reference,
            evaluated_at=self.now,
            warnings=tuple(
                target.trouble
                for target in troubled
                if target.scraped_at == -math.inf or str(target.url) in concerned
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


class ScrapeSource:
    """Reads pages and remembers counters (see the module). `run` must be running for it to know anything."""

    Settings = ScrapeSettings

    @staticmethod
    def window_fault(settings: ScrapeSettings, window: timedelta) -> str:
        """Why no rule with this window can ever have data here; empty when it can."""
        if window > LONGEST_WINDOW:
            longest = format_duration(LONGEST_WINDOW)
            return (
                f"a window of {format_duration(window)} is longer than a scrape source remembers ({longest})"
            )
        if window < 2 * settings.interval:
            scraped = format_duration(settings.interval)
            return (
                f"a window of {format_duration(window)} is shorter than two scrapes of it, one each {scraped}"
            )
        return ""

    @staticmethod
    def baseline_fault(settings: ScrapeSettings, baseline: Baseline, window: timedelta) -> str:
        """Why no rule with this baseline and window can ever have a reference here; empty when it can."""
        del settings
        beyond = reach_of(baseline, window) - LONGEST_WINDOW
        if beyond <= timedelta():
            return ""
        longest = format_duration(LONGEST_WINDOW)
        if baseline.ago is not None:
            most = baseline.ago - beyond
            advice = f"; write at most {format_duration(most)}" if most > window else ""
            return (
                f"{format_duration(baseline.ago)} ago, and the samples before that, is more than a scrape source "
                f"remembers ({longest}){advice}"
            )
        return (
            f"the time before a deployment, in windows of {format_duration(window)}, is more than a scrape source "
            f"remembers ({longest}); write a window of at most {format_duration(window - beyond)}"
        )

    def __init__(self, settings: ScrapeSettings, *, name: str, clock: Clock | None = None) -> None:
        """`name` is the source's name in the configuration, and its series' `job`. Opens nothing."""
        self._settings = settings
        self._clock = clock or SystemClock()
        self._interval = settings.interval.total_seconds()
        self._timeout = min(settings.timeout, settings.interval).total_seconds()
        self._targets = [_Target(url, job=name) for url in settings.urls]
        self._memory = Memory()
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        for secret in settings.secrets():
            register_secret(secret)

    @property
    def concurrency(self) -> int:
        return 100  # an answer comes from memory

    async def ask(self, question: Question, *, now: datetime) -> Answer | Failed:
        prepared = self._prepared(question, now)
        if isinstance(prepared, Failed):
            return prepared
        return prepared.answer(self._memory, self._troubled())

    async def deal(self, question: Question, *, by: tuple[str, ...], now: datetime) -> Dealt | Failed:
        prepared = self._prepared(question, now)
        if isinstance(prepared, Failed):
            return prepared
        troubled = self._troubled()
        shares = self._memory.dealt((selector.name for selector in prepared.reads), by)
        hands: dict[Key, Answer] = {}
        for key, memory in shares.items():
            if any(True for selector in prepared.reads for _ in memory.selected(selector)):
                hands[key] = prepared.answer(memory, troubled)
                if question.reference is not None:
                    await asyncio.sleep(0)  # a median is made of dozens of values
        return Dealt(hands=hands, nothing=prepared.answer(Memory(), troubled))

    def _prepared(self, question: Question, now: datetime) -> _Prepared | Failed:
        """What is the same for every answer to this question."""
        form, window = question.form, question.window
        earlier = question.reference.form if question.reference else form
        if isinstance(form, Query) or isinstance(earlier, Query):
            return Failed(
                reason=FailReason.QUERY_ERROR, detail="raw PromQL needs a source of kind prometheus"
            )
        asked = _described(form, window)
        if question.reference is not None:
            asked += f"; to compare with {_moment(question.reference)}: {_described(earlier, window)}"
        if window > LONGEST_WINDOW:
            detail = f"a scrape source remembers {LONGEST_WINDOW.total_seconds() / 60:g} minutes, not more"
            return Failed(reason=FailReason.QUERY_ERROR, detail=detail, asked=asked)
        try:
            selectors = tuple(selectors_of(form).values())
            reads = selectors if earlier is form else (*selectors, *selectors_of(earlier).values())
        except ValueError as error:
            return Failed(reason=FailReason.QUERY_ERROR, detail=str(error), asked=asked)
        keep = max(window, question.remember).total_seconds()
        for selector in selectors:
            self._memory.want(selector.name, window=keep, now=now.timestamp())
        failures = [target.failed for target in self._targets if target.failed is not None]
        if len(failures) == len(self._targets):
            detail = one_line("; ".join(target.trouble for target in self._targets), limit=_ERROR_CHARS)
            return Failed(reason=failures[0].reason, detail=detail, asked=asked)
        since = self._memory.reaches_back_to(selector.name for selector in selectors)
        return _Prepared(
            form=form,
            window=window,
            reference=question.reference,
            now=now,
            selectors=selectors,
            reads=tuple(dict.fromkeys(reads)),
            since=None if since is None else datetime.fromtimestamp(since, UTC),
            asked=asked,
        )

    async def inspect(self) -> SourceReport:
        pages = await asyncio.gather(*(self._read(target) for target in self._targets))
        found = list(zip(self._targets, pages, strict=True))
        bad = [f"{target.shown}: {read.detail}" for target, read in found if isinstance(read, Failed)]
        if bad:
            advice = "the address must answer 200 with a page of metrics"
            return SourceReport(ok=False, detail=one_line("; ".join(bad), limit=_ERROR_CHARS), advice=advice)
        return SourceReport(ok=True, detail=f"{len(found)} page{'s' if len(found) > 1 else ''} can be read")

    async def names(self) -> tuple[str, ...] | None:
        pages = await asyncio.gather(*(self._read(target) for target in self._targets))
        texts = [page.body.decode(errors="replace") for page in pages if not isinstance(page, Failed)]
        return tuple(dict.fromkeys(name for text in texts for name in names_on(text))) if texts else None

    async def run(self) -> None:
        await run_all({f"scrape {target.shown}": self._keep_scraping(target) for target in self._targets})

    async def aclose(self) -> None:
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _troubled(self) -> list[_Target]:
        """The targets whose newest page is missing. Before the very first scrape there is no trouble, only no data."""
        if not any(target.tried for target in self._targets):
            return []
        return [target for target in self._targets if target.trouble]

    async def _keep_scraping(self, target: _Target) -> None:
        due = self._clock.monotonic()
        while True:
            await self._scrape(target)
            # A scrape that took longer than the interval skips the ones it missed.
            late = max(self._clock.monotonic() - due, 0.0)
            due += (math.floor(late / self._interval) + 1) * self._interval
            await self._clock.sleep(due - self._clock.monotonic())

    async def _scrape(self, target: _Target) -> None:
        """One scrape. The samples' time is when it began, as in Prometheus."""
        at = self._clock.now().timestamp()
        page = await self._read(target)
        read = page if isinstance(page, Failed) else self._remember(target, page, at)
        if read is None:
            target.tried, target.failed, target.failures = True, None, 0
        else:
            target.tried, target.failed = True, read
            target.failures += 1

    def _remember(self, target: _Target, page: Page, at: float) -> Failed | None:
        away = all(one.failures >= AWAY_AFTER for one in self._targets)
        if (
            away or at <= target.scraped_at
        ):  # or the clock was set back: times before and after do not compare
            self._memory.clear()
            for one in self._targets:
                one.scraped_at = -math.inf
        try:
            self._memory.add(
                Scraped(
                    text=page.body.decode(),
                    at=at,
                    origin=str(target.url),
                    labels=target.labels,
                    openmetrics=page.content_type == "application/openmetrics-text",
                )
            )
        except ValueError as error:
            return Failed(reason=FailReason.MALFORMED, detail=f"not a page of metrics: {_clean(str(error))}")
        target.scraped_at = at
        return None

    async def _read(self, target: _Target) -> Page | Failed:
        if self._closed:
            return Failed(reason=FailReason.UNABLE, detail="the source was closed")
        if self._session is None:
            try:
                self._session = open_session(
                    headers={"Accept": _PLAIN_TEXT, **self._settings.request_headers()},
                    ca_file=self._settings.ca_file,
                    connections=len(self._targets),
                )
            except (OSError, ssl.SSLError) as error:
                detail = f"cannot use ca_file {self._settings.ca_file}: {error.strerror or error}"
                return Failed(reason=FailReason.UNABLE, detail=detail)
        page = await fetch(self._session, Wanted(url=target.url), timeout=self._timeout, limit=PAGE_BYTES)
        if isinstance(page, Failed):
            return page
        if page.status != 200:
            said = f", redirects to {page.location}; write that address" if page.location else ""
            return Failed(reason=FailReason.HTTP_STATUS, detail=f"status {page.status}{said}")
        if not page.framed and not page.body.endswith(b"\n"):
            return Failed(reason=FailReason.MALFORMED, detail="the page was cut short")
        return page


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


def _clean(text: str) -> str:
    return one_line(redact(text), limit=_ERROR_CHARS)
