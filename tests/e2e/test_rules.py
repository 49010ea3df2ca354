"""Other rules than shares: a probe through the front door, and a query with its own evidence and freshness."""

from __future__ import annotations

import pytest

from tests.e2e.stage import Stage

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
