"""Which version a set of pods is: that of the newest deployment among them, whichever pod was started last."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from watchdog.cluster.objects import Condition, Metadata, Pod, PodStatus
from watchdog.traffic.kubernetes_pods import variant_of

LABEL = "version"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def pod(name: str, version: str, minute: int, *, ready: bool = True) -> Pod:
    metadata = Metadata(
        name=name, labels={LABEL: version}, creation_timestamp=NOON + timedelta(minutes=minute)
    )
    condition = Condition(type="Ready", status="True" if ready else "False")
    return Pod(metadata=metadata, status=PodStatus(phase="Running", conditions=(condition,)))


def version(*pods: Pod) -> str | None:
    mixed = list(pods)
    random.Random(7).shuffle(mixed)
    return variant_of(mixed, weight=100, label=LABEL).version


OLD = (pod("a1", "v1", 0), pod("a2", "v1", 0))


def test_an_update_is_the_new_version_from_its_first_ready_pod_on() -> None:
    assert version(*OLD, pod("b1", "v2", 9, ready=False)) == "v1"
    assert version(*OLD, pod("b1", "v2", 9)) == "v2"


def test_a_pod_of_the_old_version_that_is_started_again_during_an_update_is_no_return_to_it() -> None:
    moved = pod("a3", "v1", 10)
    assert version(*OLD, pod("b1", "v2", 9), moved) == "v2"


def test_an_update_that_is_taken_back_is_the_old_version_when_nothing_else_is_ready() -> None:
    assert version(OLD[0], pod("a3", "v1", 10), pod("b1", "v2", 9, ready=False)) == "v1"
    assert version(pod("b1", "v2", 9), pod("a3", "v1", 10)) == "v1"
