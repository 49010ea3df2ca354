"""A patch of a Kubernetes object with what fences and marks it, so that one write does all or nothing.

This module must never send one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watchdog.cluster.objects import Metadata

#: What a write sends: a merge patch, or a JSON patch.
Patch = dict[str, Any] | list[dict[str, Any]]


def marked(metadata: Metadata, body: Patch, notes: Mapping[str, str]) -> Patch:
    """The patch, valid for the object as it was read and for no other state, with `notes` as annotations."""
    if isinstance(body, list):
        return [*_preconditions(metadata), *body, *_annotate(metadata, notes)]
    own = body.get("metadata", {})
    annotations = {**own.get("annotations", {}), **notes}
    return {
        **body,
        "metadata": {**own, "resourceVersion": metadata.resource_version, "annotations": annotations},
    }


def _preconditions(metadata: Metadata) -> list[dict[str, Any]]:
    """That it is the object we read, in the state we read: put in, a stale version is answered 409, as in any write."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": metadata.uid},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata.resource_version},
    ]


def _annotate(metadata: Metadata, notes: Mapping[str, str]) -> list[dict[str, Any]]:
    if not metadata.annotations:
        return [{"op": "add", "path": "/metadata/annotations", "value": dict(notes)}]
    return [
        {
            "op": "add",
            "path": f"/metadata/annotations/{name.replace('~', '~0').replace('/', '~1')}",
            "value": text,
        }
        for name, text in notes.items()
    ]
