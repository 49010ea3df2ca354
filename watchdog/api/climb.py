"""Where an incident stands on its ladder, as the API shows it: who heard of it, and who is told next, when.

This module must never show what a policy says beyond that.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from watchdog.core import climbing
from watchdog.core.climbing import Call
from watchdog.core.incident import Incident, IncidentState
from watchdog.core.rule import Severity


class Climb(msgspec.Struct, frozen=True, kw_only=True):
    """Where an incident stands on its ladder.

    `policy` is empty where its route has no policy. `step` counts from 1, of `steps`. `next` is due at `next_at`, both
    null when nothing is: the next `step` (told to `next_to`), a `repeat` to everybody in `heard_by`, that it is `left`
    to the weekly report, that `report`, a `reminder` of the acknowledgement, or its end (`expired`). `delegated` while
    one of the channels tells people by itself.
    """

    policy: str
    severity: Severity
    began_at: datetime
    step: int
    steps: int
    heard_by: tuple[str, ...]
    next: Call | None
    next_at: datetime | None
    next_to: tuple[str, ...]
    repeats: int
    acknowledged_until: datetime | None
    delegated: bool


def present_climb(incident: Incident) -> Climb | None:
    """Where an incident stands; `None` when people have not heard of it."""
    climb = incident.climb
    if climb is None:
        return None
    steps = climbing.ladder(climb.policy, climb.severity)
    coming = None
    if incident.open and not incident.folded:
        coming = climbing.coming(climb, acknowledged=incident.state is IncidentState.ACKNOWLEDGED)
    to: tuple[str, ...] = ()
    if coming is Call.STEP:
        to = steps[climb.step + 1].to
    elif coming is Call.REPORT:
        to = climbing.report_channels(steps, climb.step)
    elif coming is not None and coming is not Call.LEFT:
        to = incident.heard_by
    return Climb(
        policy=climb.policy.name,
        severity=climb.severity,
        began_at=climb.began_at,
        step=climb.step + 1,
        steps=len(steps),
        heard_by=incident.heard_by,
        next=coming,
        next_at=climb.next_at if coming is not None else None,
        next_to=to,
        repeats=climb.repeats,
        acknowledged_until=climb.acknowledged_until if incident.open else None,
        delegated=climb.delegated,
    )
