"""Rights, the Role made of them, and the questions to a real API server whether we have them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.servers.kubernetes import Kubernetes
from watchdog.cluster.client import Cluster
from watchdog.cluster.objects import PODS, SERVICES
from watchdog.cluster.rights import Right, changing, excess, granted, reading, roles
from watchdog.cluster.settings import ClusterSettings

TIMEOUT = timedelta(seconds=10)


def test_a_role_holds_each_right_once_and_changes_to_named_objects() -> None:
    wanted = [
        *reading(SERVICES, "prod"),
        changing(SERVICES, "prod", "trips"),
        changing(SERVICES, "prod", "stays"),
        changing(SERVICES, "prod", "trips", verb="get"),
        *reading(PODS, "prod"),
        *reading(PODS, "prod"),
    ]
    role, binding = roles(wanted, name="watchdog", account="rollback-watchdog", home="ops")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": [""],
            "resources": ["services"],
            "verbs": ["patch"],
            "resourceNames": ["stays", "trips"],
        },
    ]
    assert role["metadata"] == binding["metadata"] == {"name": "watchdog", "namespace": "prod"}
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "rollback-watchdog", "namespace": "ops"}
    ]


def test_every_namespace_has_a_role_of_its_own() -> None:
    wanted = [changing(SERVICES, "prod", "trips"), changing(SERVICES, "stage", "trips")]
    made = roles(wanted, name="watchdog", account="watchdog", home="ops")
    assert [(one["kind"], one["metadata"]["namespace"]) for one in made] == [
        ("Role", "prod"),
        ("RoleBinding", "prod"),
        ("Role", "stage"),
        ("RoleBinding", "stage"),
    ]


def test_what_is_needed_is_no_excess() -> None:
    needed = Right(verb="list", group="", resource="secrets", namespace="prod")
    there = excess("prod", [needed])
    assert needed not in there
    assert needed.verb + needed.resource in {one.verb + one.resource for one in excess("stage", [needed])}


@pytest.mark.kubernetes
@pytest.mark.timeout(120)
async def test_the_printed_role_grants_exactly_what_is_needed(
    kubernetes: Kubernetes, cluster: Cluster
) -> None:
    namespace, home = kubernetes.namespace(), kubernetes.namespace()
    wanted = [*reading(PODS, namespace), changing(SERVICES, namespace, "trips")]
    kubernetes.apply(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "watchdog", "namespace": home},
        },
        *roles(wanted, name="watchdog", account="watchdog", home=home),
    )
    token = kubernetes.kubectl("create", "token", "watchdog", "-n", home).strip()
    ours = Cluster(ClusterSettings(kubeconfig=kubernetes.write_kubeconfig(f"of-{home}", token)))
    try:
        assert [await granted(ours, right, timeout=TIMEOUT) for right in wanted] == [True] * 4
        other = changing(SERVICES, namespace, "stays")
        assert not await granted(ours, other, timeout=TIMEOUT)
        assert [await granted(ours, right, timeout=TIMEOUT) for right in excess(namespace, wanted)] == [
            False
        ] * len(excess(namespace, wanted))
        everything = excess(namespace, wanted)
        assert all([await granted(cluster, right, timeout=TIMEOUT) for right in everything])
    finally:
        await ours.aclose()
