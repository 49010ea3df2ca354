"""What a scrape source remembers: samples of the series that rules ask about, and the increases over a window.

Memory is bounded: only metrics that were asked about are kept, as long as the longest window asked for (16 bytes a
sample), and at most `MAX_SERIES` of them. The newest pages are kept as text beside it (`PAGES_BYTES` together), so
that the first question about a metric looks back as well. This module must never look at a clock: times are Unix
seconds, given.

An increase is the sum of a counter's steps between the samples in the window; after a reset the new value counts from
0; a series counts from its first sample on. Prometheus does the same and then extrapolates to the window's edges
(`watchdog.core.extrapolation`), which is left out of counts: they come out lower by up to one scrape interval's share
of the window, and shares of two counters scraped together come out alike.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from watchdog.core.exposition import read_labels, samples
from watchdog.core.extrapolation import increase
from watchdog.core.selector import Selector

#: Most series in memory; a page that would go beyond is refused.
MAX_SERIES = 50_000
#: Text of the newest pages that is kept for metrics nobody asked about yet.
PAGES_BYTES = 16 * 2**20
#: How long that text is kept (seconds).
PAGES_FOR = 120.0
#: What is kept beyond the longest window (seconds): a question may be a little late.
MARGIN = 30.0


class Series:
    """The samples of one series, oldest first. `labels` are complete, `origin` names the target it comes from.

    `shown_at` is the time of the last page that had it; `live` is false once it is forgotten.
    """

    __slots__ = ("labels", "live", "origin", "shown_at", "times", "values")

    def __init__(self, labels: Mapping[str, str], origin: str) -> None:
        self.labels = labels
        self.origin = origin
        self.times = array("d")
        self.values = array("d")
        self.live = True
        self.shown_at = -math.inf

    def add(self, at: float, value: float) -> None:
        """Take a sample. One that is not newer than the newest is the same sample seen again, and dropped."""
        if not self.times or at > self.times[-1]:
            self.times.append(at)
            self.values.append(value)

    def window(self, *, after: float, until: float) -> Sequence[float]:
        """The values later than `after` and not later than `until`."""
        return self.values[bisect_right(self.times, after) : bisect_right(self.times, until)]

    def span(self, *, after: float, until: float) -> tuple[Sequence[float], Sequence[float]]:
        """Times and values of the samples later than `after` and not later than `until`."""
        first, end = bisect_right(self.times, after), bisect_right(self.times, until)
        return self.times[first:end], self.values[first:end]

    def newest(self, *, until: float) -> float | None:
        """The time of the newest sample not later than `until`."""
        found = bisect_right(self.times, until)
        return self.times[found - 1] if found else None

    def latest(self, *, until: float) -> float | None:
        """The value of that sample."""
        found = bisect_right(self.times, until)
        return self.values[found - 1] if found else None

    def forget(self, before: float) -> None:
        """Drop samples older than that, but not the newest; now and then rather than one by one."""
        old = min(bisect_right(self.times, before), len(self.times) - 1)
        if old > 32:
            del self.times[:old]
            del self.values[:old]


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """What a selector found in a window.

    `increases` is the sum over all series with two samples or more, `None` without any. `newest` is the time of the
    newest sample (Unix seconds) of those that the newest page of their target still shows, `None` when none does;
    `samples` the samples in the window of the series that has most, `series` how many.
    """

    increases: float | None = None
    newest: float | None = None
    samples: int = 0
    series: int = 0


class Scraped(msgspec.Struct, frozen=True, kw_only=True):
    """One page: its text, when it was asked for (Unix seconds), and whose it is.

    `origin` identifies the target; `labels` (`instance`, `job`) are put on its series.
    """

    text: str
    at: float
    origin: str
    labels: dict[str, str] = {}
    openmetrics: bool = False


#: The series of one metric by target and labels.
_Found = dict[tuple[str, tuple[tuple[str, str], ...]], Series]


class Memory:
    """Series of all targets of one source, by metric."""

    def __init__(
        self,
        *,
        max_series: int = MAX_SERIES,
        look_back: bool = True,
        metrics: dict[str, _Found] | None = None,
        last_page: dict[str, float] | None = None,
    ) -> None:
        """Empty, or with `metrics` and the time of the last page of each target of another memory.

        Without `look_back` no page is kept for metrics that nobody asked about yet: pages need not have them.
        """
        self._look_back = look_back
        self._max_series = max_series
        self._keep = 0.0
        self._metrics: dict[str, _Found] = {} if metrics is None else metrics
        self._written: dict[tuple[str, str, str], Series] = {}
        self._pages: deque[Scraped] = deque()
        self._pages_size = 0
        self._began: float | None = None
        self._reaches: dict[str, float] = {}
        self._last_page: dict[str, float] = {} if last_page is None else last_page

    @property
    def series(self) -> int:
        """How many series are remembered."""
        return sum(len(found) for found in self._metrics.values())

    @property
    def wanted(self) -> frozenset[str]:
        """The metrics that were asked about."""
        return frozenset(self._metrics)

    def clear(self) -> None:
        """Forget every sample, but not what was asked for."""
        self._metrics = {name: {} for name in self._metrics}
        self._written.clear()
        self._pages.clear()
        self._pages_size = 0
        self._began = None
        self._reaches.clear()
        self._last_page.clear()

    def want(self, metric: str, *, window: float, now: float) -> None:
        """Keep `metric` from now on, for `window` seconds and a margin; the pages still at hand are read for it."""
        if window + MARGIN > self._keep:
            # What was dropped under the shorter memory is missing from the longer window.
            for known in self._metrics if self._keep else ():
                self._reaches[known] = max(self._reaches.get(known, -math.inf), now - self._keep)
            self._keep = window + MARGIN
        if metric in self._metrics:
            return
        self._metrics[metric] = {}
        if not self._look_back and self._began is not None:
            self._reaches[metric] = now
        if self._pages and self._began is not None and self._pages[0].at > self._began:
            self._reaches[metric] = self._pages[0].at
        for page in self._pages:
            try:
                self._take(page, {metric})
            except ValueError:
                self._reaches[metric] = page.at  # a hole: what came before does not count as unbroken

    def reaches_back_to(self, metrics: Iterable[str]) -> float | None:
        """The moment from which the memory of these metrics has no hole of its own making. `None`: nothing yet."""
        if self._began is None:
            return None
        return max([self._began, *(self._reaches[name] for name in metrics if name in self._reaches)])

    def add(self, page: Scraped) -> None:
        """Take a page. Raises `ValueError` when it cannot be read or has too many series: nothing of it was taken."""
        self._take(page, self._metrics.keys())
        self._began = page.at if self._began is None else self._began
        self._last_page[page.origin] = page.at
        if self._look_back:
            self._pages.append(page)
            self._pages_size += len(page.text)
        oldest = page.at - PAGES_FOR
        while len(self._pages) > 1 and (self._pages_size > PAGES_BYTES or self._pages[0].at < oldest):
            self._pages_size -= len(self._pages.popleft().text)
        self._forget(page.at - self._keep)

    def count(self, selector: Selector, *, after: float, until: float) -> Count:
        """What the selector finds in the window. Raises `ValueError` for a pattern that cannot be matched."""
        rises: list[float] = []
        newest: float | None = None
        most = 0
        found = 0
        for series in self.selected(selector):
            values = series.window(after=after, until=until)
            if not values:
                continue
            found += 1
            most = max(most, len(values))
            seen = series.newest(until=until)
            if seen is not None and self.shows(series):
                newest = seen if newest is None else max(newest, seen)
            rise = increase(values)
            if rise is not None:
                rises.append(rise)
        return Count(increases=sum(rises) if rises else None, newest=newest, samples=most, series=found)

    def origins(self, selector: Selector) -> frozenset[str]:
        """The targets with a selected series in memory, be it old: what the newest page showed stays known."""
        return frozenset(series.origin for series in self.selected(selector))

    def selected(self, selector: Selector) -> Iterator[Series]:
        """The selected series in memory. Raises `ValueError` for a pattern that cannot be matched."""
        return (one for one in self._metrics.get(selector.name, {}).values() if selector.accepts(one.labels))

    def dealt(self, metrics: Iterable[str], by: Sequence[str]) -> dict[tuple[str, ...], Memory]:
        """What is remembered of these metrics, dealt out by labels: each hand a memory that may only be read.

        A series that lacks one of the labels is in none of them.
        """
        hands: dict[tuple[str, ...], dict[str, _Found]] = {}
        for metric in dict.fromkeys(metrics):
            for key, series in self._metrics.get(metric, {}).items():
                of = tuple(series.labels.get(label, "") for label in by)
                if all(of):
                    hands.setdefault(of, {}).setdefault(metric, {})[key] = series
        return {of: Memory(metrics=found, last_page=self._last_page) for of, found in hands.items()}

    def shows(self, series: Series) -> bool:
        """Whether the newest page of its target still has the series."""
        return series.shown_at >= self._last_page.get(series.origin, math.inf)

    def _take(self, page: Scraped, wanted: Iterable[str]) -> None:
        lines = list(samples(page.text, frozenset(wanted), openmetrics=page.openmetrics))
        rows = [(self._series(line.name, line.labels, page), line) for line in lines]
        for series, line in rows:
            series.add(page.at if line.at is None else line.at, line.value)
            series.shown_at = page.at

    def _series(self, name: str, written: str, page: Scraped) -> Series:
        """The series written like this. Found by its text, which pages repeat; read only at first sight."""
        known = self._written.get((name, written, page.origin))
        if known is not None and known.live:
            return known
        labels = _at_target(read_labels(written), page.labels)
        key = (page.origin, tuple(sorted(labels.items())))
        series = self._metrics[name].get(key)
        if series is None:
            if self.series >= self._max_series:
                raise ValueError(f"more than {self._max_series} series of the metrics that rules ask about")
            series = self._metrics[name][key] = Series(labels, page.origin)
        self._written[name, written, page.origin] = series
        return series

    def _forget(self, before: float) -> None:
        gone = False
        for found in self._metrics.values():
            for key, series in list(found.items()):
                series.forget(before)
                # What the newest page of a target shows stays known, also when that target never answers again.
                if series.shown_at < min(before, self._last_page.get(series.origin, math.inf)):
                    series.live = False
                    gone = True
                    del found[key]
        if gone:
            self._written = {text: series for text, series in self._written.items() if series.live}


def _at_target(labels: dict[str, str], target: Mapping[str, str]) -> dict[str, str]:
    """The page's labels with the target's; one the page has too becomes `exported_...`, as in Prometheus."""
    moved = {f"exported_{name}" if name in target else name: value for name, value in labels.items()}
    return {**moved, **target}
