"""Range queries: expressions over months, asked of a Prometheus in chunks that it can answer.

Prometheus refuses more than 11,000 points a series, more samples than it may load, and what takes too long; then the
chunk is cut in two, and so on. What is settled is kept in a cache, so that an interrupted back-test goes on where it
was. The asking itself is prometheus-api-client's; its retries are off, ours are few. This module must never ask more
than a few questions at once, follow a redirect, or let a credential into a text.
"""

from __future__ import annotations

import hashlib
import math
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import requests
from prometheus_api_client.exceptions import PrometheusApiClientException
from prometheus_api_client.prometheus_connect import PrometheusConnect
from urllib3.util.retry import Retry

from watchdog.lab.cache import Cache
from watchdog.lab.range_fault import Fault, Way, clean, of_status
from watchdog.lab.range_points import (
    FAILED,
    Grid,
    Points,
    RangeError,
    failed,
    joined,
    packed,
    points_of,
    unpacked,
)
from watchdog.lab.range_session import Session, TooLarge
from watchdog.sources.prometheus import PrometheusSettings
from watchdog.telemetry.redact import register_secret

#: Points of one query. Prometheus refuses "(end - start) / step > 11000" (web/api/v1/api.go), which are 11,001 points.
POINTS = 11_000
#: What is older than this changes no more: it is scraped, ingested and, after a short outage, sent again by then.
SETTLED_AFTER = timedelta(minutes=10)
#: A query over months may take longer than a poll.
LEAST_TIMEOUT = timedelta(seconds=30)
#: Questions at once: a back-test is never urgent, and the server has others to answer.
AT_ONCE = 4
#: Waits before what failed for a moment is tried again (seconds).
_AGAIN_AFTER = (0.5, 2.0)
#: How often a chunk is cut in two at most, by what makes it too much; a limit of points or samples may take all cuts.
_CUTS = {Way.QUICKER: 5, Way.APART: 4, Way.LESS: 64}
_REMARK = "PromQL info:"
_NO_ANSWER = "not an answer of the range query API"


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """PromQL over a grid of moments. Of its series only those with all the labels `of` count."""

    text: str
    grid: Grid
    of: tuple[tuple[str, str], ...] = ()


