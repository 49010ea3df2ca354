"""Traffic moved by an Istio VirtualService: the weights of a host's subsets, and the routes of some callers only.

Whatever the API server refuses when it is stale is never forced: a JSON patch tests each value that it changes. This
module must never touch a field of a route that is not a weight or a subset of the one host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from msgspec.structs import replace

from watchdog.aio.clock import Clock
from watchdog.cluster.client import Cluster
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.look import Look
from watchdog.cluster.objects import ENDPOINT_SLICES, PODS, SERVICES, Kind
from watchdog.cluster.rights import Right, reading
from watchdog.core.errors import SwitchRejected, SwitchUnreachable
from watchdog.core.traffic import Change, VariantState
from watchdog.traffic.istio_routes import VIRTUAL_SERVICES, Routes, VirtualService, full_name
from watchdog.traffic.istio_subsets import DESTINATION_RULES, subsets_of
from watchdog.traffic.kubernetes_object import ObjectName, ObjectSettings, ObjectSwitch, Patch

#: What a Service and its capacity are made of.
_BEHIND: Final = (SERVICES, PODS, ENDPOINT_SLICES)


class IstioVirtualServiceSettings(ObjectSettings):
    """`traffic: {kind: istio-virtualservice, …}` of a service."""

    virtualservice: ObjectName
    """The VirtualService (`networking.istio.io/v1`)."""
    host: ObjectName
    """The host whose subsets are the variants, as its destinations name it: `trips`, or `trips.prod.svc.cluster.local`.
    """


class IstioVirtualServiceSwitch(ObjectSwitch[VirtualService]):
    """Moves what one host gets of a VirtualService's requests between its subsets."""

    Settings = IstioVirtualServiceSettings
    kind: ClassVar[Kind[Any]] = VIRTUAL_SERVICES

    def __init__(
        self,
        settings: IstioVirtualServiceSettings,
        *,
        name: str,
        cluster: Cluster,
        feeds: Feeds | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            settings, target=settings.virtualservice, name=name, cluster=cluster, feeds=feeds, clock=clock
        )
        self._label = settings.version_label
        self._host = full_name(settings.host, settings.namespace)
        self._fields: tuple[str, ...] = ("/spec",)

    @property
    def identity(self) -> str:
        """With the host: one VirtualService may route to several services."""
        return f"{super().identity}:{self._host}"

    @property
    def rights(self) -> Sequence[Right]:
        """Where the host is in another namespace, its parts are looked at there."""
        if not self._elsewhere:
            return super().rights
        there = (DESTINATION_RULES, *_BEHIND)
        return (*super().rights, *(right for kind in there for right in reading(kind, self._elsewhere)))

    def watched(self) -> tuple[Kind[Any], ...]:
        own = (VIRTUAL_SERVICES, DESTINATION_RULES)
        return own if self._elsewhere else (*own, *_BEHIND)

    @property
    def _elsewhere(self) -> str:
        """The namespace of the host's Service where it is not the VirtualService's."""
        home = self._host.partition(".")[2]
        return "" if "." in home or home == self._namespace else home

    def fields(self) -> tuple[str, ...]:
        """As of the last read; before one, everything."""
        return self._fields

    def facts(self, found: VirtualService) -> Any:
        return self._routes(found).facts()

    async def survey(self, found: VirtualService, look: Look) -> dict[str, VariantState]:
        routes = self._routes(found)
        if not routes.places:
            raise SwitchUnreachable(f"{self.where}: {routes.absence()}")
        self._fields = routes.fields()
        weights = routes.weights()
        subsets = await subsets_of(look, host=self._host, namespace=self._namespace)
        return {
            name: _noted(
                subsets.variant(name, weight=weights.get(name, 0), label=self._label), routes.notes(name)
            )
            for name in dict.fromkeys((*weights, *subsets.labels))
        }

    def patch(self, found: VirtualService, change: Change) -> Patch:
        operations = self._routes(found).move(change.target, change.away)
        if not operations:
            raise SwitchRejected(
                f"{self.where} sends no requests to {self._host} that could be moved; nothing was changed"
            )
        return operations

    def _routes(self, found: VirtualService) -> Routes:
        return Routes(found.spec, host=self._host, namespace=self._namespace)


def _noted(state: VariantState, note: str) -> VariantState:
    return replace(state, note="; ".join(filter(None, (note, state.note))))
