"""Pods, ReplicaSets and Deployments as series, named as kube-state-metrics names them, so that rules move unchanged.

Names, labels and values are those of kube-state-metrics 2 (its `docs/metrics/workload`), with two differences. A pod's
and a ReplicaSet's series have labels that rules need to ask for one version: `version`, `variant`, `pod_template_hash`.
And for the reasons below there is a series with 0, too, while a container is not in that state, as kube-state-metrics 1
had it: it was seen and is well, which "no series" would not say. This module must never say anything of an object that
it was not given, nor turn an absent condition into a state.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from watchdog.cluster.objects import Condition, ContainerStatus, Deployment, Object, Pod, ReplicaSet
from watchdog.cluster.pods import TEMPLATE_HASH, VERSION_LABEL, version_of_pod, version_of_template
from watchdog.core.exposition import MAX_LABEL_VALUE

#: Why a container waits: each has a series of its own, 0 or 1; any other reason only while it is one.
WAITING: Final = (
    "ContainerCreating",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
)
#: The same for how it ended.
TERMINATED: Final = ("Completed", "ContainerCannotRun", "DeadlineExceeded", "Error", "Evicted", "OOMKilled")
#: And for what became of a pod.
POD_REASONS: Final = ("Evicted", "NodeAffinity", "NodeLost", "Shutdown", "UnexpectedAdmissionError")
_PHASES: Final = ("Pending", "Succeeded", "Failed", "Unknown", "Running")
_STATUSES: Final = ("true", "false", "unknown")
#: Reasons of a Deployment's conditions that are told; others are `unknown`, as in kube-state-metrics.
_DEPLOYMENT_REASONS: Final = frozenset(
    {
        *("ReplicaSetUpdated", "ReplicaSetCreateError", "NewReplicaSetCreated", "FoundNewReplicaSet"),
        *("NewReplicaSetAvailable", "ProgressDeadlineExceeded", "DeploymentPaused", "DeploymentResumed"),
        *("MinimumReplicasAvailable", "MinimumReplicasUnavailable", ""),
    }
)
#: Labels that series have of themselves.
RESERVED: Final = frozenset(
    {
        *("namespace", "pod", "uid", "container", "reason", "phase", "condition", "status", "node", "pod_ip"),
        *("created_by_kind", "created_by_name", "replicaset", "deployment", "pod_template_hash", "job"),
        *("version", "variant", "instance", "le", "__name__", "owner_kind", "owner_name"),
    }
)
_UNUSABLE = re.compile(r"[^a-zA-Z0-9_]")

#: Labels and value of one series.
Sample = tuple[Mapping[str, str], float]


def label_name(key: str) -> str:
    """The series label of a pod label: every other character becomes `_`, as in kube-state-metrics."""
    name = _UNUSABLE.sub("_", key)
    return f"_{name}" if name[:1].isdigit() else name


class Naming(msgspec.Struct, frozen=True, kw_only=True):
    """Which pod labels tell the version and the variant, and which become labels of the series."""

    version: str = VERSION_LABEL
    variant: str = TEMPLATE_HASH
    labels: tuple[str, ...] = ()

    def of(self, labels: Mapping[str, str], version: str | None) -> dict[str, str]:
        """The labels that every series of an object with these labels has."""
        return {
            "version": version or "",
            "variant": labels.get(self.variant, ""),
            "pod_template_hash": labels.get(TEMPLATE_HASH, ""),
            **{label_name(key): labels[key] for key in self.labels if key in labels},
        }


class _Entry(msgspec.Struct, kw_only=True):
    """What was written of one object in one state, by metric."""

    mark: tuple[str, str]
    texts: dict[str, str] = {}


class Writer:
    """Writes exposition pages. What did not change since the last page is not written again."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._known: dict[tuple[str, str, str], _Entry] = {}

    def page(self, found: Iterable[Object], metrics: Collection[str]) -> str:
        """The series of these metrics; unknown ones have none."""
        known: dict[tuple[str, str, str], _Entry] = {}
        texts: list[str] = []
        for one in found:
            metadata = one.metadata
            key = type(one).__name__, metadata.namespace, metadata.name
            mark = metadata.uid, metadata.resource_version
            entry = self._known.get(key)
            if entry is None or entry.mark != mark or not mark[1]:
                entry = _Entry(mark=mark)
            known[key] = entry
            for metric in metrics:
                if metric not in entry.texts:
                    entry.texts[metric] = self._written(one, metric)
                texts.append(entry.texts[metric])
        self._known = known
        return "".join(texts)

    def _written(self, one: Object, metric: str) -> str:
        match one:
            case Pod() if metric in POD_METRICS:
                labels = self._of_pod(one)
                samples = POD_METRICS[metric](one)
            case ReplicaSet() if metric in REPLICA_SET_METRICS:
                labels = self._of_template(one.metadata.namespace, "replicaset", one.name, one.spec.template)
                samples = REPLICA_SET_METRICS[metric](one)
            case Deployment() if metric in DEPLOYMENT_METRICS:
                labels = {"namespace": one.metadata.namespace, "deployment": one.name}
                samples = DEPLOYMENT_METRICS[metric](one)
            case _:
                return ""
        return "".join(_line(metric, {**labels, **more}, value) for more, value in samples)

    def _of_pod(self, pod: Pod) -> dict[str, str]:
        metadata = pod.metadata
        own = {"namespace": metadata.namespace, "pod": metadata.name, "uid": metadata.uid}
        return {**own, **self._naming.of(metadata.labels, version_of_pod(pod, self._naming.version))}

    def _of_template(self, namespace: str, kind: str, name: str, template: dict[str, Any]) -> dict[str, str]:
        metadata = template.get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, dict) else None
        told = {key: value for key, value in (labels or {}).items() if isinstance(value, str)}
        version = version_of_template(template, self._naming.version)
        return {"namespace": namespace, kind: name, **self._naming.of(told, version)}


