"""Pods and Deployments as the API tells them, after its documentation: what kubelets and controllers write into status.

Times are written relative to a `now`; every object is JSON as it comes over the wire.
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from watchdog.cluster.objects import Deployment, O, Pod, ReplicaSet

Json = dict[str, Any]

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
#: The hash in the names of ReplicaSets and pods, by version.
HASHES = {"v1": "7c6d5f9b8", "v2": "5b8f7d6c4", "v3": "66d4f9c7b"}


def stamp(at: datetime) -> str:
    """As the API writes times: whole seconds, UTC."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(seconds: float, *, now: datetime = NOW) -> str:
    """A moment before `now`."""
    return stamp(now - timedelta(seconds=seconds))


def running(name: str = "app", *, restarts: int = 0, since: float = 3600, now: datetime = NOW) -> Json:
    """A container that runs and is ready."""
    return container(
        name, state={"running": {"startedAt": ago(since, now=now)}}, ready=True, restarts=restarts
    )


def container(
    name: str = "app", *, state: Json, ready: bool = False, restarts: int = 0, last: Json | None = None
) -> Json:
    """An entry of `containerStatuses`."""
    return {
        "name": name,
        "image": "registry.example.com/trips:v2",
        "imageID": "registry.example.com/trips@sha256:" + "ab" * 32,
        "containerID": "containerd://" + "cd" * 32,
        "ready": ready,
        "started": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": last or {},
    }


def ended(
    reason: str = "Error", code: int = 1, *, at: float = 20, lived: float = 3, now: datetime = NOW
) -> Json:
    """How a container ended `at` seconds ago, after so many seconds."""
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "startedAt": ago(at + lived, now=now),
            "finishedAt": ago(at, now=now),
            "containerID": "containerd://" + "ef" * 32,
        }
    }


def waiting(reason: str, message: str = "", **more: Any) -> Json:
    """A container that waits for that reason."""
    return container(state={"waiting": {"reason": reason, "message": message or f"{reason} it is"}}, **more)


def crash_loop(*, restarts: int = 4, now: datetime = NOW) -> Json:
    """In the pause before another try: `kubectl get pods` says CrashLoopBackOff."""
    message = 'back-off 40s restarting failed container=app pod=trips_prod(…) "secret-of-nobody"'
    return waiting("CrashLoopBackOff", message, restarts=restarts, last=ended(now=now))


def between_crashes(*, restarts: int = 4, runs: float = 1, lived: float = 3, now: datetime = NOW) -> Json:
    """The moment in which a container that crashes again and again runs: ready, where nobody probes it."""
    return container(
        state={"running": {"startedAt": ago(runs, now=now)}},
        ready=True,
        restarts=restarts,
        last=ended(at=runs + 10, lived=lived, now=now),
    )


def image_pull(reason: str = "ImagePullBackOff") -> Json:
    """The image is not there."""
    return waiting(reason, 'Back-off pulling image "registry.example.com/trips:v2"') | {"imageID": ""}


def oom_killed(*, at: float = 60, now: datetime = NOW) -> Json:
    """Killed for its memory, and running again."""
    last = ended("OOMKilled", 137, at=at, lived=3600, now=now)
    return container(
        state={"running": {"startedAt": ago(max(at - 1, 0), now=now)}}, ready=True, restarts=1, last=last
    )


def pod(
    name: str = "",
    *containers: Json,
    version: str = "v2",
    deployment: str = "trips",
    init: tuple[Json, ...] = (),
    labels: Json | None = None,
    image: str | None = None,
    phase: str = "Running",
    ready: bool | None = None,
    deleting: bool = False,
    reason: str = "",
    namespace: str = "prod",
) -> Json:
    """A pod of a Deployment's ReplicaSet. It is ready when all of its containers are, unless said otherwise."""
    told = containers or (running(),)
    is_ready = all(one["ready"] for one in told) if ready is None else ready
    hashed = HASHES.get(version, "0")
    own = {"app": deployment, "version": version, "pod-template-hash": hashed}
    status = "True" if is_ready else "False"
    metadata: Json = {
        "name": name or f"{deployment}-{hashed}-abcde",
        "namespace": namespace,
        "uid": f"uid-of-{name or deployment}-{version}",
        "resourceVersion": "4711",
        "creationTimestamp": ago(7200),
        "labels": own if labels is None else labels,
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": f"{deployment}-{hashed}",
                "uid": "9",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    if deleting:
        metadata |= {"deletionTimestamp": ago(0), "deletionGracePeriodSeconds": 30}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "nodeName": "node-1",
            "restartPolicy": "Always",
            "containers": [
                {"name": one["name"], "image": image or f"registry.example.com/trips:{version}"}
                for one in told
            ],
        },
        "status": {
            "phase": phase,
            "podIP": "10.1.0.7",
            **({"reason": reason} if reason else {}),
            "conditions": [
                {"type": kind, "status": status, "lastTransitionTime": ago(60)}
                for kind in ("Ready", "ContainersReady")
            ]
            + [{"type": "PodScheduled", "status": "True", "lastTransitionTime": ago(60)}],
            "containerStatuses": list(told),
            **({"initContainerStatuses": list(init)} if init else {}),
        },
    }


