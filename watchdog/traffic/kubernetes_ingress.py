"""The traffic switch of a Kubernetes Ingress: which Service one of its paths leads to.

A variant is a Service: as configured, or every Service of the namespace that is like the one that takes traffic now and
has the same port. The name of that one backend is all that is ever written; ports, other paths and what ingress
controllers read from annotations stay as they are. This module must never switch a path that it cannot tell from
another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, Self

from msgspec.structs import replace
from pydantic import Field, model_validator

from watchdog.aio.clock import Clock
from watchdog.cluster.client import Cluster
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.look import Look
from watchdog.cluster.objects import (
    ENDPOINT_SLICES,
    PODS,
    SERVICES,
    EndpointSlice,
    Kind,
    Object,
    Service,
    matches,
)
from watchdog.core.errors import SwitchRejected, SwitchUnreachable
from watchdog.core.traffic import Change, TrafficState, VariantState
from watchdog.traffic.kubernetes_backends import SERVICE_NAME, backend_of
from watchdog.traffic.kubernetes_ingress_paths import (
    INGRESSES,
    BackendPort,
    Ingress,
    Place,
    ServiceBackend,
    Wanted,
    find,
    places,
)
from watchdog.traffic.kubernetes_object import LabelName, ObjectName, ObjectSettings, ObjectSwitch, Patch

_ON: Final = 100
#: Services with the same value of the first of these that the backend's Service has are its variants.
_ALIKE: Final = ("app.kubernetes.io/name", "app", "app.kubernetes.io/part-of")
#: An Ingress with this takes a share of another one's traffic, with ingress-nginx.
_CANARY: Final = "nginx.ingress.kubernetes.io/canary"


class IngressSettings(ObjectSettings):
    """`traffic: {kind: kubernetes-ingress, …}` of a service."""

    ingress: ObjectName
    """Name of the Ingress."""
    host: str | None = None
    """Host of the rule, as it stands there; empty for a rule without one. Not needed when only one path fits."""
    path: str | None = None
    """Path of the rule, as it stands there. Not needed when only one path fits."""
    path_type: Literal["Exact", "Prefix", "ImplementationSpecific"] | None = None
    """Tells apart two paths that are written alike."""
    default_backend: bool = False
    """Switch the Ingress' default backend, and no path."""
    variants: dict[str, LabelName] | None = Field(default=None, min_length=1)
    """Names of variants, and the Service of each. Left out, variants are Services and are called like them."""

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        named = (self.host, self.path, self.path_type) != (None, None, None)
        if self.default_backend and named:
            raise ValueError("the default backend has neither host nor path")
        services = list((self.variants or {}).values())
        twice = sorted({one for one in services if services.count(one) > 1})
        if twice:
            raise ValueError(f"more than one variant is the Service {twice[0]!r}")
        return self


