"""The traffic switch of a Kubernetes Deployment: its pod template, set to that of a ReplicaSet which is still there.

A variant is a ReplicaSet of the Deployment, called by its `pod-template-hash`; the one whose template the Deployment
has is live. A rollback writes the whole recorded template, never "undo" and never a revision's number: both mean
something else as soon as anybody rolls out again. This module must never write replicas, the strategy, or any field but
the template.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

from msgspec.structs import replace

from watchdog.aio.clock import Clock
from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import ClusterError
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.look import Look
from watchdog.cluster.marks import ROLLBACK, SWITCHED_AT, epoch_of
from watchdog.cluster.objects import (
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    Deployment,
    Kind,
    Metadata,
    Pod,
    ReplicaSet,
)
from watchdog.cluster.pod import OwnPod
from watchdog.cluster.pods import serving, version_of_template
from watchdog.cluster.rollouts import (
    bare,
    content_of,
    current,
    hash_of,
    left_running,
    owned,
    revision_of,
    settled,
)
from watchdog.core.errors import SwitchRejected, SwitchUnreachable
from watchdog.core.traffic import Change, TrafficState, VariantState
from watchdog.traffic.kubernetes_object import ObjectName, ObjectSettings, ObjectSwitch, Patch

_ON: Final = 100
#: Whoever reads and writes beside each other: the executor, the watcher, the doctor, and one to spare.
_SURVEYS: Final = 4


class DeploymentSettings(ObjectSettings):
    """`traffic: {kind: kubernetes-deployment, …}` of a service."""

    deployment: ObjectName
    """Name of the Deployment."""
    scaled_to_zero: Literal["rolling", "allow", "veto"] = "rolling"
    """What the pods count that the target does not have, but would get: old ReplicaSets have none.

    `rolling`: all of them, where the strategy is RollingUpdate and keeps pods running until others are ready. `allow`:
    with Recreate as well, where nothing runs in between. `veto`: none; a target needs its pods before the switch.
    """


class KubernetesDeploymentSwitch(ObjectSwitch[Deployment]):
    """Sets the template of a Deployment."""

    Settings = DeploymentSettings
    kind: ClassVar[Kind[Any]] = DEPLOYMENTS
    #: The settings that say which object it is: two switches of one object would fight over it.
    OBJECT: ClassVar = ("namespace", "deployment")

    def __init__(
        self,
        settings: DeploymentSettings,
        *,
        name: str,
        cluster: Cluster,
        feeds: Feeds | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            settings, target=settings.deployment, name=name, cluster=cluster, feeds=feeds, clock=clock
        )
        self._label = settings.version_label
        self._absent = settings.scaled_to_zero
        #: The ReplicaSets that were seen with an object, by its `resourceVersion`, for what is made of it at once.
        self._surveyed: dict[str, dict[str, ReplicaSet]] = {}

    @staticmethod
    def of_pod(settings: DeploymentSettings, pod: OwnPod) -> bool:
        """Whether that pod is one of the Deployment's."""
        return pod.belongs_to(settings.namespace, settings.deployment)

    def watched(self) -> tuple[Kind[Any], ...]:
        return DEPLOYMENTS, REPLICA_SETS, PODS

    def fields(self) -> tuple[str, ...]:
        return ("/spec/template",)

    def facts(self, found: Deployment) -> Any:
        return bare(found.spec.template)

    async def survey(self, found: Deployment, look: Look) -> dict[str, VariantState]:
        labels = found.spec.selector.match_labels
        sets = owned(found, await look.all(REPLICA_SETS, self._namespace, labels=labels))
        by_owner = _by_owner(await look.all(PODS, self._namespace, labels=labels))
        live = self._live(found, sets)
        named = {hash_of(one): one for one in sorted(sets, key=_newest_last)}
        self._keep(found, named)
        return {
            name: self._variant(found, one, by_owner.get(one.metadata.uid, ()), live=one is live)
            for name, one in named.items()
        }

    def patch(self, found: Deployment, change: Change) -> Patch:
        target = self._sets(found).get(change.target)
        if target is None or not target.spec.template.get("spec"):
            raise SwitchRejected(
                f"{self.where}: ReplicaSet {change.target} has no template any more; nothing was changed"
            )
        return [{"op": "replace", "path": "/spec/template", "value": bare(target.spec.template)}]

    async def inspect(self) -> str | None:
        """Besides rights: what in the Deployment leaves nothing to go back to, or nothing that counts as ready."""
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                return await super().inspect() or self._no_way_back(await self._one(self._fresh))
        except TimeoutError:
            return f"{self.where}: no answer in time"
        except ClusterError as error:
            return f"{self.where}: {error}"

    def _no_way_back(self, found: Deployment) -> str | None:
        if found.spec.revision_history_limit == 0:
            return (
                f"{self.where} keeps no old ReplicaSet to go back to: raise its revisionHistoryLimit from 0"
            )
        if self._absent == "rolling" and found.spec.replicas and not left_running(found):
            return (
                f"{self.where} stops all pods before it starts others ({found.spec.strategy.type}): a target without "
                "pods never counts as ready; roll out otherwise, or set `scaled_to_zero: allow`"
            )
        return None

    # What is particular to Deployments about an object

    async def _seen(self, look: Look | None = None) -> tuple[Deployment, TrafficState]:
        found, state = await super()._seen(look)
        if found.spec.paused:
            why = "its rollouts are paused: kubectl rollout resume"
            state = replace(state, paused=f"{state.paused}; {why}" if state.paused else why)
        return found, replace(state, mark=self._mark(found))

    def _mark(self, found: Deployment) -> str | None:
        """The rollback that wrote last, also after `kubectl rollout undo`, which brings old annotations back.

        The controller copies annotations to the ReplicaSet that it makes current: there ours are still to be found.
        """
        sets = self._sets(found).values()
        newest = max((found.metadata, *(one.metadata for one in sets)), key=_written)
        return newest.annotations.get(ROLLBACK)

    def _check(self, found: Deployment, state: TrafficState, change: Change) -> None:
        super()._check(found, state, change)
        sets = self._sets(found).values()
        epoch = max((epoch_of(one.metadata.annotations) for one in sets), default=0)
        if epoch > change.epoch:
            raise SwitchRejected(
                f"{self.where} was written by a newer watchdog (epoch {epoch}, ours is {change.epoch}); "
                "nothing was changed"
            )

    # Its parts

    def _keep(self, found: Deployment, sets: dict[str, ReplicaSet]) -> None:
        """Remember what was seen with this very object: others may look meanwhile, and see another one."""
        version = found.metadata.resource_version
        self._surveyed.pop(version, None)
        self._surveyed[version] = sets
        for old in list(self._surveyed)[:-_SURVEYS]:
            del self._surveyed[old]

    def _sets(self, found: Deployment) -> Mapping[str, ReplicaSet]:
        return self._surveyed.get(found.metadata.resource_version, {})

    def _live(self, found: Deployment, sets: Sequence[ReplicaSet]) -> ReplicaSet:
        """The ReplicaSet that has the template. Raises `SwitchUnreachable` in words while nobody can tell."""
        if found.metadata.deletion_timestamp is not None:
            raise SwitchUnreachable(f"{self.where} is being deleted")
        live = current(found, sets)
        if live is not None:
            return live
        if not settled(found):
            raise SwitchUnreachable(
                f"{self.where}: its controller has not seen generation {found.metadata.generation} yet (it saw "
                f"{found.status.observed_generation}): which ReplicaSet its template becomes is not known"
            )
        raise SwitchUnreachable(f"{self.where}: none of its {len(sets)} ReplicaSets has its template")

    def _variant(
        self, found: Deployment, one: ReplicaSet, pods: Sequence[Pod], *, live: bool
    ) -> VariantState:
        counted = serving(pods)
        ready, total = sum(pod.ready for pod in counted), len(counted)
        told = [f"revision {revision_of(one.metadata)}"]
        if live:
            told += _progress(found, ready)
            total = max(total, found.spec.replicas)
        else:
            ready, why = self._capacity(found, ready, total)
            total = max(total, ready)
            told += [why] if why else []
        return VariantState(
            weight=_ON if live else 0,
            version=version_of_template(one.spec.template, self._label),
            ready=ready,
            total=total,
            content=content_of(one.spec.template),
            note="; ".join(told),
        )

    def _capacity(self, found: Deployment, ready: int, total: int) -> tuple[int, str]:
        """How many ready pods may be counted on if this became the template, and why that is not what runs.

        A rolling update takes pods away only as others become ready, so a target without pods is no outage. But what
        pods it has speak for those it would get: when they are not ready, neither would be the rest.
        """
        wanted = found.spec.replicas
        has = f"it has {ready} of {wanted} pods ready" if total else "it is scaled to 0"
        if ready >= wanted:
            return ready, ""
        if self._absent == "veto":
            return ready, f"{has}; `scaled_to_zero: veto` counts no others"
        if self._absent == "rolling" and not left_running(found):
            strategy = found.spec.strategy.type
            how = strategy if strategy != "RollingUpdate" else f"{strategy} with this maxUnavailable"
            return ready, f"{has}, and {how} stops all pods before it starts others"
        if total and ready < total:
            return (
                wanted * ready // total,
                f"{ready} of its {total} pods are ready: no more is expected of others",
            )
        kind = "a rolling update" if left_running(found) else "the Deployment"
        after = " before it stops others" if left_running(found) else " after it stopped the others"
        return wanted, f"{has}; {kind} starts its pods{after}"


