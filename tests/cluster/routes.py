"""Objects of Gateway API and Istio as people write them, over what `tests.cluster.worlds` has."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def ref(name: str, weight: int | None = None, **other: Any) -> Json:
    """A backendRef."""
    return {"name": name, "port": 80, **({} if weight is None else {"weight": weight}), **other}


def httproute(*rules: Json, **metadata: Any) -> Json:
    """An HTTPRoute with these rules."""
    spec = {"parentRefs": [{"name": "public"}], "hostnames": ["trips.example.com"], "rules": list(rules)}
    return {"metadata": {"name": "trips", **metadata}, "spec": spec}


def to(subset: str | None, weight: int | None = None, host: str = "trips", **other: Any) -> Json:
    """A destination of a VirtualService's route."""
    place: Json = {"host": host, **({} if subset is None else {"subset": subset})}
    return {"destination": place, **({} if weight is None else {"weight": weight}), **other}


def header(value: str = "always") -> Json:
    """A match on who asks."""
    return {"headers": {"x-canary": {"exact": value}}}


def virtual_service(*http: Json, **spec: Any) -> Json:
    """A VirtualService with these routes."""
    routes = {"http": list(http)} if http else {}
    return {"metadata": {"name": "trips"}, "spec": {"hosts": ["trips.example.com"], **routes, **spec}}


def destination_rule(host: str = "trips", **subsets: Json) -> Json:
    """A DestinationRule; its subsets have these labels, blue and green their own without any."""
    labels = subsets or {"blue": {"version": "blue"}, "green": {"version": "green"}}
    found = [{"name": name, "labels": one} for name, one in labels.items()]
    return {"metadata": {"name": "trips"}, "spec": {"host": host, "subsets": found}}
