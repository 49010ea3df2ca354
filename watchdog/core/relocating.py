"""A service whose switch moves another object now: what was read of the one before says nothing of this one. Pure.

The same for a change that is seen while the watchdog runs and for one that was made while nobody looked: before a
start, or while the service was not configured. Then a rollback that is under way was decided for the object before. It
must neither be written to this one nor be proved against it, so it ends. This module must never move traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime

from msgspec.structs import replace

from watchdog.core.deciding import end
from watchdog.core.draft import Draft
from watchdog.core.edition import SWITCH
from watchdog.core.rollback import VERIFYING, RollbackEvent, RollbackState
from watchdog.core.sightings import leave_behind
from watchdog.core.step import Stepped
from watchdog.core.switchplace import SwitchPlace, another_object, exchanged
from watchdog.core.world import World

_WHY = (
    "the configuration of its traffic switch was changed while {meanwhile}; "
    "what became of it at the switch before can no longer be seen"
)
DOWN = "the watchdog was down"
NOT_CONFIGURED = "the service was not configured"


def relocate(draft: Draft, place: SwitchPlace | None, others: AbstractSet[str]) -> None:
    """Forget what was read of another object; what took traffic under a name of `others` never took any here."""
    draft.change_service(traffic=None, idle_since=None, place=place)
    for variant in sorted(others):
        leave_behind(draft, variant)


def resume(draft: Draft, place: SwitchPlace | None, *, meanwhile: str = NOT_CONFIGURED) -> Draft:
    """A service as it was stored, under the switch that is configured now (`None`: nobody knows which).

    What an older release stored has nothing to compare with: it is believed, and compared from now on.
    """
    known = draft.service
    if place is None or known.place == place:
        return draft
    if known.place is None:
        draft.service = replace(known, place=place)
        draft.service_changed = known.traffic is not None
        return draft
    if another_object(known.place, place):
        _supersede(draft, _WHY.format(meanwhile=meanwhile))
        draft.service = replace(
            draft.service, editions={**draft.service.editions, SWITCH: draft.world.edition}
        )
        relocate(draft, place, exchanged(known.place, place))
        draft.note("switch_changed", another_object=True)
        draft.looks.add(known.name)
    return draft


def started(world: World, places: Mapping[str, SwitchPlace], now: datetime) -> Stepped:
    """What a start comes to whose switches may be others than those of the stored world. Stores nothing unchanged."""
    drafts = [
        resume(Draft(world=world, now=now, service=one), places.get(name), meanwhile=DOWN)
        for name, one in world.services.items()
    ]
    return Stepped(
        world=replace(world, services={draft.service.name: draft.service for draft in drafts}),
        services=tuple(draft.service.record() for draft in drafts if draft.service_changed),
        deployments=tuple(one for draft in drafts for one in draft.deployments.values()),
        rollbacks=tuple(one for draft in drafts for one in draft.rollbacks.values()),
        audit=tuple(note for draft in drafts for note in draft.audit),
        messages=tuple(message for draft in drafts for message in draft.messages),
    )


def _supersede(draft: Draft, why: str) -> None:
    """End what is being carried out or proved. What waits for guards or people is asked about what is live then."""
    for rollback in list(draft.service.rollbacks.values()):
        if rollback.state is RollbackState.INTENDED or rollback.state in VERIFYING:
            end(draft, rollback, RollbackEvent.OVERTAKEN, why, {"traffic": draft.service.traffic})