class _Refused(Exception):
    """A question without an answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.words)
        self.fault = fault


class PrometheusRange:
    """Asks one Prometheus, or whatever speaks its API, with the settings of a source of the configuration."""

    def __init__(
        self,
        settings: PrometheusSettings,
        *,
        name: str,
        cache: Cache | None = None,
        timeout: timedelta | None = None,
        now: Callable[[], float] = time.time,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """`name` is the source's, `timeout` for one query; `now` (Unix seconds) says what is settled. Opens nothing."""
        self._settings, self._name, self._cache = settings, name, cache
        self._timeout = math.ceil((timeout or max(settings.timeout, LEAST_TIMEOUT)).total_seconds())
        self._now, self._wait = now, wait
        self._method = "POST"
        self._most: dict[str, int] = {}
        self._own = threading.local()
        self._open: list[PrometheusConnect] = []
        self._stopped = threading.Event()
        self._error: RangeError | None = None
        for secret in settings.secrets():
            register_secret(secret)
        self._identity = _identity(settings)

    def ask(
        self, wanted: Sequence[Expression], *, progress: Callable[[int], None] | None = None
    ) -> dict[Expression, Points]:
        """All of them, each once. `progress` is told, in this thread, of how many more points are there.

        Raises `RangeError` when the server cannot be asked, or answers an expression nowhere; chunks that were
        answered by then are in the cache. Where it fails only now and then, these points are `FAILED`.
        """
        chunks = [(one, chunk) for one in dict.fromkeys(wanted) for chunk in one.grid.chunks(POINTS)]
        answers: dict[Expression, dict[int, Points]] = {one: {} for one in wanted}
        with self._asking() as pool:
            running: dict[Future[Points], tuple[Expression, Grid]] = {
                pool.submit(self._chunk, one, chunk): (one, chunk) for one, chunk in chunks
            }
            for done in as_completed(running):
                one, chunk = running[done]
                answers[one][chunk.first] = done.result()
                if progress is not None:
                    progress(len(chunk))
        found = {
            one: joined([pieces[at] for at in sorted(pieces)]) for one, pieces in answers.items() if pieces
        }
        for one, points in found.items():
            if np.all(points.flags == FAILED):
                raise RangeError(
                    f"source {self._name!r} answers {_short(one.text)} nowhere: {points.notes[0]}"
                )
        return found

    @contextmanager
    def _asking(self) -> Iterator[ThreadPoolExecutor]:
        """Threads to ask in. However it ends, nothing more is asked, and every connection is closed."""
        self._check_authorities()
        self._stopped.clear()
        self._error = None
        pool = ThreadPoolExecutor(min(AT_ONCE, self._settings.concurrency), thread_name_prefix="range")
        try:
            yield pool
        finally:
            self._stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._own = threading.local()

    def _check_authorities(self) -> None:
        try:
            if self._settings.ca_file is not None:
                ssl.create_default_context(cafile=self._settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            words = error.strerror or "it holds no certificate"
            raise RangeError(
                f"source {self._name!r}: cannot use ca_file {self._settings.ca_file}: {words}"
            ) from None

    def _chunk(self, one: Expression, chunk: Grid) -> Points:
        """One chunk, from the cache or from the server. The first one that cannot be answered ends all others."""
        try:
            return self._kept(one, chunk)
        except RangeError as error:
            self._error = self._error or error
            self._stopped.set()
            raise self._error from None

    def _kept(self, one: Expression, chunk: Grid) -> Points:
        cache, key = self._cache, self._key(one, chunk)
        if cache is not None and (kept := cache.get(key)) is not None:
            points = unpacked(chunk, kept)
            if points is not None:
                return points
        points = self._piece(one, chunk, cuts=0)
        settled = chunk.last * chunk.step < self._now() - SETTLED_AFTER.total_seconds()
        # Where there is nothing at all, somebody may be about to find out why: that is asked again.
        if cache is not None and settled and points.whole and not points.nothing:
            cache.put(key, packed(points))
        return points

    def _key(self, one: Expression, chunk: Grid) -> bytes:
        grid = (chunk.step, chunk.first, chunk.last)
        return msgspec.json.encode((self._identity, one.text, one.of, grid))

    def _piece(self, one: Expression, grid: Grid, *, cuts: int) -> Points:
        """One question, cut in two as often as it takes. Raises `RangeError`."""
        most = self._most.get(one.text, POINTS)
        if len(grid) > most:
            return joined([self._piece(one, piece, cuts=cuts) for piece in grid.chunks(most)])
        try:
            return self._query(one, grid)
        except _Refused as refused:
            fault = refused.fault
        if cuts >= _CUTS.get(fault.way, 0) or len(grid) == 1:
            if fault.way is Way.APART:
                return failed(grid, fault.words)
            raise RangeError(f"source {self._name!r} does not answer {_short(one.text)}: {fault.words}")
        if fault.way is Way.LESS:
            self._most[one.text] = (len(grid) + 1) // 2
        return joined([self._piece(one, half, cuts=cuts + 1) for half in grid.halves()])

    def _query(self, one: Expression, grid: Grid) -> Points:
        """One question, again for what failed for a moment only. Raises `_Refused`."""
        waits = iter(_AGAIN_AFTER)
        while True:
            if self._stopped.is_set():
                raise self._error or RangeError("stopped")
            fault, points = self._exchange(one, grid)
            if points is not None:
                return points
            if fault.way is Way.GET:
                self._method = "GET"
                continue
            wait = next(waits, None)
            if fault.way is not Way.LATER or wait is None:
                raise _Refused(fault)
            self._wait(wait)

    def _exchange(self, one: Expression, grid: Grid) -> tuple[Fault, Points | None]:
        """Ask once."""
        fine = Fault(way=Way.NO, words="")
        connection, session, method = self._connection()
        try:
            result = connection.custom_query_range(
                query=one.text,
                start_time=datetime.fromtimestamp(grid.first * grid.step, UTC),
                end_time=datetime.fromtimestamp(grid.last * grid.step, UTC),
                step=str(grid.step),
                params={"timeout": f"{self._timeout}s"},
            )
            warnings = [clean(it) for it in session.warnings if not it.startswith(_REMARK)]
            return fine, points_of(grid, result, of=dict(one.of), warnings=warnings)
        except PrometheusApiClientException:
            posted = method == "POST"
            return of_status(session.status, session.body, session.location, posted=posted), None
        except requests.RequestException as error:
            return self._of_error(error), None
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError):
            return Fault(way=Way.NO, words=_NO_ANSWER), None

    def _connection(self) -> tuple[PrometheusConnect, Session, str]:
        """This thread's connection."""
        method = self._method
        if getattr(self._own, "method", "") != method:
            session = Session()
            session.verify = _authorities(self._settings.ca_file)
            self._own.connection = PrometheusConnect(
                url=self._settings.url.rstrip("/"),
                headers={"User-Agent": "rollback-watchdog", **self._settings.request_headers()},
                session=session,
                retry=Retry(0, read=False),
                timeout=self._timeout,
                method=method,
            )
            self._own.session, self._own.method = session, method
            self._open.append(self._own.connection)
        return self._own.connection, self._own.session, method

    def _of_error(self, error: requests.RequestException) -> Fault:
        """Built from the error's type: what the other side wrote is not repeated."""
        match error:
            case TooLarge():
                return Fault(way=Way.LESS, words=str(error))
            case requests.ConnectTimeout():
                return Fault(way=Way.LATER, words="no connection within the timeout")
            case requests.Timeout():
                return Fault(way=Way.QUICKER, words=f"no complete answer within {self._timeout} s")
            case requests.exceptions.SSLError():
                return Fault(way=Way.NO, words="no TLS: the certificate is not trusted, or there is none")
            case requests.exceptions.InvalidJSONError():
                return Fault(way=Way.NO, words=_NO_ANSWER)
            case requests.exceptions.ChunkedEncodingError() | requests.exceptions.ContentDecodingError():
                return Fault(way=Way.LATER, words="the answer was cut short")
            case requests.ConnectionError():
                return Fault(way=Way.LATER, words="cannot be reached")
            case _:
                return Fault(way=Way.NO, words=f"cannot be asked: {type(error).__name__}")


def _identity(settings: PrometheusSettings) -> tuple[str, str]:
    """Whom a cached answer is from. What a tenant's name or token lets one see is his alone, so they count, too.

    They are hashed slowly: a file of the cache must not help to guess them.
    """
    sent: Mapping[str, Any] = settings.request_headers()
    shown = repr(sorted((name.lower(), value) for name, value in sent.items())).encode()
    digest = hashlib.scrypt(shown, salt=b"rollback-watchdog", n=2**12, r=8, p=1, dklen=16) if sent else b""
    return settings.url.rstrip("/"), digest.hex()


def _authorities(ca_file: Path | None) -> str | bool:
    """Whom to trust, as the daemon does: the file, else the system's authorities, which requests does not look at."""
    if ca_file is not None:
        return str(ca_file)
    known = ssl.get_default_verify_paths()
    return known.cafile or known.capath or True


def _short(text: str) -> str:
    return clean(text if len(text) <= 120 else f"{text[:119]}…")
