"""References from scraped pages, in virtual time: a page every 5 s, one version until the deployment, another since."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.sources.questions import failed, good, running
from watchdog.aio.fetch import Page
from watchdog.core.baseline import Earlier, reach
from watchdog.core.comparing import Comparison, compared
from watchdog.core.observation import FailReason, NoData, Value
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
from watchdog.sources.scrape import ScrapeSettings, ScrapeSource
from watchdog.testing.clock import LoopClock

pytestmark = pytest.mark.virtual_time

BEFORE, AFTER = 530.0, 312.0


def version(name: str) -> dict[str, MetricForm]:
    """Every form, of one version."""
    on = f'{{version="{name}"}}'
    return {
        "rate": Rate(of=f"requests_total{on}"),
        "ratio": Ratio(bad=f'requests_total{{version="{name}",status="500"}}', total=f"requests_total{on}"),
        "gauge": Gauge(of=f"queue{on}", by=Aggregate.MAX),
        "quantile": Quantile(of=f"seconds{on}", q=0.5),
    }


class App(ScrapeSource):
    """A source whose one page is what the app shows at that moment: v1 until the deployment, v2 since."""

    def __init__(self, clock: LoopClock) -> None:
        settings = ScrapeSettings(urls=("http://app/metrics",), interval=timedelta(seconds=5))
        super().__init__(settings, name="app", clock=clock)
        self.clock = clock
        self.began = clock.monotonic()
        self.deployed: float | None = None

    async def _read(self, target: Any) -> Page:
        del target
        return Page(status=200, body=self._page().encode())

    def _page(self) -> str:
        now = self.clock.monotonic()
        since = self.began if self.deployed is None else self.deployed
        name, pace, failing, low = (
            ("v1", BEFORE, 0.01, 0.9) if self.deployed is None else ("v2", AFTER, 0.05, 0.1)
        )
        count = pace * (now - since)
        lines = [
            f'requests_total{{version="{name}",status="500"}} {count * failing}',
            f'requests_total{{version="{name}",status="200"}} {count * (1 - failing)}',
            f'queue{{version="{name}"}} {40 if name == "v1" else 60}',
            f'seconds_bucket{{version="{name}",le="0.1"}} {count * low}',
            f'seconds_bucket{{version="{name}",le="1"}} {count}',
            f'seconds_bucket{{version="{name}",le="+Inf"}} {count}',
            "idle_total 7",
        ]
        return "\n".join(lines) + "\n"


class Story:
    """Rules that are asked every 30 s, as the collector asks them."""

    def __init__(self, against: Against, ago: timedelta | None = None) -> None:
        self.clock = LoopClock()
        self.source = App(self.clock)
        self.baseline = Baseline(against=against, ago=ago, margins=Thresholds(critical=0.5))

    async def live(self, seconds: float) -> None:
        """So long, with the polls that make the source remember."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            for form in version("v2").values():
                await self.seen(form, None)
            await self.clock.sleep(30)

    async def seen(self, form: MetricForm, asked: Earlier | None) -> Value | NoData:
        rule = Rule(name="it", form=form, window=timedelta(minutes=1), baseline=self.baseline)
        question = Question(form=form, window=rule.window, reference=asked, remember=reach(rule))
        answer = good(await self.source.ask(question, now=self.clock.now()))
        found = compared(rule, answer, Comparison(asked=asked), now=self.clock.now())
        assert isinstance(found, Value | NoData), found
        return found

    def deploy(self) -> datetime:
        self.source.deployed = self.clock.monotonic()
        return self.clock.now()


def before(form: MetricForm, at: datetime) -> Earlier:
    return Earlier(form=form, at=at, median_over=timedelta(minutes=30))


