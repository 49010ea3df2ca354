"""The source `scrape`: pages over a real connection, and its schedule in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from tests.eventually import Eventually
from tests.servers import raw
from tests.servers.raw import Behaviour, RawRequest, RawServer
from tests.sources.questions import ERRORS, FORMS, failed, good, poll, question, running
from watchdog.aio.fetch import Page
from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason, Value
from watchdog.core.rule import Aggregate, Gauge, MetricForm, Quantile, Query, Rate, Ratio
from watchdog.core.units import parse_duration
from watchdog.sources.scrape import ScrapeSettings, ScrapeSource
from watchdog.testing.clock import LoopClock

Serve = Callable[[Behaviour], Awaitable[RawServer]]
Open = Callable[..., Awaitable[ScrapeSource]]

BY_VERSION = Ratio(
    bad='http_requests_total{version="v1",status=~"5.."}', total='http_requests_total{version="v1"}'
)


class App:
    """A metrics page whose counters move with every look at it: one error in four."""

    def __init__(self, *, version: str = "v1") -> None:
        self.version = version
        self.good = 0
        self.bad = 0
        self.looks = 0
        self.down: Behaviour | None = None

    async def __call__(self, request: RawRequest, writer: asyncio.StreamWriter) -> None:
        self.looks += 1
        if self.down is not None:
            await self.down(request, writer)
            return
        self.good, self.bad = self.good + 3, self.bad + 1
        writer.write(raw.packed(self.page()))

    def page(self) -> str:
        labels = f'service="trips",version="{self.version}"'
        return (
            "# TYPE http_requests_total counter\n"
            f'http_requests_total{{{labels},status="200"}} {self.good}\n'
            f'http_requests_total{{{labels},status="500"}} {self.bad}\n'
            f"queue_depth{{{labels}}} {3 if self.version == 'v1' else 4}\n"
            f'http_request_duration_seconds_bucket{{{labels},le="0.1"}} {self.good}\n'
            f'http_request_duration_seconds_bucket{{{labels},le="0.5"}} {self.good + self.bad}\n'
            f'http_request_duration_seconds_bucket{{{labels},le="+Inf"}} {self.good + self.bad}\n'
        )


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(behaviour: Behaviour) -> RawServer:
            return await stack.enter_async_context(RawServer(behaviour))

        yield start


@pytest.fixture
async def scrape() -> AsyncIterator[Open]:
    """`await scrape(server, ..., interval=0.1)`: a source that reads these pages."""
    async with AsyncExitStack() as stack:

        async def start(*servers: RawServer | str, interval: float = 0.1, **more: Any) -> ScrapeSource:
            urls = tuple(server if isinstance(server, str) else f"{server.url}/metrics" for server in servers)
            settings = ScrapeSettings(urls=urls, interval=timedelta(seconds=interval), **more)
            source = ScrapeSource(settings, name="app")
            await stack.enter_async_context(running([source]))
            return source

        yield start


def value_of(source: ScrapeSource, form: MetricForm = ERRORS) -> Callable[[], Awaitable[Value]]:
    """A poll that fails unless it is a value."""

    async def measured() -> Value:
        seen = await poll(source, form)
        assert isinstance(seen, Value), seen
        return seen

    return measured


def reason_of(source: ScrapeSource, form: MetricForm = ERRORS) -> Callable[[], Awaitable[str]]:
    """A poll that fails unless it is no data or an error."""

    async def measured() -> str:
        seen = await poll(source, form)
        assert isinstance(seen, NoData | Failed), seen
        return seen.reason

    return measured


async def test_a_ratio_is_computed_from_pages(serve: Serve, scrape: Open, eventually: Eventually) -> None:
    app = App()
    source = await scrape(await serve(app))
    seen = await eventually(value_of(source))
    assert seen.value == pytest.approx(0.25)
    assert seen.events is not None
    assert seen.events % 4 == 0
    assert timedelta() <= datetime.now(UTC) - seen.at < timedelta(seconds=2)
    assert seen.since is not None
    assert seen.since <= seen.at
    answer = good(await source.ask(question(), now=datetime.now(UTC)))
    assert answer.warnings == ()
    assert 'bad: http_requests_total{service="trips",status=~"5.."}' in answer.asked
    assert '"increases"' in answer.answered


async def test_quantiles_rates_and_gauges_are_computed_from_pages(
    serve: Serve, scrape: Open, eventually: Eventually
) -> None:
    source = await scrape(await serve(App()), await serve(App(version="v2")))
    quantile = await eventually(value_of(source, FORMS["quantile"]))
    assert quantile.value == pytest.approx(0.1)  # three of four are that fast
    assert quantile.events
    assert not quantile.more
    assert timedelta() <= datetime.now(UTC) - quantile.at < timedelta(seconds=2)

    async def per_second() -> bool:  # four a look, ten looks a second, two pages
        seen = await poll(source, FORMS["rate"], window=1)
        assert isinstance(seen, Value)
        return 40 <= seen.value <= 100

    await eventually(per_second)
    for by, expected in {Aggregate.MAX: 4, Aggregate.MIN: 3, Aggregate.SUM: 7, Aggregate.AVG: 3.5}.items():
        seen = await value_of(source, Gauge(of='queue_depth{service="trips"}', by=by))()
        assert (seen.value, seen.events) == (expected, None)


async def test_a_quantile_beyond_the_buckets_is_known_to_be_more(
    serve: Serve, scrape: Open, eventually: Eventually
) -> None:
    class Slow(App):
        def page(self) -> str:
            return super().page().replace('le="0.5"} ', 'le="0.5"} 0.')

    source = await scrape(await serve(Slow()))
    seen = await eventually(value_of(source, Quantile(of="http_request_duration_seconds", q=0.99)))
    assert seen.value == pytest.approx(0.5)
    assert seen.value > 0.5
    assert seen.more


async def test_a_histogram_without_buckets_is_no_data(
    serve: Serve, scrape: Open, eventually: Eventually
) -> None:
    class Native(App):
        def page(self) -> str:
            return super().page().replace("_bucket{", "_count{")

    source = await scrape(await serve(Native()))
    await eventually(value_of(source))
    seen = await poll(source, FORMS["quantile"])
    assert isinstance(seen, NoData)
    assert (seen.reason, "classic histogram" in seen.detail) == (NoDataReason.EMPTY, True)


async def test_the_scrape_interval_is_learnt(serve: Serve, scrape: Open, eventually: Eventually) -> None:
    source = await scrape(await serve(App()), interval=0.1)

    async def learnt() -> bool:
        seen = await poll(source, window=1)
        assert isinstance(seen, Value)
        assert seen.scrape_interval is not None
        return 0.08 <= seen.scrape_interval.total_seconds() <= 0.15

    await eventually(learnt)


async def test_counters_of_all_targets_are_added_up_through_resets(
    serve: Serve, scrape: Open, eventually: Eventually
) -> None:
    one, two = App(), App()
    source = await scrape(await serve(one), await serve(two))
    await eventually(value_of(source))
    one.good = one.bad = 0
    before = one.looks
    await eventually(lambda: one.looks >= before + 3)
    seen = await value_of(source)()
    assert seen.value == pytest.approx(0.25)
    assert seen.events is not None
    assert seen.events >= 4 * 4


async def test_raw_promql_needs_a_prometheus(serve: Serve, scrape: Open) -> None:
    source = await scrape(await serve(App()))
    fault = failed(await source.ask(question(Query(query="sum(up)")), now=datetime.now(UTC)))
    assert fault.reason is FailReason.QUERY_ERROR
    assert "prometheus" in fault.detail


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (Ratio(bad="a[1m]", total="a"), "does not belong to a selector"),
        (Ratio(bad="a", total='a{b=~"(x+)+"}'), "regular expression"),
        (Ratio(bad="sum(a)", total="a"), "does not belong"),
        (Quantile(of="a[1m]", q=0.5), "does not belong to a selector"),
        (Quantile(of='{a="b"}', q=0.5), "in front of the braces"),
        (Rate(of='a{b=~"(x+)+"}'), "regular expression"),
        (Gauge(of="max(a)", by=Aggregate.MAX), "does not belong"),
    ],
)
async def test_a_selector_that_cannot_be_read_is_the_questions_fault(
    serve: Serve, scrape: Open, form: MetricForm, words: str
) -> None:
    source = await scrape(await serve(App()))
    fault = failed(await source.ask(question(form), now=datetime.now(UTC)))
    assert (fault.reason, words in fault.detail) == (FailReason.QUERY_ERROR, True)


@pytest.mark.parametrize("name", FORMS)
async def test_a_window_longer_than_the_memory_is_refused(serve: Serve, scrape: Open, name: str) -> None:
    source = await scrape(await serve(App()))
    fault = failed(await source.ask(question(FORMS[name], window=3601), now=datetime.now(UTC)))
    assert (fault.reason, "60 minutes" in fault.detail) == (FailReason.QUERY_ERROR, True)


@pytest.mark.parametrize("name", FORMS)
async def test_before_the_first_scrape_there_is_no_data(serve: Serve, name: str) -> None:
    server = await serve(raw.hang)
    source = ScrapeSource(ScrapeSettings(urls=(server.url,)), name="app")
    seen = await poll(source, FORMS[name])
    assert isinstance(seen, NoData)
    assert seen.reason is NoDataReason.EMPTY


DOWN: dict[str, tuple[Behaviour, FailReason]] = {
    "503": (raw.answer("busy", status=503), FailReason.HTTP_STATUS),
    "a web page": (raw.answer("<html>"), FailReason.MALFORMED),
    "JSON": (raw.answer('{"up": true}'), FailReason.MALFORMED),
    "a cut line": (raw.answer('http_requests_total{service="trips"'), FailReason.MALFORMED),
    "not UTF-8": (raw.answer(b'a{b="\xff"} 1\n'), FailReason.MALFORMED),
    "half a body": (raw.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\na 1\n"), FailReason.MALFORMED),
    "no certain end": (raw.raw(b"HTTP/1.1 200 OK\r\n\r\na 1\na 12"), FailReason.MALFORMED),
    "OpenMetrics without its end": (
        raw.answer("a_total 1\n", headers={"Content-Type": "application/openmetrics-text"}),
        FailReason.MALFORMED,
    ),
    "a reset": (raw.reset, FailReason.UNREACHABLE),
    "silence": (raw.hang, FailReason.TIMEOUT),
    "a byte now and then": (raw.drip(b"a 1\n" * 100, every=0.05), FailReason.TIMEOUT),
    "a page without end": (raw.endless(b"a 1\n"), FailReason.MALFORMED),
    "a redirect": (raw.answer("", status=302, headers={"Location": "http://x/"}), FailReason.HTTP_STATUS),
}


@pytest.mark.parametrize("fault", DOWN)
async def test_when_the_only_page_fails_there_is_no_answer_and_then_there_is_one_again(
    serve: Serve, scrape: Open, eventually: Eventually, fault: str
) -> None:
    app = App()
    source = await scrape(await serve(app), interval=0.25)
    await eventually(value_of(source))
    app.down, reason = DOWN[fault]
    # A machine with much to do may not read a page's limit within the time-out.
    reasons = {reason, FailReason.TIMEOUT} if fault == "a page without end" else {reason}
    assert await eventually(reason_of(source)) in reasons
    app.down = None
    await eventually(value_of(source))


async def test_a_page_that_ends_without_a_newline_is_fine_when_its_length_is_known(
    serve: Serve, scrape: Open, eventually: Eventually
) -> None:
    class Sloppy(App):
        def page(self) -> str:
            return super().page().rstrip("\n")

    await eventually(value_of(await scrape(await serve(Sloppy()))))


async def test_an_openmetrics_page_is_read_as_one(serve: Serve, scrape: Open, eventually: Eventually) -> None:
    class Modern(App):
        async def __call__(self, request: RawRequest, writer: asyncio.StreamWriter) -> None:
            self.good, self.bad = self.good + 3, self.bad + 1
            page = "\n".join(
                line if line.startswith("#") else f"{line} {datetime.now(UTC).timestamp():.3f} # {{}} 1"
                for line in self.page().splitlines()
            )
            kind = {"Content-Type": "application/openmetrics-text; version=1.0.0; charset=utf-8"}
            writer.write(raw.packed(f"{page}\n# EOF\n", headers=kind))

    seen = await eventually(value_of(await scrape(await serve(Modern()))))
    assert seen.value == pytest.approx(0.25)


@pytest.mark.parametrize("name", FORMS)
async def test_one_target_of_two_down_is_partial_for_what_it_showed_and_nothing_to_the_rest(
    serve: Serve, scrape: Open, eventually: Eventually, name: str
) -> None:
    form = FORMS[name]
    old, new = App(version="v1"), App(version="v2")
    source = await scrape(await serve(old), await serve(new))
    await eventually(value_of(source, form))
    new.down = raw.answer("", status=503)
    assert await eventually(reason_of(source, form)) == NoDataReason.PARTIAL
    answer = good(await source.ask(question(form), now=datetime.now(UTC)))
    assert len(answer.warnings) == 1
    assert "status 503" in answer.warnings[0]
    # v1 lives elsewhere: nothing about it is missing.
    assert (await eventually(value_of(source, BY_VERSION))).value == pytest.approx(0.25)


async def test_a_target_that_never_answered_may_hold_anything(
    serve: Serve, scrape: Open, eventually: Eventually, free_port: Callable[[], int]
) -> None:
    source = await scrape(await serve(App()), f"http://127.0.0.1:{free_port()}/metrics")

    async def partial() -> bool:
        return await reason_of(source, BY_VERSION)() == NoDataReason.PARTIAL

    await eventually(partial)


@pytest.mark.parametrize("name", FORMS)
async def test_a_series_that_vanishes_from_its_page_is_stale(
    serve: Serve, scrape: Open, eventually: Eventually, name: str
) -> None:
    app = App()
    source = await scrape(await serve(app))
    await eventually(value_of(source, FORMS[name]))
    app.down = raw.answer("other_total 1\n")
    # A gauge is what is shown now: without that there is nothing that could be old.
    gone = NoDataReason.EMPTY if name == "gauge" else NoDataReason.STALE
    assert await eventually(reason_of(source, FORMS[name])) == gone


async def test_after_three_failures_of_all_targets_the_memory_begins_anew(
    serve: Serve, scrape: Open, eventually: Eventually
) -> None:
    app = App()
    source = await scrape(await serve(app))
    first = (await eventually(value_of(source))).since
    app.down = raw.answer("", status=503)
    before = app.looks
    await eventually(lambda: app.looks >= before + 5)
    app.down = None
    again = (await eventually(value_of(source))).since
    assert first is not None
    assert again is not None
    assert again > first


async def test_one_failure_alone_leaves_the_memory_as_it_is(
    serve: Serve, scrape: Open, eventually: Eventually
) -> None:
    app = App()
    source = await scrape(await serve(app), interval=0.3)
    first = (await eventually(value_of(source))).since
    app.down = raw.answer("", status=503)
    await eventually(reason_of(source), every=0.01)
    app.down = None
    assert (await eventually(value_of(source))).since == first


async def test_a_redirect_is_told_and_not_followed(serve: Serve) -> None:
    other = await serve(App())
    moved = await serve(raw.answer("", status=301, headers={"Location": f"{other.url}/metrics?key=hunter2"}))
    source = ScrapeSource(ScrapeSettings(urls=(moved.url,)), name="app")
    report = await source.inspect()
    await source.aclose()
    assert not report.ok
    assert f"redirects to {other.url}/metrics" in report.detail
    assert "hunter2" not in report.detail
    assert other.requests == []


async def test_inspection_reads_every_page_and_names_the_bad_ones(
    serve: Serve, free_port: Callable[[], int]
) -> None:
    fine = await serve(App())
    port = free_port()
    both = ScrapeSource(
        ScrapeSettings(urls=(fine.url, f"http://127.0.0.1:{port}/m?token=hunter2")), name="app"
    )
    report = await both.inspect()
    await both.aclose()
    assert not report.ok
    assert f"http://127.0.0.1:{port}/m: cannot connect" in report.detail
    assert "hunter2" not in report.detail
    assert report.advice
    good_one = ScrapeSource(ScrapeSettings(urls=(fine.url,)), name="app")
    report = await good_one.inspect()
    await good_one.aclose()
    assert (report.ok, report.detail) == (True, "1 page can be read")


async def test_the_names_on_the_pages_are_listed_as_far_as_they_can_be_read(
    serve: Serve, free_port: Callable[[], int]
) -> None:
    both = ScrapeSource(
        ScrapeSettings(urls=((await serve(App())).url, f"http://127.0.0.1:{free_port()}/")), name="app"
    )
    names = await both.names()
    await both.aclose()
    assert names is not None
    assert {"http_requests_total", "http_request_duration_seconds_bucket"} <= set(names)
    assert len(names) == len(set(names))
    assert await both.names() is None, "closed"


async def test_credentials_are_sent_and_plain_text_is_asked_for(
    serve: Serve, scrape: Open, eventually: Eventually
) -> None:
    server = await serve(App())
    await scrape(server, bearer_token=SecretStr("tok-4712-abc"))
    await eventually(lambda: server.requests)
    headers = server.requests[0].headers
    assert headers["authorization"] == "Bearer tok-4712-abc"
    assert headers["accept"].startswith("text/plain")


async def test_closing_is_final_and_may_be_repeated(serve: Serve, scrape: Open) -> None:
    source = await scrape(await serve(App()))
    await source.aclose()
    await source.aclose()
    assert not (await source.inspect()).ok


async def test_settings_refuse_what_cannot_work() -> None:
    wrongs: list[dict[str, Any]] = [
        {"urls": []},
        {"urls": ["here/metrics"]},
        {"urls": ["http://a/m", "http://a/m"]},
        {"urls": ["http://u:p@a/m"]},
        {"urls": ["http://a/m"], "interval": "0s"},
        {"urls": ["http://a/m"], "url": "http://a"},
        {},
    ]
    for wrong in wrongs:
        with pytest.raises(ValidationError):
            ScrapeSettings.model_validate(wrong)


class Scripted(ScrapeSource):
    """Reads what a test wrote down instead of the network: `(seconds it takes, page)` for every look."""

    def __init__(self, clock: LoopClock, looks: list[tuple[float, str | Failed]], **settings: Any) -> None:
        super().__init__(ScrapeSettings(urls=("http://app/m",), **settings), name="app", clock=clock)
        self.looked_at: list[float] = []
        self._looks = looks
        self._own_clock = clock

    async def _read(self, target: Any) -> Any:
        self.looked_at.append(self._own_clock.monotonic())
        takes, page = self._looks.pop(0) if self._looks else (0.0, "a 1\n")
        await self._own_clock.sleep(takes)
        return page if isinstance(page, Failed) else Page(status=200, body=page.encode())


@pytest.mark.virtual_time
async def test_pages_are_read_at_once_and_then_each_interval_without_overlap() -> None:
    clock = LoopClock()
    source = Scripted(clock, [(0, "a 1\n"), (3, "a 2\n"), (12, "a 3\n")], interval=timedelta(seconds=5))
    async with running([source]):
        await clock.sleep(31)
    assert source.looked_at == [0, 5, 10, 25, 30]


@pytest.mark.virtual_time
async def test_a_clock_that_is_set_back_begins_the_memory_anew() -> None:
    class Wall(LoopClock):
        back = timedelta()

        def now(self) -> datetime:
            return super().now() - self.back

    clock = Wall()
    looks: list[tuple[float, str | Failed]] = [(0, f"a {n}\n") for n in range(100)]
    source = Scripted(clock, looks, interval=timedelta(seconds=5))
    form = Ratio(bad="b", total="a")
    async with running([source]):
        await clock.sleep(21)
        first = good(await source.ask(question(form, window=60), now=clock.now()))
        clock.back = timedelta(hours=1)
        await clock.sleep(20)
        answer = good(await source.ask(question(form, window=60), now=clock.now()))
    assert first.parts["total"] == (4.0,)
    assert answer.parts["total"] == (3.0,)
    assert answer.since is not None
    assert answer.since > clock.now() - timedelta(seconds=30)


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ("9s", "a window of 9s is shorter than two scrapes of it, one each 5s"),
        ("10s", ""),
        ("1h", ""),
        ("1h1s", "a window of 1h1s is longer than a scrape source remembers (1h)"),
    ],
)
def test_it_says_which_windows_can_never_have_data(window: str, said: str) -> None:
    settings = ScrapeSettings(urls=("http://127.0.0.1:1/metrics",))
    assert ScrapeSource.window_fault(settings, parse_duration(window)) == said
