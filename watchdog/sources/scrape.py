"""The source `scrape`: reads exposition pages itself and answers rules from memory, so that no Prometheus is needed.

Every address is read at once and then each `interval`, each in a loop of its own, never twice at the same time. A
metric is remembered from the first question about it on, looking back over the pages at hand (about two minutes).
Series get the labels `instance` (host and port) and `job` (the source's name), as in Prometheus. Asking costs no
round trip. What is measured, and how it differs from Prometheus, stands in `watchdog.core.measure`.

How it answers from memory stands in `watchdog.sources.recollection`. This module must never hand on a page that it
could not read completely.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import aiohttp
from pydantic import AfterValidator, Field
from yarl import URL

from watchdog.aio.clock import Clock, SystemClock
from watchdog.aio.fetch import Page, Wanted, fetch, open_session
from watchdog.aio.supervise import run_all
from watchdog.core.dealing import Dealt
from watchdog.core.exposition import names_on
from watchdog.core.observation import Answer, Failed, FailReason
from watchdog.core.rule import Baseline
from watchdog.settings.access import Access, Address
from watchdog.settings.model import PositiveDuration, ProviderSettings
from watchdog.sources.interface import Question, SourceReport
from watchdog.sources.recollection import ERROR_CHARS, Origin, Recollection, baseline_fault, window_fault
from watchdog.telemetry.redact import one_line, register_secret

#: Largest page, decompressed.
PAGE_BYTES = 32 * 2**20
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


class _Target(Origin):
    """One page."""

    def __init__(self, url: str, *, job: str) -> None:
        self.url = URL(url)
        super().__init__(
            str(self.url),
            shown=str(self.url.with_query(None).with_fragment(None)),
            labels={"instance": f"{self.url.host}:{self.url.port}", "job": job},
        )


class ScrapeSource:
    """Reads pages and remembers counters (see the module). `run` must be running for it to know anything."""

    Settings = ScrapeSettings

    @staticmethod
    def window_fault(settings: ScrapeSettings, window: timedelta) -> str:
        """Why no rule with this window can ever have data here; empty when it can."""
        return window_fault("scrape", settings.interval, window)

    @staticmethod
    def baseline_fault(settings: ScrapeSettings, baseline: Baseline, window: timedelta) -> str:
        """Why no rule with this baseline and window can ever have a reference here; empty when it can."""
        del settings
        return baseline_fault("scrape", baseline, window)

    def __init__(self, settings: ScrapeSettings, *, name: str, clock: Clock | None = None) -> None:
        """`name` is the source's name in the configuration, and its series' `job`. Opens nothing."""
        self._settings = settings
        self._clock = clock or SystemClock()
        self._interval = settings.interval.total_seconds()
        self._timeout = min(settings.timeout, settings.interval).total_seconds()
        self._targets = [_Target(url, job=name) for url in settings.urls]
        self._recollection = Recollection(self._targets, kind="scrape")
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        for secret in settings.secrets():
            register_secret(secret)

    @property
    def concurrency(self) -> int:
        return 100  # an answer comes from memory

    async def ask(self, question: Question, *, now: datetime) -> Answer | Failed:
        return self._recollection.ask(question, now=now)

    async def deal(self, question: Question, *, by: tuple[str, ...], now: datetime) -> Dealt | Failed:
        return await self._recollection.deal(question, by=by, now=now)

    async def inspect(self) -> SourceReport:
        pages = await asyncio.gather(*(self._read(target) for target in self._targets))
        found = list(zip(self._targets, pages, strict=True))
        bad = [f"{target.shown}: {read.detail}" for target, read in found if isinstance(read, Failed)]
        if bad:
            advice = "the address must answer 200 with a page of metrics"
            return SourceReport(ok=False, detail=one_line("; ".join(bad), limit=ERROR_CHARS), advice=advice)
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
        if isinstance(page, Failed):
            self._recollection.missed(target, page)
            return
        try:
            text = page.body.decode()
        except UnicodeDecodeError:
            failed = Failed(reason=FailReason.MALFORMED, detail="not a page of metrics: it is no UTF-8")
            self._recollection.missed(target, failed)
            return
        openmetrics = page.content_type == "application/openmetrics-text"
        self._recollection.take(target, text, at=at, openmetrics=openmetrics)

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
