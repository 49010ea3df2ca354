"""The parts of an Ingress that route, and which one of its backends is meant.

Pure. This module must never guess between two backends that both fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from watchdog.cluster.objects import Kind, Object, ServicePort, Shape


class BackendPort(Shape, frozen=True, kw_only=True, rename="camel"):
    """The port of a Service, by name or by number."""

    name: str = ""
    number: int = 0

    def __str__(self) -> str:
        return self.name or str(self.number)

    def of(self, ports: tuple[ServicePort, ...]) -> ServicePort | None:
        """The same port among those of a Service."""
        return next((one for one in ports if self._is(one)), None)

    def _is(self, port: ServicePort) -> bool:
        return port.name == self.name if self.name else port.port == self.number


class ServiceBackend(Shape, frozen=True, kw_only=True, rename="camel"):
    """A Service that takes traffic."""

    name: str
    port: BackendPort = BackendPort()


class Backend(Shape, frozen=True, kw_only=True, rename="camel"):
    """Where a path leads; without `service` to some other resource."""

    service: ServiceBackend | None = None


class IngressPath(Shape, frozen=True, kw_only=True, rename="camel"):
    """A path of a rule."""

    path: str = ""
    path_type: str = ""
    backend: Backend = Backend()


class IngressHttp(Shape, frozen=True, kw_only=True, rename="camel"):
    """The paths of a rule."""

    paths: tuple[IngressPath, ...] = ()


class IngressRule(Shape, frozen=True, kw_only=True, rename="camel"):
    """The paths of a host; without one, of all hosts."""

    host: str = ""
    http: IngressHttp | None = None


class IngressSpec(Shape, frozen=True, kw_only=True, rename="camel"):
    """`spec` of an Ingress."""

    default_backend: Backend | None = None
    rules: tuple[IngressRule, ...] = ()


class Ingress(Object, frozen=True, kw_only=True, rename="camel"):
    """An Ingress."""

    spec: IngressSpec = IngressSpec()


INGRESSES: Final = Kind(
    group="networking.k8s.io", version="v1", plural="ingresses", name="Ingress", shape=Ingress
)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One backend of an Ingress. `rule` and `number` are where it stands; both -1 for the default backend."""

    rule: int
    number: int
    host: str = ""
    path: str = ""
    path_type: str = ""
    backend: Backend

    @property
    def pointer(self) -> str:
        """The backend as a JSON pointer into the Ingress."""
        if self.rule < 0:
            return "/spec/defaultBackend"
        return f"/spec/rules/{self.rule}/http/paths/{self.number}/backend"

    def __str__(self) -> str:
        if self.rule < 0:
            return "the default backend"
        return f"host {self.host or '(any)'} path {self.path or '/'} ({self.path_type})"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which backend the settings name; `None` says nothing."""

    host: str | None = None
    path: str | None = None
    path_type: str | None = None
    default_backend: bool = False

    def __str__(self) -> str:
        if self.default_backend:
            return "the default backend"
        said = {"host": self.host, "path": self.path, "path_type": self.path_type}
        return " ".join(f"{name} {text or '(any)'}" for name, text in said.items() if text is not None)


def places(spec: IngressSpec) -> Iterator[Place]:
    """Every backend of an Ingress."""
    for rule, one in enumerate(spec.rules):
        for number, path in enumerate(one.http.paths if one.http is not None else ()):
            yield Place(
                rule=rule,
                number=number,
                host=one.host,
                path=path.path,
                path_type=path.path_type,
                backend=path.backend,
            )
    if spec.default_backend is not None:
        yield Place(rule=-1, number=-1, backend=spec.default_backend)


def find(spec: IngressSpec, wanted: Wanted) -> Place:
    """The one backend that is meant. Raises `ValueError` in words, with what there is."""
    known = list(places(spec))
    if not known:
        raise ValueError("it has no backend at all")
    fitting = [place for place in known if _fits(place, wanted)]
    if len(fitting) == 1:
        return fitting[0]
    there = "; ".join(f"{place} to {_target(place)}" for place in known)
    if not fitting:
        raise ValueError(f"it has nothing for {wanted}; it has: {there}")
    said = f"{wanted} fits {len(fitting)} of its backends" if str(wanted) else "it has more than one backend"
    raise ValueError(f"{said}; name host, path and path_type, or default_backend; it has: {there}")


def _fits(place: Place, wanted: Wanted) -> bool:
    if wanted.default_backend:
        return place.rule < 0
    if place.rule < 0:
        return (wanted.host, wanted.path, wanted.path_type) == (None, None, None)
    pairs = (
        (wanted.host, place.host),
        (wanted.path, place.path or "/"),
        (wanted.path_type, place.path_type),
    )
    return all(said is None or said == there for said, there in pairs)


def _target(place: Place) -> str:
    service = place.backend.service
    return "no Service" if service is None else f"Service {service.name} port {service.port}"
