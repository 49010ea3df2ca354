"""Every open incident, wherever it is kept: of services, of sources, of a storm. Finds them, and puts them back.

This module must never open or close one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from watchdog.core.census import count_of
from watchdog.core.incident import Incident, IncidentKind
from watchdog.core.message import Message
from watchdog.core.world import World


def everyone(world: World) -> Iterator[Incident]:
    """Every open incident."""
    for service in world.services.values():
        if service.incidents:
            yield from service.incidents.values()
    for source in world.sources.values():
        if source.incident is not None:
            yield source.incident
    if world.storm.incident is not None:
        yield world.storm.incident


def find(world: World, identity: str | None, service: str = "") -> Incident | None:
    """An open incident by its id; `service` is where it is, if it is of a service, and saves the search."""
    if not identity:
        return None
    if service in world.services:
        return world.services[service].incidents.get(identity)
    return next((one for one in everyone(world) if one.id == identity), None)


def concerned(world: World, messages: Iterable[Message], written: Iterable[Incident]) -> dict[str, Incident]:
    """The incidents that messages are about, as they are after the turn that wrote these."""
    known = {one.id: one for one in written}
    for message in messages:
        if message.incident and message.incident not in known:
            found = find(world, message.incident, message.service)
            if found is not None:
                known[found.id] = found
    return known


def put(world: World, incidents: Iterable[Incident]) -> World:
    """The world with these incidents as they are now; closed ones have left it, and so has what is gone from it.

    Only what people heard, and who is told next, may have changed: what is counted stays as it was.
    """
    services, sources, storm = dict(world.services), dict(world.sources), world.storm
    for one in incidents:
        if not one.open:
            continue
        if one.kind is IncidentKind.STORM:
            if storm.incident is not None and storm.incident.id == one.id:
                storm = replace(storm, incident=one)
        elif one.kind is IncidentKind.SOURCE:
            if one.subject in sources:
                sources[one.subject] = replace(sources[one.subject], incident=one)
        elif one.subject in services:
            known = services[one.subject]
            services[one.subject] = replace(known, incidents={**known.incidents, one.id: one})
    count = replace(count_of(world), services=services)
    return replace(world, services=services, sources=sources, storm=storm, count=count)
