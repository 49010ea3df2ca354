"""What is wrong with a pod so that waiting does not help, told from its status and its Deployment's.

The reasons are the kubelet's and the Deployment controller's own words. This module must never ask anything, nor repeat
their messages: they hold what containers and registries wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from watchdog.cluster.objects import ContainerStatus, Deployment, Pod
from watchdog.cluster.pods import revision_of
from watchdog.core.units import format_duration


class Trouble(StrEnum):
    """What may be wrong."""

    CRASH_LOOP = "crash_loop"
    IMAGE_PULL = "image_pull"
    CANNOT_START = "cannot_start"
    OOM_KILLED = "oom_killed"
    STUCK = "stuck"


_IMAGE_PULL: Final = frozenset(
    {
        *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"),
        *("ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"),
    }
)
_CANNOT_START: Final = frozenset(
    {
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"),
        *("PreCreateHookError", "PreStartHookError", "PostStartHookError"),
    }
)
_BACK_OFF: Final = "CrashLoopBackOff"
_OOM_KILLED: Final = "OOMKilled"
_DEADLINE: Final = "ProgressDeadlineExceeded"
#: The kubelet forgets its back-off for a container that ran so long: a container that does is in no loop.
_LIVES: Final = timedelta(minutes=10)
#: A container that runs between two crashes is given at least so long to get further than last time.
_GRACE: Final = timedelta(seconds=10)


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The pods of one revision of one controller, and what is wrong with each that is in trouble."""

    pods: tuple[Pod, ...]
    faults: dict[str, str]

    @property
    def share(self) -> float:
        """The share of its pods that are in trouble."""
        return len(self.faults) / len(self.pods)


def groups(pods: Iterable[Pod], on: frozenset[Trouble], *, now: datetime, within: timedelta) -> list[Group]:
    """Pods by revision, the worst first: a few bad pods of a new version must not be lost among many good old ones."""
    found: dict[tuple[str, str], list[Pod]] = {}
    for pod in pods:
        owner = pod.metadata.controller
        key = owner.name if owner else "", revision_of(pod.metadata.labels)
        found.setdefault(key, []).append(pod)
    grouped = [_group(some, on, now, within) for some in found.values()]
    return sorted(grouped, key=lambda group: (-group.share, group.pods[0].name))


def _group(pods: list[Pod], on: frozenset[Trouble], now: datetime, within: timedelta) -> Group:
    faults = {
        pod.name: words
        for pod in pods
        for words in [next((words for kind, words in faults_of(pod, now, within) if kind in on), "")]
        if words
    }
    return Group(pods=tuple(pods), faults=faults)


def faults_of(pod: Pod, now: datetime, within: timedelta) -> Iterator[tuple[Trouble, str]]:
    """Everything that is wrong with a pod's containers, those that only run at its start included."""
    for prefix, containers in (
        ("init container", pod.status.init_container_statuses),
        ("container", pod.status.container_statuses),
    ):
        for one in containers:
            for kind, words in _faults(one, now, within):
                yield kind, f"{prefix} {one.name}: {words}"


def _faults(one: ContainerStatus, now: datetime, within: timedelta) -> Iterator[tuple[Trouble, str]]:
    waits = one.state.waiting.reason if one.state.waiting is not None else ""
    if waits in _IMAGE_PULL:
        yield Trouble.IMAGE_PULL, waits
    if waits in _CANNOT_START:
        yield Trouble.CANNOT_START, waits
    killed = _killed(one, now, within)
    if killed is not None:
        yield Trouble.OOM_KILLED, f"{_OOM_KILLED} {format_duration(killed)} ago"
    if waits == _BACK_OFF or _loops(one, now, within):
        yield Trouble.CRASH_LOOP, f"{waits or 'crash loop'}, {one.restart_count} restarts{_ended(one)}"


def _killed(one: ContainerStatus, now: datetime, within: timedelta) -> timedelta | None:
    """How long ago it was killed for its memory (whole seconds), where that is not too long."""
    for end in (one.state.terminated, one.last_state.terminated):
        if end is not None and end.reason == _OOM_KILLED and end.finished_at is not None:
            ago = timedelta(seconds=max(int((now - end.finished_at).total_seconds()), 0))
            if ago <= within:
                return ago
    return None


def _loops(one: ContainerStatus, now: datetime, within: timedelta) -> bool:
    """Whether a container that does not wait now is between two crashes of a loop.

    Between two back-offs it runs for a moment, and a look then must not call it well. It is out of the loop once it
    has run twice as long as it did before its last crash.
    """
    if one.state.terminated is not None:
        # Init containers end well, too, perhaps after some that did not.
        return one.restart_count > 0 and one.state.terminated.exit_code != 0
    crash, runs = one.last_state.terminated, one.state.running
    if crash is None or runs is None or runs.started_at is None or one.restart_count < 2:
        return False
    if crash.started_at is None or crash.finished_at is None or now - crash.finished_at > within:
        return False
    lived = crash.finished_at - crash.started_at
    return lived < _LIVES and now - runs.started_at < max(2 * lived, _GRACE)


def _ended(one: ContainerStatus) -> str:
    end = one.state.terminated or one.last_state.terminated
    if end is None:
        return ""
    return f", last ended with {end.reason or 'no reason'} (exit code {end.exit_code})"


def is_stuck(deployment: Deployment) -> bool:
    """Whether the newest template did not come up in time. What was said of an older one does not count."""
    if deployment.status.observed_generation < deployment.metadata.generation:
        return False
    return any(
        one.type == "Progressing" and one.status == "False" and one.reason == _DEADLINE
        for one in deployment.status.conditions
    )
