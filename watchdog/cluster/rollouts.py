"""What a Deployment is made of: its ReplicaSets, which of them its template is, and what a rollout leaves running.

Kubernetes decides by comparing templates, not by numbers: the ReplicaSet with the Deployment's template is the current
one, whichever revision it is called. This module must never ask the API server, nor change a template but for the
label that the controller adds by itself.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from watchdog.cluster.objects import Deployment, Json, Metadata, ReplicaSet, RollingUpdate
from watchdog.cluster.pods import TEMPLATE_HASH

#: What the controller counts templates by, on a Deployment and its ReplicaSets. A template that is set again gets a
#: new number, so that a number names nothing for long.
REVISION: Final = "deployment.kubernetes.io/revision"
#: What `kubectl rollout restart` writes into a template, so that it is another one.
RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"
_EARLY: Final = datetime.min.replace(tzinfo=UTC)


def revision_of(metadata: Metadata) -> int:
    """The controller's number of a Deployment's or a ReplicaSet's template; 0 for none yet."""
    text = metadata.annotations.get(REVISION, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def bare(template: Mapping[str, Any]) -> Json:
    """A template as a person would write it: without the label that the controller puts on that of a ReplicaSet."""
    metadata = {name: value for name, value in template.get("metadata", {}).items() if value is not None}
    labels = {name: value for name, value in metadata.get("labels", {}).items() if name != TEMPLATE_HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def content_of(template: Mapping[str, Any]) -> str:
    """A hash of what runs, the same for a template that was only started again."""
    plain = bare(template)
    notes = {
        name: text for name, text in plain["metadata"].get("annotations", {}).items() if name != RESTARTED
    }
    plain["metadata"] = {**plain["metadata"], "annotations": notes}
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()[:16]


def owned(found: Deployment, sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    """The ReplicaSets that belong to this very Deployment, and are not on their way out."""
    return [
        one
        for one in sets
        if one.metadata.deletion_timestamp is None
        and one.metadata.controller is not None
        and one.metadata.controller.uid == found.metadata.uid
    ]


def hash_of(one: ReplicaSet) -> str:
    """What names a ReplicaSet within its Deployment: the same again when it is made again of the same template."""
    return one.metadata.labels.get(TEMPLATE_HASH) or one.name


def settled(found: Deployment) -> bool:
    """Whether the controller has seen the Deployment as it is."""
    return found.status.observed_generation >= found.metadata.generation


def current(found: Deployment, sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """The ReplicaSet whose template the Deployment has; of several the oldest, as the controller chooses.

    Where none is the same word for word, the one that a controller which has seen everything calls by the
    Deployment's own number (it compares in its own way). A paused Deployment goes on with the newest that it has,
    whatever its template says. `None`: nobody can tell, or not yet.
    """
    wanted = bare(found.spec.template)
    same = [one for one in sets if bare(one.spec.template) == wanted]
    if same:
        return min(same, key=lambda one: (one.metadata.creation_timestamp or _EARLY, one.name))
    if found.spec.paused:
        return max(sets, key=lambda one: revision_of(one.metadata), default=None)
    number = revision_of(found.metadata)
    if not settled(found) or not number:
        return None
    return next((one for one in sets if revision_of(one.metadata) == number), None)


def left_running(found: Deployment) -> int:
    """How many pods stay available at least while one template takes the place of another, as the strategy promises.

    `maxUnavailable` is rounded down and `maxSurge` up; when both come to nothing, one pod may be missing (the
    Deployment controller's own rule).
    """
    if found.spec.strategy.type != "RollingUpdate":
        return 0
    rolling, replicas = found.spec.strategy.rolling_update or RollingUpdate(), found.spec.replicas
    missing = math.floor(_share(rolling.max_unavailable, replicas))
    if missing == 0 and math.ceil(_share(rolling.max_surge, replicas)) == 0:
        missing = 1
    return max(0, replicas - missing)


def _share(value: int | str, whole: int) -> float:
    """A number, or a share of `whole`. What cannot be read counts as everything: the API server would not take it."""
    if isinstance(value, int):
        return float(value)
    number = value.removesuffix("%")
    return whole * int(number) / 100 if number.isascii() and number.isdigit() else float(whole)
