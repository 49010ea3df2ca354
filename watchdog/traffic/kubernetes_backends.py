"""What a Service comes to as a variant, for switches that choose between Services: its pods, as far as it reaches them.

Pods tell the version and whether they are ready, EndpointSlices where the Service really sends traffic: a pod that is
in none of them is no capacity. This module must never write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from watchdog.cluster.look import Look
from watchdog.cluster.objects import (
    ENDPOINT_SLICES,
    PODS,
    Endpoint,
    EndpointSlice,
    Pod,
    Service,
    ServicePort,
)
from watchdog.cluster.pods import serving
from watchdog.core.traffic import VariantState
from watchdog.traffic.kubernetes_pods import variant_of

#: The label of EndpointSlices that names their Service.
SERVICE_NAME: Final = "kubernetes.io/service-name"


async def backend_of(
    look: Look, service: Service, *, weight: int, label: str, port: ServicePort | None = None
) -> VariantState:
    """The variant that a Service is. Raises `ClusterError`."""
    namespace, selector = service.metadata.namespace, service.spec.selector
    slices = await slices_of(look, namespace, service.name)
    if service.spec.type == "ExternalName":
        note = "it is the name of something outside, of which the cluster knows nothing"
        return VariantState(weight=weight, note=note)
    if not selector:
        return by_endpoints(slices, weight=weight)
    pods = await look.all(PODS, namespace, labels=selector)
    found = variant_of(pods, weight=weight, label=label, port=target_port(port))
    return reached(found, pods, slices)


async def slices_of(look: Look, namespace: str, service: str) -> Sequence[EndpointSlice]:
    """The EndpointSlices of a Service. Raises `ClusterError`."""
    return await look.all(ENDPOINT_SLICES, namespace, labels={SERVICE_NAME: service})


def reached(variant: VariantState, pods: Iterable[Pod], slices: Iterable[EndpointSlice]) -> VariantState:
    """The variant with only those of its ready pods that the Service sends traffic to."""
    names = _names(slices)
    able = [pod for pod in serving(pods) if pod.ready]
    missed = [pod for pod in able if pod.name not in names]
    if not missed:
        return variant
    told = f"{len(missed)} of {len(able)} ready pods are no endpoints of the Service"
    addresses = tuple(
        one for one in variant.addresses if not any(one.startswith(f"{pod.status.pod_ip}:") for pod in missed)
    )
    return replace(variant, ready=len(able) - len(missed), addresses=addresses, note=told)


def by_endpoints(slices: Iterable[EndpointSlice], *, weight: int) -> VariantState:
    """A variant that has no pods to tell of it: endpoints that somebody wrote by hand."""
    found = {one.addresses[0]: one for one in _endpoints(slices) if one.addresses}
    ready = sum(one.ready for one in found.values())
    return VariantState(
        weight=weight, ready=ready, total=len(found), note="" if found else "it has no endpoints"
    )


def target_port(port: ServicePort | None) -> int | None:
    """The number at which pods listen for a port of a Service; `None` when only its name is known."""
    if port is None:
        return None
    target = port.target_port or port.port
    return target if isinstance(target, int) and target > 0 else None


def _endpoints(slices: Iterable[EndpointSlice]) -> Iterable[Endpoint]:
    for one in slices:
        yield from one.endpoints or ()


def _names(slices: Iterable[EndpointSlice]) -> Collection[str]:
    """The pods that traffic is sent to."""
    return {
        one.target_ref.name
        for one in _endpoints(slices)
        if one.ready and one.target_ref is not None and one.target_ref.kind == "Pod"
    }
