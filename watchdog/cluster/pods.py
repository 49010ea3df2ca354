"""What pods tell of themselves: which of them count, which version each is, and which revision made it.

The switches, the source and the probe must agree on it, or `$version` would select nothing. This module must never ask
the API server, nor guess: a version that pods do not tell is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from watchdog.cluster.objects import Json, Pod, PodSpec

#: The label that tells a version where nothing else was written.
VERSION_LABEL: Final = "app.kubernetes.io/version"
#: What a Deployment's ReplicaSets put on their pods, and a StatefulSet or DaemonSet on its.
TEMPLATE_HASH: Final = "pod-template-hash"
REVISION_HASH: Final = "controller-revision-hash"
#: Pods in these phases have ended for good and are no capacity.
_OVER: Final = frozenset({"Succeeded", "Failed"})


def serving(pods: Iterable[Pod]) -> list[Pod]:
    """The pods that count: neither ended nor on their way out."""
    return [pod for pod in pods if pod.metadata.deletion_timestamp is None and pod.status.phase not in _OVER]


def version_of_pod(pod: Pod, label: str) -> str | None:
    """The version that a pod says it is: its label, else its image; `None` when neither tells."""
    return pod.metadata.labels.get(label) or image_version(pod)


class _Metadata(msgspec.Struct, frozen=True, kw_only=True):
    labels: dict[str, str] = {}


class _Template(msgspec.Struct, frozen=True, kw_only=True):
    metadata: _Metadata = _Metadata()
    spec: PodSpec = PodSpec()


def version_of_template(template: Json, label: str) -> str | None:
    """The version that pods of this template will say they are; `None` when only a pulled image tells."""
    try:
        read = msgspec.convert(template, _Template)
    except msgspec.ValidationError:
        return None
    named = read.metadata.labels.get(label)
    containers = read.spec.containers
    return named or (tag_of(containers[0].image) if containers else None)


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


def revision_of(labels: Mapping[str, str]) -> str:
    """What tells pods of one template from those of another by the same controller; empty where nothing does."""
    return labels.get(TEMPLATE_HASH) or labels.get(REVISION_HASH) or ""


def deployment_of(pod: Pod) -> str | None:
    """The Deployment that a pod belongs to: its controller names ReplicaSets after itself and the template's hash."""
    owner = pod.metadata.controller
    suffix = f"-{pod.metadata.labels.get(TEMPLATE_HASH, '')}"
    if owner is None or owner.kind != "ReplicaSet" or suffix == "-" or not owner.name.endswith(suffix):
        return None
    return owner.name.removesuffix(suffix) or None
