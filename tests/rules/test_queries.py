"""Every question of every pack, asked of Debian's Prometheus, over pages such as the exporters show them.

The names and labels are those of node_exporter, postgres_exporter and of client libraries for HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from tests.rules.packs import LABELS, rules
from tests.servers.prometheus import Prometheus
from tests.sources.questions import good, running
from watchdog.core.baseline import Earlier
from watchdog.core.checks import filled_form
from watchdog.core.comparing import Comparison, compared
from watchdog.core.observation import NoData, Value
from watchdog.core.rule import Against, Baseline, MetricForm, ProbeForm, Quantile, Ratio, Rule
from watchdog.sources.interface import Question
from watchdog.sources.prometheus import PrometheusSettings, PrometheusSource

pytestmark = pytest.mark.timeout(60)

GI = 2.0**30
STEP = 15
#: The bounds of the client libraries' histograms, in seconds.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
#: What each rule should see below.
EXPECTED = {
    "error-rate": 0.02,
    "latency-p95": 0.425,
    "requests": 220.0,
    "conversions": 3.0,
    "runbook-latency-p95": 0.425,
    "runbook-error-rate": 0.02,
    "runbook-connections": 120.0,
    "runbook-cpu": 0.75,
    "runbook-memory": 0.6,
    "runbook-disk": 0.7,
    "blue-green-error-rate": 0.02,
    "blue-green-latency-p95": 0.425,
    "canary-error-rate": 0.02,
    "capacity-disk": 0.7,
    "capacity-database-size": 5 * GI,
    "capacity-database-connections": 0.5,
    "capacity-rate-limiting": 10 / 220,
    "capacity-database-unreachable": 1.0,
    "kubernetes-not-ready": 0.5,
    "kubernetes-restarts": 0.01,
    "kubernetes-progress": 1.0,
}


def times(now: float) -> list[float]:
    """The last 40 minutes, and as much around the same time yesterday."""
    yesterday = now - 86400
    return [
        *(yesterday + step * STEP for step in range(-80, 41)),
        *(now + step * STEP for step in range(-160, 1)),
    ]


def counter(name: str, labels: str, per_second: float, now: float) -> Iterator[str]:
    for at in times(now):
        yield f"{name}{{{labels}}} {(at - now + 100_000) * per_second:g} {at:.3f}"


def gauge(name: str, labels: str, value: float, now: float) -> Iterator[str]:
    for at in times(now):
        yield f"{name}{{{labels}}} {value:g} {at:.3f}"


def web(now: float) -> Iterator[str]:
    """v1 and v2 of trips: 110 requests a second each, and somebody else's."""
    yield "# TYPE http_requests counter"
    for version in ("v1", "v2"):
        for status, pace in (("200", 102.8), ("429", 5.0), ("500", 1.2), ("503", 1.0)):
            labels = f'service="trips",version="{version}",status="{status}"'
            yield from counter("http_requests_total", labels, pace, now)
    yield from counter("http_requests_total", 'service="hotels",version="v2",status="500"', 50.0, now)
    yield "# TYPE http_request_duration_seconds histogram"
    labels = 'service="trips",version="v2"'
    for bound in (*BOUNDS, "+Inf"):
        # 88 % within 250 ms and 98 % within 500 ms.
        share = 0.88 if bound == 0.25 else 0.0 if isinstance(bound, float) and bound < 0.25 else 1.0
        share = 0.98 if bound == 0.5 else share
        series = f'{labels},le="{bound}"'
        yield from counter("http_request_duration_seconds_bucket", series, 110 * share, now)
    yield from counter("http_request_duration_seconds_count", labels, 110, now)
    yield "# TYPE orders_completed counter"
    yield from counter("orders_completed_total", 'service="trips"', 3.0, now)


def hosts(now: float) -> Iterator[str]:
    """Two hosts of trips and a full one of somebody else."""
    loads = {"trips-1:9100": 0.35, "trips-2:9100": 0.75, "hotels-1:9100": 0.99}
    yield "# TYPE node_cpu_seconds counter"
    for host, load in loads.items():
        for cpu in ("0", "1"):
            for mode, share in (("idle", 1 - load), ("user", load)):
                labels = f'instance="{host}",cpu="{cpu}",mode="{mode}"'
                yield from counter("node_cpu_seconds_total", labels, share, now)
    for name, values in {
        "node_memory_MemTotal_bytes": dict.fromkeys(loads, 64 * GI),
        "node_memory_MemAvailable_bytes": {host: 64 * GI * (1 - 0.8 * load) for host, load in loads.items()},
    }.items():
        yield f"# TYPE {name} gauge"
        for host, value in values.items():
            yield from gauge(name, f'instance="{host}"', value, now)
    disks = {("ext4", "/"): 0.7, ("xfs", "/data"): 0.3, ("tmpfs", "/run"): 0.99}
    for name in ("node_filesystem_size_bytes", "node_filesystem_avail_bytes"):
        yield f"# TYPE {name} gauge"
        for host in loads:
            for (kind, place), used in disks.items():
                free = 1.0 if name.endswith("size_bytes") else 1 - used
                labels = f'instance="{host}",device="/dev/{kind}",fstype="{kind}",mountpoint="{place}"'
                yield from gauge(name, labels, 100 * GI * free, now)