async def test_the_median_before_a_deployment_is_remembered_until_it_is_settled() -> None:
    story = Story(Against.BEFORE_DEPLOYMENT)
    async with running([story.source]):
        await story.live(40 * 60)
        at = story.deploy()
        await story.live(5 * 60)
        found = {
            name: await story.seen(version("v2")[name], before(form, at))
            for name, form in version("v1").items()
        }

    numbers = {}
    for name, seen in found.items():
        assert isinstance(seen, Value), (name, seen)
        assert seen.reference is not None
        assert seen.reference.at == at
        assert 25 <= seen.reference.samples <= 30, name  # a value a minute
        assert "the median of 30m up to" in seen.asked
        assert '"reference":[' in seen.answered
        numbers[name] = seen.reference.value
        if name == "rate":
            assert seen.value == pytest.approx(AFTER, rel=0.01)
    assert numbers["rate"] == pytest.approx(BEFORE, rel=0.01)
    assert numbers["ratio"] == pytest.approx(0.01, rel=0.01)
    assert numbers["gauge"] == 40
    assert numbers["quantile"] == pytest.approx(0.1 * 0.5 / 0.9, rel=0.01)


async def test_what_was_before_a_start_is_no_data_and_never_a_guess() -> None:
    story = Story(Against.BEFORE_DEPLOYMENT)
    async with running([story.source]):
        await story.live(9 * 60)
        at = story.deploy()
        await story.live(2 * 60)
        young = await story.seen(version("v2")["rate"], before(version("v1")["rate"], at))
        never = await story.seen(
            version("v2")["rate"], before(version("v1")["rate"], at - timedelta(hours=3))
        )

    assert isinstance(young, NoData)  # 9 minutes, of which the first is half a window
    assert young.detail == "the median in the 30m before the deployment has 9 samples of the 10 it takes"
    assert isinstance(never, NoData)
    assert never.detail == "the median in the 30m before the deployment has 0 samples of the 10 it takes"


async def test_half_an_hour_ago_and_the_version_beside_it_are_answered_too() -> None:
    story = Story(Against.EARLIER, timedelta(minutes=30))
    async with running([story.source]):
        await story.live(40 * 60)
        story.deploy()
        await story.live(25 * 60)
        old, new = version("v1"), version("v2")
        ago = await story.seen(new["rate"], Earlier(form=old["rate"], ago=timedelta(minutes=30)))
        beside = await story.seen(new["gauge"], Earlier(form=new["gauge"]))
        idle = await story.seen(new["rate"], Earlier(form=Rate(of="idle_total"), ago=timedelta(minutes=30)))
        promql = Question(
            form=new["rate"], window=timedelta(minutes=1), reference=Earlier(form=Query(query="1"))
        )
        refused = failed(await story.source.ask(promql, now=story.clock.now()))

    assert isinstance(ago, Value)
    assert ago.reference is not None
    assert ago.reference.value == pytest.approx(BEFORE, rel=0.01)
    assert ago.reference.samples >= 300  # a raw sample each 5 s
    assert isinstance(beside, Value)
    assert beside.reference is not None
    assert beside.reference.value == 60
    assert isinstance(idle, NoData)
    assert refused.reason is FailReason.QUERY_ERROR


@pytest.mark.parametrize(
    ("against", "ago", "most"),
    [
        (Against.BEFORE_DEPLOYMENT, None, timedelta(minutes=40)),
        (Against.PREVIOUS_VERSION, None, timedelta(minutes=33)),
        (Against.EARLIER, timedelta(minutes=30), timedelta(hours=1, minutes=2)),
    ],
)
async def test_no_more_is_kept_than_can_be_asked_for(
    against: Against, ago: timedelta | None, most: timedelta
) -> None:
    story = Story(against, ago)
    async with running([story.source]):
        await story.live(3 * 3600)
        memory = story.source._recollection.memory  # noqa: SLF001 - how much it holds is told nowhere else
        spans: list[float] = []
        remembered: Callable[..., Any] = memory._metrics.values  # noqa: SLF001
        for found in remembered():
            spans.extend(one.times[-1] - one.times[0] for one in found.values())

    # The samples of a series are forgotten 32 at a time.
    assert spans
    assert max(spans) <= most.total_seconds() + 33 * 5
