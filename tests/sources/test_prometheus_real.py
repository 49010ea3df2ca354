"""The source `prometheus` against Debian's Prometheus, which scrapes the small app every second."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.eventually import Eventually
from tests.servers.process import http_get
from tests.servers.prometheus import Prometheus, Target
from tests.servers.versioned import VersionedApp
from tests.sources.questions import ERRORS, good, poll, question, rule, running
from watchdog.core.check import CheckState
from watchdog.core.evaluate import evaluate
from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason, Value
from watchdog.core.rule import Level, Query, Ratio, Thresholds, Unit
from watchdog.sources.prometheus import PrometheusSettings, PrometheusSource

pytestmark = pytest.mark.timeout(60)

StartApp = Callable[..., VersionedApp]
StartPrometheus = Callable[..., Prometheus]

ONE = Query(query="vector(1)")


@pytest.fixture
async def idle(start_prometheus: StartPrometheus) -> AsyncIterator[tuple[Prometheus, PrometheusSource]]:
    """A Prometheus that scrapes nothing, and the source that asks it."""
    prometheus = start_prometheus()
    source = PrometheusSource(PrometheusSettings(url=prometheus.url), name="prometheus")
    async with running([source]):
        yield prometheus, source


class Scene:
    """An app, the Prometheus that scrapes it, and the source that asks."""

    def __init__(self, app: VersionedApp, source: PrometheusSource) -> None:
        self.app = app
        self.source = source

    async def value(self, form: Ratio | Query = ERRORS, *, requests: int = 8) -> Value:
        """One poll after some requests; fails unless it is a value."""
        for _ in range(requests):
            http_get(self.app.port, "/")
        seen = await poll(self.source, form)
        assert isinstance(seen, Value), seen
        return seen

    async def reason(self, form: Ratio | Query = ERRORS) -> NoDataReason:
        """One poll; fails unless it is no data."""
        seen = await poll(self.source, form)
        assert isinstance(seen, NoData), seen
        return seen.reason


@pytest.fixture
async def scene(
    start_app: StartApp, start_prometheus: StartPrometheus, eventually: Eventually
) -> AsyncIterator[Scene]:
    app = start_app(version="v1", fail_every=4)
    prometheus = start_prometheus([Target(job="trips", port=app.port)])
    source = PrometheusSource(PrometheusSettings(url=prometheus.url), name="prometheus")
    async with running([source]):
        await eventually(prometheus.up, within=15, what="a first scrape")
        yield Scene(app, source)


async def test_a_ratio_is_one_round_trip_of_all_its_parts(scene: Scene, eventually: Eventually) -> None:
    seen = await eventually(scene.value, within=15, every=0.3)
    assert seen.value == pytest.approx(0.25, abs=0.1)
    assert seen.events is not None
    assert seen.events >= 1
    assert timedelta() <= datetime.now(UTC) - seen.at < timedelta(seconds=2.5)
    answer = good(await scene.source.ask(question(), now=datetime.now(UTC)))
    assert {part: len(series) for part, series in answer.parts.items()} == {
        "bad": 1,
        "total": 1,
        "newest": 1,
        "samples": 1,
    }
    assert (answer.warnings, answer.since) == ((), None)
    assert "increase(http_requests_total" in answer.asked
    assert '"watchdog_part":"total"' in answer.answered

    # No error in the window is 0 bad of many, and the scrape interval is learnt from the samples.
    healthy = await scene.value(Ratio(bad='http_requests_total{status="418"}', total="http_requests_total"))
    assert (healthy.value, healthy.bad) == (0, 0)

    async def learnt() -> bool:
        interval = (await scene.value(requests=1)).scrape_interval
        assert interval is not None
        return 0.8 <= interval.total_seconds() <= 1.2

    await eventually(learnt, within=25, every=0.3)


async def test_silence_is_no_data_and_a_gauge_tells_its_time(scene: Scene, eventually: Eventually) -> None:
    form = Query(
        query="max(queue_depth) # how long it is\n",
        events='count(http_requests_total{status="200"})',
        freshness="max(timestamp(queue_depth))",
    )
    scene.app.control(gauges={"queue_depth": 12})
    seen = await eventually(lambda: scene.value(form, requests=0), within=10)
    assert (seen.value, seen.events) == (12, 1)
    assert timedelta() <= datetime.now(UTC) - seen.at < timedelta(seconds=2.5)

    # Nobody asked the app for anything: no events, and that is no health.
    async def silent() -> bool:
        return await scene.reason() is NoDataReason.EMPTY

    await eventually(silent, within=10)
    # Two series are never one of them, alone and in a union.
    for several in (
        Query(query="http_requests_total"),
        Query(query="http_requests_total", events="vector(5)"),
    ):
        assert await scene.reason(several) is NoDataReason.SEVERAL_SERIES


async def test_a_killed_target_is_no_data_within_seconds_and_no_value_ever_after(
    scene: Scene, eventually: Eventually
) -> None:
    await eventually(scene.value, within=15, every=0.3)
    scene.app.kill()
    seen = [await eventually(scene.reason, within=4, what="the killed target to be noticed")]

    async def watched() -> bool:
        seen.append(await scene.reason())
        return len(seen) > 40

    await eventually(watched, within=20, every=0.3)
    assert set(seen) <= {NoDataReason.STALE, NoDataReason.EMPTY}


async def test_a_frozen_target_is_no_data_within_seconds(scene: Scene, eventually: Eventually) -> None:
    await eventually(scene.value, within=15, every=0.3)
    scene.app.freeze()
    assert await eventually(scene.reason, within=6) in {NoDataReason.STALE, NoDataReason.EMPTY}


async def test_a_query_is_asked_as_written_and_may_be_a_scalar(
    idle: tuple[Prometheus, PrometheusSource],
) -> None:
    written = " scalar( vector(1) ) + 1 # and a remark"
    answer = good(await idle[1].ask(question(Query(query=written)), now=datetime.now(UTC)))
    assert answer.parts == {"value": (2.0,)}
    assert answer.asked == written


async def test_scalars_may_stand_for_any_part_of_a_union(idle: tuple[Prometheus, PrometheusSource]) -> None:
    for form in (
        Query(query="scalar(vector(1)) + 1", events="vector(5)", freshness="vector(time())"),
        Query(query="vector(1) + 1", events="2 +\n3", freshness="time()"),
        Query(query="1 + 1", events="5"),
        Query(query="vector(2)", events='vector(5) # ")"'),
    ):
        for _ in range(2):
            seen = await poll(idle[1], form)
            assert isinstance(seen, Value), seen
            assert (seen.value, seen.events) == (2, 5)


async def test_what_is_no_number_is_no_data(idle: tuple[Prometheus, PrometheusSource]) -> None:
    for query, reason in (
        ("0/0", NoDataReason.NOT_A_NUMBER),
        ("vector(1)/0", NoDataReason.NOT_A_NUMBER),
        ("-1/0", NoDataReason.NOT_A_NUMBER),
        ("no_such_metric", NoDataReason.EMPTY),
        ("histogram_quantile(0.9, no_such_metric_bucket)", NoDataReason.EMPTY),
    ):
        seen = await poll(idle[1], Query(query=query))
        assert isinstance(seen, NoData), (query, seen)
        assert seen.reason is reason
    seen = await poll(idle[1], Ratio(bad="no_such_metric", total="no_such_metric"))
    assert isinstance(seen, NoData)
    assert seen.reason is NoDataReason.EMPTY


async def test_a_question_that_cannot_be_answered_is_an_error(
    idle: tuple[Prometheus, PrometheusSource],
) -> None:
    forms: tuple[tuple[Query | Ratio, FailReason, str], ...] = (
        (Query(query="sum("), FailReason.QUERY_ERROR, "parse error"),
        (Query(query="label_replace(vector(1), '9', '', '', '')"), FailReason.QUERY_ERROR, "execution"),
        (Query(query="up[5m]"), FailReason.MALFORMED, "range"),
        (Query(query='"text"'), FailReason.MALFORMED, "text"),
        (Query(query='"text"', events="vector(1)"), FailReason.QUERY_ERROR, "string"),
        (Ratio(bad="a[1m]", total="b"), FailReason.QUERY_ERROR, "bad_data"),
    )
    for form, reason, word in forms:
        seen = await poll(idle[1], form)
        assert isinstance(seen, Failed), seen
        assert (seen.reason, word in seen.detail) == (reason, True), seen
        assert seen.asked


async def test_a_frozen_server_is_a_time_out_and_a_thawed_one_answers_again(
    idle: tuple[Prometheus, PrometheusSource], eventually: Eventually
) -> None:
    prometheus, _ = idle
    settings = PrometheusSettings(url=prometheus.url, timeout=timedelta(seconds=0.3))
    impatient = PrometheusSource(settings, name="impatient")
    async with running([impatient]):
        prometheus.freeze()
        seen = await poll(impatient, ONE)
        assert isinstance(seen, Failed)
        assert seen.reason is FailReason.TIMEOUT
        prometheus.thaw()

        async def back() -> bool:
            return isinstance(await poll(impatient, ONE), Value)

        await eventually(back)


async def test_a_restart_of_the_server_is_noticed(
    idle: tuple[Prometheus, PrometheusSource], eventually: Eventually
) -> None:
    prometheus, source = idle

    async def since() -> datetime | None:
        return good(await source.ask(question(ONE), now=datetime.now(UTC))).since

    assert await since() is None
    await eventually(lambda: source.started_at)
    prometheus.stop()
    seen = await poll(source, ONE)
    assert isinstance(seen, Failed)
    assert seen.reason is FailReason.UNREACHABLE
    before = datetime.now(UTC)
    prometheus.start()
    restarted_at = await eventually(since)
    assert restarted_at is not None
    assert before - timedelta(seconds=1) <= restarted_at <= datetime.now(UTC)
    assert await since() == restarted_at


async def test_inspection_names_the_version(idle: tuple[Prometheus, PrometheusSource]) -> None:
    prometheus, source = idle
    report = await source.inspect()
    assert report.ok
    assert "version 2." in report.detail
    assert prometheus.url in report.detail


async def test_a_counter_that_starts_again_within_the_window_is_no_breach(
    start_prometheus: StartPrometheus,
) -> None:
    """One request of a hundred fails, before and after both counters began again at 0, a minute ago."""
    now, every = datetime.now(UTC).timestamp(), 5
    lines = ["# TYPE http_requests counter"]
    for status, share in (("200", 99), ("500", 1)):
        labels = f'service="trips",status="{status}"'
        for number in range(80):
            at = now - 300 + every * number
            since = number if at < now - 60 else number - 48
            lines.append(f"http_requests_total{{{labels}}} {since * share * 10} {at:.3f}")
    prometheus = start_prometheus(history="\n".join(lines) + "\n")
    source = PrometheusSource(PrometheusSettings(url=prometheus.url), name="prometheus")
    async with running([source]):
        for form in (ERRORS, Query(query=f"sum(rate({ERRORS.bad}[2m])) / sum(rate({ERRORS.total}[2m]))")):
            made = msgspec.structs.replace(
                rule(form, window=120, unit=Unit.RATIO),
                thresholds=Thresholds(warning=0.02, critical=0.03, rollback=0.045),
            )
            seen = await poll(source, form, window=120)
            assert isinstance(seen, Value), seen
            assert evaluate(made, CheckState(), seen, now=datetime.now(UTC)).verdict.level is Level.OK
            assert seen.value == pytest.approx(0.01, abs=0.002)