def database(now: float) -> Iterator[str]:
    one = 'instance="db-1:9187"'
    for name, by_database in {
        "pg_stat_database_numbackends": {"trips": 120.0, "hotels": 80.0},
        "pg_database_size_bytes": {"trips": 5 * GI, "hotels": 500 * GI},
    }.items():
        yield f"# TYPE {name} gauge"
        for number, (datname, value) in enumerate(by_database.items()):
            more = f',datid="{number}"' if name.startswith("pg_stat") else ""
            yield from gauge(name, f'{one},datname="{datname}"{more}', value, now)
    for name, value in {"pg_settings_max_connections": 400.0, "pg_up": 1.0}.items():
        yield f"# TYPE {name} gauge"
        yield from gauge(name, f'{one},server="db-1:5432"', value, now)
        if name == "pg_up":  # somebody else's, and down
            yield from gauge(name, 'instance="db-2:9187",server="db-2:5432"', 0.0, now)


def cluster(now: float) -> Iterator[str]:
    """Two pods of trips v2 and one of v1, as kube-state-metrics shows them with the label `version`, and others'."""
    pods = {"trips-5b8f-a": ("v2", True), "trips-5b8f-b": ("v2", False), "trips-7c6d-a": ("v1", True)}
    pods |= {"hotels-1": ("v2", False)}
    yield "# TYPE kube_pod_status_ready gauge"
    for pod, (version, ready) in pods.items():
        own = f'namespace="prod",pod="{pod}",uid="uid-{pod}",version="{version}"'
        for condition in ("true", "false", "unknown"):
            is_so = condition == str(ready).lower()
            yield from gauge("kube_pod_status_ready", f'{own},condition="{condition}"', is_so, now)
    yield "# TYPE kube_pod_container_status_restarts counter"
    for pod, (version, ready) in pods.items():
        own = f'namespace="prod",pod="{pod}",uid="uid-{pod}",version="{version}",container="app"'
        pace = 0.0 if ready else 0.01
        yield from counter("kube_pod_container_status_restarts_total", own, pace, now)
    yield "# TYPE kube_deployment_status_condition gauge"
    for deployment, stuck in (("trips", True), ("hotels", False)):
        for status in ("true", "false", "unknown"):
            reason = "ProgressDeadlineExceeded" if stuck else "NewReplicaSetAvailable"
            labels = (
                f'namespace="prod",deployment="{deployment}",condition="Progressing",'
                f'reason="{reason}",status="{status}"'
            )
            is_so = status == str(not stuck).lower()
            yield from gauge("kube_deployment_status_condition", labels, is_so, now)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A Prometheus with all of that, and the rules that ask it."""

    source: PrometheusSource
    rules: dict[str, Rule]
    now: datetime

    async def seen(self, name: str, *, version: str = "v2", service: str = "trips") -> Value | NoData:
        """One poll as the collector does it; what was scraped last is a little old when Prometheus is up."""
        rule = msgspec.structs.replace(self.rules[name], max_age=timedelta(minutes=10))
        values = {"service": service, "version": version} | {f"label.{k}": v for k, v in LABELS.items()}
        form = filled_form(rule, values)
        assert not isinstance(form, ProbeForm)
        asked = self._reference(rule, form)
        question = Question(form=form, window=rule.window, reference=asked)
        answer = good(await self.source.ask(question, now=datetime.now(UTC)))
        needed = None if asked is None else Comparison(asked=asked)
        seen = compared(rule, answer, needed, now=datetime.now(UTC))
        assert isinstance(seen, Value | NoData), seen
        return seen

    def _reference(self, rule: Rule, form: MetricForm) -> Earlier | None:
        match rule.baseline:
            case None:
                return None
            case Baseline(against=Against.EARLIER, ago=timedelta() as ago):
                return Earlier(form=form, ago=ago)
            case _:
                return Earlier(form=form, at=self.now, median_over=timedelta(minutes=30))


@pytest.fixture
async def stage(start_prometheus: Callable[..., Prometheus], tmp_path: Path) -> AsyncIterator[Stage]:
    now = datetime.now(UTC)
    at = round(now.timestamp(), 3)
    prometheus = start_prometheus(history="\n".join([*web(at), *hosts(at), *database(at), *cluster(at)]))
    source = PrometheusSource(PrometheusSettings(url=prometheus.url), name="prometheus")
    async with running([source]):
        yield Stage(source=source, rules=rules(tmp_path), now=now)


async def test_every_rule_sees_what_the_exporters_show(stage: Stage) -> None:
    assert set(EXPECTED) == {name for name, rule in stage.rules.items() if not rule.is_probe}
    for name, expected in EXPECTED.items():
        seen = await stage.seen(name)
        assert isinstance(seen, Value), (name, seen)
        assert seen.value == pytest.approx(expected, rel=0.02), name
        if stage.rules[name].baseline is not None:
            assert seen.reference is not None, name
            assert seen.reference.value == pytest.approx(expected, rel=0.02), name
        if isinstance(stage.rules[name].form, Ratio | Quantile):
            assert seen.events, name
        # Learnt from the raw samples: the freshness of every query is asked, too.
        assert abs((seen.at - stage.now).total_seconds()) < 2, name


async def test_where_there_are_no_such_series_there_is_no_data(stage: Stage) -> None:
    for name, rule in stage.rules.items():
        if rule.per_version and not rule.is_probe:
            assert isinstance(await stage.seen(name, version="v9"), NoData), name
    for name in ("requests", "conversions", "capacity-rate-limiting"):
        assert isinstance(await stage.seen(name, service="nobody"), NoData), name