class KubernetesIngressSwitch(ObjectSwitch[Ingress]):
    """Switches one backend of an Ingress."""

    Settings = IngressSettings
    kind: ClassVar[Kind[Any]] = INGRESSES

    def __init__(
        self,
        settings: IngressSettings,
        *,
        name: str,
        cluster: Cluster,
        feeds: Feeds | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            settings, target=settings.ingress, name=name, cluster=cluster, feeds=feeds, clock=clock
        )
        self._label = settings.version_label
        self._variants: Mapping[str, str] = settings.variants or {}
        #: The Services that were variants at the last read, with what they select.
        self._selectors: Mapping[str, Mapping[str, str]] | None = None
        self._wanted = Wanted(
            host=settings.host,
            path=settings.path,
            path_type=settings.path_type,
            default_backend=settings.default_backend,
        )

    @property
    def identity(self) -> str:
        # Two services may be two paths of one Ingress.
        return f"{super().identity}:{self._wanted}" if str(self._wanted) else super().identity

    def watched(self) -> tuple[Kind[Any], ...]:
        return INGRESSES, SERVICES, PODS, ENDPOINT_SLICES

    def concerns(self, found: Object) -> bool:
        selectors, labels = self._selectors, found.metadata.labels
        if selectors is None or isinstance(found, Service):
            return True
        if isinstance(found, EndpointSlice):
            return labels.get(SERVICE_NAME) in selectors
        return any(matches(labels, wanted) for wanted in selectors.values())

    def fields(self) -> tuple[str, ...]:
        return ("/spec/defaultBackend",) if self._wanted.default_backend else ("/spec/rules",)

    def facts(self, found: Ingress) -> Any:
        place, service = self._place(found)
        return [place.host, place.path, place.path_type, service.name, str(service.port)]

    async def survey(self, found: Ingress, look: Look) -> dict[str, VariantState]:
        place, backend = self._place(found)
        services = {one.name: one for one in await look.all(SERVICES, self._namespace)}
        named = self._named(backend, services)
        self._selectors = {
            name: services[name].spec.selector if name in services else {} for name in named.values()
        }
        variants = {
            name: await self._variant(look, services.get(service), service, backend.port)
            for name, service in named.items()
        }
        live = next(name for name, service in named.items() if service == backend.name)
        told = _beside(place, await look.all(INGRESSES, self._namespace), self._target)
        note = "; ".join(one for one in (variants[live].note, told) if one)
        variants[live] = replace(variants[live], weight=_ON, note=note)
        return variants

    def patch(self, found: Ingress, change: Change) -> Patch:
        place, backend = self._place(found)
        target = self._variants.get(change.target, change.target)
        tests: list[dict[str, Any]] = []
        if place.rule >= 0:
            rule = f"/spec/rules/{place.rule}"
            path = f"{rule}/http/paths/{place.number}"
            if place.host:
                tests.append({"op": "test", "path": f"{rule}/host", "value": place.host})
            if place.path:
                tests.append({"op": "test", "path": f"{path}/path", "value": place.path})
            tests.append({"op": "test", "path": f"{path}/pathType", "value": place.path_type})
        name = f"{place.pointer}/service/name"
        return [
            *tests,
            {"op": "test", "path": name, "value": backend.name},
            {"op": "replace", "path": name, "value": target},
        ]

    def _check(self, found: Ingress, state: TrafficState, change: Change) -> None:
        super()._check(found, state, change)
        target = state.variants[change.target]
        if target.ready is None:
            raise SwitchRejected(f"{self.where}: {change.target}: {target.note}; nothing was changed")

    def _place(self, found: Ingress) -> tuple[Place, ServiceBackend]:
        """The backend that is switched. Raises `SwitchUnreachable` in words."""
        try:
            place = find(found.spec, self._wanted)
        except ValueError as error:
            raise SwitchUnreachable(f"{self.where}: {error}") from error
        if place.backend.service is None:
            raise SwitchUnreachable(f"{self.where}: {place} leads to no Service")
        return place, place.backend.service

    def _named(self, backend: ServiceBackend, services: Mapping[str, Service]) -> dict[str, str]:
        """The variants, and the Service of each; the one that takes traffic is always among them."""
        if self._variants:
            known = dict(self._variants)
        else:
            known = {one: one for one in _alike(services.get(backend.name), backend.port, services)}
        if backend.name not in known.values():
            # Somebody else's doing: what takes traffic must be seen, whatever it is called.
            if backend.name in known:
                raise SwitchUnreachable(
                    f"{self.where} leads to the Service {backend.name!r}, but {backend.name!r} is a variant's name"
                    f" for the Service {known[backend.name]!r}: name the variants otherwise"
                )
            known[backend.name] = backend.name
        return known

    async def _variant(
        self, look: Look, service: Service | None, name: str, port: BackendPort
    ) -> VariantState:
        if service is None:
            return VariantState(weight=0, ready=0, total=0, note=f"there is no Service {name}")
        there = port.of(service.spec.ports)
        if there is None:
            return VariantState(weight=0, note=f"Service {name} has no port {port}")
        return await backend_of(look, service, weight=0, label=self._label, port=there)


def _alike(backend: Service | None, port: BackendPort, services: Mapping[str, Service]) -> Sequence[str]:
    """The Services that belong to the same application as the backend and have its port."""
    if backend is None:
        return ()
    key = next((one for one in _ALIKE if one in backend.metadata.labels), None)
    if key is None:
        return ()
    value = backend.metadata.labels[key]
    return sorted(
        name
        for name, one in services.items()
        if one.metadata.labels.get(key) == value and port.of(one.spec.ports) is not None
    )


def _beside(place: Place, ingresses: Sequence[Ingress], own: str) -> str:
    """What other Ingresses do with traffic of the same host, which a switch of this one leaves as it is."""
    names = sorted(
        one.name
        for one in ingresses
        if one.name != own
        and one.metadata.annotations.get(_CANARY) == "true"
        and any(other.host == place.host for other in places(one.spec))
    )
    return f"Ingress {', '.join(names)} takes a share of the same host's traffic (canary)" if names else ""
