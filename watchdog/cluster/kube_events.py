"""Kubernetes Events: what `kubectl describe` shows of an object's history.

Written as `events.k8s.io/v1`, which kubectl and every controller of today read; the name is made of what happened, so
that the same is never written twice: the API server answers 409, and that is as good as written. This module must never
decide what is worth an Event.
"""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import Refused
from watchdog.cluster.objects import Kind, Metadata, Object
from watchdog.cluster.rights import Right
from watchdog.core.happenings import Happening

#: Who says it, as Events have it.
CONTROLLER: Final = "rollback-watchdog"
#: Longest `reportingInstance` (characters).
_LONGEST_INSTANCE: Final = 128
#: Longest name of an object (characters).
_LONGEST_NAME: Final = 253

EVENTS: Final = Kind(group="events.k8s.io", version="v1", plural="events", name="Event", shape=Object)


def event(happening: Happening, kind: Kind[Any], metadata: Metadata) -> dict[str, Any]:
    """The Event about an object."""
    key = f".watchdog-{happening.key}"
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.name,
        "metadata": {
            "name": metadata.name[: _LONGEST_NAME - len(key)].rstrip(".-") + key,
            "namespace": metadata.namespace,
        },
        "eventTime": _micro(happening.at),
        "reportingController": CONTROLLER,
        "reportingInstance": f"{CONTROLLER}-{socket.gethostname()}"[:_LONGEST_INSTANCE],
        "action": happening.reason,
        "reason": happening.reason,
        "type": "Warning" if happening.grave else "Normal",
        "note": happening.note,
        "regarding": {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "namespace": metadata.namespace,
            "name": metadata.name,
            "uid": metadata.uid,
        },
    }


async def write(
    cluster: Cluster, happening: Happening, kind: Kind[Any], metadata: Metadata, *, timeout: timedelta
) -> None:
    """Write the Event, unless it is there. Raises `ClusterError`."""
    path = EVENTS.path(metadata.namespace)
    try:
        await cluster.post(path, event(happening, kind, metadata), timeout=timeout)
    except Refused as error:
        if not error.conflict:
            raise


def telling(namespace: str) -> Right:
    """The right that it takes to write Events about objects in a namespace."""
    return Right(verb="create", group=EVENTS.group, resource=EVENTS.plural, namespace=namespace)


def _micro(moment: datetime) -> str:
    """As Kubernetes' MicroTime wants it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
