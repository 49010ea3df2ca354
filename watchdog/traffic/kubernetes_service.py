"""The traffic switch of a Kubernetes Service: the value of one label in its selector, for blue and green versions.

A variant is a value of that label among the pods that match the rest of the selector. Pods tell versions and readiness;
ReplicaSets tell of a standby that is scaled to zero, which is "not ready" rather than unknown. This module must never
touch another key of the selector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from msgspec.structs import replace

from watchdog.aio.clock import Clock
from watchdog.cluster.client import Cluster
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.look import Look
from watchdog.cluster.objects import (
    ENDPOINT_SLICES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    EndpointSlice,
    Kind,
    Object,
    Pod,
    ReplicaSet,
    Service,
)
from watchdog.cluster.pods import version_of_template
from watchdog.core.errors import SwitchUnreachable
from watchdog.core.traffic import Change, VariantState
from watchdog.traffic.kubernetes_backends import SERVICE_NAME, reached, slices_of, target_port
from watchdog.traffic.kubernetes_object import LabelKey, LabelName, ObjectSettings, ObjectSwitch, Patch
from watchdog.traffic.kubernetes_pods import variant_of

_ON: Final = 100
#: A Deployment numbers the templates that it had: the highest is the one it has.
_REVISION: Final = "deployment.kubernetes.io/revision"


class ServiceSettings(ObjectSettings):
    """`traffic: {kind: kubernetes-service, …}` of a service."""

    service: LabelName
    """Name of the Service."""
    selector: LabelKey
    """The key in its selector whose value is switched. The other keys are what all variants have in common."""


class KubernetesServiceSwitch(ObjectSwitch[Service]):
    """Switches one label of a Service's selector."""

    Settings = ServiceSettings
    kind: ClassVar[Kind[Any]] = SERVICES
    #: The settings that say which object it is: two switches of one object would fight over it.
    OBJECT: ClassVar = ("namespace", "service")

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        name: str,
        cluster: Cluster,
        feeds: Feeds | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            settings, target=settings.service, name=name, cluster=cluster, feeds=feeds, clock=clock
        )
        self._key = settings.selector
        self._label = settings.version_label
        #: The rest of the selector, as it was read last.
        self._shared: Mapping[str, str] = {}

    def watched(self) -> tuple[Kind[Any], ...]:
        return SERVICES, PODS, REPLICA_SETS, ENDPOINT_SLICES

    def concerns(self, found: Object) -> bool:
        labels = found.metadata.labels
        if isinstance(found, EndpointSlice):
            return labels.get(SERVICE_NAME) == self._target
        return self._shared.items() <= labels.items()

    def fields(self) -> tuple[str, ...]:
        return (f"/spec/selector/{self._key.replace('~', '~0').replace('/', '~1')}",)

    def facts(self, found: Service) -> Any:
        return [found.spec.type, found.spec.selector]

    async def survey(self, found: Service, look: Look) -> dict[str, VariantState]:
        live = self._live(found)
        shared = {name: text for name, text in found.spec.selector.items() if name != self._key}
        self._shared = shared
        port = target_port(next(iter(found.spec.ports), None))
        by_value = self._by_value(await look.all(PODS, self._namespace, labels=shared))
        variants = {
            value: self._named(value, variant_of(pods, weight=0, label=self._label, port=port))
            for value, pods in by_value.items()
        }
        for one in _current(await look.all(REPLICA_SETS, self._namespace, labels=shared)):
            value = _labels(one).get(self._key)
            if value and value not in variants and shared.items() <= _labels(one).items():
                variants[value] = self._named(value, self._without_pods(one))
        if live not in variants:
            nobody = f"no pod has the label {self._key}: {live}, which the selector asks for"
            variants[live] = self._named(live, VariantState(weight=0, ready=0, total=0, note=nobody))
        slices = await slices_of(look, self._namespace, self._target)
        variants[live] = replace(reached(variants[live], by_value.get(live, ()), slices), weight=_ON)
        return variants

    def patch(self, found: Service, change: Change) -> Patch:
        return {"spec": {"selector": {self._key: change.target}}}

    def _live(self, found: Service) -> str:
        """The value that takes traffic. Raises `SwitchUnreachable` for a Service that has none."""
        if found.spec.type == "ExternalName":
            raise SwitchUnreachable(f"{self.where} is an ExternalName: it has no pods to choose from")
        if not found.spec.selector:
            raise SwitchUnreachable(f"{self.where} has no selector: its endpoints are made by somebody else")
        live = found.spec.selector.get(self._key)
        if live is None:
            known = ", ".join(sorted(found.spec.selector))
            raise SwitchUnreachable(
                f"the selector of {self.where} has no key {self._key!r} (it has: {known})"
            )
        return live

    def _by_value(self, pods: Iterable[Pod]) -> dict[str, list[Pod]]:
        found: dict[str, list[Pod]] = {}
        for pod in sorted(pods, key=lambda one: one.name):
            value = pod.metadata.labels.get(self._key)
            if value:
                found.setdefault(value, []).append(pod)
        return found

    def _named(self, value: str, variant: VariantState) -> VariantState:
        """Where the switched label is the version itself, its value is the version, whatever else pods say."""
        return replace(variant, version=value) if self._key == self._label else variant

    def _without_pods(self, found: ReplicaSet) -> VariantState:
        note = "it has no pods" if found.spec.replicas else f"ReplicaSet {found.name} is scaled to 0"
        version = version_of_template(found.spec.template, self._label)
        return VariantState(weight=0, version=version, ready=0, total=0, note=note)


def _current(found: Iterable[ReplicaSet]) -> Iterable[ReplicaSet]:
    """The newest ReplicaSet of each controller: the older ones are its history, and no standby."""
    newest: dict[str, ReplicaSet] = {}
    for one in found:
        owner = one.metadata.controller
        key = owner.uid if owner is not None else one.metadata.uid
        if key not in newest or _revision(newest[key]) < _revision(one):
            newest[key] = one
    return newest.values()


def _revision(found: ReplicaSet) -> int:
    text = found.metadata.annotations.get(_REVISION, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _labels(found: ReplicaSet) -> Mapping[str, str]:
    """What its pods would be labelled with."""
    metadata = found.spec.template.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return labels if isinstance(labels, dict) else {}
