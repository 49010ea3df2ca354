"""Editions: which configuration a poll or a look was begun under.

The configuration changes between two turns while answers are on their way. An answer to another question than the one
that is asked now judges nothing. This module must never drop an answer whose question stayed what it was.
"""

from __future__ import annotations

from msgspec.structs import replace

from watchdog.core.check import CheckId
from watchdog.core.checks import rule_of
from watchdog.core.events import Event, Observed, TrafficSeen, TrafficUnseen
from watchdog.core.world import ServiceWorld, World

#: The key in `ServiceWorld.editions` of the service's switch; every other key is a rule's name.
SWITCH = ""


def outdated(world: World, event: Event) -> bool:
    """Whether an answer was asked for before its rule, its source or its switch became another."""
    match event:
        case Observed(check=CheckId(service=name, rule=part), edition=edition):
            pass
        case TrafficSeen(service=name, edition=edition) | TrafficUnseen(service=name, edition=edition):
            part = SWITCH
        case _:
            return False
    service = world.services.get(name)
    return service is not None and edition < service.editions.get(part, 0)


def renewed(world: World, event: Event) -> World:
    """The world without what a check remembers of an earlier rule, once nothing holds the check to that rule any more.

    An open incident keeps the rule it was opened with; the first answer after it begins with nothing.
    """
    if not isinstance(event, Observed):
        return world
    service = world.services.get(event.check.service)
    if service is None or event.check not in service.stale:
        return world
    if rule_of(service, event.check) is not service.rules.get(event.check.rule):
        return world
    return replace(world, services={**world.services, service.name: _without(service, event.check)})


def _without(service: ServiceWorld, check: CheckId) -> ServiceWorld:
    checks = {key: state for key, state in service.checks.items() if key != check}
    return replace(service, checks=checks, stale=service.stale - {check})
