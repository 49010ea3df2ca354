"""A Service that Argo CD or Flux keeps, on the API in memory, and the switch that moves it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from tests.cluster.worlds import FakeWorld, World
from watchdog.cluster.objects import SERVICES, Kind
from watchdog.cluster.owners import APPLICATIONS, KUSTOMIZATIONS
from watchdog.core.traffic import Change, TrafficState
from watchdog.traffic.kubernetes_service import KubernetesServiceSwitch

Json = dict[str, Any]
TRACKING = "argocd.argoproj.io/tracking-id"
HEALS: Json = {"syncPolicy": {"automated": {"prune": True, "selfHeal": True}, "syncOptions": ["A=b"]}}
FLUX = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
SUSPENDED = "rollback-watchdog.io/suspended"


def switch_of(world: World, **settings: Any) -> KubernetesServiceSwitch:
    """The switch of the Service `trips`."""
    made = KubernetesServiceSwitch.Settings(
        namespace=world.namespace,
        service="trips",
        selector="version",
        **{"timeout": timedelta(seconds=5), **settings},
    )
    return KubernetesServiceSwitch(made, name="trips", cluster=world.cluster)


def kept_by_argo(world: World, app: str = "trips") -> None:
    """Argo CD marks the Service as part of an application."""
    tracked = {TRACKING: f"{app}:/Service:{world.namespace}/trips"}
    world.patch(SERVICES, "trips", {"metadata": {"annotations": tracked}})


def kept_by_flux(world: World) -> None:
    """Flux marks the Service as part of a Kustomization."""
    world.patch(SERVICES, "trips", {"metadata": {"labels": FLUX}})


class Kept(FakeWorld):
    """The Service comes from the application argocd/trips, which heals itself."""

    @classmethod
    @contextlib.asynccontextmanager
    async def heal(cls, spec: Json | None = None, **settings: Any) -> AsyncIterator[Kept]:
        """A furnished one."""
        async with cls.open(**settings) as world:
            assert isinstance(world, Kept)
            kept_by_argo(world)
            world.application(spec if spec is not None else HEALS)
            yield world

    def application(
        self, spec: Json, name: str = "trips", namespace: str = "argocd", **metadata: Any
    ) -> None:
        self.api.put(APPLICATIONS, namespace, {"metadata": {"name": name, **metadata}, "spec": spec})

    def owner(self, kind: Kind[Any] = APPLICATIONS, namespace: str = "argocd", name: str = "trips") -> Json:
        return self.api.get(kind, namespace, name)

    def flux(self, spec: Json | None = None) -> None:
        kept_by_flux(self)
        self.api.put(KUSTOMIZATIONS, "flux-system", {"metadata": {"name": "apps"}, "spec": spec or {}})

    def live(self) -> str:
        return str(self.get(SERVICES, "trips")["spec"]["selector"]["version"])


def to_green(state: TrafficState, *, mark: str = "rb-1", suspend: bool = True, **fields: Any) -> Change:
    """The change that a rollback would make of the state read."""
    return Change(
        target="green",
        away=("blue",),
        expect=state.revision,
        mark=mark,
        epoch=3,
        suspend=suspend,
        **fields,
    )
