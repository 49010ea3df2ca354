"""Questions and answers for the tests of the sources: what a rule asks, and what Prometheus's API says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from watchdog.core.observation import Answer, Failed, NoData, Value
from watchdog.core.observe import observe
from watchdog.core.rule import Aggregate, Gauge, MetricForm, Quantile, Rate, Ratio, Rule, Thresholds, Unit
from watchdog.sources.interface import Question, Source

ERRORS = Ratio(
    bad='http_requests_total{service="trips",status=~"5.."}',
    total='http_requests_total{service="trips"}',
)
#: One question of every form that all sources can answer.
FORMS: dict[str, MetricForm] = {
    "ratio": ERRORS,
    "quantile": Quantile(of='http_request_duration_seconds{service="trips"}', q=0.75),
    "rate": Rate(of='http_requests_total{service="trips"}'),
    "gauge": Gauge(of='queue_depth{service="trips"}', by=Aggregate.SUM),
}


def question(form: MetricForm = ERRORS, *, window: float = 10) -> Question:
    return Question(form=form, window=timedelta(seconds=window))


def rule(form: MetricForm = ERRORS, *, window: float = 10, unit: Unit = Unit.NONE) -> Rule:
    return Rule(
        name="error-rate",
        form=form,
        unit=unit,
        window=timedelta(seconds=window),
        thresholds=Thresholds(critical=0.01),
    )


async def poll(source: Source, form: MetricForm = ERRORS, *, window: float = 10) -> Value | NoData | Failed:
    """One poll as the collector does it, down to the observation."""
    answer = await source.ask(question(form, window=window), now=datetime.now(UTC))
    return observe(rule(form, window=window), answer, now=datetime.now(UTC))


def good(answer: Answer | Failed) -> Answer:
    assert isinstance(answer, Answer), answer
    return answer


def failed(answer: Answer | Failed) -> Failed:
    assert isinstance(answer, Failed), answer
    return answer


def vector(*series: tuple[dict[str, str], str], at: float | None = None, **more: Any) -> str:
    """An instant vector as the API answers it, evaluated now unless said otherwise."""
    time = datetime.now(UTC).timestamp() if at is None else at
    result = [{"metric": labels, "value": [time, value]} for labels, value in series]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}, **more})


def parts(at: float | None = None, **values: str) -> str:
    """The answer to a union, one series a part."""
    return vector(*(({"watchdog_part": part}, value) for part, value in values.items()), at=at)


def api_error(kind: str, words: str) -> str:
    return json.dumps({"status": "error", "errorType": kind, "error": words})


@asynccontextmanager
async def running(sources: Sequence[Source]) -> AsyncIterator[None]:
    """The sources' own work goes on meanwhile; they are closed at the end."""
    tasks = [asyncio.create_task(source.run()) for source in sources]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for source in sources:
            await source.aclose()