def _line(metric: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{name}="{_quoted(text)}"' for name, text in labels.items() if text)
    return f"{metric}{{{inside}}} {value:.17g}\n"


def _quoted(text: str) -> str:
    return text[:MAX_LABEL_VALUE].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _of(value: float, **labels: str) -> Sample:
    return labels, float(value)


def _moment(at: datetime | None) -> Iterator[Sample]:
    if at is not None:
        yield _of(at.timestamp())


def _info(pod: Pod) -> Iterator[Sample]:
    owner = pod.metadata.controller
    yield _of(
        1,
        pod_ip=pod.status.pod_ip,
        node=pod.spec.node_name,
        created_by_kind=owner.kind if owner else "",
        created_by_name=owner.name if owner else "",
    )


def _phase(pod: Pod) -> Iterator[Sample]:
    if pod.status.phase:
        for phase in _PHASES:
            yield _of(pod.status.phase == phase, phase=phase)


def _pod_reason(pod: Pod) -> Iterator[Sample]:
    reason = pod.status.reason
    for known in POD_REASONS:
        yield _of(reason == known, reason=known)
    if reason and reason not in POD_REASONS:
        yield _of(1, reason="Other")


def _pod_condition(kind: str) -> Callable[[Pod], Iterator[Sample]]:
    """A condition that a pod does not have yet has no series, as in kube-state-metrics."""

    def samples(pod: Pod) -> Iterator[Sample]:
        for one in pod.status.conditions:
            if one.type == kind:
                for status in _STATUSES:
                    yield _of(one.status.lower() == status, condition=status)

    return samples


#: What is told of one container: labels beside its name, and the value.
_PerContainer = Callable[[ContainerStatus], Iterable[Sample]]


def _restarts(one: ContainerStatus) -> Iterator[Sample]:
    yield _of(one.restart_count)


def _ready(one: ContainerStatus) -> Iterator[Sample]:
    yield _of(one.ready)


def _running(one: ContainerStatus) -> Iterator[Sample]:
    yield _of(one.state.running is not None)


def _waiting(one: ContainerStatus) -> Iterator[Sample]:
    yield _of(one.state.waiting is not None)


def _terminated(one: ContainerStatus) -> Iterator[Sample]:
    yield _of(one.state.terminated is not None)


def _waiting_reason(one: ContainerStatus) -> Iterator[Sample]:
    return _reasons(None if one.state.waiting is None else one.state.waiting.reason, WAITING)


def _terminated_reason(one: ContainerStatus) -> Iterator[Sample]:
    return _reasons(None if one.state.terminated is None else one.state.terminated.reason, TERMINATED)


def _last_reason(one: ContainerStatus) -> Iterator[Sample]:
    last = one.last_state.terminated
    return _reasons(None if last is None else last.reason, TERMINATED)


def _last_exit_code(one: ContainerStatus) -> Iterator[Sample]:
    if one.last_state.terminated is not None:
        yield _of(one.last_state.terminated.exit_code)


def _last_ended(one: ContainerStatus) -> Iterator[Sample]:
    if one.last_state.terminated is not None:
        yield from _moment(one.last_state.terminated.finished_at)


def _reasons(reason: str | None, known: tuple[str, ...]) -> Iterator[Sample]:
    for one in known:
        yield _of(reason == one, reason=one)
    if reason and reason not in known:
        yield _of(1, reason=reason)


_CONTAINER: Final[dict[str, _PerContainer]] = {
    "restarts_total": _restarts,
    "ready": _ready,
    "running": _running,
    "waiting": _waiting,
    "terminated": _terminated,
    "waiting_reason": _waiting_reason,
    "terminated_reason": _terminated_reason,
    "last_terminated_reason": _last_reason,
    "last_terminated_exitcode": _last_exit_code,
    "last_terminated_timestamp": _last_ended,
}


def _containers(tell: _PerContainer, *, init: bool) -> Callable[[Pod], Iterator[Sample]]:
    def samples(pod: Pod) -> Iterator[Sample]:
        for one in pod.status.init_container_statuses if init else pod.status.container_statuses:
            for labels, value in tell(one):
                yield {"container": one.name, **labels}, value

    return samples


POD_METRICS: Final[dict[str, Callable[[Pod], Iterator[Sample]]]] = {
    "kube_pod_info": _info,
    "kube_pod_created": lambda pod: _moment(pod.metadata.creation_timestamp),
    "kube_pod_deletion_timestamp": lambda pod: _moment(pod.metadata.deletion_timestamp),
    "kube_pod_status_phase": _phase,
    "kube_pod_status_reason": _pod_reason,
    "kube_pod_status_ready": _pod_condition("Ready"),
    "kube_pod_status_scheduled": _pod_condition("PodScheduled"),
    **{
        f"kube_pod_{'init_' if init else ''}container_status_{name}": _containers(tell, init=init)
        for name, tell in _CONTAINER.items()
        for init in (False, True)
    },
}


def _conditions(deployment: Deployment) -> Iterator[Sample]:
    for one in deployment.status.conditions:
        yield from _condition(one)


def _condition(one: Condition) -> Iterator[Sample]:
    reason = one.reason if one.reason in _DEPLOYMENT_REASONS else "unknown"
    for status in _STATUSES:
        yield _of(one.status.lower() == status, reason=reason, condition=one.type, status=status)


def _number(read: Callable[[Any], float]) -> Callable[[Any], Iterator[Sample]]:
    def samples(one: Any) -> Iterator[Sample]:
        yield _of(read(one))

    return samples


REPLICA_SET_METRICS: Final[dict[str, Callable[[ReplicaSet], Iterator[Sample]]]] = {
    "kube_replicaset_created": lambda one: _moment(one.metadata.creation_timestamp),
    "kube_replicaset_spec_replicas": _number(lambda one: one.spec.replicas),
    "kube_replicaset_status_replicas": _number(lambda one: one.status.replicas),
    "kube_replicaset_status_ready_replicas": _number(lambda one: one.status.ready_replicas),
    "kube_replicaset_status_fully_labeled_replicas": _number(lambda one: one.status.fully_labeled_replicas),
    "kube_replicaset_status_observed_generation": _number(lambda one: one.status.observed_generation),
    "kube_replicaset_metadata_generation": _number(lambda one: one.metadata.generation),
}
DEPLOYMENT_METRICS: Final[dict[str, Callable[[Deployment], Iterator[Sample]]]] = {
    "kube_deployment_created": lambda one: _moment(one.metadata.creation_timestamp),
    "kube_deployment_spec_replicas": _number(lambda one: one.spec.replicas),
    "kube_deployment_spec_paused": _number(lambda one: one.spec.paused),
    "kube_deployment_status_replicas": _number(lambda one: one.status.replicas),
    "kube_deployment_status_replicas_ready": _number(lambda one: one.status.ready_replicas),
    "kube_deployment_status_replicas_available": _number(lambda one: one.status.available_replicas),
    "kube_deployment_status_replicas_unavailable": _number(lambda one: one.status.unavailable_replicas),
    "kube_deployment_status_replicas_updated": _number(lambda one: one.status.updated_replicas),
    "kube_deployment_status_observed_generation": _number(lambda one: one.status.observed_generation),
    "kube_deployment_status_condition": _conditions,
    "kube_deployment_metadata_generation": _number(lambda one: one.metadata.generation),
}
#: Every metric that there is here.
METRICS: Final = (*POD_METRICS, *REPLICA_SET_METRICS, *DEPLOYMENT_METRICS)
