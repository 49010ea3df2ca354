"""What counts as trouble of a pod, over statuses as kubelets and controllers write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.cluster import recorded as r
from tests.cluster.recorded import NOW, a_deployment, a_pod
from watchdog.cluster.objects import Pod
from watchdog.probes.kubernetes_trouble import Trouble, faults_of, groups, is_stuck

WITHIN = timedelta(minutes=10)
ALL = frozenset(Trouble)


def troubles(pod: dict[str, Any]) -> set[Trouble]:
    return {kind for kind, _ in faults_of(a_pod(pod), NOW, WITHIN)}


def words(pod: dict[str, Any]) -> str:
    return "; ".join(text for _, text in faults_of(a_pod(pod), NOW, WITHIN))


#: A pod, and what is wrong with it.
PODS: dict[str, tuple[dict[str, Any], set[Trouble]]] = {
    "fine": (r.pod(), set()),
    "backs off": (r.pod("", r.crash_loop()), {Trouble.CRASH_LOOP}),
    "runs for a moment between two crashes": (r.pod("", r.between_crashes()), {Trouble.CRASH_LOOP}),
    "crashed a moment ago": (
        r.pod("", r.container(state=r.ended(at=1), restarts=2, last=r.ended(at=30))),
        {Trouble.CRASH_LOOP},
    ),
    "crashed for the first time": (r.pod("", r.container(state=r.ended(at=1))), set()),
    "crashed once and runs": (r.pod("", r.between_crashes(restarts=1)), set()),
    "ran three times as long as before its last crash": (
        r.pod("", r.between_crashes(runs=31, lived=10)),
        set(),
    ),
    "crashes after nine minutes": (
        r.pod("", r.between_crashes(runs=100, lived=540)),
        {Trouble.CRASH_LOOP},
    ),
    "crashed after half a day": (r.pod("", r.between_crashes(runs=5, lived=40_000)), set()),
    "crashed long ago": (r.pod("", r.between_crashes(runs=700, lived=550)), set()),
    "an init container that crashes": (
        r.pod("", r.waiting("PodInitializing"), init=(r.crash_loop(),)),
        {Trouble.CRASH_LOOP},
    ),
    "an init container that ended well after two tries": (
        r.pod(init=(r.container(state=r.ended("Completed", 0), restarts=2),)),
        set(),
    ),
    "no image": (r.pod("", r.image_pull()), {Trouble.IMAGE_PULL}),
    "the image's first failure": (r.pod("", r.image_pull("ErrImagePull")), {Trouble.IMAGE_PULL}),
    "an image that is no name": (r.pod("", r.image_pull("InvalidImageName")), {Trouble.IMAGE_PULL}),
    "a missing secret": (r.pod("", r.waiting("CreateContainerConfigError")), {Trouble.CANNOT_START}),
    "a missing program": (
        r.pod("", r.waiting("RunContainerError", restarts=1, last=r.ended("StartError", 128))),
        {Trouble.CANNOT_START},
    ),
    "a container that cannot be created": (
        r.pod("", r.waiting("CreateContainerError")),
        {Trouble.CANNOT_START},
    ),
    "killed for its memory": (r.pod("", r.oom_killed()), {Trouble.OOM_KILLED}),
    "just killed for its memory": (
        r.pod("", r.container(state=r.ended("OOMKilled", 137, at=1, lived=3600))),
        {Trouble.OOM_KILLED},
    ),
    "killed for its memory long ago": (r.pod("", r.oom_killed(at=601)), set()),
    "killed for its memory again and again": (
        r.pod("", r.waiting("CrashLoopBackOff", restarts=5, last=r.ended("OOMKilled", 137))),
        {Trouble.OOM_KILLED, Trouble.CRASH_LOOP},
    ),
    "one container of two": (
        r.pod("", r.running(), r.crash_loop() | {"name": "sidecar"}),
        {Trouble.CRASH_LOOP},
    ),
    "being made": (r.pod("", r.waiting("ContainerCreating"), phase="Pending"), set()),
    "without a place": (r.unscheduled(), set()),
    "not ready": (r.pod(ready=False), set()),
}


@pytest.mark.parametrize("name", PODS)
def test_a_status_is_told_for_what_it_is(name: str) -> None:
    pod, expected = PODS[name]
    assert troubles(pod) == expected


def test_the_words_name_the_container_and_what_became_of_it() -> None:
    assert words(r.pod("", r.crash_loop())) == (
        "container app: CrashLoopBackOff, 4 restarts, last ended with Error (exit code 1)"
    )
    assert words(r.pod("", r.oom_killed(at=61))) == "container app: OOMKilled 1m1s ago"
    assert words(r.pod(init=(r.image_pull(),))) == "init container app: ImagePullBackOff"


def test_no_word_of_a_message_is_repeated() -> None:
    assert "secret-of-nobody" in str(r.crash_loop())
    assert "secret-of-nobody" not in words(r.pod("", r.crash_loop()))


def test_a_clock_that_is_behind_a_nodes_tells_no_negative_time() -> None:
    assert words(r.pod("", r.oom_killed(at=-30))) == "container app: OOMKilled 0s ago"


def several(*pods: dict[str, Any]) -> list[Pod]:
    return [a_pod(one) for one in pods]


def test_a_few_bad_pods_of_a_new_version_are_not_lost_among_many_good_old_ones() -> None:
    old = [r.pod(f"old-{number}", version="v1") for number in range(9)]
    new = r.pod("new", r.crash_loop(), version="v2")
    found = groups(several(*old, new), ALL, now=NOW, within=WITHIN)
    assert [(len(group.pods), group.share) for group in found] == [(1, 1.0), (9, 0.0)]


def test_a_share_counts_pods_not_containers() -> None:
    twice = r.pod("a", r.crash_loop(), r.crash_loop() | {"name": "b"})
    found = groups(several(twice, r.pod("c")), ALL, now=NOW, within=WITHIN)
    assert [group.share for group in found] == [0.5]


def test_only_what_was_chosen_counts() -> None:
    pods = several(r.pod("a", r.crash_loop()), r.pod("b", r.oom_killed()))
    for kind, name in ((Trouble.CRASH_LOOP, "a"), (Trouble.OOM_KILLED, "b")):
        (found,) = groups(pods, frozenset({kind}), now=NOW, within=WITHIN)
        assert set(found.faults) == {name}


def test_pods_of_other_controllers_are_groups_of_their_own() -> None:
    first = r.pod("a", labels={"app": "trips", "controller-revision-hash": "x"})
    second = r.pod("b", labels={"app": "trips", "controller-revision-hash": "y"})
    bare = r.pod("c", labels={"app": "trips"})
    bare["metadata"]["ownerReferences"] = []
    assert len(groups(several(first, second, bare), ALL, now=NOW, within=WITHIN)) == 3


def test_a_deployment_is_stuck_only_by_its_deadline_and_its_newest_template() -> None:
    assert is_stuck(a_deployment(r.deployment(stuck=True)))
    assert not is_stuck(a_deployment(r.deployment()))
    # Moved back a moment ago: what its controller said last was said of the bad template.
    assert not is_stuck(a_deployment(r.deployment(stuck=True, seen=False)))
    failing = r.deployment()
    failing["status"]["conditions"][1] |= {"status": "False", "reason": "ReplicaSetCreateError"}
    assert not is_stuck(a_deployment(failing))
