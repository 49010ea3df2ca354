"""The pod this runs in, and the services that would take it along."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchdog.cluster.pod import OwnPod, own_pod
from watchdog.config.check import check

POD = {"POD_NAME": "trips-665c994694-hhwtr", "POD_NAMESPACE": "prod", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
RULES = """\
version: 1
rules:
  - name: errors
    ratio: {bad: 'e{version="$version"}', total: 't{version="$version"}'}
    threshold: {critical: 1%, rollback: 150%}
"""
MAIN = """\
version: 1
rules: [rules.yaml]
sources: {prometheus: {kind: prometheus, url: "http://127.0.0.1:9090"}}
services:
  - name: trips
    rules: [errors]
    traffic: {kind: kubernetes-deployment, namespace: prod, deployment: trips}
"""


@pytest.mark.parametrize(
    ("name", "namespace", "deployment", "ours"),
    [
        ("trips-665c994694-hhwtr", "prod", "trips", True),
        ("trips-665c994694-hhwtr", "stage", "trips", False),
        ("trips-api-665c994694-hhwtr", "prod", "trips", False),
        ("trips-665c994694-hhwtr", "prod", "trip", False),
        ("trips", "prod", "trips", False),
        ("", "prod", "trips", False),
    ],
)
def test_a_pod_is_told_by_its_name(name: str, namespace: str, deployment: str, *, ours: bool) -> None:
    assert OwnPod(name=name, namespace="prod").belongs_to(namespace, deployment) is ours


def test_outside_of_a_cluster_there_is_no_pod() -> None:
    assert own_pod({"HOSTNAME": "trips-665c994694-hhwtr"}) is None
    inside = {"HOSTNAME": "a-1-bcdef", "KUBERNETES_SERVICE_HOST": "10.0.0.1", "POD_NAMESPACE": "prod"}
    assert own_pod(inside) == OwnPod(name="a-1-bcdef", namespace="prod")


def test_a_target_whose_pods_hold_the_watchdog_is_a_mistake_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "watchdog.yaml").write_text(MAIN)
    assert check(tmp_path / "watchdog.yaml", {}).ok
    (problem,) = check(tmp_path / "watchdog.yaml", POD).problems
    assert str(problem).endswith(
        "watchdog.yaml:7:14: its pods are this watchdog's own (trips-665c994694-hhwtr): "
        "a rollback would take it along"
    )
