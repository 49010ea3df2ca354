"""The source `prometheus`: instant queries over Prometheus's HTTP API, one round trip a rule.

The parts of a rule are asked as one union of vectors, each marked with the label `watchdog_part`. A `query` without
`events` and `freshness` is sent exactly as it is written. The evaluation time is left to the server and read from its
answer, so that a source whose clock is off, or a cache that answers in its place, shows as stale or future.
This module must never follow a redirect, read an answer without a bound, or let a credential into a text.
"""

from __future__ import annotations

import asyncio
import math
import re
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec
from pydantic import Field
from yarl import URL

from watchdog.aio.clock import Clock, SystemClock
from watchdog.aio.fetch import Page, Wanted, fetch, open_session
from watchdog.core.dealing import Dealt, Part, deal
from watchdog.core.observation import Answer, Failed, FailReason
from watchdog.core.promql import parts_of
from watchdog.core.referring import reference_parts
from watchdog.core.rule import Query
from watchdog.settings.access import Access, Address
from watchdog.settings.model import HttpSettings
from watchdog.sources.interface import Question, SourceReport
from watchdog.sources.prometheus_api import (
    Matrix,
    Reply,
    Scalar,
    Vector,
    builds,
    faults,
    listed,
    replies,
    runtime,
)
from watchdog.telemetry.redact import one_line, redact, register_secret

#: The label that says which part of a rule a series answers.
PART = "watchdog_part"
#: Largest answer, decompressed; one number needs about 200 bytes.
ANSWER_BYTES = 16 * 2**20
#: So many names of metrics are looked at, of so many seconds.
NAMES, _NAMES_WITHIN = 50_000, 3600
#: What is kept of an answer for the record, and of an error for people (characters).
_RECORD_CHARS, _ERROR_CHARS = 2000, 200
#: How often, at most, a server that answers is asked whether it was restarted (seconds).
_LOOK_EVERY = 30.0
#: A server's clock may differ by this much before `inspect` mentions it.
_CLOCK_DIFFERENCE = timedelta(seconds=2)
#: Errors that are the question's fault, not the server's (Prometheus HTTP API, "Format overview").
_QUESTION_ERRORS = frozenset({"bad_data", "execution"})
#: Prometheus before 2.54 lists its remarks about a query among the warnings; nothing is missing from such an answer.
_REMARK = "PromQL info:"
#: Numbers as Go writes them; Python's `float` takes more, such as `1_0` and digits of other scripts.
_NUMBER = re.compile(r"[-+]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|Inf)|NaN")
_SCALAR_PART = re.compile(r'(?:(\d+):)?(\d+): parse error:.*"label_replace", got scalar')


