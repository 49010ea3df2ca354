"""What stands behind the subsets of a host: DestinationRules name them by labels, pods carry these.

A subset that nobody may look up is unknown, which is a veto, never "none ready". This module must never write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from watchdog.cluster.errors import Refused
from watchdog.cluster.look import Look
from watchdog.cluster.objects import PODS, SERVICES, EndpointSlice, Kind, Object, Pod, Shape
from watchdog.core.traffic import VariantState
from watchdog.traffic.istio_routes import full_name
from watchdog.traffic.kubernetes_backends import by_endpoints, reached, slices_of
from watchdog.traffic.kubernetes_pods import variant_of

Labels = Mapping[str, str]


class Subset(Shape, frozen=True, kw_only=True, rename="camel"):
    """An entry of `subsets`."""

    name: str = ""
    labels: dict[str, str] | None = None


class DestinationRuleSpec(Shape, frozen=True, kw_only=True, rename="camel"):
    """`spec` of a DestinationRule."""

    host: str = ""
    subsets: tuple[Subset, ...] | None = None


class DestinationRule(Object, frozen=True, kw_only=True, rename="camel"):
    """A DestinationRule."""

    spec: DestinationRuleSpec = DestinationRuleSpec()


DESTINATION_RULES: Final[Kind[DestinationRule]] = Kind(
    group="networking.istio.io",
    version="v1",
    plural="destinationrules",
    name="DestinationRule",
    shape=DestinationRule,
)


class Behind(msgspec.Struct, frozen=True, kw_only=True):
    """What is behind the host's Service: `pods` (`None` when it selects none) and `slices`; or a `note` why not known.

    A Service that is `gone` has nothing behind it, which is known.
    """

    pods: tuple[Pod, ...] | None = None
    slices: tuple[EndpointSlice, ...] = ()
    gone: bool = False
    note: str = ""

    def chosen(self, labels: Labels, *, weight: int, label: str) -> VariantState:
        """The variant made of those pods that have `labels`."""
        if self.gone:
            return VariantState(weight=weight, ready=0, total=0, note=self.note)
        if self.note:
            return VariantState(weight=weight, note=self.note)
        if self.pods is None:
            if labels:
                return VariantState(
                    weight=weight, note="readiness unknown: the host's Service selects no pods"
                )
            return by_endpoints(self.slices, weight=weight)
        pods = [pod for pod in self.pods if labels.items() <= pod.metadata.labels.items()]
        return reached(variant_of(pods, weight=weight, label=label), pods, self.slices)


class Subsets(msgspec.Struct, frozen=True, kw_only=True):
    """The labels of a host's subsets by name, and what is behind the host. `note` tells why subsets may be missing.

    Labels are `None` where DestinationRules contradict each other.
    """

    host: str
    labels: dict[str, Labels | None]
    behind: Behind
    note: str = ""

    def variant(self, name: str, *, weight: int, label: str) -> VariantState:
        """A subset as a variant, or the whole host by its own name."""
        if name == self.host:
            return self.behind.chosen({}, weight=weight, label=label)
        labels = self.labels.get(name)
        if labels is not None:
            return self.behind.chosen(labels, weight=weight, label=label)
        if name in self.labels:
            note = f"DestinationRules of {self.host} contradict each other on the subset {name}"
        else:
            note = self.note or f"no DestinationRule of {self.host} has a subset {name}"
        return VariantState(weight=weight, note=f"readiness unknown: {note}")


async def subsets_of(look: Look, *, host: str, namespace: str) -> Subsets:
    """The subsets of a host (a full name) that a VirtualService in `namespace` sends requests to.

    By DestinationRules beside the VirtualService, where callers look first, and beside the Service. Raises
    `ClusterError` when the API server does not answer, never when it says no.
    """
    service, _, home = host.partition(".")
    if "." in home:
        note = f"{host} is no Service of Kubernetes"
        return Subsets(host=host, labels={}, behind=Behind(note=f"readiness unknown: {note}"), note=note)
    labels: dict[str, Labels | None] = {}
    notes = []
    for place in dict.fromkeys((home, namespace)):
        try:
            rules = await look.all(DESTINATION_RULES, place)
        except Refused as error:
            notes.append(f"DestinationRules in {place} {_may_not(error)}")
        else:
            labels |= _defined([one for one in rules if full_name(one.spec.host, place) == host])
    behind = await _behind(look, home, service)
    return Subsets(host=host, labels=labels, behind=behind, note="; ".join(notes))


async def _behind(look: Look, namespace: str, name: str) -> Behind:
    what = f"Service {namespace}/{name}"
    try:
        service = await look.one(SERVICES, namespace, name)
        if service.spec.type == "ExternalName":
            return Behind(note=f"readiness unknown: {what} is the name of something outside")
        selector = service.spec.selector
        pods = tuple(await look.all(PODS, namespace, labels=selector)) if selector else None
        slices = await slices_of(look, namespace, name)
    except Refused as error:
        if error.missing:
            return Behind(gone=True, note=f"there is no {what}")
        return Behind(note=f"readiness unknown: {what} {_may_not(error)}")
    return Behind(pods=pods, slices=tuple(slices))


def _may_not(error: Refused) -> str:
    """What a no comes to. A 5xx is none: raised again."""
    if error.uncertain:
        raise error
    return f"cannot be looked at: {error}"


def _defined(rules: Sequence[DestinationRule]) -> dict[str, Labels | None]:
    """Labels of every subset; `None` for one that is defined twice and not alike."""
    found: dict[str, Labels | None] = {}
    for rule in rules:
        for subset in rule.spec.subsets or ():
            labels = subset.labels or {}
            found[subset.name] = labels if found.get(subset.name, labels) == labels else None
    return found
