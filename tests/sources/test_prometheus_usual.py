"""What is usual from Debian's Prometheus, over two back-filled days: asked as the daemon asks it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import NormalDist

import pytest

from tests.core.history import History
from tests.core.scenario import rule
from tests.servers.prometheus import Prometheus
from tests.sources.questions import good, running
from watchdog.core.baseline import USUAL_FLOOR, USUAL_QUANTILE, reach
from watchdog.core.check import CheckState, Reason, Verdict
from watchdog.core.checks import filled_form, values_for
from watchdog.core.comparing import compared, comparison
from watchdog.core.evaluate import evaluate
from watchdog.core.observation import NoData, Reference, Value
from watchdog.core.rule import (
    Against,
    Aggregate,
    Baseline,
    Gauge,
    Level,
    MetricForm,
    ProbeForm,
    Query,
    Ratio,
    Rule,
    Thresholds,
)
from watchdog.sources.interface import Question
from watchdog.sources.prometheus import PrometheusSettings, PrometheusSource

pytestmark = pytest.mark.timeout(60)

MINUTE, DAY = 60, timedelta(days=1)
#: For so many minutes v2 serves, and is ten times as bad; before it v1 did, for two days.
BAD, EVER = 45, 2 * 24 * 60
#: By form: what it says of one unit of badness, which v1 has from 1 to 2 of, where it is not idle.
FORMS: dict[str, tuple[float, MetricForm]] = {
    "gauge": (100.0, Gauge(of='depth{version="$version"}', by=Aggregate.MAX)),
    "ratio": (
        0.01,
        Ratio(bad='done_total{version="$version",status="500"}', total='done_total{version="$version"}'),
    ),
    "query": (100.0, Query(query="max(depth) # of whatever version")),
}


def asked(form: MetricForm, *, over: timedelta = DAY, margins: Thresholds | None = None) -> Rule:
    margins = margins or Thresholds(warning=3.0, critical=4.0, rollback=6.0)
    return rule(
        "it",
        form=form,
        window=timedelta(minutes=3),
        max_age=timedelta(minutes=10),
        thresholds=Thresholds(),
        baseline=Baseline(against=Against.USUAL, over=over, margins=margins),
    )


def history(now: float) -> Iterator[str]:
    """A sample a minute: of v1 a new badness each 10 minutes, for a third of them none at all; then of v2."""
    chance = random.Random(7)
    sizes = [0.0 if number % 3 == 0 else chance.uniform(1, 2) for number in range(EVER // 10 + 1)]
    rows = [
        ("v2", now - back * MINUTE, 15.0) if back < BAD else ("v1", now - back * MINUTE, sizes[back // 10])
        for back in range(EVER, -1, -1)
    ]
    yield "# TYPE depth gauge"
    for version, at, size in rows:
        yield f'depth{{version="{version}"}} {100 * size:.4f} {at:.3f}'
    yield "# TYPE calm gauge"
    for version, at, _ in rows:
        yield f'calm{{version="{version}"}} 0 {at:.3f}'
    yield "# TYPE steady gauge"
    for version, at, _ in rows:
        yield f'steady{{version="{version}"}} 50 {at:.3f}'
    yield "# TYPE done counter"
    for status in ("500", "200"):
        counts = {"v1": 0.0, "v2": 0.0}
        for version, at, size in rows:
            counts[version] += 1000 * (0.01 * size if status == "500" else 1 - 0.01 * size)
            yield f'done_total{{version="{version}",status="{status}"}} {counts[version]:.4f} {at:.3f}'


@dataclass(kw_only=True)
class Scene:
    """The source; every poll goes the daemon's own way from the question to the verdict."""

    source: PrometheusSource

    async def polled(self, wanted: Rule) -> Value | NoData:
        """One poll of the version that serves now."""
        story = History(wanted, measured=lambda version, at: None)
        story.traffic(v2=1)
        check = story.check()
        needed = comparison(story.service, check, wanted, now=story.now)
        assert needed is not None
        form = filled_form(wanted, values_for(story.service, check))
        assert not isinstance(form, ProbeForm)
        question = Question(form=form, window=wanted.window, reference=needed.asked, remember=reach(wanted))
        now = datetime.now(UTC)
        found = compared(wanted, good(await self.source.ask(question, now=now)), needed, now=now)
        assert isinstance(found, Value | NoData), found
        return found

    async def reference(self, wanted: Rule) -> Reference:
        found = await self.polled(wanted)
        assert isinstance(found, Value), found
        assert found.reference is not None
        return found.reference

    async def verdict(self, wanted: Rule) -> Verdict:
        found = await self.polled(wanted)
        return evaluate(wanted, CheckState(), found, now=datetime.now(UTC)).verdict


@pytest.fixture
async def scene(start_prometheus: Callable[..., Prometheus]) -> AsyncIterator[Scene]:
    prometheus = start_prometheus(history="\n".join(history(datetime.now(UTC).timestamp())))
    source = PrometheusSource(
        PrometheusSettings(url=prometheus.url, timeout=timedelta(seconds=30)), name="it"
    )
    async with running([source]):
        yield Scene(source=source)


async def test_the_usual_value_is_that_of_the_time_before_and_of_any_version_that_had_something_to_do(
    scene: Scene,
) -> None:
    for name, (unit, form) in FORMS.items():
        found = await scene.reference(asked(form))
        # A day of values between 1 and 2, and 45 minutes of 15, which move the median by less than a twentieth.
        assert found.value == pytest.approx(1.5 * unit, abs=0.15 * unit), name
        outer = (1 + USUAL_QUANTILE - 1.5) * unit / NormalDist().inv_cdf(USUAL_QUANTILE)
        spread = max(outer, USUAL_FLOOR * 1.5 * unit)
        assert found.spread == pytest.approx(spread, rel=0.25), name
        assert found.samples == pytest.approx(335, abs=3), name  # a third of them 0
        assert found.version == ""

    found = await scene.reference(asked(Gauge(of="steady", by=Aggregate.MAX)))
    assert (found.value, found.spread) == (
        50.0,
        USUAL_FLOOR * 50.0,
    )  # what never moved may still move a little


async def test_what_is_far_off_is_a_breach_and_without_anything_usual_there_is_no_verdict(
    scene: Scene,
) -> None:
    verdict = await scene.verdict(asked(FORMS["gauge"][1]))
    assert verdict.level is Level.ROLLBACK
    assert " deviations of " in verdict.explanation
    assert ", the usual value (the median of 1d), beyond the limit of " in verdict.explanation

    calm = await scene.verdict(asked(Gauge(of="calm", by=Aggregate.MAX)))
    assert (calm.level, calm.reason) == (Level.UNKNOWN, Reason.NO_REFERENCE)
    assert "the usual value (the median of 1d) is 0 and hardly ever worse" in calm.explanation
    young = await scene.verdict(asked(FORMS["gauge"][1], over=14 * DAY))
    assert young.reason is Reason.NO_REFERENCE
    assert young.explanation.endswith("values of the 84 it takes")

    found = await scene.polled(asked(FORMS["ratio"][1]))
    for part in ("reference", "reference_outer", "reference_points"):
        assert f'"watchdog_part", "{part}"' in found.asked
    assert "[86400s:257143ms] offset 180s" in found.asked
    assert 'version="v2"' in found.asked
    assert 'version=~".+"' in found.asked
