"""What is asked over history for a check: the parts that the daemon asks for, of the versions that served then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.configured import ERRORS, QUEUE, configured
from watchdog.core.promql import parts_of
from watchdog.core.rule import Ratio
from watchdog.lab.asked import Asked, NotAskable, asked
from watchdog.lab.deployments import Serving

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
END = BEGIN + DAY
URL = "http://127.0.0.1:9090"
SERVED = (
    Serving(
        service="trips",
        version="v1",
        variant="blue",
        started_at=BEGIN - DAY,
        ended_at=BEGIN + DAY / 2,
        id="d1",
    ),
    Serving(service="trips", version="v2", variant="green", started_at=BEGIN + DAY / 2, id="d2"),
    Serving(service="trips", version="v3", variant="blue", started_at=END, id="d3"),
    Serving(
        service="trips", version="v0", variant="blue", started_at=BEGIN - 2 * DAY, ended_at=BEGIN, id="d0"
    ),
)


def ask(
    folder: Path,
    rule: Mapping[str, Any],
    *,
    deployments: tuple[Serving, ...] = (),
    service: str = "trips",
    **more: Any,
) -> tuple[Asked, ...]:
    made = configured(folder, URL, rule, QUEUE, **more)
    return asked(made, service, rule["name"], begin=BEGIN, end=END, deployments=deployments)


def test_a_rule_that_names_no_version_is_asked_as_it_is(tmp_path: Path) -> None:
    (one,) = ask(tmp_path, {**QUEUE, "name": "depth"}, deployments=SERVED)
    assert one.parts["value"] == 'max(queue_depth{service="trips"})'
    assert one.parts["newest"] == 'max(timestamp(queue_depth{service="trips"}))'
    assert (one.begin, one.end, one.version, one.of, one.notes) == (BEGIN, END, "", (), ())
    assert (one.service, one.source, one.rule.name) == ("trips", "prometheus", "depth")


def test_a_rule_that_names_the_version_is_asked_of_each_for_as_long_as_it_served(tmp_path: Path) -> None:
    first, second = ask(tmp_path, ERRORS, deployments=SERVED)
    assert (first.version, first.begin, first.end) == ("v1", BEGIN, BEGIN + DAY / 2)
    assert (second.version, second.begin, second.end) == ("v2", BEGIN + DAY / 2, END)
    form = Ratio(
        bad='http_requests_total{service="trips",version="v2",status=~"5.."}',
        total='http_requests_total{service="trips",version="v2"}',
    )
    assert second.parts == parts_of(form, timedelta(minutes=5))


LEFT_OPEN = "asked of all versions together: its condition on $version is left open"


def test_where_no_deployment_is_known_it_is_asked_of_all_versions_together(tmp_path: Path) -> None:
    (one,) = ask(tmp_path, ERRORS, deployments=SERVED[2:])
    assert one.parts["total"] == 'sum(increase(http_requests_total{service="trips",version=~".+"}[300s]))'
    assert (one.version, one.begin, one.end) == ("", BEGIN, END)
    told = "from 2026-01-01T00:00:00Z to 2026-01-02T00:00:00Z, for no deployment is known in this time"
    assert one.notes == (f"{LEFT_OPEN} {told}",)


HOUR = timedelta(hours=1)
SPARSE = (
    Serving(service="trips", version="v1", variant="b", started_at=BEGIN + HOUR, ended_at=BEGIN + 4 * HOUR),
    Serving(
        service="trips", version="v2", variant="g", started_at=BEGIN + 2 * HOUR, ended_at=BEGIN + 3 * HOUR
    ),
    Serving(
        service="trips", version="v3", variant="g", started_at=BEGIN + 6 * HOUR, ended_at=BEGIN + 7 * HOUR
    ),
)


def test_the_time_between_known_deployments_is_asked_of_all_versions_together(tmp_path: Path) -> None:
    found = ask(tmp_path, ERRORS, deployments=SPARSE)
    assert [(one.version, (one.begin - BEGIN) / HOUR, (one.end - BEGIN) / HOUR) for one in found] == [
        ("", 0, 1),
        ("v1", 1, 4),
        ("v2", 2, 3),
        ("", 4, 6),
        ("v3", 6, 7),
        ("", 7, 24),
    ]
    assert found[1].notes == ()
    assert found[3].notes == (
        f"{LEFT_OPEN} from 2026-01-01T04:00:00Z to 2026-01-01T06:00:00Z, for no deployment is known in this time",
    )


def test_a_query_is_not_asked_between_known_deployments_and_it_is_said(tmp_path: Path) -> None:
    found = ask(tmp_path, QUERY, deployments=SPARSE[2:])
    assert [one.version for one in found] == ["v3"]
    assert found[0].notes == (
        "not asked from 2026-01-01T00:00:00Z to 2026-01-01T06:00:00Z: no deployment is known in this time",
        "not asked from 2026-01-01T07:00:00Z to 2026-01-02T00:00:00Z: no deployment is known in this time",
    )


def test_a_rule_that_compares_with_the_time_before_is_asked_of_all_versions_together(tmp_path: Path) -> None:
    baseline = {"against": "before-deployment", "worse_by": {"critical": "50%"}}
    rule = {key: value for key, value in ERRORS.items() if key != "threshold"} | {"baseline": baseline}
    (one,) = ask(tmp_path, rule, deployments=SERVED)
    assert 'version=~".+"' in one.parts["total"]
    assert one.notes == ("asked of all versions together: its condition on $version is left open",)


def test_a_rule_that_names_the_deployment_is_asked_only_where_its_id_is_known(tmp_path: Path) -> None:
    rule = {
        **QUEUE,
        "name": "jobs",
        "gauge": {"of": 'jobs{deployment="$deployment",variant="$variant"}', "by": "max"},
    }
    first, _ = ask(tmp_path, rule, deployments=SERVED)
    assert first.parts["value"] == 'max(jobs{deployment="d1",variant="blue"})'
    of_a_file = (Serving(service="trips", version="v1", variant="blue", started_at=BEGIN),)
    (one,) = ask(tmp_path, rule, deployments=of_a_file)
    assert one.parts["value"] == 'max(jobs{deployment=~".+",variant=~".+"})'
    assert one.notes == (
        "asked of all versions together: its condition on $deployment, $variant is left open",
    )


def test_an_odd_version_stays_a_text(tmp_path: Path) -> None:
    odd = (Serving(service="trips", version='v"} or vector(1) #', variant="b", started_at=BEGIN),)
    (one, *_) = ask(tmp_path, ERRORS, deployments=odd)
    assert 'version="v\\"} or vector(1) #"' in one.parts["total"]


QUERY = {
    "name": "slow",
    "unit": "count",
    "query": 'max(slow{version="$version"})',
    "threshold": {"warning": 1},
}


def test_a_query_that_names_the_version_is_asked_of_known_ones_only(tmp_path: Path) -> None:
    assert [one.parts for one in ask(tmp_path, QUERY, deployments=SERVED)] == [
        {"value": 'max(slow{version="v1"})'},
        {"value": 'max(slow{version="v2"})'},
    ]
    with pytest.raises(NotAskable, match="and no deployment is known in this time: a `query` that names"):
        ask(tmp_path, QUERY)


MATCHED = {
    "name": "matched",
    "unit": "ratio",
    "ratio": {"bad": 'http_requests_total{status=~"5.."}', "total": "http_requests_total"},
    "match": {"service": "name", "team": "label.team"},
    "threshold": {"warning": "1%"},
}


def test_a_rule_for_all_services_is_asked_for_the_one(tmp_path: Path) -> None:
    (one,) = ask(tmp_path, MATCHED)
    selector = 'http_requests_total{service="trips",team="booking"}'
    assert one.parts["total"] == f"sum by (service, team) (increase({selector}[60s]))"
    assert one.of == (("service", "trips"), ("team", "booking"))


def test_a_query_for_all_services_is_asked_as_it_is_and_its_series_are_told_apart(tmp_path: Path) -> None:
    rule = {**QUERY, "query": "max by (service) (slow)", "match": {"service": "name"}}
    (one,) = ask(tmp_path, rule)
    assert one.parts == {"value": "max by (service) (slow)"}
    assert one.of == (("service", "trips"),)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            {
                "name": "up",
                "probe": {"kind": "http", "url": "http://trips.internal/healthz"},
                "threshold": {"critical": "3 failures"},
            },
            "a probe: nobody knows what it would have answered then",
        ),
        (
            {**QUEUE, "name": "scraped", "source": "app"},
            "source 'app' is of kind scrape, which keeps no history",
        ),
    ],
    ids=["probe", "scrape"],
)
def test_what_has_no_history_is_told(tmp_path: Path, rule: Mapping[str, Any], words: str) -> None:
    app = {"app": {"kind": "scrape", "urls": ["http://127.0.0.1:8081/metrics"]}}
    queue = {**QUEUE, "source": "prometheus"}
    made = configured(tmp_path, URL, rule, queue, sources=app)
    with pytest.raises(NotAskable) as caught:
        asked(made, "trips", rule["name"], begin=BEGIN, end=END)
    assert str(caught.value) == words


def test_burn_rates_are_asked_over_all_their_windows(tmp_path: Path) -> None:
    rule = {key: value for key, value in ERRORS.items() if key not in {"threshold", "unit", "window"}}
    (one, _) = ask(tmp_path, {**rule, "slo": {"objective": "99.9%"}}, deployments=SERVED[:1])
    assert "total_3600s" in one.parts
    assert one.parts["bad_3600s"].endswith("[3600s]))")


def test_names_that_the_configuration_does_not_have_are_errors(tmp_path: Path) -> None:
    made = configured(tmp_path, URL)
    for service, rule in (("trips", "nope"), ("nope", "queue")):
        with pytest.raises(KeyError, match="nope"):
            asked(made, service, rule, begin=BEGIN, end=END)
