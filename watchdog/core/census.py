"""What the limits count over all services, worked out once and carried along as one service after the other changes.

A thousand services that turn red at once would each count a thousand. This module must never judge; the guard
`breaker` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec.structs import replace

from watchdog.core.rollback import Rollback
from watchdog.core.world import Count, ServiceWorld, World


class Census(msgspec.Struct, frozen=True, kw_only=True):
    """What the limits count over all services at one moment."""

    breaching: int
    recent_rollbacks: int


def census_of(
    world: World, *, now: datetime, own: Rollback | None = None, changed: ServiceWorld | None = None
) -> Census:
    """Count everything. `own` is a rollback that does not count against itself; `changed` stands in for a service."""
    count = count_of(world)
    if changed is not None:
        count = _with(count, world.services.get(changed.name), changed)
    since = now - world.limits.per
    recent = 0
    for name in count.movers:
        service = changed if changed is not None and name == changed.name else world.services[name]
        recent += automatic_since(service.rollbacks.values(), since, own)
    return Census(breaching=count.breaching, recent_rollbacks=recent)


def automatic_since(rollbacks: Iterable[Rollback], since: datetime, own: Rollback | None) -> int:
    """Automatic rollbacks whose intent was written since then; the write may have happened, so the intent counts."""
    count = 0
    for rollback in rollbacks:
        if not rollback.automatic or rollback.intended_at is None or rollback.intended_at < since:
            continue
        count += own is None or rollback.id != own.id
    return count


def count_of(world: World) -> Count:
    """What was counted of this world; counted anew when nobody did."""
    if world.count is not None and world.count.services is world.services:
        return world.count
    return Count(
        services=world.services,
        breaching=sum(one.breaching for one in world.services.values()),
        movers=frozenset(name for name, one in world.services.items() if one.rollbacks and _moves(one)),
    )


def follow(world: World, after: ServiceWorld) -> World:
    """The world with one service changed, and what was counted of it."""
    services = {**world.services, after.name: after}
    count = _with(count_of(world), world.services.get(after.name), after)
    return replace(world, services=services, count=replace(count, services=services))


def _with(count: Count, before: ServiceWorld | None, after: ServiceWorld) -> Count:
    if before is not None and before.incidents is after.incidents and before.rollbacks is after.rollbacks:
        return count  # most of what is seen is nothing new
    breaching = count.breaching + after.breaching - (before is not None and before.breaching)
    movers = count.movers
    if _moves(after) is not (after.name in movers):
        movers = movers ^ {after.name}
    if breaching == count.breaching and movers is count.movers:
        return count
    return replace(count, breaching=breaching, movers=movers)


def _moves(service: ServiceWorld) -> bool:
    return any(one.automatic and one.intended_at is not None for one in service.rollbacks.values())
