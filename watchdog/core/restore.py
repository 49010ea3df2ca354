"""The world after a start: what is configured now, joined with what survived. Pure.

A service that is configured no more keeps its records in the store and is left alone. This module must never drop
what a running rollback or an open incident needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec.structs import replace

from watchdog.core.check import CheckId, CheckState
from watchdog.core.deployment import Deployment
from watchdog.core.evaluate import unwatched
from watchdog.core.incident import Incident, IncidentKind
from watchdog.core.rollback import VERIFYING, Rollback, RollbackState
from watchdog.core.rule import Rule
from watchdog.core.service import Service
from watchdog.core.turn import CheckRecord, ServiceRecord
from watchdog.core.world import ServiceWorld, SourceWorld


def restore_service(
    service: Service,
    rules: Mapping[str, Rule],
    *,
    record: ServiceRecord | None,
    deployments: Iterable[Deployment],
    incidents: Iterable[Incident],
    rollbacks: Iterable[Rollback],
    checks: Iterable[CheckRecord],
) -> ServiceWorld:
    """One service's world. Time in which nobody polled counts as unknown for every check."""
    name = service.name
    kept = sorted(
        (one for one in deployments if one.service == name), key=lambda one: (one.recorded_at, one.id)
    )
    record = record or ServiceRecord(name=name)
    still_open = [one for one in incidents if one.subject == name and one.of_service and one.open]
    breached = {breach.rule.name: breach.rule for one in still_open for breach in one.breaches.values()}
    checks = tuple(_with_place(one, {**breached, **rules}) for one in checks)
    still_open = [_with_places(one, checks) for one in still_open]
    held = {key for one in still_open for key in one.breaches}
    return ServiceWorld(
        service=service,
        rules={rule: rules[rule] for rule in service.rules},
        traffic=record.traffic,
        deployments={one.id: one for one in kept},
        incidents={one.id: one for one in still_open},
        rollbacks={one.id: _ending(one) for one in rollbacks if one.service == name},
        checks=_checks(name, service.rules, checks, held),
        known=record.known,
        paused=record.paused,
        taints=record.taints,
        place=record.place,
    )


def _ending(rollback: Rollback) -> Rollback:
    """A rollback that will come to an end. None is ever stored otherwise, but a store can be changed from outside.

    What is never stored goes on from the state before it; what has no time at which it ends by itself is due now.
    """
    match rollback.state:
        case RollbackState.DECIDED:
            return replace(rollback, state=RollbackState.BLOCKED)
        case RollbackState.RECOVERED:
            rollback = replace(rollback, state=RollbackState.UNCONTESTED)
        case RollbackState.AWAITING_APPROVAL if rollback.expires_at is None:
            return replace(rollback, expires_at=rollback.decided_at)
        case RollbackState.INTENDED if rollback.expires_at is None:
            return replace(rollback, expires_at=rollback.intended_at or rollback.decided_at)
    if rollback.state not in VERIFYING:
        return rollback
    applied_at = rollback.applied_at or rollback.intended_at or rollback.decided_at
    return replace(
        rollback,
        applied_at=applied_at,
        contest_until=rollback.contest_until or applied_at,
        verify_until=rollback.verify_until or applied_at,
    )


def _with_place(one: CheckRecord, rules: Mapping[str, Rule]) -> CheckRecord:
    """A memory from before the names of checks told variants apart, under the name that it has now."""
    rule = rules.get(one.id.rule)
    if rule is None or one.id.by_variant or not one.id.variant or not rule.per_variant:
        return one
    return replace(one, id=replace(one.id, by_variant=True))


def _with_places(incident: Incident, checks: Iterable[CheckRecord]) -> Incident:
    """The same for the breaches of an incident. Where nobody knows the variant any more, the name stays."""
    names = {str(replace(one.id, by_variant=False)): str(one.id) for one in checks if one.id.by_variant}
    breaches = {
        names.get(key, key) if breach.rule.per_variant else key: breach
        for key, breach in incident.breaches.items()
    }
    return incident if breaches == incident.breaches else replace(incident, breaches=breaches)


def _checks(
    name: str, rules: tuple[str, ...], checks: Iterable[CheckRecord], held: set[str]
) -> dict[CheckId, CheckState]:
    """Memories of checks that exist, or that hold an incident open although their rule is gone."""
    return {
        one.id: unwatched(one.state, _last_seen(one.state))
        for one in checks
        if one.id.service == name and (one.id.rule in rules or str(one.id) in held)
    }


def _last_seen(state: CheckState) -> datetime:
    moments = [verdict.at for verdict in (state.verdict, state.known) if verdict is not None]
    return max(moments, default=state.unknown_since or _EPOCH)


def restore_sources(names: Iterable[str], incidents: Iterable[Incident]) -> dict[str, SourceWorld]:
    """Every configured source, with its open incident."""
    still_open = {one.subject: one for one in incidents if one.kind is IncidentKind.SOURCE and one.open}
    return {name: SourceWorld(name=name, incident=still_open.get(name)) for name in names}


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
