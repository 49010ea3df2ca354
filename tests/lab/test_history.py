"""Histories over a fake server: what is wanted, what is asked for it, and what people are told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.lab.configured import ERRORS, QUEUE, configured
from tests.lab.fake_range import FakeRange, Request, Said, error, usual
from watchdog.lab.cache import Cache
from watchdog.lab.deployments import Deployments, Serving
from watchdog.lab.history import Span, Unasked, histories

BEGIN = datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)
DEPTH = {
    "name": "depth",
    "unit": "count",
    "query": 'max(queue_depth{service="$service"})',
    "threshold": {"warning": 1},
}
PROBE = {
    "name": "up",
    "probe": {"kind": "http", "url": "http://trips.internal/healthz"},
    "threshold": {"critical": "3 failures"},
}


@pytest.fixture
def server() -> Iterator[FakeRange]:
    with FakeRange() as made:
        yield made


def span(**length: float) -> Span:
    return Span(begin=BEGIN, end=BEGIN + timedelta(**length))


def test_polls_are_at_whole_steps_of_the_rule_within_the_span(server: FakeRange, tmp_path: Path) -> None:
    made = configured(tmp_path, server.url, DEPTH)
    (found,) = histories(made, [("trips", "depth")], span(minutes=5)).found
    offsets = found.track.times - BEGIN.timestamp()
    assert offsets.tolist() == [20 + 30 * number for number in range(10)], "an interval of 30 s"
    assert np.array_equal(found.track.values, found.track.times)
    assert (found.service, found.rule.name, found.track.name) == ("trips", "depth", "trips/depth")
    assert found.track.step == 30
    step = timedelta(milliseconds=1500)
    (coarse,) = histories(
        made, [("trips", "depth")], Span(begin=BEGIN, end=BEGIN + timedelta(minutes=1), step=step)
    ).found
    assert coarse.track.step == 2, "whole seconds"


def test_the_same_question_of_two_checks_is_asked_once(server: FakeRange, tmp_path: Path) -> None:
    twin = {**DEPTH, "name": "twin", "threshold": {"warning": 2}}
    told: list[tuple[int, int]] = []
    found = histories(
        configured(tmp_path, server.url, DEPTH, twin),
        [("trips", "depth"), ("trips", "twin")],
        span(minutes=5),
        progress=lambda done, total: told.append((done, total)),
    )
    assert [one.rule.name for one in found.found] == ["depth", "twin"]
    assert len(server.requests) == 1
    assert told == [(0, 10), (10, 10)]


def test_what_has_no_history_is_listed_with_its_reason(server: FakeRange, tmp_path: Path) -> None:
    made = configured(tmp_path, server.url, DEPTH, PROBE)
    found = histories(made, [("trips", "up"), ("trips", "depth")], span(minutes=5))
    assert [one.rule.name for one in found.found] == ["depth"]
    assert found.unasked == (
        Unasked(service="trips", rule="up", reason="a probe: nobody knows what it would have answered then"),
    )


def test_a_time_without_any_poll_is_told(server: FakeRange, tmp_path: Path) -> None:
    found = histories(configured(tmp_path, server.url, DEPTH), [("trips", "depth")], span(seconds=15))
    assert found.found == ()
    assert found.unasked == (Unasked(service="trips", rule="depth", reason="no poll lies in this time"),)
    assert server.requests == []


def test_a_name_that_is_not_configured_is_an_error(server: FakeRange, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="nope"):
        histories(configured(tmp_path, server.url), [("trips", "nope")], span(minutes=5))


def test_partial_and_failed_answers_are_no_values_and_it_is_said(server: FakeRange, tmp_path: Path) -> None:
    def answer(asked: Request) -> Said:
        if asked.points == 10:
            return error(422, "execution", "found duplicate series")
        late = asked.start > BEGIN.timestamp() + 160
        return (
            usual(asked, warnings=("a replica is down",)) if late else error(422, "execution", "duplicates")
        )

    server.answer = answer
    (found,) = histories(configured(tmp_path, server.url, DEPTH), [("trips", "depth")], span(minutes=5)).found
    assert np.isnan(found.track.values).all()
    assert found.track.failed is not None
    assert found.track.failed.tolist() == [True] * 5 + [False] * 5
    assert found.reasons == {"partial": 5, "query_error": 5}
    partial, failed = found.notes
    assert partial.startswith("5 of 10 answers are partial, and count as no data: ")
    assert "a replica is down" in partial
    assert failed.startswith("5 of 10 answers failed: ")


def test_what_is_not_known_of_deployments_and_wrong_with_the_cache_is_told(
    server: FakeRange, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    found = histories(
        configured(tmp_path, server.url, DEPTH),
        [("trips", "depth")],
        span(minutes=5),
        deployments=Deployments(notes=("deployments are not known: no store",)),
        cache=Cache(tmp_path / "file" / "cache"),
    )
    assert len(found.found) == 1
    assert found.notes[0] == "deployments are not known: no store"
    assert all("the cache cannot be" in note for note in found.notes[1:])
    assert len(found.notes) > 1


def test_versions_are_asked_apart_as_long_as_each_served(server: FakeRange, tmp_path: Path) -> None:
    halfway = BEGIN + timedelta(minutes=5)
    known = (
        Serving(service="trips", version="v1", variant="b", started_at=BEGIN, ended_at=halfway),
        Serving(service="trips", version="v2", variant="g", started_at=halfway),
    )
    first, second = histories(
        configured(tmp_path, server.url, ERRORS, QUEUE),
        [("trips", "error-rate")],
        span(minutes=10),
        deployments=Deployments(known=known),
    ).found
    assert (first.version, second.version) == ("v1", "v2")
    assert first.track.times[-1] <= halfway.timestamp() <= second.track.times[0]
    assert {asked.query.count("v1") for asked in server.requests if asked.end <= halfway.timestamp()} == {1}
