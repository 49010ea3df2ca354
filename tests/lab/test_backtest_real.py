"""`watchdog backtest` end to end, over a real Prometheus whose data was back-filled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import invoke
from tests.servers.backfill import Shop, shop
from tests.servers.prometheus import Prometheus

pytestmark = pytest.mark.timeout(60)

ERRORS = {
    "name": "error-rate",
    "unit": "ratio",
    "ratio": {
        "bad": 'http_requests_total{service="$service",status=~"5.."}',
        "total": 'http_requests_total{service="$service"}',
    },
    "window": "5m",
    "max_age": "2m",
    "interval": "1m",
    "threshold": {"warning": "1%", "critical": "2%", "rollback": "150%"},
}
QUEUE = {
    "name": "queue",
    "unit": "count",
    "gauge": {"of": 'queue_depth{service="$service"}', "by": "max"},
    "interval": "1m",
    "max_age": "2m",
    "baseline": {"against": "3h", "worse_by": {"critical": "500%"}},
}


@pytest.fixture
def past() -> Shop:
    return shop(int(time.time()) - 1800, days=1)


@pytest.fixture
def prometheus(start_prometheus: Callable[..., Prometheus], past: Shop) -> Prometheus:
    return start_prometheus(history=past.text, blocks="24h")


@pytest.fixture
def asked(prometheus: Prometheus, past: Shop, tmp_path: Path) -> Callable[..., Any]:
    """`asked("--json")`: a back-test of the last 18 hours of the day, with what was deployed."""
    main = {
        "version": 1,
        "rules": ["rules.yaml"],
        "store": {"url": f"sqlite:///{tmp_path}/none.db"},
        "sources": {"prometheus": {"kind": "prometheus", "url": prometheus.url}},
        "services": [
            {
                "name": "trips",
                "rules": ["error-rate", "queue"],
                "mode": "observe",
                "traffic": {"kind": "command", "read": ["true"], "apply": ["true", "{variant}"]},
            }
        ],
        "channels": {"log": {"kind": "log"}},
        "routes": [{"to": ["log"]}],
    }
    (tmp_path / "rules.yaml").write_text(json.dumps({"version": 1, "rules": [ERRORS, QUEUE]}))
    (tmp_path / "w.yaml").write_text(json.dumps(main))
    (tmp_path / "deployments.csv").write_text(
        f"service,version,variant,started_at\ntrips,v1,blue,{past.begin}\ntrips,v2,green,{past.deployed}\n"
    )
    begin = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(past.silent))
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(past.end))
    words = ["backtest", "-c", str(tmp_path / "w.yaml"), "--from", begin, "--to", end]
    words += ["--deployments", str(tmp_path / "deployments.csv"), "--cache", str(tmp_path / "cache")]
    return lambda *more: invoke(*words, *more)


def test_history_is_asked_replayed_and_told(asked: Callable[..., Any], past: Shop, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    told = asked("--json", "--html", str(page), "--record")
    assert told.exit_code == 0, told.output
    errors, queue = json.loads(told.stdout)["checks"]
    assert errors["rollbacks"] == errors["near_deployments"] == 1
    (incident,) = errors["timeline"]
    assert incident["level"] == "rollback"
    rolled_back = datetime.fromisoformat(incident["rolled_back_at"]).timestamp()
    assert 0 < rolled_back - past.failing < 1200
    # The hour without a scrape, from shortly after its begin on: the window still had samples.
    assert 3000 <= errors["longest_blindness_seconds"] <= 3900
    assert errors["known"] > 0.9 * errors["samples"]
    assert queue["known"] > 0.7 * queue["samples"], "three hours before are asked, too"
    assert "<svg" in page.read_text()
    record = json.loads((tmp_path / "backtests.json").read_text())["backtests"][0]
    assert (record["service"], record["rollbacks"]) == ("trips", 1)


def test_what_was_answered_is_not_asked_again(asked: Callable[..., Any], prometheus: Prometheus) -> None:
    first = asked("--json", "--rule", "error-rate")
    prometheus.stop()
    second = asked("--json", "--rule", "error-rate")
    assert second.exit_code == 0, second.output
    assert json.loads(second.stdout)["checks"] == json.loads(first.stdout)["checks"]
    gone = asked("--step", "2m")
    assert gone.exit_code == 1
    assert "cannot be reached" in gone.output
