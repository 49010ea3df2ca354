"""What a set of pods comes to as a variant: its version, and how much of it could take traffic.

This module must never ask the API server, nor guess: a version that pods do not tell is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from watchdog.cluster.objects import Pod
from watchdog.cluster.pods import serving, version_of_pod
from watchdog.core.traffic import VariantState

_EARLY = datetime.min.replace(tzinfo=UTC)


def variant_of(pods: Iterable[Pod], *, weight: int, label: str, port: int | None = None) -> VariantState:
    """A variant made of these pods. Their version is the newest of those that are ready, else of all.

    A rolling update within a variant is a deployment from its first ready pod on: that is when users can meet it.
    """
    counted = serving(pods)
    ready = [pod for pod in counted if pod.ready]
    return VariantState(
        weight=weight,
        version=version_of(ready or counted, label),
        ready=len(ready),
        total=len(counted),
        addresses=tuple(f"{pod.status.pod_ip}:{port}" for pod in ready if port and pod.status.pod_ip),
        note="" if counted else "it has no pods",
    )


def version_of(pods: Sequence[Pod], label: str) -> str | None:
    """The version among these pods that was started last; `None` when they do not tell.

    A version counts from its oldest pod: one of the version before that is started again (its node is drained, the
    Deployment is scaled) during an update is no return to that.
    """
    since: dict[str | None, tuple[datetime, str]] = {}
    for pod in pods:
        version, began = version_of_pod(pod, label), (pod.metadata.creation_timestamp or _EARLY, pod.name)
        since[version] = min(since.get(version, began), began)
    return max(since, key=lambda version: since[version], default=None)
