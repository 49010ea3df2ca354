"""References from Debian's Prometheus, over a history that was scraped every 15 s: what rules with a baseline ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.servers.prometheus import Prometheus
from tests.sources.questions import good, running
from watchdog.core.baseline import Earlier
from watchdog.core.comparing import Comparison, compared
from watchdog.core.observation import NoData, NoDataReason, Reference, Value
from watchdog.core.rule import (
    Against,
    Aggregate,
    Baseline,
    Gauge,
    MetricForm,
    Quantile,
    Query,
    Rate,
    Ratio,
    Rule,
    Thresholds,
)
from watchdog.sources.interface import Question
from watchdog.sources.prometheus import PrometheusSettings, PrometheusSource

pytestmark = pytest.mark.timeout(60)

SCRAPE = 15
BEGAN, DEPLOYED = timedelta(hours=25), timedelta(minutes=20)
#: Requests per second on v1 a day ago and until the deployment, then on v2; 1 % of them fail, then 5 %.
A_DAY_AGO, BEFORE, AFTER = 400.0, 530.0, 312.0


def version(name: str) -> dict[str, MetricForm]:
    """Every form, of one version."""
    on = f'{{version="{name}"}}'
    return {
        "rate": Rate(of=f"requests_total{on}"),
        "ratio": Ratio(bad=f'requests_total{{version="{name}",status="500"}}', total=f"requests_total{on}"),
        "gauge": Gauge(of=f"queue{on}", by=Aggregate.MAX),
        "query": Query(query=f"sum(rate(requests_total{on}[1m])) # per second"),
        "quantile": Quantile(of=f"seconds{on}", q=0.5),
    }


@dataclass(kw_only=True)
class Scene:
    """The source, and the moment of the deployment."""

    source: PrometheusSource
    now: datetime

    @property
    def deployed_at(self) -> datetime:
        return self.now - DEPLOYED

    async def seen(self, form: MetricForm, asked: Earlier, *, window: float = 60) -> Value | NoData:
        """One poll as the collector does it."""
        rule = Rule(
            name="it",
            form=form,
            window=timedelta(seconds=window),
            max_age=timedelta(minutes=10),
            baseline=Baseline(against=Against.BEFORE_DEPLOYMENT, margins=Thresholds(critical=0.5)),
        )
        question = Question(form=form, window=rule.window, reference=asked)
        answer = good(await self.source.ask(question, now=datetime.now(UTC)))
        found = compared(rule, answer, Comparison(asked=asked), now=datetime.now(UTC))
        assert isinstance(found, Value | NoData), found
        return found

    async def reference(self, form: MetricForm, asked: Earlier) -> Reference:
        found = await self.seen(form, asked)
        assert isinstance(found, Value), found
        assert found.reference is not None
        return found.reference

    async def missing(self, form: MetricForm, asked: Earlier) -> str:
        found = await self.seen(form, asked)
        assert isinstance(found, NoData), found
        assert found.reason is NoDataReason.NO_REFERENCE
        return found.detail

    def before(self, form: MetricForm) -> Earlier:
        return Earlier(form=form, at=self.deployed_at, median_over=timedelta(minutes=30))


def scrapes(now: float) -> list[float]:
    """When it was scraped: yesterday at this time, and today."""
    all_of_them = (now - SCRAPE * back for back in range(int(BEGAN.total_seconds() // SCRAPE), -1, -1))
    return [at for at in all_of_them if at < now - 22 * 3600 or at > now - 3 * 3600]


def requests(name: str, now: float, pace: Callable[[float], float], failing: float) -> Iterator[str]:
    """The counters of one version; a pace of 0 is a version that was not there."""
    for status, share in (("500", failing), ("200", 1 - failing)):
        count = 0.0
        for at in scrapes(now):
            if pace(at):
                count += pace(at) * share * SCRAPE
                yield f'requests_total{{version="{name}",status="{status}"}} {count} {at:.3f}'


def history(now: float) -> Iterator[str]:
    """Two versions, the second since the deployment; one that is only 2 minutes old; one that nobody asks."""
    deployed, yesterday = now - DEPLOYED.total_seconds(), now - 22 * 3600
    recent = scrapes(now)[-400:]
    yield "# TYPE requests counter"
    yield from requests(
        "v1", now, lambda at: 0 if at > deployed else A_DAY_AGO if at < yesterday else BEFORE, 0.01
    )
    yield from requests("v2", now, lambda at: AFTER if at > deployed else 0, 0.05)
    for at in recent[-9:]:
        yield f'requests_total{{version="young",status="200"}} {at - now + 1000} {at:.3f}'
    for at in recent:
        yield f'requests_total{{version="idle",status="200"}} 7 {at:.3f}'
    yield "# TYPE queue gauge"
    for name, depth in (("v1", 40), ("v2", 60)):
        for at in recent:
            yield f'queue{{version="{name}"}} {depth} {at:.3f}'
    yield "# TYPE seconds histogram"
    for name in ("v1", "v2"):
        for number, at in enumerate(recent):
            for bucket, share in (("0.1", 0.9), ("1", 1.0), ("+Inf", 1.0)):
                yield f'seconds_bucket{{version="{name}",le="{bucket}"}} {number * 100 * share:g} {at:.3f}'
            yield f'seconds_count{{version="{name}"}} {number * 100} {at:.3f}'


@pytest.fixture
async def scene(start_prometheus: Callable[..., Prometheus]) -> AsyncIterator[Scene]:
    now = datetime.now(UTC)
    prometheus = start_prometheus(history="\n".join(history(now.timestamp())))
    source = PrometheusSource(PrometheusSettings(url=prometheus.url), name="prometheus")
    async with running([source]):
        yield Scene(source=source, now=now)


async def test_the_median_before_the_deployment_is_that_of_the_version_before(scene: Scene) -> None:
    old, new = version("v1"), version("v2")
    found = {name: await scene.reference(new[name], scene.before(old[name])) for name in old}

    assert found["rate"].value == pytest.approx(BEFORE, rel=0.01)
    assert found["query"].value == pytest.approx(BEFORE, rel=0.01)
    assert found["ratio"].value == pytest.approx(0.01, rel=0.01)
    assert found["gauge"].value == 40
    assert found["quantile"].value == pytest.approx(0.1 * 0.5 / 0.9, rel=0.05)
    for name, reference in found.items():
        assert reference.at == scene.deployed_at
        assert 25 <= reference.samples <= 31, name  # a value a minute


async def test_the_values_and_the_reference_come_in_one_answer(scene: Scene) -> None:
    seen = await scene.seen(version("v2")["rate"], scene.before(version("v1")["rate"]))

    assert isinstance(seen, Value)
    assert seen.value == pytest.approx(AFTER, rel=0.01)
    assert 'watchdog_part="reference"' not in seen.asked
    assert '"watchdog_part", "reference"' in seen.asked
    assert f"@ {scene.deployed_at.timestamp():.3f}" in seen.asked


async def test_a_day_ago_and_beside_it_are_values_of_that_time(scene: Scene) -> None:
    day = timedelta(hours=24)
    for name in ("rate", "query"):
        old, new = version("v1")[name], version("v2")[name]
        earlier = await scene.reference(new, Earlier(form=old, ago=day))
        assert earlier.value == pytest.approx(A_DAY_AGO, rel=0.01)
        assert 25 <= earlier.samples <= 121
        assert abs((earlier.at - (scene.now - day)).total_seconds()) < 30

    beside = await scene.reference(version("v2")["gauge"], Earlier(form=version("v1")["gauge"]))
    assert beside.value == 40
    assert beside.samples == pytest.approx(120, abs=2)  # a raw sample each scrape


@pytest.mark.parametrize("form", ["rate", "ratio", "query", "gauge", "quantile"])
async def test_what_was_not_there_or_not_enough_or_0_is_no_reference(scene: Scene, form: str) -> None:
    mine = version("v2")[form]
    nothing = "the median in the 30m before the deployment has 0 samples of the 10 it takes"
    assert await scene.missing(mine, scene.before(version("v9")[form])) == nothing
    long_ago = Earlier(form=version("v1")[form], ago=timedelta(days=2))
    assert await scene.missing(mine, long_ago) == nothing

    if form in ("rate", "query"):
        young = await scene.missing(mine, Earlier(form=version("young")[form]))
        assert "samples of the 10 it takes" in young
        assert "is 0, of which no share is worse" in await scene.missing(
            mine, scene.before(version("idle")[form])
        )
    if form == "ratio":
        assert await scene.missing(mine, scene.before(version("idle")[form])) == nothing
        flawless = Ratio(
            bad='requests_total{version="v1",status="404"}', total='requests_total{version="v1"}'
        )
        assert "is 0, of which no share is worse" in await scene.missing(mine, scene.before(flawless))
