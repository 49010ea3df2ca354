"""The ladder as arithmetic: where a climb begins, what is due on it, and where it stands after that. Pure values.

`watchdog.core.escalation` asks it for incidents, `watchdog.core.timeline` for people who want to know beforehand: there
is no second implementation. This module must never know an incident or a message.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from watchdog.core import weekly
from watchdog.core.ladder import Climb, Policy, ReportTime, Step
from watchdog.core.routing import Route
from watchdog.core.rule import Severity

_ORDER = list(Severity)


class Call(StrEnum):
    """What was due."""

    STEP = "step"  #: the next step of the ladder
    LEFT = "left"  #: the next step is the report: it is left to that, and nobody is told now
    REPORT = "report"  #: it belongs into the report that leaves now
    REPEAT = "repeat"  #: the ladder is over: everybody who was told is told again
    REMINDER = "reminder"  #: somebody took it a while ago
    EXPIRED = "expired"  #: who took it has had it long enough: the ladder begins again


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was due `at` a moment, and where the climb stands with it done."""

    call: Call
    at: datetime
    climb: Climb


def louder(one: Severity, than: Severity) -> bool:
    """Whether one severity is above the other."""
    return _ORDER.index(one) > _ORDER.index(than)


def ladder(policy: Policy, severity: Severity) -> tuple[Step, ...]:
    """The ladder of a severity; where the policy has none, that of the next louder one, else of the next quieter."""
    place = _ORDER.index(severity)
    for found in (*_ORDER[place:], *reversed(_ORDER[:place])):
        if found in policy.ladders:
            return policy.ladders[found]
    return ()


def first_channels(policy: Policy, severity: Severity) -> tuple[str, ...]:
    """Who is told at once. Nobody, where a ladder is nothing but a report."""
    steps = ladder(policy, severity)
    return steps[0].to if steps and steps[0].digest is None else ()


def repeat_channels(climb: Climb, heard_by: tuple[str, ...]) -> tuple[str, ...]:
    """Who is told again: everybody who heard of it, or who owns the ladder, and keeps one alert of all of it."""
    owners = tuple(channel for channel in heard_by if channel in climb.policy.delegate)
    return owners if climb.delegated and owners else heard_by


def report_channels(steps: tuple[Step, ...], step: int) -> tuple[str, ...]:
    """Who gets the report that a step leaves an incident to."""
    return steps[step].to or steps[0].to


def policy_of(route: Route, severity: Severity) -> Policy:
    """The route's policy. One that only has `to` is a ladder with one step, for this severity."""
    if route.policy is not None:
        return route.policy
    return Policy(name="", ladders={severity: (Step(to=route.to),)}, repeat_after=route.repeat_after)


def begin(policy: Policy, severity: Severity, now: datetime) -> Climb:
    """People hear of it: the first step is told now."""
    steps = ladder(policy, severity)
    climb = Climb(
        policy=policy,
        severity=severity,
        began_at=now,
        delegated=any(channel in policy.delegate for channel in first_channels(policy, severity)),
        digest_at=now if steps and steps[0].digest is not None else None,
    )
    return replace(climb, next_at=_next(climb, due_at=now, now=now))


def raised(climb: Climb, policy: Policy, severity: Severity, now: datetime, *, acknowledged: bool) -> Climb:
    """People hear of something louder: that ladder begins. Where somebody has it, it waits for the end of that."""
    anew = begin(policy, severity, now)
    if not acknowledged:
        return anew
    return replace(
        anew,
        next_at=climb.next_at,
        reminders=climb.reminders,
        acknowledged_until=climb.acknowledged_until,
        delegated=False,
        digest_at=None,
    )


def taken(climb: Climb, now: datetime, *, lasts: timedelta | None = None) -> Climb:
    """Somebody takes it, for so long or for as long as the policy says: steps and repeats stop."""
    lasts = lasts if lasts is not None else climb.policy.acknowledged_for
    until = now + lasts if lasts is not None else None
    climb = replace(climb, acknowledged_until=until, delegated=False, digest_at=None)
    return replace(climb, next_at=_next_reminder(climb, due_at=now, now=now))


def let_go(climb: Climb, now: datetime) -> Climb:
    """Nobody has it any more: the ladder begins again at its first step.

    Ours, whoever owned it: what somebody took there stays taken there, and PagerDuty wakes nobody again for that.
    """
    anew = replace(begin(climb.policy, climb.severity, now), delegated=False)
    return replace(anew, next_at=_next(anew, due_at=now, now=now))