class PrometheusSettings(HttpSettings, Access):
    """Settings of the source `prometheus`."""

    url: Address = Field()
    """Base address; `/api/v1/query` is asked below it."""
    concurrency: int = Field(default=20, ge=1, le=1000)
    """Most questions at the same time."""


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it came: its numbers one by one, and what is the same for all of them."""

    parts: tuple[Part, ...]
    whole: Answer

    def together(self) -> Answer:
        """As the answer to one question for one service."""
        values: dict[str, list[float]] = {name: [] for name in self.whole.parts}
        for part in self.parts:
            values[part.name].append(part.value)
        return msgspec.structs.replace(
            self.whole, parts={name: tuple(found) for name, found in values.items()}
        )


class PrometheusSource:
    """Asks one Prometheus, or whatever speaks its API, at one address (see the module)."""

    Settings = PrometheusSettings

    def __init__(self, settings: PrometheusSettings, *, name: str, clock: Clock | None = None) -> None:
        """`name` is the source's name in the configuration. Opens nothing."""
        self._name = name
        self._settings = settings
        self._clock = clock or SystemClock()
        self._timeout = settings.timeout.total_seconds()
        self._api = URL(settings.url) / "api" / "v1"
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._method = "POST"
        self._scalars: dict[Query, frozenset[str]] = {}
        self._failed = False
        self._looked_at = -math.inf
        self._look = asyncio.Event()
        #: When the server was started, as far as it said so.
        self.started_at: datetime | None = None
        self._since: datetime | None = None
        for secret in settings.secrets():
            register_secret(secret)

    @property
    def concurrency(self) -> int:
        return self._settings.concurrency

    async def ask(self, question: Question, *, now: datetime) -> Answer | Failed:
        read = await self._ask(question, (), now)
        self._note(read)
        return read if isinstance(read, Failed) else read.together()

    async def deal(self, question: Question, *, by: tuple[str, ...], now: datetime) -> Dealt | Failed:
        read = await self._ask(question, by, now)
        self._note(read)
        return read if isinstance(read, Failed) else deal(read.parts, read.whole, by)

    def _note(self, read: _Read | Failed) -> None:
        """Whether it is time to look for a restart."""
        if isinstance(read, Failed):
            # A question that cannot be answered says nothing about the server.
            self._failed |= read.reason is not FailReason.QUERY_ERROR
        elif self._failed or self._clock.monotonic() - self._looked_at >= _LOOK_EVERY:
            self._failed = False
            self._looked_at = self._clock.monotonic()
            self._look.set()

    async def inspect(self) -> SourceReport:
        now = self._clock.now()
        answer = await self._ask(
            Question(form=Query(query="vector(1)"), window=timedelta(minutes=1)), (), now
        )
        where = f"{self._api.parent.parent}"
        if isinstance(answer, Failed):
            advice = f"check the address and the rights of source {self._name!r}"
            return SourceReport(ok=False, detail=f"{where}: {answer.reason}: {answer.detail}", advice=advice)
        ahead = answer.whole.evaluated_at - now
        if abs(ahead) > _CLOCK_DIFFERENCE:
            detail = f"{where} answers, but its clock differs by {ahead.total_seconds():+.1f} s"
            return SourceReport(
                ok=False, detail=detail, advice="set both clocks by NTP: samples look stale or future"
            )
        return SourceReport(ok=True, detail=f"{where} answers{await self._version()}")

    async def names(self) -> tuple[str, ...] | None:
        deadline = asyncio.get_running_loop().time() + self._timeout
        since = str(int(self._clock.now().timestamp() - _NAMES_WITHIN))
        wanted = Wanted(
            url=self._api / "label" / "__name__" / "values", params={"limit": str(NAMES), "start": since}
        )
        page = await self._fetch(wanted, deadline)
        if isinstance(page, Failed) or page.status != 200:
            return None
        try:
            return tuple(listed.decode(page.body).data[:NAMES])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    async def run(self) -> None:
        """Look, whenever `ask` says so, whether the server was restarted; no answer ever waits for it."""
        while True:
            await self._look.wait()
            self._look.clear()
            await self._look_for_restart()

    async def aclose(self) -> None:
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(self, question: Question, by: tuple[str, ...], now: datetime) -> _Read | Failed:
        """Once, and again only for parts that turn out to be scalars, which have no labels to mark."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        form = question.form
        while True:
            scalars = self._scalars.get(form, frozenset()) if isinstance(form, Query) else frozenset()
            parts, text = _written(question, by, scalars)
            page = await self._query(text, deadline)
            answer = page if isinstance(page, Failed) else _read(page, parts, text, now, self._since)
            if not isinstance(answer, Failed):
                return answer
            found = _scalar_part(answer, parts, text)
            if not isinstance(form, Query) or found is None or found in scalars:
                return msgspec.structs.replace(answer, asked=text, detail=_clean(answer.detail))
            if len(self._scalars) >= 1000:
                self._scalars.clear()
            self._scalars[form] = scalars | {found}

    async def _query(self, text: str, deadline: float) -> Page | Failed:
        """POST, because queries grow longer than addresses may be; GET for good where a proxy refuses that."""
        url = self._api / "query"
        if self._method == "POST":
            page = await self._fetch(Wanted(url=url, method="POST", form={"query": text}), deadline)
            if isinstance(page, Failed) or page.status not in {405, 501}:
                return page
            self._method = "GET"
        return await self._fetch(Wanted(url=url, params={"query": text}), deadline)

    async def _fetch(self, wanted: Wanted, deadline: float) -> Page | Failed:
        if self._closed:
            return Failed(reason=FailReason.UNABLE, detail="the source was closed")
        if self._session is None:
            try:
                self._session = open_session(
                    headers={"Accept": "application/json", **self._settings.request_headers()},
                    ca_file=self._settings.ca_file,
                    connections=self._settings.concurrency,
                )
            except (OSError, ssl.SSLError) as error:
                detail = f"cannot use ca_file {self._settings.ca_file}: {error.strerror or error}"
                return Failed(reason=FailReason.UNABLE, detail=detail)
        left = max(deadline - asyncio.get_running_loop().time(), 0.0)
        page = await fetch(self._session, wanted, timeout=left, limit=ANSWER_BYTES)
        if isinstance(page, Failed) and page.reason is FailReason.TIMEOUT:
            return Failed(reason=page.reason, detail=f"no complete answer within {self._timeout:g} s")
        return page

    async def _look_for_restart(self) -> None:
        deadline = asyncio.get_running_loop().time() + self._timeout
        page = await self._fetch(Wanted(url=self._api / "status" / "runtimeinfo"), deadline)
        if isinstance(page, Failed) or page.status != 200:
            return
        try:
            started_at = runtime.decode(page.body).data.startTime.astimezone(UTC)
        except (msgspec.MsgspecError, ValueError, OverflowError):
            return
        # Only a later start is a restart: behind one address there may be two servers.
        if self.started_at is not None and started_at > self.started_at:
            self._since = started_at
        self.started_at = max(started_at, self.started_at or started_at)

    async def _version(self) -> str:
        deadline = asyncio.get_running_loop().time() + self._timeout
        page = await self._fetch(Wanted(url=self._api / "status" / "buildinfo"), deadline)
        if isinstance(page, Failed) or page.status != 200:
            return ""
        try:
            return f" (version {_clean(builds.decode(page.body).data.version)})"
        except msgspec.MsgspecError:
            return ""


def _written(question: Question, by: tuple[str, ...], scalars: Iterable[str]) -> tuple[dict[str, str], str]:
    """The PromQL of every part by its name, and the whole text to send."""
    parts = parts_of(question.form, question.window, by=by, windows=question.windows)
    if question.reference is not None:
        parts |= reference_parts(question.reference, question.window, by=by)
    if isinstance(question.form, Query) and len(parts) == 1:
        return parts, question.form.query
    # Each on lines of its own: a comment at the end of a part must not swallow what follows.
    vectors = {part: f"vector({text}\n)" if part in scalars else text for part, text in parts.items()}
    marked = [f'label_replace({text}\n, "{PART}", "{part}", "", "")' for part, text in vectors.items()]
    return parts, "\nor ".join(marked)


def _read(
    page: Page, parts: Mapping[str, str], text: str, now: datetime, since: datetime | None
) -> _Read | Failed:
    if page.status != 200:
        return _refused(page)
    try:
        reply = replies.decode(page.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _api_fault(page) or Failed(
            reason=FailReason.MALFORMED, detail=f"not an answer of the query API: {error}"
        )
    if reply.status != "success":
        return _api_fault(page) or Failed(
            reason=FailReason.MALFORMED, detail="an answer without success or error"
        )
    try:
        found, evaluated_at = _found(reply, parts, now)
    except (ValueError, OverflowError, OSError) as error:
        return Failed(reason=FailReason.MALFORMED, detail=str(error))
    whole = Answer(
        parts=dict.fromkeys(parts, ()),
        evaluated_at=evaluated_at,
        warnings=tuple(_clean(it) for it in reply.warnings or () if not it.startswith(_REMARK)),
        since=since,
        asked=text,
        answered=redact(page.body[: 4 * _RECORD_CHARS].decode(errors="replace"))[:_RECORD_CHARS],
    )
    return _Read(parts=tuple(found), whole=whole)


def _found(reply: Reply, parts: Mapping[str, str], now: datetime) -> tuple[list[Part], datetime]:
    """The numbers, and the evaluation time. Raises `ValueError` and its like for an answer out of shape."""
    match reply.data:
        case Scalar(result=(at, value)):
            if "value" not in parts:
                raise ValueError("one number for several parts")
            return [Part("value", {}, _number(value))], datetime.fromtimestamp(at, UTC)
        case Vector(result=series):
            found = [
                Part(one.metric.get(PART) or "value", one.metric, _number(one.value[1])) for one in series
            ]
            if any(part.name not in parts for part in found):
                raise ValueError(f"a series without the label {PART}, which says what it is")
            return found, datetime.fromtimestamp(series[0].value[0], UTC) if series else now
        case None:
            raise ValueError("success, but no data")
        case other:
            kind = "a range of samples" if isinstance(other, Matrix) else "a text"
            raise ValueError(f"the query gives {kind}, not a number")


def _number(value: str | float) -> float:
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError(f"{_clean(value)!r} is not a number")
    return float(value)


def _refused(page: Page) -> Failed:
    """The words for a status other than 200: the API's own where there are any."""
    fault = _api_fault(page)
    if fault is not None and fault.reason is FailReason.QUERY_ERROR:
        return fault
    if page.location and 300 <= page.status < 400:
        said = f"redirects to {page.location}; write that address as url"
    else:
        said = fault.detail if fault else page.body[:2000].decode(errors="replace")
    return Failed(reason=FailReason.HTTP_STATUS, detail=f"status {page.status}: {said}".rstrip(": "))


def _api_fault(page: Page) -> Failed | None:
    try:
        fault = faults.decode(page.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if fault.status != "error":
        return None
    ours = fault.errorType in _QUESTION_ERRORS
    return Failed(
        reason=FailReason.QUERY_ERROR if ours else FailReason.HTTP_STATUS,
        detail=f"{fault.errorType}: {fault.error}",
    )


def _clean(text: str) -> str:
    return one_line(redact(text), limit=_ERROR_CHARS)


def _scalar_part(failed: Failed, parts: Mapping[str, str], text: str) -> str | None:
    """Which part of a union the server refused because it is a scalar; it names the place by line and column."""
    found = _SCALAR_PART.search(failed.detail)
    if failed.reason is not FailReason.QUERY_ERROR or found is None or len(parts) < 2:
        return None
    line, column = int(found.group(1) or 1), int(found.group(2))
    at = sum(len(above) + 1 for above in text.split("\n")[: line - 1]) + column
    starts = {part: text.find(f'"{PART}", "{part}"') for part in parts}
    return next((part for part, end in starts.items() if end >= at), None)
