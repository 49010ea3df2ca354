"""The pod that this process runs in, as its environment tells.

Kubernetes gives a pod its own name as the name of its host; manifests may say more (`POD_NAME`, `POD_NAMESPACE`,
`POD_IP`, by the downward API). This module must never ask the API server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from watchdog.cluster.access import own_namespace

#: What a ReplicaSet appends to a Deployment's name: the template's hash, and five characters for the pod.
_TAIL = re.compile(r"-[a-z0-9]{1,10}-[a-z0-9]{5}")


class OwnPod(msgspec.Struct, frozen=True, kw_only=True):
    """Name, namespace and address; empty what is not known."""

    name: str = ""
    namespace: str = ""
    address: str = ""

    def belongs_to(self, namespace: str, deployment: str) -> bool:
        """Whether it is a pod of that Deployment, by its name."""
        tail = self.name.removeprefix(deployment)
        return (
            bool(self.namespace)
            and self.namespace == namespace
            and tail != self.name
            and _TAIL.fullmatch(tail) is not None
        )


def own_pod(environ: Mapping[str, str]) -> OwnPod | None:
    """The pod this runs in; `None` outside of a cluster."""
    if "KUBERNETES_SERVICE_HOST" not in environ and "POD_NAME" not in environ:
        return None
    return OwnPod(
        name=environ.get("POD_NAME") or environ.get("HOSTNAME", ""),
        namespace=environ.get("POD_NAMESPACE") or own_namespace() or "",
        address=environ.get("POD_IP", ""),
    )
