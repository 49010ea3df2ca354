"""What `Source.deal` promises, asked of every source: each service gets what `ask` answers for it alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product

import pytest
from msgspec.structs import replace

from tests.eventually import Eventually
from tests.servers.process import http_get
from tests.servers.prometheus import Prometheus, Target
from tests.servers.versioned import VersionedApp
from tests.sources.questions import running
from watchdog.core.baseline import Earlier
from watchdog.core.dealing import Dealt
from watchdog.core.observation import Answer, Failed, FailReason
from watchdog.core.promql import with_matcher, with_selectors
from watchdog.core.rule import Aggregate, Gauge, MetricForm, Quantile, Query, Rate, Ratio
from watchdog.sources.interface import Question, Source
from watchdog.sources.prometheus import PrometheusSettings, PrometheusSource
from watchdog.sources.registry import KINDS
from watchdog.sources.scrape import ScrapeSettings, ScrapeSource

WINDOW = timedelta(seconds=4)
REMEMBER = timedelta(minutes=31)
#: What is asked of a moment for comparison.
Asking = Callable[[MetricForm, datetime], Earlier | None]
FORMS: tuple[MetricForm, ...] = (
    Ratio(bad='http_requests_total{status=~"5.."}', total="http_requests_total"),
    Quantile(of="http_request_duration_seconds", q=0.9),
    Rate(of="http_requests_total{}"),
    Gauge(of="queue_depth", by=Aggregate.MAX),
)


def question(form: MetricForm, reference: Earlier | None = None) -> Question:
    return Question(form=form, window=WINDOW, reference=reference, remember=REMEMBER)


def nothing(form: MetricForm, at: datetime) -> None:
    del form, at


def a_while_ago(form: MetricForm, at: datetime) -> Earlier:
    del at
    return Earlier(form=form, ago=timedelta(seconds=5))


def before_a_moment(form: MetricForm, at: datetime) -> Earlier:
    """A median; the moment is the same for all that is asked within a few seconds."""
    until = datetime.fromtimestamp(at.timestamp() // 10 * 10, UTC)
    return Earlier(form=form, at=until, median_over=timedelta(minutes=30))


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.timeout(180)
async def test_each_version_gets_what_it_would_have_got_alone(
    start_app: Callable[..., VersionedApp],
    start_prometheus: Callable[..., Prometheus],
    eventually: Eventually,
) -> None:
    apps = {"v1": start_app(version="v1"), "v2": start_app(version="v2", fail_every=2)}
    prometheus = start_prometheus([Target(job="app", port=app.port) for app in apps.values()])
    sources: dict[str, Source] = {
        "prometheus": PrometheusSource(PrometheusSettings(url=prometheus.url), name="main"),
        "scrape": ScrapeSource(
            ScrapeSettings(
                urls=tuple(f"{app.url}/metrics" for app in apps.values()), interval=timedelta(seconds=1)
            ),
            name="app",
        ),
    }
    assert set(sources) == set(KINDS) - {"kubernetes"}, "which reads no pages: test_kubernetes_source.py"
    for number, app in enumerate(apps.values()):
        app.control(gauges={"queue_depth": 5 + number})

    async def same(source: Source, form: MetricForm, asking: Asking) -> Dealt:
        """Asked three times until no scrape came in between: alone, dealt, alone again."""
        for times, app in enumerate(apps.values(), start=1):
            for _ in range(
                times
            ):  # never the same numbers, even where both are scraped in the same millisecond
                http_get(app.port, "/")
        at = now()
        earlier = asking(form, at)
        before = {version: await alone(source, form, version, at, earlier) for version in (*apps, "v9")}
        dealt = await source.deal(question(form, earlier), by=("version",), now=at)
        assert isinstance(dealt, Dealt)
        for version, answer in before.items():
            assert await alone(source, form, version, at, earlier) == answer
            mine = dealt.of((version,)).parts
            assert set(mine) == set(answer)
            for part, series in answer.items():
                assert len(mine[part]) == len(series), (part, mine, answer)
                assert mine[part] == pytest.approx(series, rel=0.02, nan_ok=True)
        assert len(dealt.of(("v2",)).parts["newest"]) == 1
        assert dealt.of(("v2",)).parts != dealt.of(("v1",)).parts
        assert ("reference" in dealt.nothing.parts) is (earlier is not None)
        for part in () if earlier is None else ("reference", "reference_samples"):
            assert all(dealt.of((version,)).parts[part] for version in apps), part
        return dealt

    async with running(list(sources.values())):
        await eventually(prometheus.up, within=15, what="a first scrape")
        for asking, source, form in product((nothing, a_while_ago, before_a_moment), sources.values(), FORMS):
            dealt = await eventually(partial(same, source, form, asking), within=40, every=0.2)
            assert dealt.strangers([("v1",)]) == 1
            assert dealt.of(("v9",)) == dealt.nothing


async def alone(
    source: Source, form: MetricForm, version: str, at: datetime, earlier: Earlier | None
) -> dict[str, tuple[float, ...]]:
    def narrow(form: MetricForm) -> MetricForm:
        return with_selectors(form, lambda selector: with_matcher(selector, f'version="{version}"'))

    reference = earlier and replace(earlier, form=narrow(earlier.form))
    answer = await source.ask(question(narrow(form), reference), now=at)
    assert isinstance(answer, Answer)
    return answer.parts


async def test_one_number_for_everybody_belongs_to_nobody(
    start_prometheus: Callable[..., Prometheus],
) -> None:
    prometheus = start_prometheus([])
    source = PrometheusSource(PrometheusSettings(url=prometheus.url), name="main")
    async with running([source]):
        dealt = await source.deal(question(Query(query="1 + 1")), by=("service",), now=now())
        assert isinstance(dealt, Dealt)
        assert dealt.hands == {}
        assert dealt.nothing.parts == {"value": ()}


async def test_a_question_that_cannot_be_asked_fails_for_all(
    start_prometheus: Callable[..., Prometheus],
) -> None:
    prometheus = start_prometheus([])
    source = PrometheusSource(PrometheusSettings(url=prometheus.url), name="main")
    async with running([source]):
        failed = await source.deal(question(Query(query="sum(")), by=("service",), now=now())
        assert isinstance(failed, Failed)
        assert failed.reason is FailReason.QUERY_ERROR
        prometheus.kill()
        failed = await source.deal(question(FORMS[0]), by=("service",), now=now())
        assert isinstance(failed, Failed)
        assert failed.reason is FailReason.UNREACHABLE


async def test_scraped_pages_cannot_be_asked_promql() -> None:
    source = ScrapeSource(ScrapeSettings(urls=("http://127.0.0.1:9/metrics",)), name="app")
    failed = await source.deal(question(Query(query="x")), by=("service",), now=now())
    assert isinstance(failed, Failed)
    assert failed.reason is FailReason.QUERY_ERROR
    await source.aclose()
