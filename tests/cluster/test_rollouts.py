"""What a Deployment is made of, over objects as an API server tells them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from watchdog.cluster.objects import Deployment, ReplicaSet
from watchdog.cluster.rollouts import (
    RESTARTED,
    bare,
    content_of,
    current,
    hash_of,
    left_running,
    owned,
    revision_of,
    settled,
)

OLD, NEW = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
RULES = {"maxSurge": "25%", "maxUnavailable": "25%"}


def pods(version: str, *, name: str | None = None, **annotations: str) -> dict[str, Any]:
    labels = {"app": "trips", **({"pod-template-hash": name} if name else {})}
    metadata: dict[str, Any] = {"creationTimestamp": None, "labels": labels}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": {"containers": [{"name": "app", "image": f"trips:{version}"}]}}


def replica_set(version: str, name: str, *, revision: int = 1, **metadata: Any) -> ReplicaSet:
    owner = {"kind": "Deployment", "name": "trips", "uid": "u1", "controller": True}
    body = {
        "metadata": {
            "name": f"trips-{name}",
            "labels": {"app": "trips", "pod-template-hash": name},
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "ownerReferences": [owner],
            "creationTimestamp": OLD,
            **metadata,
        },
        "spec": {"replicas": 0, "template": pods(version, name=name)},
    }
    return msgspec.convert(body, ReplicaSet)


def deployment(version: str = "v1", *, revision: int = 1, seen: bool = True, **spec: Any) -> Deployment:
    body = {
        "metadata": {
            "name": "trips",
            "uid": "u1",
            "generation": 7,
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
        },
        "spec": {"replicas": 4, "template": pods(version), **spec},
        "status": {"observedGeneration": 7 if seen else 6},
    }
    return msgspec.convert(body, Deployment)


def test_a_template_is_copied_word_for_word_but_for_the_label_of_its_replica_set() -> None:
    found = pods("v1", name="abc", note="kept")
    found["spec"]["unknown"] = {"of": [1, None, {"a": "release"}]}
    plain = bare(found)
    assert plain["spec"] == found["spec"]
    assert plain["metadata"] == {"labels": {"app": "trips"}, "annotations": {"note": "kept"}}
    assert found["metadata"]["labels"]["pod-template-hash"] == "abc"


def test_the_current_replica_set_is_the_one_with_the_template_whatever_it_is_numbered() -> None:
    sets = [replica_set("v1", "a", revision=1), replica_set("v2", "b", revision=9)]
    assert current(deployment("v1", revision=9), sets) is sets[0]


def test_a_template_that_is_there_needs_no_controller_to_be_told() -> None:
    sets = [replica_set("v1", "a"), replica_set("v2", "b", revision=2)]
    assert current(deployment("v1", revision=2, seen=False), sets) is sets[0]


def test_of_two_with_the_same_template_the_oldest_is_current() -> None:
    sets = [replica_set("v1", "b", creationTimestamp=NEW), replica_set("v1", "a", creationTimestamp=OLD)]
    assert current(deployment("v1"), sets) is sets[1]


def test_a_template_that_the_controller_has_not_seen_is_nobodys() -> None:
    assert current(deployment("v3", seen=False), [replica_set("v1", "a")]) is None


def test_where_templates_are_written_differently_the_controllers_number_tells() -> None:
    sets = [replica_set("v1", "a", revision=1), replica_set("v2", "b", revision=2)]
    assert current(deployment("v2 in other words", revision=2), sets) is sets[1]
    assert current(deployment("v2 in other words", revision=5), sets) is None


def test_a_paused_deployment_goes_on_with_the_newest_that_it_has() -> None:
    sets = [replica_set("v1", "a", revision=1), replica_set("v2", "b", revision=2)]
    assert current(deployment("v3", paused=True), sets) is sets[1]
    assert current(deployment("v3", paused=True), []) is None


def test_only_what_this_very_deployment_owns_is_its_own() -> None:
    mine, going = replica_set("v1", "a"), replica_set("v2", "b", deletionTimestamp=NEW)
    namesake = {"kind": "Deployment", "name": "trips", "uid": "u0", "controller": True}
    other = replica_set("v1", "c", ownerReferences=[namesake])
    nobodys = replica_set("v1", "d", ownerReferences=[])
    assert owned(deployment(), [mine, going, other, nobodys]) == [mine]


def test_a_restart_is_the_same_content_and_another_setting_is_not() -> None:
    plain = content_of(pods("v1"))
    assert content_of(pods("v1", name="abc")) == plain
    assert content_of(pods("v1", **{RESTARTED: "2026-01-01T00:00:00Z"})) == plain
    assert content_of(pods("v1", note="another")) != plain
    assert content_of(pods("v2")) != plain


def test_numbers_and_names_come_from_the_controller() -> None:
    assert revision_of(replica_set("v1", "a", revision=12).metadata) == 12
    assert revision_of(replica_set("v1", "a", annotations={}).metadata) == 0
    assert hash_of(replica_set("v1", "abc")) == "abc"
    assert hash_of(replica_set("v1", "abc", labels={})) == "trips-abc"
    assert settled(deployment())
    assert not settled(deployment(seen=False))


@pytest.mark.parametrize(
    ("strategy", "replicas", "left"),
    [
        ({"type": "RollingUpdate", "rollingUpdate": RULES}, 4, 3),
        ({"type": "RollingUpdate", "rollingUpdate": RULES}, 1, 1),
        ({"type": "RollingUpdate", "rollingUpdate": RULES}, 10, 8),
        ({"type": "RollingUpdate"}, 4, 3),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}, 1, 0),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}, 3, 2),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "100%"}}, 5, 0),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 9}}, 5, 0),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "a few"}}, 5, 0),
        ({"type": "Recreate"}, 4, 0),
    ],
)
def test_a_strategy_promises_so_many_pods_at_any_moment(
    strategy: dict[str, Any], replicas: int, left: int
) -> None:
    assert left_running(deployment(strategy=strategy, replicas=replicas)) == left