def hurried(climb: Climb, now: datetime) -> Climb:
    """Whoever was told last cannot have heard of it: the next step is due now, whoever owned the ladder."""
    owned = climb.delegated
    climb = replace(climb, delegated=False)
    if climb.step + 1 < len(ladder(climb.policy, climb.severity)):
        return replace(climb, next_at=now)
    if climb.next_at is not None and not owned:
        return climb
    return replace(climb, next_at=_next(climb, due_at=now, now=now))


def advance(climb: Climb, now: datetime, *, acknowledged: bool) -> tuple[Climb, tuple[Due, ...]]:
    """Everything that is due by now, in order, and where that leaves the climb.

    However late it is, each step is told once, and a repeat or a reminder once for all that were missed.
    """
    calls: list[Due] = []
    while (due_at := climb.next_at) is not None and due_at <= now:
        if acknowledged:
            climb, call = _with_its_taker(climb, due_at, now)
            acknowledged = call.call is not Call.EXPIRED
            calls.append(call)
        else:
            climb, due = _alone(climb, due_at, now)
            calls.extend(due)
    return climb, tuple(calls)


def coming(climb: Climb, *, acknowledged: bool) -> Call | None:
    """What is due next, at `next_at`; `None` when nothing is."""
    if climb.next_at is None:
        return None
    if acknowledged:
        return Call.EXPIRED if climb.next_at == climb.acknowledged_until else Call.REMINDER
    if climb.delegated:
        return Call.REPEAT
    steps = ladder(climb.policy, climb.severity)
    if climb.step + 1 < len(steps):
        return Call.LEFT if steps[climb.step + 1].digest is not None else Call.STEP
    return Call.REPORT if steps and steps[climb.step].digest is not None else Call.REPEAT


def _with_its_taker(climb: Climb, due_at: datetime, now: datetime) -> tuple[Climb, Due]:
    if climb.acknowledged_until is not None and climb.acknowledged_until <= now:
        climb, call = let_go(climb, now), Call.EXPIRED
    else:
        climb, call = replace(climb, reminders=climb.reminders + 1), Call.REMINDER
        climb = replace(climb, next_at=_next_reminder(climb, due_at=due_at, now=now))
    return climb, Due(call=call, at=due_at, climb=climb)


def _alone(climb: Climb, due_at: datetime, now: datetime) -> tuple[Climb, tuple[Due, ...]]:
    steps = ladder(climb.policy, climb.severity)
    if climb.step + 1 < len(steps) and not climb.delegated:
        left = steps[climb.step + 1].digest is not None
        climb = replace(climb, step=climb.step + 1, digest_at=now if left else climb.digest_at)
        call = Call.LEFT if left else Call.STEP
    elif steps and not climb.delegated and (report := steps[climb.step].digest) is not None:
        return _reported(climb, report, climb.digest_at or now, now)
    else:
        climb, call = replace(climb, repeats=climb.repeats + 1), Call.REPEAT
    climb = replace(climb, next_at=_next(climb, due_at=due_at, now=now))
    return climb, (Due(call=call, at=due_at, climb=climb),)


def _reported(
    climb: Climb, report: ReportTime, left_at: datetime, now: datetime
) -> tuple[Climb, tuple[Due, ...]]:
    """Once a week, whatever was done to the clock meanwhile."""
    slot = weekly.before(report, now)
    week = weekly.week_of(report, slot)
    climb = replace(climb, next_at=weekly.after(report, now))
    if slot <= left_at or week == climb.reported:
        return climb, ()
    climb = replace(climb, reported=week)
    return climb, (Due(call=Call.REPORT, at=slot, climb=climb),)


def _next(climb: Climb, *, due_at: datetime, now: datetime) -> datetime | None:
    """When something is due again on a ladder that nobody took."""
    if climb.delegated:  # who owns the ladder may have closed what nobody there took
        return _again(due_at, climb.policy.repeat_after, now)
    steps = ladder(climb.policy, climb.severity)
    if climb.step + 1 < len(steps):
        return climb.began_at + steps[climb.step + 1].after
    report = steps[climb.step].digest if steps else None
    if report is not None:
        return weekly.after(report, now)
    return _again(due_at, climb.policy.repeat_after, now)


def _next_reminder(climb: Climb, *, due_at: datetime, now: datetime) -> datetime | None:
    remind_at, until = _again(due_at, climb.policy.remind_after, now), climb.acknowledged_until
    return min((moment for moment in (remind_at, until) if moment is not None), default=None)


def _again(due_at: datetime, after: timedelta | None, now: datetime) -> datetime | None:
    """The next time of something that comes again and again; what was missed does not come later."""
    if after is None:
        return None
    return due_at + after if due_at + after > now else now + after
