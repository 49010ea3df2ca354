"""Where a VirtualService sends the requests for one host, and the JSON patch that sends them elsewhere.

Pure: parts of objects in, operations out. Only `weight` and `destination.subset` of destinations of that one host are
ever written, each behind a `test` of what was there; everything else of a route is somebody else's. This module must
never replace a route or a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from watchdog.cluster.objects import Kind, Object, Shape

#: The lists of routes; each has its own order.
_PROTOCOLS: Final = ("http", "tls", "tcp")
#: Conditions on what is asked for. All others are on who asks (headers, cookies, callers), or not known to us.
_BROAD: Final = frozenset(
    {
        "name",
        "uri",
        "ignoreUriCase",
        "authority",
        "scheme",
        "method",
        "port",
        "gateways",
        "withoutHeaders",
        "statPrefix",
        "sniHosts",
        "destinationSubnets",
    }
)
_EVERYTHING: Final = {"uri": {"prefix": "/"}}

Operation = dict[str, Any]


class Destination(Shape, frozen=True, kw_only=True, rename="camel"):
    """Where requests go. Without `subset`, to all of the host."""

    host: str = ""
    subset: str | None = None


class Weighted(Shape, frozen=True, kw_only=True, rename="camel"):
    """An entry of a route's `route`."""

    destination: Destination = Destination()
    weight: int | None = None


class Mirror(Shape, frozen=True, kw_only=True, rename="camel"):
    """An entry of `mirrors`."""

    destination: Destination = Destination()


class Reference(Shape, frozen=True, kw_only=True, rename="camel"):
    """The VirtualService that a route delegates to."""

    name: str = ""
    namespace: str = ""


class Route(Shape, frozen=True, kw_only=True, rename="camel"):
    """One route, of whichever protocol."""

    name: str | None = None
    match: tuple[dict[str, Any], ...] | None = None
    route: tuple[Weighted, ...] | None = None
    mirror: Destination | None = None
    mirrors: tuple[Mirror, ...] | None = None
    delegate: Reference | None = None

    @property
    def destinations(self) -> tuple[Weighted, ...]:
        """Its destinations; a redirect has none."""
        return self.route or ()

    @property
    def weights(self) -> list[int]:
        """What each destination gets: the only one gets everything, whatever its weight says."""
        if len(self.destinations) == 1:
            return [100]
        return [max(one.weight or 0, 0) for one in self.destinations]

    @property
    def copies(self) -> tuple[Destination, ...]:
        """Where it sends copies of requests."""
        mirrors = tuple(one.destination for one in self.mirrors or ())
        return mirrors if self.mirror is None else (self.mirror, *mirrors)


class Spec(Shape, frozen=True, kw_only=True, rename="camel"):
    """`spec` of a VirtualService."""

    http: tuple[Route, ...] | None = None
    tls: tuple[Route, ...] | None = None
    tcp: tuple[Route, ...] | None = None


class VirtualService(Object, frozen=True, kw_only=True, rename="camel"):
    """A VirtualService."""

    spec: Spec = Spec()


VIRTUAL_SERVICES: Final[Kind[VirtualService]] = Kind(
    group="networking.istio.io",
    version="v1",
    plural="virtualservices",
    name="VirtualService",
    shape=VirtualService,
)


