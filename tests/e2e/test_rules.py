"""Other rules than shares: a probe through the front door, latencies, and a query with its own evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stage import Stage
from tests.eventually import Eventually
from tests.servers.health import HealthServer

pytestmark = pytest.mark.timeout(60)


async def test_a_new_version_that_is_dead_is_rolled_back_during_its_warm_up(stage: Stage) -> None:
    stage.service["rollback"]["warmup"] = "10m"
    stage.service["rules"] = ["healthy", "error-rate"]
    await stage.open(stable=False, begin=False)
    front = stage.haproxy.front["trips"]
    probe = {"kind": "http", "url": f"http://127.0.0.1:{front}/healthz?of=$variant", "timeout": "1s"}
    threshold = {"critical": "2 failures", "rollback": "3 failures"}
    stage.rules.append({"name": "healthy", "probe": probe, "threshold": threshold, "clear": "2 samples"})
    await stage.begin()
    stage.apps["green"].control(healthy=False, fail_every=1)
    await stage.deploy("green", "v2")
    rollback = await stage.rollback("completed")
    assert rollback["rules"] == ["healthy"]
    assert "3 probes in a row failed" in rollback["reason"]
    assert stage.live() == {"blue"}


@pytest.mark.parametrize("kind", ["grpc", "command"])
async def test_a_version_that_another_kind_of_probe_finds_dead_is_rolled_back(
    stage: Stage, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "blue is alive").touch()
    with HealthServer() as server:
        server.tell("blue", "SERVING")
        server.tell("green", "NOT_SERVING")
        probes: dict[str, dict[str, Any]] = {
            "grpc": {"address": f"127.0.0.1:{server.port}", "service": "$variant"},
            "command": {"argv": ["test", "-e", "$variant is alive"], "cwd": str(tmp_path)},
        }
        threshold = {"critical": "2 failures", "rollback": "3 failures"}
        probe = {"kind": kind, "timeout": "2s", **probes[kind]}
        stage.rules.append({"name": "healthy", "probe": probe, "threshold": threshold, "clear": "2 samples"})
        stage.service["rules"] = ["healthy", "error-rate"]
        await stage.open()
        await stage.deploy("green", "v2")
        rollback = await stage.rollback("completed")
    assert rollback["rules"] == ["healthy"]
    assert "3 probes in a row failed" in rollback["reason"]
    assert stage.live() == {"blue"}


async def test_a_query_with_evidence_and_freshness_rolls_back(stage: Stage) -> None:
    labels = '{service="$service",version="$version"}'
    stage.rules = [
        {
            "name": "queue",
            "unit": "count",
            "query": f"max(queue_depth{labels})",
            "freshness": f"max(timestamp(queue_depth{labels}))",
            "evidence": {"events": f"sum(increase(http_requests_total{labels}[4s]))", "min_events": 20},
            "threshold": {"warning": 10, "critical": 20, "rollback": 30},
            "hold": {"warning": "2 samples", "critical": "2 samples", "rollback": "2 samples"},
            "clear": "2 samples",
        }
    ]
    stage.service["rules"] = ["queue"]
    await stage.open(numbers="prometheus", begin=False)
    stage.apps["blue"].control(gauges={"queue_depth": 3})
    stage.apps["green"].control(gauges={"queue_depth": 31})
    await stage.begin()
    await stage.deploy("green", "v2")
    rollback = await stage.rollback("completed")
    assert rollback["rules"] == ["queue"]
    assert "31" in rollback["reason"]
    assert stage.live() == {"blue"}


@pytest.mark.parametrize("numbers", ["prometheus", "scrape"])
async def test_a_slow_version_is_rolled_back_by_its_histogram(
    stage: Stage, eventually: Eventually, numbers: str
) -> None:
    labels = '{service="$service",version="$version"}'
    at_once = {
        "window": "3s",
        "hold": dict.fromkeys(("warning", "critical", "rollback"), "2 samples"),
        "clear": "2 samples",
    }
    stage.rules = [
        {
            "name": "latency-p95",
            "unit": "seconds",
            "quantile": {"of": f"http_request_duration_seconds{labels}", "q": 0.95},
            "threshold": {"warning": "50ms", "critical": "100ms", "rollback": "150%"},
            "evidence": {"min_events": 10},
            **at_once,
        },
        {
            "name": "requests",
            "unit": "count",
            "rate": 'http_requests_total{service="$service"}',
            "direction": "below",
            "threshold": {"critical": 0.1},
            **at_once,
            "hold": {"critical": "2 samples"},
        },
        {
            "name": "queue",
            "unit": "count",
            "gauge": {"of": 'queue_depth{service="$service"}', "by": "sum"},
            "threshold": {"warning": 10},
            **at_once,
            "hold": {"warning": "2 samples"},
        },
    ]
    stage.service["rules"] = [rule["name"] for rule in stage.rules]
    await stage.open(numbers=numbers, begin=False)
    for depth, app in enumerate(stage.apps.values(), 3):
        app.control(gauges={"queue_depth": depth})
    await stage.begin()

    async def well() -> list[dict[str, Any]]:
        checks: list[dict[str, Any]] = (await stage.daemon.get("services/trips"))["checks"]
        levels = {check["rule"]: check["level"] for check in checks}
        assert levels == dict.fromkeys(stage.service["rules"], "ok")
        return checks

    checks = await eventually(well, within=15, every=0.1)
    (queue,) = [check for check in checks if check["rule"] == "queue"]
    assert queue["value"] == 3 + 4

    stage.apps["green"].control(delay=0.3)
    await stage.deploy("green", "v2")
    rollback = await stage.rollback("completed", within=25)
    assert rollback["rules"] == ["latency-p95"]
    assert "events in" in rollback["reason"]
    assert "above 150ms" in rollback["reason"]
    assert stage.live() == {"blue"}
    shown = {rule["name"]: rule["form"] for rule in await stage.daemon.get("rules")}
    assert shown["latency-p95"] == {"quantile": stage.rules[0]["quantile"]}
    assert shown["requests"] == {"rate": stage.rules[1]["rate"]}
    assert shown["queue"] == {"gauge": stage.rules[2]["gauge"]}
    said = await stage.daemon.says("explain", rollback["id"], config=True)
    assert said.code == 0, said
