"""Burn rates by Debian's Prometheus: three days of back-filled counters, every window in one question."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from time import time
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from tests.core.burns import budget_rule
from tests.servers.backfill import Backfill
from tests.servers.process import http_get
from tests.servers.prometheus import Prometheus
from tests.sources.questions import good, running
from watchdog.core.burning import Slo
from watchdog.core.check import CheckState
from watchdog.core.dealing import Dealt
from watchdog.core.evaluate import evaluate
from watchdog.core.observation import Answer, Value
from watchdog.core.observe import observe
from watchdog.core.promql import parts_of, with_matcher, with_selectors
from watchdog.core.rule import Level, Ratio, Rule
from watchdog.sources.interface import Question
from watchdog.sources.prometheus import PrometheusSettings, PrometheusSource

pytestmark = pytest.mark.timeout(60)

#: The share of a minute's 1200 requests that failed, by how many minutes ago the minute began.
FAILED: Mapping[str, Callable[[int], float]] = {
    "v1": lambda ago: 0.02 if ago <= 10 else 0.0005,
    "v2": lambda ago: 0.0 if ago > 180 else 0.01,
}
DAYS = 3 * 24 * 60 + 30
RULE = replace(
    budget_rule(),
    form=Ratio(bad='http_requests_total{status="500"}', total="http_requests_total"),
    max_age=timedelta(minutes=5),
)


def history(end: int) -> str:
    """Two versions, a sample a minute."""
    made = Backfill(begin=end - DAYS * 60, step=60)
    for version, failed in FAILED.items():
        shares = [failed(DAYS - minute) for minute in range(DAYS + 1)]
        for status, rises in (
            ("500", [1200 * share for share in shares]),
            ("200", [1200 * (1 - share) for share in shares]),
        ):
            made.counter("http_requests", {"version": version, "status": status}, rises)
    return made.text()


def burnt(version: str, window: timedelta) -> float:
    """The burn rate of a window that ends now, against 99.9 %."""
    minutes = round(window.total_seconds() / 60)
    return sum(FAILED[version](ago) for ago in range(minutes)) / minutes / 0.001


def asking(version: str = "") -> Question:
    form = with_selectors(
        Ratio(bad='http_requests_total{status="500"}', total="http_requests_total"),
        lambda text: with_matcher(text, f'version="{version}"') if version else text,
    )
    return Question(form=form, window=RULE.window, windows=RULE.windows)


def burns_as_counted(rule: Rule, answer: Answer, version: str) -> Value:
    seen = observe(rule, answer, now=datetime.now(UTC))
    assert isinstance(seen, Value), seen
    for level, limit in (rule.slo or Slo(objective=0.5)).limits.items():
        assert seen.burns[level].long == pytest.approx(burnt(version, limit.long), rel=0.03)
        assert seen.burns[level].short == pytest.approx(burnt(version, limit.short), rel=0.15)
        counted = 1200 * limit.long.total_seconds() / 60
        assert seen.burns[level].events == pytest.approx(counted, rel=0.02)
    return seen


async def test_all_windows_are_counted_in_one_round_trip_alone_and_dealt_out(
    start_prometheus: Callable[..., Prometheus],
) -> None:
    prometheus = start_prometheus(history=history(int(time())), blocks="24h")
    source = PrometheusSource(PrometheusSettings(url=prometheus.url), name="prometheus")
    async with running([source]):
        answers = {
            version: good(await source.ask(asking(version), now=datetime.now(UTC))) for version in FAILED
        }
        dealt = await source.deal(asking(), by=("version",), now=datetime.now(UTC))
    assert isinstance(dealt, Dealt)
    for version, answer in answers.items():
        assert len(answer.parts) == 2 * 5 + 2
        burns_as_counted(RULE, answer, version)
        burns_as_counted(RULE, dealt.of((version,)), version)

    verdicts = {
        version: evaluate(
            RULE,
            CheckState(),
            burns_as_counted(RULE, answer, version),
            now=datetime.now(UTC),
        ).verdict
        for version, answer in answers.items()
    }
    # v1: 20 times over 5m, but 3.7 over the hour. v2: 10 times for three hours, 5 over six.
    assert {version: verdict.level for version, verdict in verdicts.items()} == {
        "v1": Level.OK,
        "v2": Level.OK,
    }


async def test_a_total_outage_at_99_9_is_beyond_14_4_over_an_hour_after_52_seconds(
    start_prometheus: Callable[..., Prometheus],
) -> None:
    """The Site Reliability Workbook gives 0.0144 of an hour; scrapes are 4 s apart."""
    end = int(time()) // 4 * 4 - 8
    began = end - 100
    made = Backfill(begin=end - 2 * 3600, step=4)
    moments = range(made.begin, end + 1, 4)
    made.counter("bad", {}, [4000.0 if at > began else 0.0 for at in moments])
    made.counter("all", {}, [4000.0 for _ in moments])
    prometheus = start_prometheus(history=made.text())
    rule = replace(
        budget_rule(Slo(objective=0.999, warning=None, critical=None)), max_age=timedelta(minutes=9)
    )
    parts = parts_of(Ratio(bad="bad_total", total="all_total"), rule.window, windows=rule.windows)

    def level(after: int) -> Level:
        """The verdict on what Prometheus answers for a moment so long into the outage."""
        at = began + after
        found = {}
        for part, text in parts.items():
            status, body = http_get(prometheus.port, f"/api/v1/query?time={at}&query={quote(text)}")
            assert status == 200, body
            found[part] = tuple(float(one["value"][1]) for one in json.loads(body)["data"]["result"])
        moment = datetime.fromtimestamp(at, UTC)
        seen = observe(rule, Answer(parts=found, evaluated_at=moment), now=moment)
        return evaluate(rule, CheckState(), seen, now=moment).verdict.level

    assert {after: level(after) for after in (0, 40, 48)} == dict.fromkeys((0, 40, 48), Level.OK)
    assert {after: level(after) for after in (56, 60, 100)} == dict.fromkeys((56, 60, 100), Level.ROLLBACK)
