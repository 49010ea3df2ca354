"""What a set of pods comes to as a variant: its version, and how much of it could take traffic.

This module must never ask the API server, nor guess: a version that pods do not tell is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from watchdog.cluster.objects import Pod
from watchdog.core.traffic import VariantState

_EARLY = datetime.min.replace(tzinfo=UTC)
#: Pods in these phases have ended for good and are no capacity.
_OVER = frozenset({"Succeeded", "Failed"})


def serving(pods: Iterable[Pod]) -> list[Pod]:
    """The pods that count: neither ended nor on their way out."""
    return [pod for pod in pods if pod.metadata.deletion_timestamp is None and pod.status.phase not in _OVER]


def variant_of(pods: Iterable[Pod], *, weight: int, label: str, port: int | None = None) -> VariantState:
    """A variant made of these pods. Their version is that of the newest that is ready, else of the newest.

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
    """The version of the newest of these pods; `None` when they do not tell."""
    if not pods:
        return None
    newest = max(pods, key=lambda pod: (pod.metadata.creation_timestamp or _EARLY, pod.name))
    return newest.metadata.labels.get(label) or image_version(newest)


def image_version(pod: Pod) -> str | None:
    """What tells the image of a pod's first container apart: as its spec names it, else the digest once it is known.

    The spec comes first because it never changes: a name that became a digest once the image was pulled would look
    like another deployment.
    """
    if not pod.spec.containers:
        return None
    container = pod.spec.containers[0]
    named = tag_of(container.image)
    if named is not None:
        return named
    status = next((one for one in pod.status.container_statuses if one.name == container.name), None)
    return (
        status.image_id.rpartition("@")[2] or None if status is not None and "@" in status.image_id else None
    )


def tag_of(image: str) -> str | None:
    """What tells versions of an image apart: its digest, or its tag. `latest` tells nothing."""
    name, at, digest = image.partition("@")
    if at:
        return digest
    tag = name.rpartition("/")[2].partition(":")[2]
    return tag if tag and tag != "latest" else None
