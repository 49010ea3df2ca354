"""What an earlier configuration left behind: open incidents and rollbacks of services and sources that are gone.

Nobody looks at them any more and no command could end them, so they are ended at the start, recorded and told.
This module must never touch anything that is still configured.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime

from msgspec.structs import replace

from watchdog.core import rollback_news, telling
from watchdog.core.audit import AuditDraft
from watchdog.core.incident import INCIDENT, Incident, IncidentEvent, IncidentKind
from watchdog.core.message import Message
from watchdog.core.rollback import ROLLBACK, VERIFYING, Passage, Rollback, RollbackEvent, RollbackState
from watchdog.core.service import Service
from watchdog.core.step import Stepped
from watchdog.core.world import World

WHY = "no longer configured"
#: How a rollback ends of which nobody can see any more what became of it.
_ENDINGS = {RollbackState.INTENDED: RollbackEvent.HALF_DONE} | dict.fromkeys(
    VERIFYING, RollbackEvent.STILL_UNKNOWN
)
_LOOK = (
    "Nobody watches {service} any more. See by hand where its traffic goes: all of it should go to {target}."
)


def orphans(
    world: World, incidents: Iterable[Incident], rollbacks: Iterable[Rollback], *, now: datetime
) -> Stepped:
    """Everything that must be written to end what belongs to nothing in `world`; its world is `world` itself."""
    closed = tuple(_closed(one, now) for one in incidents if one.open and not _configured(one, world))
    gone = (one for one in rollbacks if not one.over and one.service not in world.services)
    ended = tuple(done for one in gone if (done := _ended(one, now)) is not None)
    return Stepped(
        world=world,
        incidents=closed,
        rollbacks=ended,
        audit=(
            *(_note(now, "incident_closed", one.subject, incident=one.id) for one in closed),
            *(_note(now, f"rollback_{one.state}", one.service, rollback=one.id) for one in ended),
        ),
        messages=(
            *(telling.incident_closed(one, now=now) for one in closed if one.told),
            *(_told(one, now) for one in ended if one.state is not RollbackState.EXPIRED),
        ),
    )


def _configured(incident: Incident, world: World) -> bool:
    if incident.kind is IncidentKind.STORM:
        return True  # it ends by itself when nobody is in it any more
    known: AbstractSet[str] = (
        world.sources.keys() if incident.kind is IncidentKind.SOURCE else world.services.keys()
    )
    return incident.subject in known


def _closed(incident: Incident, now: datetime) -> Incident:
    state = INCIDENT.step(incident.state, IncidentEvent.CLEARED)
    return replace(incident, state=state, closed_at=now, closed_because=WHY)


def _ended(rollback: Rollback, now: datetime) -> Rollback | None:
    """The rollback at the end that its state has: what may have been written is told, the rest expires."""
    event = _ENDINGS.get(rollback.state, RollbackEvent.LAPSED)
    after = ROLLBACK.table.get((rollback.state, event))
    if after is None:
        return None
    passage = Passage(state=after, at=now, why=WHY)
    return replace(rollback, state=after, ended_at=now, history=(*rollback.history, passage))


def _told(rollback: Rollback, now: datetime) -> Message:
    gone = Service(name=rollback.service)
    message = rollback_news.rollback_ended(gone, rollback, now=now)
    step = _LOOK.format(service=rollback.service, target=rollback.to_variant)
    return replace(message, environment="", next_step=step)


def _note(now: datetime, kind: str, subject: str, **body: str) -> AuditDraft:
    return AuditDraft(at=now, kind=kind, subject=subject, body={**body, "why": WHY})
