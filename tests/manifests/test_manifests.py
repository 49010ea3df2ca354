"""`config/kubernetes`: what is installed builds, is admitted by a real API server, and may do no more than it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.eventually import Eventually
from tests.servers.kubernetes import Kubernetes, binary
from tests.servers.process import ROOT
from watchdog.cluster.rights import roles
from watchdog.config.check import check
from watchdog.leader.kubernetes_lease import LeaseLeadership, LeaseSettings

MANIFESTS = ROOT / "config" / "kubernetes"
INSTALLATIONS = (".", "overlays/ha", "overlays/sidecar")


def built(place: str) -> list[dict[str, Any]]:
    """The objects of an installation, as kustomize makes them."""
    words = [binary("kubectl"), "kustomize", str(MANIFESTS / place)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "kustomize has something to say"
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def pods(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["spec"]["template"]["spec"] for one in objects if one["kind"] == "Deployment"]


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [it for it in objects if it["kind"] == kind]
    return found


@pytest.mark.parametrize("place", INSTALLATIONS)
def test_no_pod_has_more_than_it_needs(place: str) -> None:
    for pod in pods(built(place)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
        watchdog = next(it for it in pod["containers"] if it["name"] == "watchdog")
        assert watchdog["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert "cpu" not in watchdog["resources"]["limits"]
        # Longer than a clean stop may take, or a switch under way would be cut off.
        assert pod["terminationGracePeriodSeconds"] >= 30


def test_one_replica_never_overlaps_with_the_next() -> None:
    deployment = one(built("."), "Deployment")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_two_replicas_have_no_file_between_them() -> None:
    objects = built("overlays/ha")
    deployment = one(objects, "Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["type"] == "RollingUpdate"
    assert not [it for it in objects if it["kind"] == "PersistentVolumeClaim"]
    (store,) = [it for it in deployment["spec"]["template"]["spec"]["volumes"] if it["name"] == "store"]
    assert set(store) == {"name", "emptyDir"}
    assert one(objects, "PodDisruptionBudget")["spec"]["minAvailable"] == 1


def test_the_sidecar_has_no_way_to_the_api_server() -> None:
    (pod,) = pods(built("overlays/sidecar"))
    assert pod["automountServiceAccountToken"] is False
    assert not [it for it in built("overlays/sidecar") if it["kind"] in {"Role", "ClusterRole"}]


@pytest.mark.parametrize("place", INSTALLATIONS)
def test_nothing_is_granted_in_all_namespaces(place: str) -> None:
    assert not [it for it in built(place) if it["kind"].startswith("Cluster")]


def test_the_role_is_exactly_what_the_configuration_needs() -> None:
    words = [
        sys.executable,
        "-m",
        "watchdog",
        "doctor",
        "-c",
        str(MANIFESTS / "base/watchdog.yaml"),
        "--role",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert (MANIFESTS / "rights" / "role.yaml").read_text() == done.stdout


def test_the_lease_has_the_rights_of_its_leader() -> None:
    settings = LeaseSettings(namespace="rollback-watchdog", name="rollback-watchdog")
    made = roles(
        LeaseLeadership.rights_for(settings),
        name="rollback-watchdog-lease",
        account="rollback-watchdog",
        home="rollback-watchdog",
    )
    written = list(yaml.safe_load_all((MANIFESTS / "overlays/ha/lease-role.yaml").read_text()))
    assert written == made


@pytest.mark.parametrize(
    "file", ["base/watchdog.yaml", "overlays/ha/watchdog.yaml", "overlays/sidecar/watchdog.yaml"]
)
def test_the_configurations_are_valid(file: str, tmp_path: Path) -> None:
    # As the ConfigMap has them: the overlay's file beside the base's rules.
    for source in (MANIFESTS / "base", (MANIFESTS / file).parent):
        for found in source.glob("*.yaml"):
            if found.name in {"watchdog.yaml", "rules.yaml"}:
                text = found.read_text().replace("/run/secrets/watchdog", str(tmp_path))
                (tmp_path / found.name).write_text(text)
    (tmp_path / "database-url").write_text("postgresql://watchdog:secret@db:5432/watchdog")
    checked = check(tmp_path / "watchdog.yaml", {})
    assert checked.problems == ()


@pytest.mark.kubernetes
@pytest.mark.timeout(120)
@pytest.mark.parametrize("place", INSTALLATIONS)
async def test_a_real_api_server_takes_it_and_admits_its_pods(
    place: str, kubernetes: Kubernetes, eventually: Eventually
) -> None:
    def admitted() -> bool:
        found = kubernetes.get("pods", "-n", namespace)["items"]
        return bool(len(found) == replicas)

    objects = built(place)
    namespace = one(objects, "Namespace")["metadata"]["name"]
    replicas = one(objects, "Deployment")["spec"]["replicas"]
    kubernetes.kubectl("apply", "-k", os.fspath(MANIFESTS / place))
    try:
        await eventually(admitted, within=30)
    finally:
        kubernetes.kubectl("delete", "deployment", "--all", "-n", namespace)
        kubernetes.kubectl("delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")
