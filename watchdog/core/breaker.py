"""The open breaker: one aggregated message when the limits stop rollbacks, not one for each service. Pure.

This module must never stop anything itself; the guard `breaker` does.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from watchdog.core import rollback_news
from watchdog.core.audit import AuditDraft
from watchdog.core.clockstep import ahead
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.silencing import Changed
from watchdog.core.world import World

#: However many services join those that the limits stop, people hear of it no more often than this.
EVERY = timedelta(minutes=1)


def look(world: World, now: datetime) -> Changed:
    """Whether the limits stop anything now; told when they begin to, and again when more services wait."""
    waiting = _waiting(world)
    if not waiting:
        return _over(world, now) if world.breaker else Changed(world=world)
    names = tuple(sorted({name for _, name, _ in waiting}))
    why = f"{min(waiting)[2]} ({len(names)} waiting: {', '.join(names[:10])})"
    told, told_at = tuple(name for name in world.breaker_told if name in names), world.breaker_told_at
    world = replace(world, breaker=why, breaker_told=told)
    soon = told_at is not None and not ahead(told_at, now) and now - told_at < EVERY
    if told == names or soon:
        return Changed(world=world)
    note = AuditDraft(at=now, kind="breaker_open", subject="", body={"why": why, "services": list(names)})
    first = world.breaker_since or min(waiting)[0]
    return Changed(
        world=replace(world, breaker_told=names, breaker_told_at=now, breaker_since=first),
        audit=(note,),
        messages=(rollback_news.breaker_open(why, names, since=max(waiting)[0], first=first, now=now),),
    )


def _over(world: World, now: datetime) -> Changed:
    """Nothing waits for the limits any more: told to those who heard that something did, unless a storm tells them."""
    since, storm = world.breaker_since, world.storm.incident
    cleared = replace(world, breaker="", breaker_told=(), breaker_since=None)
    if since is None or (storm is not None and storm.stopped):
        return Changed(world=cleared)
    note = AuditDraft(at=now, kind="breaker_closed", subject="", body={"since": since.isoformat()})
    return Changed(
        world=cleared, audit=(note,), messages=(rollback_news.breaker_closed(since=since, now=now),)
    )


def heard_waiting(world: World, rollback: Rollback) -> bool:
    """Whether people heard of it as one of those that the limits stop, and not with a storm."""
    service = world.services.get(rollback.service)
    if service is None or rollback.service not in world.breaker_told:
        return False
    incident = service.incidents.get(rollback.incident or "")
    return incident is not None and not incident.folded


def _waiting(world: World) -> list[tuple[datetime, str, str]]:
    """What the limits keep from being rolled back although it is still wrong: since when, which service, and why."""
    return [
        (rollback.history[-1].at, rollback.service, veto.detail)
        for service in world.services.values()
        for rollback in service.rollbacks.values()
        if rollback.state is RollbackState.BLOCKED and rollback.incident in service.incidents
        for veto in rollback.vetoes
        if veto.guard == "breaker"
    ]
