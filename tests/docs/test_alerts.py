"""docs/prometheus-alerts.yaml, judged by Prometheus itself: each alert fires for its trouble, and for nothing else."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import ROOT
from tests.docs.reference import table
from tests.servers.require import require
from watchdog.core.rollback import ENDS

ALERTS = ROOT / "docs/prometheus-alerts.yaml"
RULES = {rule["alert"]: rule for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]}
_METRIC = re.compile(r"\bwatchdog_\w+")

#: Three hours of a watchdog that is well, a sample a minute.
WELL = {
    'up{job="rollback-watchdog"}': "1+0x180",
    'watchdog_rollback_ready{service="shop"}': "1+0x180",
    'watchdog_source_up{source="prometheus"}': "1+0x180",
    'watchdog_rule_last_data_timestamp_seconds{rule="error-rate"}': "0+60x180",
    'watchdog_rollbacks_total{service="shop",outcome="completed"}': "_x175 1+0x5",
    "watchdog_outbox_oldest_seconds": "0+0x90 300 0+0x89",
    "watchdog_config_last_reload_successful": "1+0x180",
    "watchdog_loop_lag_seconds": "0.001+0x90 0.4 0.001+0x89",
    "watchdog_is_leader": "1+0x180",
    "watchdog_cut_off": "0+0x90 1 0+0x89",
    'watchdog_late{what="outbox"}': "0+0x90 1 0+0x89",
    "watchdog_heartbeat_last_success_timestamp_seconds": "0+60x180",
}
FAILED = 'watchdog_rollbacks_total{service="shop",outcome="failed"}'
TROUBLE = {
    "WatchdogDown": {'up{job="rollback-watchdog"}': "1+0x170 0+0x9"},
    "WatchdogCannotRollBack": {'watchdog_rollback_ready{service="shop"}': "1+0x30 0+0x149"},
    "WatchdogSourceDown": {'watchdog_source_up{source="prometheus"}': "1+0x170 0+0x9"},
    "WatchdogCutOff": {"watchdog_cut_off": "0+0x170 1+0x9"},
    "WatchdogRuleBlind": {
        'watchdog_rule_last_data_timestamp_seconds{rule="error-rate"}': "0+60x90 5400+0x89"
    },
    "WatchdogCheckBlind": {
        'watchdog_check_blind_since_timestamp_seconds{service="shop",rule="error-rate",version=""}': "_x90 5400+0x89"
    },
    "WatchdogRollbackNeedsAPerson": {FAILED: "_x175 1+0x5"},
    "WatchdogMessagesWait": {"watchdog_outbox_oldest_seconds": "0+0x140 0+60x39"},
    "WatchdogLate": {'watchdog_late{what="outbox"}': "0+0x170 1+0x9"},
    "WatchdogHeartbeatNotTaken": {"watchdog_heartbeat_last_success_timestamp_seconds": "0+60x160 9600+0x19"},
    "WatchdogConfigurationRefused": {"watchdog_config_last_reload_successful": "1+0x170 0+0x9"},
    "WatchdogSlow": {"watchdog_loop_lag_seconds": "0.001+0x160 0.4+0x19"},
    "WatchdogDoesNotAct": {"watchdog_is_leader": "1+0x170 0+0x9"},
}


def promtool(folder: Path, series: dict[str, str], firing: Sequence[str]) -> None:
    """At the end of the three hours these alerts fire, and no other."""
    shown = {name: value for name, value in series.items() if value}
    tests: list[dict[str, Any]] = []
    for alert, rule in RULES.items():
        query = f'count by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}})'
        samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert in firing else []
        assert set(rule) >= {"expr", "labels", "annotations"}
        tests.append({"expr": query, "eval_time": "3h", "exp_samples": samples})
    whole = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in shown.items()],
                "promql_expr_test": tests,
            }
        ],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(whole))
    run("test", "rules", str(folder / "test.yaml"))


def run(*words: str) -> None:
    done = subprocess.run(
        [require("promtool"), *words], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_alerts() -> None:
    run("check", "rules", str(ALERTS))


def test_nothing_fires_while_all_is_well(tmp_path: Path) -> None:
    promtool(tmp_path, WELL, ())


@pytest.mark.parametrize("alert", RULES)
def test_each_alert_fires_for_its_trouble_and_no_other_does(alert: str, tmp_path: Path) -> None:
    promtool(tmp_path, WELL | TROUBLE[alert], (alert,))


def test_a_watchdog_that_is_not_scraped_is_down(tmp_path: Path) -> None:
    promtool(tmp_path, WELL | {'up{job="rollback-watchdog"}': ""}, ("WatchdogDown",))


def test_a_rule_that_never_had_data_is_blind_too(tmp_path: Path) -> None:
    never = {'watchdog_rule_last_data_timestamp_seconds{rule="error-rate"}': "_x120 0+0x59"}
    promtool(tmp_path, WELL | never, ("WatchdogRuleBlind",))


def test_a_second_failed_rollback_fires_again(tmp_path: Path) -> None:
    promtool(tmp_path, WELL | {FAILED: "1+0x175 2+0x4"}, ("WatchdogRollbackNeedsAPerson",))
    promtool(tmp_path, WELL | {FAILED: "1+0x180"}, ())


def test_every_metric_in_the_alerts_exists() -> None:
    named = set(_METRIC.findall(" ".join(rule["expr"] for rule in RULES.values())))
    assert named <= set(_METRIC.findall(table("metrics")))


def test_the_ends_that_need_a_person_are_ends() -> None:
    found = re.search(r'outcome=~"([^"]+)"', RULES["WatchdogRollbackNeedsAPerson"]["expr"])
    assert found is not None
    assert set(found[1].split("|")) == {str(end) for end in ENDS} - {"completed", "superseded"}


def test_every_alert_is_explained_in_the_page_for_operators() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    assert re.findall(r"^\| `(Watchdog\w+)` \|", page, re.MULTILINE) == list(RULES)
