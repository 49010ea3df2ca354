"""Objects of Kubernetes as series: names, labels and values as kube-state-metrics has them, and ours beside."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster import recorded as r
from tests.cluster.recorded import a_deployment, a_pod, a_replica_set
from watchdog.cluster.objects import Object, Pod
from watchdog.core.exposition import read_labels, samples
from watchdog.sources.kubernetes_series import (
    METRICS,
    POD_METRICS,
    POD_REASONS,
    TERMINATED,
    WAITING,
    Naming,
    Writer,
    label_name,
)

#: Labels of every series of the recorded pod.
POD = {
    "namespace": "prod",
    "pod": "trips-5b8f7d6c4-abcde",
    "uid": "uid-of-trips-v2",
    "version": "v2",
    "variant": "5b8f7d6c4",
    "pod_template_hash": "5b8f7d6c4",
}
#: A series as labels beside those of its object, and its value.
Found = list[tuple[dict[str, str], float]]


def series(one: Object, metric: str, naming: Naming | None = None) -> Found:
    """The series of one metric, by way of the page and its reader."""
    page = Writer(naming or Naming(version="version")).page([one], [metric])
    return [(read_labels(line.labels), line.value) for line in samples(page, {metric})]


def beside(one: Object, metric: str, *, own: dict[str, str] = POD) -> Found:
    """The same without the labels that all of its series have."""
    found = series(one, metric)
    for labels, _ in found:
        assert labels.items() >= own.items()
    return [({key: text for key, text in labels.items() if key not in own}, value) for labels, value in found]


def true_ones(one: Object, metric: str, *labels: str, own: dict[str, str] = POD) -> list[tuple[str, ...]]:
    """Those labels of the series that are 1; every other one must be 0."""
    found = beside(one, metric, own=own)
    assert {value for _, value in found} <= {0.0, 1.0}
    return [tuple(told.get(name, "") for name in labels) for told, value in found if value]


def test_a_pods_phase_and_conditions_have_a_series_for_each_value() -> None:
    pod = a_pod(r.pod())
    assert true_ones(pod, "kube_pod_status_phase", "phase") == [("Running",)]
    assert len(beside(pod, "kube_pod_status_phase")) == 5
    assert true_ones(pod, "kube_pod_status_ready", "condition") == [("true",)]
    assert true_ones(pod, "kube_pod_status_scheduled", "condition") == [("true",)]
    assert [labels for labels, _ in beside(pod, "kube_pod_status_ready")] == [
        {"condition": status} for status in ("true", "false", "unknown")
    ]
    lost = r.pod()
    lost["status"]["conditions"][0]["status"] = "Unknown"
    assert true_ones(a_pod(lost), "kube_pod_status_ready", "condition") == [("unknown",)]


def test_a_pod_without_a_ready_condition_is_neither_ready_nor_not() -> None:
    pod = a_pod(r.unscheduled())
    assert series(pod, "kube_pod_status_ready") == []
    own = {**POD, "pod": pod.name, "uid": pod.metadata.uid}
    assert true_ones(pod, "kube_pod_status_scheduled", "condition", own=own) == [("false",)]
    assert true_ones(pod, "kube_pod_status_phase", "phase", own=own) == [("Pending",)]


def test_restarts_are_counted_by_container() -> None:
    pod = a_pod(r.pod("", r.running(restarts=2), r.running("proxy"), init=(r.running("init", restarts=7),)))
    own = {**POD, "pod": pod.name}
    assert beside(pod, "kube_pod_container_status_restarts_total", own=own) == [
        ({"container": "app"}, 2),
        ({"container": "proxy"}, 0),
    ]
    assert beside(pod, "kube_pod_init_container_status_restarts_total") == [({"container": "init"}, 7)]


@pytest.mark.parametrize(
    ("metric", "known", "container", "reason"),
    [
        ("waiting_reason", WAITING, r.crash_loop(), "CrashLoopBackOff"),
        ("waiting_reason", WAITING, r.image_pull(), "ImagePullBackOff"),
        ("waiting_reason", WAITING, r.running(), None),
        ("last_terminated_reason", TERMINATED, r.oom_killed(), "OOMKilled"),
        ("last_terminated_reason", TERMINATED, r.running(), None),
        ("terminated_reason", TERMINATED, r.container(state=r.ended("OOMKilled", 137)), "OOMKilled"),
        ("terminated_reason", TERMINATED, r.running(), None),
    ],
)
def test_a_usual_reason_is_told_to_be_so_or_not(
    metric: str, known: tuple[str, ...], container: dict[str, Any], reason: str | None
) -> None:
    pod = a_pod(r.pod("", container))
    expected = [({"container": "app", "reason": one}, float(one == reason)) for one in known]
    assert beside(pod, f"kube_pod_container_status_{metric}") == expected


def test_an_unusual_reason_is_told_while_it_is_one() -> None:
    pod = a_pod(r.pod("", r.waiting("PodInitializing")))
    found = true_ones(pod, "kube_pod_container_status_waiting_reason", "reason")
    assert found == [("PodInitializing",)]


def test_the_three_states_of_a_container_exclude_each_other() -> None:
    for container, state in (
        (r.running(), "running"),
        (r.crash_loop(), "waiting"),
        (r.container(state=r.ended()), "terminated"),
    ):
        pod = a_pod(r.pod("", container))
        for one in ("running", "waiting", "terminated"):
            expected = [({"container": "app"}, float(one == state))]
            assert beside(pod, f"kube_pod_container_status_{one}") == expected


def test_how_a_container_ended_last_has_its_code_and_time() -> None:
    pod = a_pod(r.pod("", r.oom_killed(at=60)))
    (code,) = beside(pod, "kube_pod_container_status_last_terminated_exitcode")
    (at,) = beside(pod, "kube_pod_container_status_last_terminated_timestamp")
    assert (code[1], at[1]) == (137, r.NOW.timestamp() - 60)
    assert series(a_pod(r.pod()), "kube_pod_container_status_last_terminated_timestamp") == []


def test_an_evicted_pod_is_a_failed_one_with_its_reason() -> None:
    pod = a_pod(r.evicted())
    own = {**POD, "pod": pod.name, "uid": pod.metadata.uid}
    assert true_ones(pod, "kube_pod_status_reason", "reason", own=own) == [("Evicted",)]
    assert true_ones(pod, "kube_pod_status_phase", "phase", own=own) == [("Failed",)]
    assert len(series(pod, "kube_pod_status_reason")) == len(POD_REASONS)
    assert series(pod, "kube_pod_container_status_restarts_total") == []
    odd = a_pod(r.pod(reason="OutOfcpu"))
    assert true_ones(odd, "kube_pod_status_reason", "reason") == [("Other",)]


def test_a_pod_on_its_way_out_says_since_when() -> None:
    pod = a_pod(r.pod(deleting=True))
    assert [value for _, value in series(pod, "kube_pod_deletion_timestamp")] == [r.NOW.timestamp()]
    assert series(a_pod(r.pod()), "kube_pod_deletion_timestamp") == []


def test_a_deployments_conditions_have_their_reason() -> None:
    own = {"namespace": "prod", "deployment": "trips"}
    metric = "kube_deployment_status_condition"
    labels = ("condition", "status", "reason")
    assert true_ones(a_deployment(r.deployment(stuck=True)), metric, *labels, own=own) == [
        ("Available", "true", "MinimumReplicasAvailable"),
        ("Progressing", "false", "ProgressDeadlineExceeded"),
    ]
    assert ("Progressing", "true", "NewReplicaSetAvailable") in true_ones(
        a_deployment(r.deployment()), metric, *labels, own=own
    )
    odd = r.deployment()
    odd["status"]["conditions"] = [{"type": "Progressing", "status": "True", "reason": "MadeUp"}]
    assert true_ones(a_deployment(odd), metric, *labels, own=own) == [("Progressing", "true", "unknown")]


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("kube_deployment_spec_replicas", 5),
        ("kube_deployment_spec_paused", 0),
        ("kube_deployment_status_replicas", 6),
        ("kube_deployment_status_replicas_ready", 5),
        ("kube_deployment_status_replicas_available", 5),
        ("kube_deployment_status_replicas_unavailable", 1),
        ("kube_deployment_status_replicas_updated", 1),
        ("kube_deployment_status_observed_generation", 3),
        ("kube_deployment_metadata_generation", 3),
    ],
)
def test_a_deployments_numbers_are_the_apis(metric: str, value: float) -> None:
    found = series(a_deployment(r.deployment(replicas=5)), metric)
    assert found == [({"namespace": "prod", "deployment": "trips"}, value)]


def test_a_replica_set_tells_its_version_and_hash() -> None:
    found = series(a_replica_set(r.replica_set("v1", ready=1)), "kube_replicaset_status_ready_replicas")
    own = {"version": "v1", "variant": "7c6d5f9b8", "pod_template_hash": "7c6d5f9b8"}
    assert found == [({"namespace": "prod", "replicaset": "trips-7c6d5f9b8", **own}, 1)]
    wanted = series(a_replica_set(r.replica_set("v1", ready=1)), "kube_replicaset_spec_replicas")
    assert [value for _, value in wanted] == [2]


def test_a_count_that_the_api_leaves_out_is_zero() -> None:
    bare = r.without(r.replica_set(), "status", "readyReplicas")
    assert [value for _, value in series(a_replica_set(bare), "kube_replicaset_status_ready_replicas")] == [0]


def test_the_version_is_the_label_or_what_the_image_says() -> None:
    def version(pod: dict[str, Any], label: str = "app.kubernetes.io/version") -> str | None:
        ((labels, _),) = series(a_pod(pod), "kube_pod_info", Naming(version=label))
        return labels.get("version")

    digest = "sha256:" + "0f" * 32
    assert version(r.pod(labels={"app.kubernetes.io/version": "7.1"})) == "7.1"
    assert version(r.pod()) == "v2"
    assert version(r.pod(image=f"registry.example.com:5000/trips@{digest}")) == digest
    # `latest` tells nothing; what was pulled does.
    assert version(r.pod(image="registry.example.com/trips:latest")) == "sha256:" + "ab" * 32
    assert version(r.pod("", r.image_pull(), image="registry.example.com/trips")) is None


def test_chosen_labels_of_pods_stand_on_their_series() -> None:
    naming = Naming(version="version", variant="colour", labels=("app", "app.kubernetes.io/part-of", "none"))
    labels = {"app": "trips", "app.kubernetes.io/part-of": "booking", "colour": "green", "version": "v2"}
    ((told, _),) = series(a_pod(r.pod(labels=labels)), "kube_pod_created", naming)
    assert told["variant"] == "green"
    assert told["app"] == "trips"
    assert told["app_kubernetes_io_part_of"] == "booking"
    assert "none" not in told
    assert label_name("1st") == "_1st"


def test_text_that_could_break_a_page_stays_inside_its_label() -> None:
    pod = a_pod(r.pod("", r.waiting('a"b\\c\nkube_pod_info 1')))
    assert true_ones(pod, "kube_pod_container_status_waiting_reason", "reason") == [
        ('a"b\\c\nkube_pod_info 1',)
    ]


def test_there_is_nothing_of_a_metric_that_belongs_to_another_kind_or_to_nobody() -> None:
    everything: list[Object] = [
        a_pod(r.pod()),
        a_deployment(r.deployment()),
        a_replica_set(r.replica_set()),
    ]
    assert Writer(Naming()).page(everything, ["kube_node_info", "up"]) == ""
    for metric in METRICS:
        found = {
            read_labels(line.labels)["namespace"]
            for line in samples(Writer(Naming()).page(everything, [metric]), {metric})
        }
        assert found <= {"prod"}


def test_what_did_not_change_is_not_written_again() -> None:
    writer = Writer(Naming(version="version"))
    before, changed = a_pod(r.pod()), r.pod("", r.crash_loop())
    page = writer.page([before], ["kube_pod_container_status_waiting"])
    # The same state of the same object: whatever is in it, it was written already.
    assert writer.page([a_pod(changed)], ["kube_pod_container_status_waiting"]) == page
    changed["metadata"]["resourceVersion"] = "4712"
    after = writer.page([a_pod(changed)], ["kube_pod_container_status_waiting"])
    assert after == page.replace(" 0\n", " 1\n")
    again = r.pod()
    again["metadata"]["uid"] = "another"
    assert "another" in writer.page([a_pod(again)], ["kube_pod_info"])


def test_every_pod_metric_can_be_read_back() -> None:
    pods: list[Pod] = [
        a_pod(one)
        for one in (r.pod(), r.evicted(), r.unscheduled(), r.completed(), r.pod("", r.crash_loop()))
    ]
    for metric in POD_METRICS:
        assert (
            [*samples(Writer(Naming()).page(pods, [metric]), {metric})]
            or "deletion" in metric
            or "init" in metric
        )
