"""Ladders: who is told next while nobody acknowledges. What a policy says, and where an incident stands on it.

Pure values; `watchdog.core.escalation` applies them. A policy is frozen in the incident when people first hear of it:
an edit of the configuration changes what comes after, never who is on the way to be told.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from watchdog.core.rule import Severity

#: What nobody acknowledged is told again this long after the last step, if the route does not say otherwise (the
#: default of Alertmanager's `repeat_interval`).
REPEAT_AFTER = timedelta(hours=4)
#: An acknowledgement counts for so long, and its owner is reminded this long after it.
ACKNOWLEDGED_FOR, REMIND_AFTER = timedelta(hours=8), timedelta(hours=1)


class ReportTime(msgspec.Struct, frozen=True, kw_only=True):
    """When the weekly report leaves: `weekday` 0 is Monday, `minute` of the day on the clocks of the IANA `zone`."""

    weekday: int = 0
    minute: int = 9 * 60
    zone: str = "UTC"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a ladder: these channels, so long after the first. A step with a `digest` waits for that report.

    Without `to`, a digest goes to the channels of the ladder's first step.
    """

    after: timedelta = timedelta()
    to: tuple[str, ...] = ()
    digest: ReportTime | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """An escalation policy: a ladder for each severity, its first step at zero.

    `repeat_after` is `None` where nothing is repeated. `acknowledged_for` and `remind_after` are `None` where an
    acknowledgement holds for ever, or nobody is reminded. `delegate` names channels that own the ladder: where one of
    them took the first step, the steps behind it are theirs, and repeats go to them alone.
    """

    name: str
    ladders: dict[Severity, tuple[Step, ...]]
    repeat_after: timedelta | None = REPEAT_AFTER
    acknowledged_for: timedelta | None = ACKNOWLEDGED_FOR
    remind_after: timedelta | None = REMIND_AFTER
    delegate: tuple[str, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """Every channel of every ladder, in order."""
        return tuple(
            dict.fromkeys(to for ladder in self.ladders.values() for step in ladder for to in step.to)
        )


class Climb(msgspec.Struct, frozen=True, kw_only=True):
    """Where an incident stands on its ladder. Stored with it.

    `severity` is that of the loudest thing people heard of it that needs them; `step` the last step that was told,
    `began_at` the time from which `Step.after` counts. `next_at` is when something is due: the next step, a repeat, a
    reminder or the end of an acknowledgement; `None` when nothing is. `repeats` counts what was told again.
    `acknowledged_until` is the end of the acknowledgement in force, `None` where it has none. `delegated` while a
    channel that owns the ladder has it. `digest_at` is when it was left to the report, `reported` the ISO week of the
    last one that it was in.
    """

    policy: Policy
    severity: Severity
    began_at: datetime
    step: int = 0
    next_at: datetime | None = None
    repeats: int = 0
    reminders: int = 0
    acknowledged_until: datetime | None = None
    delegated: bool = False
    digest_at: datetime | None = None
    reported: str = ""
