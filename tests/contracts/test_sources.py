"""What `watchdog.sources.interface` promises, asked of every source, over real pages of real counters.

Both sources read the same app: `prometheus` through Debian's Prometheus, `scrape` by itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.eventually import Eventually
from tests.servers import raw
from tests.servers.process import http_get
from tests.servers.prometheus import Prometheus, Target
from tests.servers.raw import Behaviour, RawServer
from tests.servers.versioned import VersionedApp
from tests.sources.questions import ERRORS, FORMS, parts, poll, question, running
from watchdog.core.observation import Answer, Failed, FailReason, NoData, NoDataReason, Value
from watchdog.core.promql import parts_of
from watchdog.core.rule import Aggregate, Gauge, MetricForm, Quantile, Rate, Ratio
from watchdog.sources.interface import Source
from watchdog.sources.prometheus import PrometheusSettings, PrometheusSource
from watchdog.sources.registry import KINDS
from watchdog.sources.scrape import ScrapeSettings, ScrapeSource

BOTH = ("prometheus", "scrape")
V1 = Ratio(
    bad='http_requests_total{version="v1",status=~"5..|418"}',
    total='http_requests_total{version="v1",status!="999"}',
)


@dataclass(kw_only=True)
class Stage:
    """One app that fails every fourth request, and every source that watches it."""

    app: VersionedApp
    sources: dict[str, Source]

    def requests(self, count: int = 8) -> None:
        for _ in range(count):
            http_get(self.app.port, "/")

    async def seen(self, form: MetricForm = ERRORS) -> dict[str, Value | NoData | Failed]:
        return {kind: await poll(source, form) for kind, source in self.sources.items()}

    async def values(self, form: MetricForm = ERRORS) -> dict[str, Value]:
        """One poll of every source; fails unless all give a value."""
        found: dict[str, Value] = {}
        for kind, seen in (await self.seen(form)).items():
            assert isinstance(seen, Value), (kind, seen)
            found[kind] = seen
        return found

    async def no_data(self, form: MetricForm = ERRORS) -> set[NoDataReason]:
        """One poll of every source; fails unless none gives a value, or an error."""
        seen = await self.seen(form)
        assert all(isinstance(one, NoData) for one in seen.values()), seen
        return {one.reason for one in seen.values() if isinstance(one, NoData)}


@pytest.fixture
async def stage(
    start_app: Callable[..., VersionedApp],
    start_prometheus: Callable[..., Prometheus],
    eventually: Eventually,
) -> AsyncIterator[Stage]:
    app = start_app(version="v1", fail_every=4)
    prometheus = start_prometheus([Target(job="app", port=app.port)])
    sources: dict[str, Source] = {
        "prometheus": PrometheusSource(PrometheusSettings(url=prometheus.url), name="main"),
        "scrape": ScrapeSource(
            ScrapeSettings(urls=(f"{app.url}/metrics",), interval=timedelta(seconds=1)), name="app"
        ),
    }
    assert set(sources) == set(KINDS) - {"kubernetes"}, "which reads no pages: test_kubernetes_source.py"
    async with running(list(sources.values())):
        await eventually(prometheus.up, within=15, what="a first scrape")
        yield Stage(app=app, sources=sources)


@pytest.mark.timeout(90)
async def test_the_same_rule_says_the_same_whoever_is_asked(stage: Stage, eventually: Eventually) -> None:
    async def measured() -> dict[str, Value]:
        stage.requests()
        found = await stage.values(V1)
        for value in found.values():  # a full window of samples: before that, Prometheus guesses the most
            assert value.scrape_interval is not None
            assert 0.5 < value.scrape_interval.total_seconds() < 1.3
        return found

    found = await eventually(measured, within=25, every=0.2)
    real, own = found["prometheus"], found["scrape"]
    assert own.events is not None
    assert own.events >= 40
    assert own.value == pytest.approx(0.25, abs=0.02)
    assert real.value == pytest.approx(own.value, abs=0.02)
    # Prometheus extrapolates to the window's edges; the counts differ by that, and by one scrape.
    assert real.events == pytest.approx(own.events, rel=0.35)
    assert abs((real.at - own.at).total_seconds()) < 2

    # A version that exists nowhere is no data for both, and so is an app that nobody asks for anything.
    nowhere = Ratio(bad=V1.bad.replace("v1", "v9"), total=V1.total.replace("v1", "v9"))
    assert await stage.no_data(nowhere) == {NoDataReason.EMPTY}

    async def silent() -> bool:
        return await stage.no_data() == {NoDataReason.EMPTY}

    await eventually(silent, within=20, every=0.2)


SLOW = Quantile(of='http_request_duration_seconds{version="v1"}', q=0.75)
BUSY = Rate(of='http_requests_total{version="v1"}')


@pytest.mark.timeout(90)
async def test_quantiles_rates_and_gauges_say_the_same_whoever_is_asked(
    stage: Stage, eventually: Eventually
) -> None:
    stage.app.control(delay=0.15, gauges={"queue_depth": 7, "other_depth": -2})

    async def measured() -> dict[str, Value]:
        stage.requests(2)
        found = await stage.values(SLOW)
        # Every request lies between 100 and 250 ms, evenly as far as buckets tell.
        assert all(value.value == pytest.approx(0.2125, abs=0.005) for value in found.values()), found
        # The one may have seen a scrape more than the other.
        assert found["prometheus"].events == pytest.approx(found["scrape"].events, rel=0.35)
        assert (found["scrape"].events or 0) >= 10
        return found

    await eventually(measured, within=25, every=0.2)

    async def per_second() -> bool:
        stage.requests(2)
        rates = {kind: value.value for kind, value in (await stage.values(BUSY)).items()}
        assert 1 <= rates["scrape"] <= 8
        assert rates["prometheus"] == pytest.approx(rates["scrape"], rel=0.35)
        return True

    await eventually(per_second, within=15, every=0.2)
    deep = Gauge(of='queue_depth{service="trips"}', by=Aggregate.AVG)
    assert {value.value for value in (await stage.values(deep)).values()} == {7}
    lowest = Gauge(of='other_depth{version="v1"}', by=Aggregate.MIN)
    assert {value.value for value in (await stage.values(lowest)).values()} == {-2}

    # Slower than every bucket: more than the last bound, and nobody knows how much.
    stage.app.control(delay=0.6)

    async def beyond() -> bool:
        await asyncio.to_thread(stage.requests, 1)
        found = await stage.values(Quantile(of=SLOW.of, q=0.01))
        return all(value.more and value.value == pytest.approx(0.5) for value in found.values())

    await eventually(beyond, within=40, every=0.1)

    # What exists nowhere is no data for both. An app that nobody asks for anything has a rate of 0, and no quantile.
    for form in (Quantile(of="nowhere", q=0.9), Rate(of="nowhere"), Gauge(of="nowhere", by=Aggregate.MAX)):
        assert await stage.no_data(form) == {NoDataReason.EMPTY}

    async def silent() -> bool:
        rates = await stage.values(BUSY)
        return {value.value for value in rates.values()} == {0} and bool(await stage.no_data(SLOW))

    await eventually(silent, within=20, every=0.2)
    assert await stage.no_data(SLOW) == {NoDataReason.EMPTY}
    assert {value.value for value in (await stage.values(deep)).values()} == {7}


@pytest.mark.timeout(90)
async def test_a_restarted_app_begins_its_counters_anew_and_a_killed_one_is_no_value(
    stage: Stage, eventually: Eventually
) -> None:
    async def measured() -> dict[str, Value]:
        stage.requests()
        return await stage.values()

    await eventually(measured, within=15, every=0.3)
    stage.app.kill()
    stage.app.start()

    async def after_the_reset() -> dict[str, Value]:
        stage.requests()
        found = await stage.values()
        assert all((value.events or 0) >= 30 for value in found.values())
        return found

    for kind, value in (await eventually(after_the_reset, within=15, every=0.2)).items():
        assert value.value == pytest.approx(0.25, abs=0.1), kind

    stage.app.kill()

    async def gone() -> bool:
        seen = await stage.seen()
        assert isinstance(seen["prometheus"], NoData), seen
        assert isinstance(seen["scrape"], Failed), seen
        return seen["scrape"].reason is FailReason.UNREACHABLE

    await eventually(gone, within=4)
    polls = values = 0

    async def watched() -> bool:
        nonlocal polls, values
        polls += 1
        values += sum(isinstance(seen, Value) for seen in (await stage.seen()).values())
        return polls >= 20

    await eventually(watched, within=20, every=0.2)
    assert values == 0


@dataclass(kw_only=True)
class Rig:
    """One source in front of a server that does what a test says."""

    source: Source
    server: RawServer
    fine: Behaviour

    async def ask(self, form: MetricForm = ERRORS) -> Answer | Failed:
        return await self.source.ask(question(form), now=datetime.now(UTC))


#: What is answered of each form, and the value that is in it.
ANSWERS: dict[str, tuple[dict[str, str], float]] = {
    "ratio": ({"bad": "1", "total": "4"}, 0.25),
    "quantile": ({"value": "0.1", "highest": "0.5", "events": "4"}, 0.1),
    "rate": ({"value": "20"}, 20),
    "gauge": ({"value": "7"}, 7),
}


async def _fine_api(request: raw.RawRequest, writer: asyncio.StreamWriter) -> None:
    asked = request.form["query"]
    (name,) = [
        name for name, form in FORMS.items() if all(it in asked for it in parts_of(form, WINDOW).values())
    ]
    now = datetime.now(UTC).timestamp()
    writer.write(raw.packed(parts(now, **ANSWERS[name][0], newest=str(now), samples="4")))


def _fine_page() -> Behaviour:
    looks = 0

    async def behave(_: raw.RawRequest, writer: asyncio.StreamWriter) -> None:
        nonlocal looks
        looks += 1
        labels = 'service="trips",status='
        page = f'http_requests_total{{{labels}"200"}} {3 * looks}\nhttp_requests_total{{{labels}"500"}} {looks}\n'
        page += f'queue_depth{{{labels}"1"}} 3\nqueue_depth{{{labels}"2"}} 4\n'
        for bound, share in (("0.1", 3), ("0.5", 4), ("+Inf", 4)):
            page += f'http_request_duration_seconds_bucket{{service="trips",le="{bound}"}} {share * looks}\n'
        writer.write(raw.packed(page))

    return behave


WINDOW = question().window
TIMEOUT = timedelta(seconds=0.5)


@pytest.fixture(params=BOTH)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    fine = _fine_api if request.param == "prometheus" else _fine_page()
    async with RawServer(fine) as server:
        source: Source
        if request.param == "prometheus":
            source = PrometheusSource(PrometheusSettings(url=server.url, timeout=TIMEOUT), name="main")
        else:
            settings = ScrapeSettings(urls=(server.url,), interval=timedelta(seconds=0.2), timeout=TIMEOUT)
            source = ScrapeSource(settings, name="app")
        async with running([source]):
            yield Rig(source=source, server=server, fine=fine)


async def _a_value(rig: Rig, form: MetricForm = ERRORS) -> Value:
    seen = await poll(rig.source, form)
    assert isinstance(seen, Value), seen
    return seen


async def _a_failure(rig: Rig, form: MetricForm = ERRORS) -> Failed:
    answer = await rig.ask(form)
    assert isinstance(answer, Failed), answer
    return answer


FAULTS: dict[str, tuple[Behaviour, set[FailReason]]] = {
    "503": (raw.answer("", status=503), {FailReason.HTTP_STATUS}),
    "a web page": (raw.answer("<html></html>"), {FailReason.MALFORMED}),
    "half an answer": (raw.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), {FailReason.MALFORMED}),
    "too much": (raw.endless(b" \n"), {FailReason.MALFORMED, FailReason.TIMEOUT}),
    "another protocol": (raw.raw(b"* OK IMAP4\r\n"), {FailReason.MALFORMED}),
    "a cut connection": (raw.reset, {FailReason.UNREACHABLE}),
    "silence": (raw.hang, {FailReason.TIMEOUT}),
    "a byte now and then": (raw.drip(b"a" * 100, every=0.05), {FailReason.TIMEOUT}),
    "a redirect": (
        raw.answer("", status=307, headers={"Location": "http://127.0.0.1:9/"}),
        {FailReason.HTTP_STATUS},
    ),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_outside_is_a_failure_in_words_and_passes(
    rig: Rig, eventually: Eventually, fault: str, name: str
) -> None:
    form = FORMS[name]
    await eventually(lambda: _a_value(rig, form))
    rig.server.behaviour, reasons = FAULTS[fault]
    failure = await eventually(lambda: _a_failure(rig, form))
    assert failure.reason in reasons
    assert failure.detail
    assert failure.asked
    rig.server.behaviour = rig.fine
    seen = await eventually(lambda: _a_value(rig, form))
    if name != "rate":  # which hangs on how often a page is looked at
        assert seen.value == pytest.approx(ANSWERS[name][1])


async def test_a_server_that_goes_away_is_unreachable_until_it_comes_back(
    rig: Rig, eventually: Eventually
) -> None:
    await eventually(lambda: _a_value(rig))
    await rig.server.stop()
    failure = await eventually(lambda: _a_failure(rig))
    assert failure.reason is FailReason.UNREACHABLE
    assert str(rig.server.port) in failure.detail
    assert not (await rig.source.inspect()).ok
    async with rig.server:
        await eventually(lambda: _a_value(rig))


async def test_no_answer_comes_later_than_the_timeout(rig: Rig) -> None:
    rig.server.behaviour = raw.hang
    clock = asyncio.get_running_loop().time
    began = clock()
    await rig.ask()
    assert clock() - began < TIMEOUT.total_seconds() + 0.3
    began = clock()
    assert not (await rig.source.inspect()).ok
    assert clock() - began < TIMEOUT.total_seconds() + 0.3


@pytest.mark.parametrize("name", FORMS)
async def test_asking_twice_changes_nothing_but_time(rig: Rig, eventually: Eventually, name: str) -> None:
    form = FORMS[name]
    await eventually(lambda: _a_value(rig, form))
    first, second = await asyncio.gather(rig.ask(form), rig.ask(form))
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert first.parts.keys() == second.parts.keys() == {*ANSWERS[name][0], "newest", "samples"}
    assert first.asked == second.asked


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("ratio", "http_requests_total"),
        ("quantile", "http_request_duration_seconds"),
        ("rate", "http_requests_total"),
        ("gauge", "queue_depth"),
    ],
)
async def test_a_value_says_what_was_asked_and_answered(
    rig: Rig, eventually: Eventually, name: str, metric: str
) -> None:
    seen = await eventually(lambda: _a_value(rig, FORMS[name]))
    assert metric in seen.asked
    assert '{service="trips"' in seen.asked
    assert json.loads(seen.answered)


async def test_a_fine_source_inspects_well(rig: Rig) -> None:
    if isinstance(rig.source, PrometheusSource):
        now: Any = datetime.now(UTC).timestamp()
        rig.server.behaviour = raw.answer(parts(now, value="1"))
    report = await rig.source.inspect()
    assert (report.ok, report.advice) == (True, ""), report
    assert report.detail


async def test_closing_is_final_idempotent_and_silent(rig: Rig) -> None:
    await rig.ask()
    await rig.source.aclose()
    await rig.source.aclose()
    assert not (await rig.source.inspect()).ok
