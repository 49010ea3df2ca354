"""What people are told while nobody acknowledges, or after somebody did: word for word.

Every message carries what the incident is about, so that whoever is told as the third needs none of the earlier ones.
This module must never decide who is told, or when.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from watchdog.core import climbing, rollback_news, storm_news, telling
from watchdog.core.draft import identity
from watchdog.core.events import ChannelDead, ChannelLate
from watchdog.core.incident import Incident, IncidentKind
from watchdog.core.ladder import Climb, ReportTime
from watchdog.core.message import Message, MessageKind
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.rule import Severity
from watchdog.core.silencing import news_of
from watchdog.core.units import elapsed
from watchdog.core.world import ServiceWorld, World

Facts = tuple[tuple[str, str], ...]

#: So many incidents stand in a weekly report; the others are counted.
REPORTED = 50
#: Rollbacks that a person must look at before anything else about their incident.
_STOPPED = {
    RollbackState.BLOCKED: rollback_news.rollback_blocked,
    RollbackState.AWAITING_APPROVAL: rollback_news.approval_wanted,
}
_NOTHING_OPEN = frozenset({RollbackState.COMPLETED, RollbackState.SUPERSEDED})


def now_of(world: World, incident: Incident, *, now: datetime) -> Message:
    """What would be told of an incident if it were told now: of its rollback where that is what waits for a person."""
    if incident.kind is IncidentKind.STORM:
        return _storm(incident, now)
    if incident.kind is IncidentKind.SOURCE:
        return telling.source_down(incident, now=now)
    service = world.services[incident.subject]
    rollback = _rollback_of(service, incident)
    if rollback is not None and rollback.state in _STOPPED:
        return _STOPPED[rollback.state](service.service, rollback, now=now, incident=incident)
    if rollback is not None and rollback.over and rollback.state not in _NOTHING_OPEN:
        return rollback_news.rollback_ended(service.service, rollback, now=now, incident=incident)
    return news_of(service.service, incident, now=now)


def _rollback_of(service: ServiceWorld, incident: Incident) -> Rollback | None:
    of_it = [one for one in service.rollbacks.values() if one.incident == incident.id and not one.folded]
    return max(of_it, key=lambda one: one.decided_at, default=None)


def _storm(incident: Incident, now: datetime) -> Message:
    return Message(
        key=incident.id,
        kind=MessageKind.INCIDENT_OPENED,
        severity=incident.severity,
        headline=incident.summary,
        created_at=now,
        environment=incident.environment,
        incident=incident.id,
        facts=(("services", storm_news.named(incident.subjects)),),
        next_step=f"See all of them: watchdog incidents. Take it: watchdog ack {incident.id}",
        needs_human=True,
    )


def _about(
    base: Message,
    incident: Incident,
    *,
    kind: MessageKind,
    key: str,
    headline: str,
    facts: Facts,
    to: tuple[str, ...],
) -> Message:
    climb = incident.climb
    return replace(
        base,
        key=key,
        kind=kind,
        severity=climb.severity if climb is not None else incident.severity,
        headline=f"{headline}: {base.headline}",
        facts=(*facts, *base.facts),
        needs_human=True,
        only_to=to,
        also_to=(),
    )


def escalated(
    base: Message, incident: Incident, climb: Climb, *, to: tuple[str, ...], now: datetime
) -> Message:
    """Nobody acknowledged: the next step. `climb` is where it stands with this step told."""
    waited = elapsed(climb.began_at, now)
    return _about(
        base,
        replace(incident, climb=climb),
        kind=MessageKind.ESCALATED,
        key=f"{MessageKind.ESCALATED}:{_ladder_key(incident, climb)}:{climb.step}",
        headline=f"nobody acknowledged for {waited}",
        facts=(
            ("not acknowledged", f"for {waited}, since {clock(climb.began_at)}"),
            ("told so far", ", ".join(incident.heard_by) or "nobody"),
            ("told now", ", ".join(to)),
            ("next", what_next(climb)),
        ),
        to=to,
    )


def repeated(
    base: Message, incident: Incident, climb: Climb, *, to: tuple[str, ...], now: datetime
) -> Message:
    """The ladder is over, and still nobody acknowledged."""
    waited = elapsed(climb.began_at, now)
    return _about(
        base,
        replace(incident, climb=climb),
        kind=MessageKind.INCIDENT_REPEATED,
        key=f"{MessageKind.INCIDENT_REPEATED}:{_ladder_key(incident, climb)}:{climb.repeats}",
        headline=f"still open and not acknowledged after {waited}",
        facts=(
            ("not acknowledged", f"for {waited}, since {clock(climb.began_at)}"),
            ("told so far", ", ".join(incident.heard_by) or "nobody"),
            ("next", what_next(climb)),
        ),
        to=to,
    )


def unacknowledged(
    base: Message,
    before: Incident,
    climb: Climb,
    *,
    to: tuple[str, ...],
    now: datetime,
    by: str = "",
    reason: str = "",
) -> Message:
    """Nobody has it any more: the time is over, or `by` gave it back. `before` is the incident that somebody had."""
    taker, taken_at = before.acknowledged_by or "somebody", before.acknowledged_at or now
    held = elapsed(taken_at, now)
    if by:
        because = f": {reason}" if reason else ""
        headline = f"{by} gave it back" if by == taker else f"{by} took it back from {taker}"
        headline = f"nobody has it any more, {headline}{because}"
    else:
        headline = f"nobody has it any more, {taker} acknowledged it {held} ago"
    return _about(
        base,
        replace(before, climb=climb),
        kind=MessageKind.INCIDENT_UNACKNOWLEDGED,
        key=f"{MessageKind.INCIDENT_UNACKNOWLEDGED}:{before.id}:{taken_at.isoformat()}",
        headline=headline,
        facts=(
            ("was acknowledged", f"by {taker} at {clock(taken_at)}"),
            *((("given back by", by),) if by else ()),
            *((("reason", reason),) if reason else ()),
            ("next", what_next(climb)),
        ),
        to=to,
    )


def reminder(
    base: Message, incident: Incident, climb: Climb, *, to: tuple[str, ...], now: datetime
) -> Message:
    """Somebody took it a while ago, and it is not over."""
    taken_at = incident.acknowledged_at or now
    held = elapsed(taken_at, now)
    until = climb.acknowledged_until
    message = _about(
        base,
        incident,
        kind=MessageKind.ACKNOWLEDGEMENT_REMINDER,
        key=f"{MessageKind.ACKNOWLEDGEMENT_REMINDER}:{incident.id}:{taken_at.isoformat()}:{climb.reminders}",
        headline=f"still open, {incident.acknowledged_by} has had it for {held}",
        facts=(
            ("acknowledged", f"by {incident.acknowledged_by} at {clock(taken_at)}"),
            ("until", clock(until) if until is not None else "it is over"),
        ),
        to=to,
    )
    step = (
        f"Keep it for longer: watchdog ack {incident.id} --for 4h. "
        f"Give it back: watchdog unack {incident.id} --reason TEXT"
    )
    return replace(message, severity=Severity.LOW, needs_human=False, next_step=step)


def weekly_report(
    incidents: Sequence[Incident], *, week: str, report: ReportTime, to: tuple[str, ...], now: datetime
) -> Message:
    """Everything that is still open and was left to the report. One for each week, time and group of channels."""
    count = len(incidents)
    which = identity("", report.weekday, report.minute, report.zone, *sorted(to)).removeprefix("-")
    more = count - REPORTED
    return Message(
        key=f"{MessageKind.WEEKLY_REPORT}:{week}:{which}",
        kind=MessageKind.WEEKLY_REPORT,
        severity=Severity.LOW,
        headline=f"weekly report {week}: {count} incident{'s'[: count != 1]} still open that nobody acknowledged",
        created_at=now,
        facts=(
            *(_line(one) for one in incidents[:REPORTED]),
            *((("more", f"and {more} more"),) if more > 0 else ()),
        ),
        next_step="See all of them: watchdog incidents. Take one: watchdog ack ID",
        only_to=to,
        about=f"{MessageKind.WEEKLY_REPORT}:{which}",
    )


def _line(one: Incident) -> tuple[str, str]:
    return one.subject, f"{one.severity}, open since {clock(one.opened_at)}: {one.summary} ({one.id})"


def channel_failed(event: ChannelDead, *, open_: bool, now: datetime) -> Message:
    """A message was given up on one channel: everybody else gets what it said. `open_`: its incident still is."""
    headline = f"channel {event.channel} failed for good: {event.reason}"
    return _instead(event, MessageKind.CHANNEL_FAILED, event.key, headline, open_=open_, now=now)


def channel_late(event: ChannelLate, *, alone: bool, open_: bool, now: datetime) -> Message:
    """A channel takes nothing for a while: everybody else gets what waits there.

    Once for each outage of the channel; of what only this channel was told (`alone`), once for each of that.
    """
    key = f"{event.channel}:{event.since.isoformat()}" + (f":{event.message.conversation}" if alone else "")
    lasted = elapsed(event.since, now)
    headline = f"channel {event.channel} has taken nothing for {lasted}: {event.reason}"
    return _instead(event, MessageKind.CHANNEL_LATE, key, headline, open_=open_, now=now)


def _instead(
    event: ChannelDead | ChannelLate,
    kind: MessageKind,
    key: str,
    headline: str,
    *,
    open_: bool,
    now: datetime,
) -> Message:
    lost = event.message
    if (
        lost.needs_human
    ):  # a text message or a list of alerts shows little else: first what somebody must act on
        headline = f"{lost.headline} ({headline})"
    loud = climbing.louder(lost.severity, Severity.HIGH)
    repair = f"Repair the channel {event.channel}; the message above did not arrive there."
    return Message(
        key=f"{kind}:{key}",
        kind=kind,
        severity=lost.severity if loud and lost.needs_human else Severity.HIGH,
        headline=headline,
        created_at=now,
        service=lost.service,
        environment=lost.environment,
        version=lost.version,
        labels={**lost.labels, "channel": event.channel},
        incident=lost.incident if open_ else None,
        facts=(("not delivered", lost.headline), *lost.facts),
        next_step=f"{lost.next_step.rstrip('.')}. {repair}" if lost.next_step else repair,
        needs_human=True,
        runbook=lost.runbook,
        evidence=lost.evidence,
        undo=lost.undo,
        explain=lost.explain,
        dashboard=lost.dashboard,
    )


def what_next(climb: Climb) -> str:
    """Who is told next, and when, in words."""
    at = clock(climb.next_at) if climb.next_at is not None else ""
    if climb.acknowledged_until is not None and climb.acknowledged_until == climb.next_at:
        return f"the acknowledgement ends at {at}"
    if climb.delegated:
        owners = [one for one in climb.policy.delegate if one in climb.policy.channels]
        again = f", and is told again at {at}" if at else ""
        return f"{', '.join(owners)} tells people from here on{again}"
    if climb.next_at is None:
        return "nobody: that was the last step"
    steps = climbing.ladder(climb.policy, climb.severity)
    if climb.step + 1 >= len(steps):
        return f"the weekly report, {at}" if climb.digest_at is not None else f"everybody again at {at}"
    following = steps[climb.step + 1]
    if following.digest is not None:
        return f"left to the weekly report at {at}"
    return f"{', '.join(following.to)} at {at}"


def _ladder_key(incident: Incident, climb: Climb) -> str:
    return f"{incident.id}:{climb.began_at.isoformat()}:{climb.severity}"


def clock(moment: datetime) -> str:
    """A moment as people read it."""
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
