"""Deployments that came, or were announced, while a switch was being written: nobody knew then what was live.

The guards are asked right before the write, and what was announced before they were stops it. So whatever is announced
here was so after. Works on a draft. This module must never let an announced deployment go by unwatched.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from msgspec.structs import replace

from watchdog.core.deployment import SOAKING, Deployment, DeploymentEvent, DeploymentState, Origin
from watchdog.core.draft import Draft
from watchdog.core.rollback import Rollback
from watchdog.core.sightings import arrive_announced, see_beside
from watchdog.core.traffic import TrafficState

#: What arrives came after the version that was switched to, which comes in the same turn.
_AFTER = timedelta(microseconds=1)


def take_back(draft: Draft, rollback: Rollback) -> None:
    """What was announced on the bad variant seemed to be live, and traffic was just taken from there: it is awaited."""
    for one in _posted_since(draft, rollback, rollback.from_variant):
        if one.state in SOAKING:
            waits = draft.move_deployment(
                one, DeploymentEvent.NOT_THERE_YET, "traffic was taken from its variant as it was announced"
            )
            draft.set_deployment(replace(waits, live_at=None, armed=False))


def arrive(draft: Draft, rollback: Rollback, before: TrafficState | None) -> None:
    """Traffic was just sent to what was announced on the target's variant, unless the switch tells that it was not.

    And somebody else may have sent traffic to a third variant: `before` is what was known when it was decided.
    """
    known = draft.service.traffic
    if before is not None and known is not None:
        see_beside(draft, before, known, but=(rollback.from_variant, rollback.to_variant))
    told = draft.service.traffic.told(rollback.to_variant) if draft.service.traffic else None
    for one in _posted_since(draft, rollback, rollback.to_variant):
        if one.state is DeploymentState.PENDING and told in (None, one.version):
            arrive_announced(draft, one, told, since=one.recorded_at)
            arrived = draft.service.deployments[one.id]
            draft.set_deployment(replace(arrived, live_at=draft.now + _AFTER))


def _posted_since(draft: Draft, rollback: Rollback, variant: str) -> Iterator[Deployment]:
    for one in list(draft.service.deployments.values()):
        here = one.variant == variant and one.origin is Origin.POSTED and one.id != rollback.deployment
        if here and rollback.intended_at is not None and one.recorded_at >= rollback.intended_at:
            yield one