def unscheduled(name: str = "trips-5b8f7d6c4-zzzzz") -> Json:
    """A pod that fits on no node: nobody wrote a Ready condition yet."""
    found = pod(name)
    found["spec"].pop("nodeName")
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    found["status"] = {"phase": "Pending", "conditions": [condition]}
    return found


def evicted(name: str = "trips-5b8f7d6c4-evict") -> Json:
    """What is left of a pod that its node pushed out: a tombstone."""
    found = pod(name, phase="Failed", reason="Evicted", ready=False)
    found["status"].pop("containerStatuses")
    return found


def completed(name: str = "trips-migrate-x7k2p") -> Json:
    """A pod of a job that is done, beside the service's own."""
    done = container(state=ended("Completed", 0))
    found = pod(name, done, phase="Succeeded", ready=False)
    found["metadata"]["ownerReferences"] = [
        {"apiVersion": "batch/v1", "kind": "Job", "name": "trips-migrate", "uid": "8", "controller": True}
    ]
    found["metadata"]["labels"] = {"app": "trips", "job-name": "trips-migrate"}
    return found


def template(version: str = "v2", deployment: str = "trips") -> Json:
    """`spec.template` of that version."""
    return {
        "metadata": {"labels": {"app": deployment, "version": version}},
        "spec": {"containers": [{"name": "app", "image": f"registry.example.com/trips:{version}"}]},
    }


def deployment(
    name: str = "trips", *, version: str = "v2", stuck: bool = False, replicas: int = 2, seen: bool = True
) -> Json:
    """A Deployment at that version; `seen` tells whether its controller has noticed the newest change."""
    progressing: Json = {
        "type": "Progressing",
        "status": "False" if stuck else "True",
        "reason": "ProgressDeadlineExceeded" if stuck else "NewReplicaSetAvailable",
        "message": f'ReplicaSet "{name}-{HASHES[version]}" …',
    }
    available: Json = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": "prod",
            "uid": f"uid-of-{name}",
            "resourceVersion": "4711",
            "generation": 3,
            "annotations": {"deployment.kubernetes.io/revision": "3"},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(version, name),
            "progressDeadlineSeconds": 600,
        },
        "status": {
            "observedGeneration": 3 if seen else 2,
            "replicas": replicas + 1,
            "updatedReplicas": 1,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
            "unavailableReplicas": 1,
            "conditions": [available, progressing],
        },
    }


def replica_set(version: str = "v2", *, replicas: int = 2, ready: int = 2, name: str = "trips") -> Json:
    """One revision of a Deployment."""
    made = template(version, name)
    made["metadata"]["labels"]["pod-template-hash"] = HASHES[version]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name}-{HASHES[version]}",
            "namespace": "prod",
            "uid": f"uid-of-{name}-{version}",
            "resourceVersion": "4711",
            "generation": 1,
        },
        "spec": {"replicas": replicas, "template": made},
        "status": {
            "replicas": replicas,
            "fullyLabeledReplicas": replicas,
            "readyReplicas": ready,
            "observedGeneration": 1,
        },
    }


def read(thing: Json, shape: type[O]) -> O:
    """An object as we read it."""
    return msgspec.json.decode(msgspec.json.encode(thing), type=shape)


def a_pod(thing: Json) -> Pod:
    """The same for a pod."""
    return read(thing, Pod)


def a_deployment(thing: Json) -> Deployment:
    """The same for a Deployment."""
    return read(thing, Deployment)


def a_replica_set(thing: Json) -> ReplicaSet:
    """The same for a ReplicaSet."""
    return read(thing, ReplicaSet)


def without(thing: Json, *path: str) -> Json:
    """A copy that lacks something."""
    found = copy.deepcopy(thing)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner.pop(path[-1])
    return found