def _newest_last(one: ReplicaSet) -> tuple[int, str]:
    return revision_of(one.metadata), one.name


def _written(metadata: Metadata) -> tuple[int, str]:
    """By which a mark is newer than another; RFC 3339 in UTC sorts by itself."""
    return epoch_of(metadata.annotations), metadata.annotations.get(SWITCHED_AT, "")


def _by_owner(pods: Sequence[Pod]) -> dict[str, list[Pod]]:
    found: dict[str, list[Pod]] = {}
    for pod in pods:
        owner = pod.metadata.controller
        if owner is not None:
            found.setdefault(owner.uid, []).append(pod)
    return found


def _progress(found: Deployment, ready: int) -> list[str]:
    """How far the rollout of the current template is, in words for people."""
    told = []
    if found.status.updated_replicas < found.spec.replicas or ready < found.spec.replicas:
        told.append(f"{found.status.updated_replicas} of {found.spec.replicas} pods updated, {ready} ready")
    if found.status.replicas > found.status.updated_replicas:
        told.append(f"{found.status.replicas - found.status.updated_replicas} pods of others are still there")
    stuck = [one for one in found.status.conditions if one.type == "Progressing" and one.status == "False"]
    told += [f"{one.reason}: {one.message}" for one in stuck]
    failed = [one for one in found.status.conditions if one.type == "ReplicaFailure" and one.status == "True"]
    return told + [f"{one.reason}: {one.message}" for one in failed]
