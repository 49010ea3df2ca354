"""Histories of checks, asked of a real Prometheus whose data was back-filled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from tests.lab.configured import ERRORS, QUEUE, configured
from tests.servers.backfill import Backfill, Shop, shop
from tests.servers.process import http_get
from tests.servers.prometheus import Prometheus
from watchdog.core.observation import Answer, Failed, NoData, Value
from watchdog.core.observe import observe
from watchdog.lab.asked import asked
from watchdog.lab.cache import Cache
from watchdog.lab.deployments import Deployments, Serving
from watchdog.lab.history import Histories, RangeError, Span, histories
from watchdog.lab.prometheus_range import POINTS, Expression, PrometheusRange
from watchdog.lab.range_points import Grid
from watchdog.sources.prometheus import PrometheusSettings

pytestmark = pytest.mark.timeout(60)


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


@pytest.fixture
def past() -> Shop:
    return shop(int(time.time()) - 1800, days=1)


@pytest.fixture
def prometheus(start_prometheus: Callable[..., Prometheus], past: Shop) -> Prometheus:
    return start_prometheus(history=past.text, blocks="24h")


def ask(
    folder: Path,
    prometheus: Prometheus,
    past: Shop,
    *rules: Mapping[str, Any],
    step: int = 60,
    **options: Any,
) -> Histories:
    span = Span(begin=moment(past.begin), end=moment(past.end), step=timedelta(seconds=step))
    made = configured(folder, prometheus.url, *rules)
    return histories(made, [("trips", rule["name"]) for rule in rules], span, **options)


def test_the_history_of_a_check_shows_what_happened(
    prometheus: Prometheus, past: Shop, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    found = ask(
        tmp_path, prometheus, past, ERRORS, QUEUE, progress=lambda done, total: told.append((done, total))
    )
    errors, queue = found.found
    assert found.unasked == ()
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] == 7 * len(errors.track)
    assert "all versions together" in errors.notes[0]
    track = errors.track
    failing = (track.times > past.failing + 300) & (track.times < past.failing + 1200)
    assert np.nanmin(track.values[failing]) > 0.15
    assert np.nanmax(track.values[track.times < past.blip - 60]) < 0.02
    assert track.events is not None
    assert np.nanmax(track.events) == pytest.approx(3000, rel=0.01)
    silent = (track.times > past.silent + 400) & (track.times < past.silent + 3600)
    assert np.isnan(track.values[silent]).all()
    assert track.failed is None
    assert np.all(np.diff(track.times) == 60)
    assert errors.reasons.keys() == {"empty", "stale"}
    assert np.all(np.isnan(errors.parts["total"]) | ~np.isnan(track.values)), (
        "parts of what is no data are none"
    )
    assert np.array_equal(errors.parts["bad"] / errors.parts["total"], track.values, equal_nan=True)
    assert queue.notes == ()
    known = queue.track.values[~np.isnan(queue.track.values)]
    assert known.min() >= 0
    assert known.max() == 40


def instant(prometheus: Prometheus, text: str, at: float) -> tuple[float, ...]:
    """What the same Prometheus answers to one poll at that moment."""
    status, body = http_get(prometheus.port, f"/api/v1/query?query={quote(text)}&time={at}")
    assert status == 200, body
    return tuple(float(series["value"][1]) for series in json.loads(body)["data"]["result"])


def test_every_sample_of_a_history_is_what_a_poll_at_its_moment_gets(
    prometheus: Prometheus, past: Shop, tmp_path: Path
) -> None:
    made = configured(tmp_path, prometheus.url, ERRORS, QUEUE)
    span = Span(begin=moment(past.begin), end=moment(past.end), step=timedelta(seconds=47))
    whole = dict.fromkeys((past.begin, past.silent, past.deployed, past.failing))
    for rule in made.rules.values():
        (history,) = histories(made, [("trips", rule.name)], span).found
        (one,) = asked(made, "trips", rule.name, begin=span.begin, end=span.end)
        track, kinds = history.track, set()
        near = [int(np.searchsorted(track.times, at)) + more for at in whole for more in (0, 2, 5, 7)]
        for index in near:
            at = float(track.times[index])
            answer = Answer(
                parts={part: instant(prometheus, text, at) for part, text in one.parts.items()},
                evaluated_at=moment(at),
            )
            seen = observe(rule, answer, now=moment(at))
            kinds.add(type(seen))
            if isinstance(seen, Value):
                assert track.values[index] == seen.value
                assert track.sampled is not None
                assert track.sampled[index] == pytest.approx(seen.at.timestamp(), abs=0.002)
                assert track.events is None or track.events[index] == seen.events
            else:
                assert not isinstance(seen, Failed)
                assert np.isnan(track.values[index])
        assert kinds == {Value, NoData}


def test_a_known_deployment_has_a_history_of_its_own(
    prometheus: Prometheus, past: Shop, tmp_path: Path
) -> None:
    served = {"v1": (past.begin - 5, past.deployed), "v2": (past.deployed, past.end)}
    known = tuple(
        Serving(
            service="trips", version=version, variant="blue", started_at=moment(begin), ended_at=moment(end)
        )
        for version, (begin, end) in served.items()
    )
    found = ask(tmp_path, prometheus, past, ERRORS, deployments=Deployments(known=known))
    first, second = found.found
    assert (first.version, first.track.name) == ("v1", "trips/error-rate@v1")
    assert first.track.times[-1] <= past.deployed <= second.track.times[0] + 60
    assert np.nanmax(first.track.values) < 0.1
    assert np.nanmax(second.track.values) > 0.15
    assert first.notes == second.notes == ()


def test_a_month_at_a_fine_step_is_asked_within_the_limit_of_points(
    prometheus: Prometheus, past: Shop
) -> None:
    settings = PrometheusSettings(url=prometheus.url)
    grid = Grid(step=2, first=past.begin // 2, last=past.end // 2)
    assert len(grid) > 3 * POINTS
    one = Expression(text="max(queue_depth)", grid=grid)
    points = PrometheusRange(settings, name="main").ask([one])[one]
    assert points.whole
    assert points.notes == ()
    coarse = Expression(
        text="max(queue_depth)", grid=Grid(step=20, first=past.begin // 20, last=past.end // 20)
    )
    every_tenth = PrometheusRange(settings, name="main").ask([coarse])[coarse]
    shared = np.isin(grid.times, coarse.grid.times)
    begin = int(np.searchsorted(coarse.grid.times, grid.times[0]))
    assert np.array_equal(points.values[shared], every_tenth.values[begin:], equal_nan=True)


def test_the_limit_of_points_is_where_it_is_said_to_be(prometheus: Prometheus, past: Shop) -> None:
    def status(points: int) -> int:
        end = past.begin + points - 1
        return http_get(prometheus.port, f"/api/v1/query_range?query=up&start={past.begin}&end={end}&step=1")[
            0
        ]

    assert [status(POINTS), status(POINTS + 1), status(POINTS + 2)] == [200, 200, 400]


def test_a_server_that_may_load_few_samples_is_asked_for_less_at_once(
    start_prometheus: Callable[..., Prometheus], past: Shop, tmp_path: Path
) -> None:
    roomy = start_prometheus(history=past.text, blocks="24h")
    narrow = start_prometheus(history=past.text, blocks="24h", flags=["--query.max-samples=600"])
    (wanted,) = ask(tmp_path, roomy, past, ERRORS).found
    (found,) = ask(tmp_path, narrow, past, ERRORS).found
    assert np.array_equal(found.track.values, wanted.track.values, equal_nan=True)
    assert found.notes == wanted.notes


def test_a_server_for_which_even_one_point_is_too_much_is_told_of(
    start_prometheus: Callable[..., Prometheus], past: Shop, tmp_path: Path
) -> None:
    hopeless = start_prometheus(history=past.text, blocks="24h", flags=["--query.max-samples=2"])
    with pytest.raises(RangeError, match="too many samples"):
        ask(tmp_path, hopeless, past, ERRORS)


def test_what_was_asked_is_not_asked_again_even_when_the_server_is_gone(
    prometheus: Prometheus, past: Shop, tmp_path: Path
) -> None:
    (first,) = ask(tmp_path, prometheus, past, QUEUE, cache=Cache(tmp_path / "cache")).found
    prometheus.stop()
    (second,) = ask(tmp_path, prometheus, past, QUEUE, cache=Cache(tmp_path / "cache")).found
    assert np.array_equal(first.track.values, second.track.values, equal_nan=True)
    with pytest.raises(RangeError, match=r"source 'prometheus' does not answer .*: cannot be reached"):
        ask(tmp_path, prometheus, past, QUEUE)


BROKEN = {
    "name": "broken",
    "unit": "count",
    "query": "queue_depth / on(service) group_left http_requests_total",
    "threshold": {"warning": 1},
}


def test_a_query_that_the_server_refuses_is_told_of(
    prometheus: Prometheus, past: Shop, tmp_path: Path
) -> None:
    with pytest.raises(
        RangeError, match=r"source 'prometheus' answers queue_depth / on.* nowhere: .*many-to-many"
    ):
        ask(tmp_path, prometheus, past, BROKEN)


def test_several_series_are_no_data_and_a_scalar_is_a_value(
    prometheus: Prometheus, past: Shop, tmp_path: Path
) -> None:
    several = {
        "name": "several",
        "unit": "count",
        "query": "http_requests_total",
        "threshold": {"warning": 1},
    }
    scalar = {
        "name": "scalar",
        "unit": "count",
        "query": "scalar(queue_depth) + 1",
        "threshold": {"warning": 1},
    }
    found, number = ask(tmp_path, prometheus, past, several, scalar).found
    assert np.isnan(found.track.values).all()
    assert found.reasons["several_series"] > 1000
    assert np.nanmax(number.track.values) == 41
    assert number.reasons["not_a_number"] >= 55, "a scalar of nothing is NaN"


@pytest.fixture
def latency(start_prometheus: Callable[..., Prometheus]) -> tuple[Prometheus, int, int]:
    """Half an hour of a histogram: answers of 0.1 to 0.2 s, then none, then beyond the last bucket."""
    end = int(time.time()) - 1800
    begin = end - end % 60 - 1800
    made = Backfill(begin=begin)
    phases = [(0, 60, 60)] * 10 + [(0, 0, 0)] * 10 + [(0, 0, 60)] * 11
    for bound, index in (("0.1", 0), ("0.2", 1), ("+Inf", 2)):
        labels = {"service": "trips", "le": bound}
        made.counter("seconds_bucket", labels, [float(phase[index]) for phase in phases])
    text = made.text().replace("# TYPE seconds_bucket counter", "# TYPE seconds_bucket unknown")
    prometheus = start_prometheus(history=text.replace("seconds_bucket_total{", "seconds_bucket{"))
    return prometheus, begin, begin + 1800


def test_a_quantile_knows_its_events_and_what_lies_beyond_the_last_bucket(
    latency: tuple[Prometheus, int, int], tmp_path: Path
) -> None:
    prometheus, begin, end = latency
    rule = {
        "name": "slow",
        "unit": "seconds",
        "quantile": {"of": 'seconds{service="$service"}', "q": 0.9},
        "window": "3m",
        "max_age": "2m",
        "threshold": {"warning": "150ms"},
    }
    made = configured(tmp_path, prometheus.url, rule)
    span = Span(begin=moment(begin), end=moment(end), step=timedelta(seconds=60))
    (history,) = histories(made, [("trips", "slow")], span).found
    track = history.track
    assert track.events is not None
    assert track.more is not None
    assert track.values[8] == pytest.approx(0.19)
    assert not track.more[8]
    assert np.isnan(track.values[17])
    assert track.events[17] == 0, "it is known that nothing happened"
    assert history.reasons["too_few_events"] > 3
    assert track.more[-1]
    assert track.values[-1] == np.nextafter(0.2, 1)