class Reach(StrEnum):
    """Whose requests come to a route."""

    MAIN = "main"  #: anybody's
    MATCHED = "matched"  #: those of some callers only, told by headers, cookies or where they come from
    NEVER = "never"  #: nobody's: an earlier route takes everything


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A route, and where it stands."""

    protocol: str
    index: int
    route: Route
    reach: Reach

    def __str__(self) -> str:
        named = f" ({self.route.name})" if self.route.name else ""
        return f"{self.protocol} route {self.index}{named}"


def full_name(host: str, namespace: str) -> str:
    """`NAME.NAMESPACE` of a Service, however it is written; other hosts as they are.

    A short name belongs to the namespace of the object in which it stands.
    """
    words = host.lower().rstrip(".").split(".")
    if len(words) == 1:
        return f"{words[0]}.{namespace}"
    return ".".join(words[:2] if len(words) > 2 and words[2] == "svc" else words)


class Routes:
    """The routes of one VirtualService as one host sees them.

    A variant is a subset; what goes to the host without naming one is the variant called `NAME.NAMESPACE`, as no
    subset can be called.
    """

    def __init__(self, spec: Spec, *, host: str, namespace: str) -> None:
        """`host` as configured, `namespace` the VirtualService's."""
        self.host = full_name(host, namespace)
        self._namespace = namespace
        self._all = list(_placed(spec))
        self.places = [place for place in self._all if self._own(place)]

    def variant(self, destination: Destination) -> str:
        """The variant that a destination of the host is."""
        return destination.subset or self.host

    def weights(self) -> dict[str, int]:
        """Every variant's share of the host's traffic in percent; above 0 when it gets anything at all.

        By the routes that anybody's requests can take, each counted alike: how many take which nobody tells here.
        """
        found = {self.variant(one.destination): 0.0 for place in self.places for one in self._ours(place)}
        counted = [place for place in self.places if place.reach is Reach.MAIN and self._sum(place)]
        for place in counted:
            weights = place.route.weights
            for index in self._own(place):
                name = self.variant(place.route.destinations[index].destination)
                found[name] += weights[index] / self._sum(place) / len(counted)
        return {name: max(round(share * 100), 1) if share > 0 else 0 for name, share in found.items()}

    def facts(self) -> list[Any]:
        """What makes two states different: who comes to which route, and what the host's variants get there."""
        return [
            [place.protocol, place.reach, place.route.match, self._shares(place)] for place in self.places
        ]

    def fields(self) -> tuple[str, ...]:
        """JSON pointers to what `move` may write: weights, and the subset where there is no other to weigh against."""
        return tuple(
            f"{_path(place)}/route/{index}/{'weight' if len(self._shares(place)) > 1 else 'destination/subset'}"
            for place in self.places
            for index in self._own(place)
        )

    def notes(self, variant: str) -> str:
        """What leads to a variant besides its weight."""
        matched = [
            str(place)
            for place in self.places
            if place.reach is Reach.MATCHED and dict(self._shares(place)).get(variant)
        ]
        mirrored = [
            str(place)
            for place in self._all
            for one in place.route.copies
            if self._is_ours(one) and self.variant(one) == variant
        ]
        told = [f"requests that match {', '.join(matched)} go there as well" if matched else ""]
        told += [
            f"copies of requests ({', '.join(mirrored)}) go there and are left alone" if mirrored else ""
        ]
        return "; ".join(filter(None, told))

    def absence(self) -> str:
        """Why there is no route to the host, in words."""
        hosts = {one.destination.host for place in self._all for one in place.route.destinations}
        delegates = {
            f"{one.namespace or self._namespace}/{one.name}"
            for place in self._all
            if (one := place.route.delegate)
        }
        there = f"there are {', '.join(sorted(hosts))}" if hosts else "there are no destinations"
        told = f"no route has a destination of host {self.host}; {there}"
        return told + (f"; it delegates to {', '.join(sorted(delegates))}" if delegates else "")

    def move(self, target: str, away: Sequence[str]) -> list[Operation]:
        """The operations after which `target` has all that routes for anybody give the host, and `away` nothing at all.

        Empty when the host gets no requests to begin with.
        """
        if not any(place.reach is Reach.MAIN and self._sum(place) for place in self.places):
            return []
        return [one for place in self.places for one in self._moved(place, target, away)]

    # Its parts

    def _is_ours(self, destination: Destination) -> bool:
        return full_name(destination.host, self._namespace) == self.host

    def _own(self, place: Place) -> list[int]:
        return [i for i, one in enumerate(place.route.destinations) if self._is_ours(one.destination)]

    def _ours(self, place: Place) -> list[Weighted]:
        return [place.route.destinations[index] for index in self._own(place)]

    def _sum(self, place: Place) -> int:
        weights = place.route.weights
        return sum(weights[index] for index in self._own(place))

    def _shares(self, place: Place) -> list[tuple[str, int]]:
        weights, names = place.route.weights, place.route.destinations
        found: dict[str, int] = {}
        for index in self._own(place):
            name = self.variant(names[index].destination)
            found[name] = found.get(name, 0) + weights[index]
        return list(found.items())

    def _leaving(self, place: Place, target: str, away: Sequence[str]) -> list[int]:
        """The destinations that must get nothing any more.

        Who comes to a matched route came for a variant of his own; it is taken from him only when that one is bad. All
        of the host holds the bad one, too.
        """
        weights, names = place.route.weights, place.route.destinations
        bad = {*away, self.host}
        return [
            index
            for index in self._own(place)
            if weights[index] and (name := self.variant(names[index].destination)) != target
            if place.reach is Reach.MAIN or name in bad
        ]

    def _moved(self, place: Place, target: str, away: Sequence[str]) -> Iterator[Operation]:
        leaving = self._leaving(place, target, away)
        if not leaving:
            return
        weights = list(place.route.weights)
        staying = [
            index
            for index in self._own(place)
            if self.variant(place.route.destinations[index].destination) == target
        ]
        # Without a destination of its own the target takes the place of the heaviest that leaves.
        stays = max(staying or leaving, key=lambda index: (weights[index], -index))
        moved = sum(weights[index] for index in leaving)
        for index in leaving:
            weights[index] = 0
        weights[stays] += moved
        if len(self._own(place)) == len(weights) and sum(weights) == weights[stays]:
            weights[stays] = 100
        for index, weighted in enumerate(place.route.destinations):
            subset = target if index == stays and not staying else self.variant(weighted.destination)
            yield from self._written(f"{_path(place)}/route/{index}", weighted, subset, weights, index)

    def _written(
        self, path: str, old: Weighted, variant: str, weights: Sequence[int], index: int
    ) -> Iterator[Operation]:
        """What changes one destination, each value tested first. The weight of an only destination says nothing."""
        weighs = len(weights) > 1 and weights[index] != max(old.weight or 0, 0)
        points = variant != self.variant(old.destination) and self._is_ours(old.destination)
        if not (weighs or points):
            return
        yield {"op": "test", "path": f"{path}/destination/host", "value": old.destination.host}
        if old.destination.subset is not None:
            yield {"op": "test", "path": f"{path}/destination/subset", "value": old.destination.subset}
        if points and variant == self.host:
            yield {"op": "remove", "path": f"{path}/destination/subset"}
        elif points:
            yield {"op": "add", "path": f"{path}/destination/subset", "value": variant}
        if weighs:
            if old.weight is not None:
                yield {"op": "test", "path": f"{path}/weight", "value": old.weight}
            yield {"op": "add", "path": f"{path}/weight", "value": weights[index]}


def _path(place: Place) -> str:
    return f"/spec/{place.protocol}/{place.index}"


def _placed(spec: Spec) -> Iterator[Place]:
    """Every route with whose requests come to it. Where all are for some callers only, these are everybody."""
    found = [place for protocol in _PROTOCOLS for place in _reached(protocol, getattr(spec, protocol) or ())]
    if any(place.reach is Reach.MAIN for place in found):
        yield from found
        return
    for place in found:
        reach = Reach.MAIN if place.reach is Reach.MATCHED else place.reach
        yield msgspec.structs.replace(place, reach=reach)


def _reached(protocol: str, routes: Sequence[Route]) -> Iterator[Place]:
    taken = False
    for index, route in enumerate(routes):
        blocks = route.match or ()
        reach = Reach.MATCHED if blocks and not any(_BROAD.issuperset(one) for one in blocks) else Reach.MAIN
        yield Place(protocol=protocol, index=index, route=route, reach=Reach.NEVER if taken else reach)
        taken = taken or not blocks or any(_takes_all(one) for one in blocks)


def _takes_all(block: dict[str, Any]) -> bool:
    return {key: value for key, value in block.items() if key != "name"} in ({}, _EVERYTHING)
