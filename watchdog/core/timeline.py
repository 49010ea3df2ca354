"""Who would be told when, if nobody did anything: a route's ladder as a list, for people who want to know beforehand.

Drives what incidents climb by (`watchdog.core.climbing`). This module must never be asked by what tells people.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

from watchdog.core import climbing
from watchdog.core.climbing import Call, Due
from watchdog.core.routing import Route
from watchdog.core.rule import Severity


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """These channels, at this time. `what` is in words, such as `step 2 of 3`."""

    at: datetime
    channels: tuple[str, ...]
    what: str


def _never(_at: datetime) -> datetime | None:
    return None


def timeline(
    route: Route,
    severity: Severity,
    *,
    at: datetime,
    repeats: int = 2,
    muted_until: Callable[[datetime], datetime | None] = _never,
) -> tuple[Told, ...]:
    """Everything that people would be told of an incident of this severity that begins `at` and that nobody takes.

    Of what goes on for ever (repeats, weekly reports) the first `repeats`. `muted_until` says of a moment until when a
    mute window holds messages back then, `None` where none does.
    """
    told_at = muted_until(at) or at
    climb = climbing.begin(climbing.policy_of(route, severity), severity, told_at)
    steps = climbing.ladder(climb.policy, severity)
    owner = next((one for one in climb.policy.delegate if climb.delegated and one in steps[0].to), "")
    found = [
        Told(
            at=told_at,
            channels=climbing.first_channels(climb.policy, severity),
            what=f"step 1 of {len(steps)}" + (f"; what follows is up to {owner}" if owner else ""),
        )
    ]
    again = 0
    while climb.next_at is not None:
        endless = climbing.coming(climb, acknowledged=False) in (Call.REPEAT, Call.REPORT)
        if endless and again >= repeats:
            break
        now = muted_until(climb.next_at) or climb.next_at
        climb, calls = climbing.advance(climb, now, acknowledged=False)
        for call in calls:
            found.append(_told(call, now, tuple(found)))
            again += call.call in (Call.REPEAT, Call.REPORT)
    return tuple(found)


def _told(due: Due, now: datetime, before: tuple[Told, ...]) -> Told:
    climb = due.climb
    steps = climbing.ladder(climb.policy, climb.severity)
    everybody = tuple(dict.fromkeys(channel for one in before for channel in one.channels))
    match due.call:
        case Call.STEP:
            what, channels = f"step {climb.step + 1} of {len(steps)}", steps[climb.step].to
        case Call.LEFT:
            what, channels = f"step {climb.step + 1} of {len(steps)}: left to the weekly report", ()
        case Call.REPORT:
            what, channels = "weekly report", climbing.report_channels(steps, climb.step)
        case _:
            channels = climbing.repeat_channels(climb, everybody)
            what = f"told again ({climb.repeats})"
    return Told(at=now, channels=channels, what=what)
