"""While nobody acknowledges, the next one is told: where each open incident stands on its ladder, turn by turn. Pure.

An incident begins to climb when people first hear of it, with the policy as it is then. What is silenced, muted or
folded into a storm waits. However late a turn comes, every step is told once and in order. This module must never tell
anybody of what is over, and never keep a step back because of a clock, a restart or a reload.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec.structs import replace

from watchdog.core import climbing, escalation_news, roster, silencing, taking
from watchdog.core.addressing import addressees, known_channels, policy_for, present
from watchdog.core.audit import AuditDraft
from watchdog.core.climbing import Call, Due
from watchdog.core.events import ChannelDead, ChannelLate
from watchdog.core.incident import Incident, IncidentKind, IncidentState
from watchdog.core.ladder import Climb, ReportTime
from watchdog.core.message import Message, MessageKind
from watchdog.core.silencing import Changed
from watchdog.core.taking import note
from watchdog.core.world import World

#: What is told because nobody acknowledged, or because a channel failed: no news of what is wrong.
_BESIDE = frozenset(
    {
        MessageKind.ESCALATED,
        MessageKind.INCIDENT_REPEATED,
        MessageKind.INCIDENT_UNACKNOWLEDGED,
        MessageKind.ACKNOWLEDGEMENT_REMINDER,
        MessageKind.CHANNEL_FAILED,
        MessageKind.CHANNEL_LATE,
    }
)


def heard(
    before: World, world: World, messages: Iterable[Message], written: Iterable[Incident], now: datetime
) -> Changed:
    """What comes of what people hear: where it was told, and the ladder that begins with it. Tells nothing itself.

    `messages` are all that leave with a turn, `written` the incidents that it writes, `before` is the world before it.
    """
    known = {one.id: one for one in written}
    changed: dict[str, Incident] = {}
    notes: list[AuditDraft] = []
    for message in messages:
        if message.incident is None:
            continue
        incident = known.get(message.incident) or roster.find(world, message.incident, message.service)
        if incident is None or not incident.open:
            continue
        after = _climbing(before, world, incident, message, now)
        if after.climb is not None and after.climb is not incident.climb:
            notes.append(_begun_note(after, after.climb, message, now))
        to = addressees(message, world.routes, after)
        after = replace(after, heard_by=tuple(dict.fromkeys((*after.heard_by, *to))))
        if after != incident:
            changed[after.id] = known[after.id] = after
    for one in known.values():
        if not one.open and one.climb is not None and one.climb.next_at is not None:
            changed[one.id] = replace(one, climb=replace(one.climb, next_at=None))
    if not changed:
        return Changed(world=world)
    return Changed(
        world=roster.put(world, changed.values()), incidents=tuple(changed.values()), audit=tuple(notes)
    )


def _climbing(before: World, world: World, incident: Incident, message: Message, now: datetime) -> Incident:
    """The incident on the ladder that this message begins, or as it is."""
    if not message.needs_human or message.kind in _BESIDE or incident.folded:
        return incident
    policy = policy_for(message, world.routes, incident)
    if policy is None:
        return incident
    taken = incident.state is IncidentState.ACKNOWLEDGED
    climb = incident.climb
    if climb is None:
        begun = climbing.begin(policy, message.severity, now)
        return replace(incident, climb=climbing.taken(begun, now) if taken else begun)
    was = roster.find(before, incident.id, message.service)
    on_its_own = was is not None and bool(was.folded)
    if on_its_own or climbing.louder(message.severity, climb.severity):
        raised = climbing.raised(climb, policy, message.severity, now, acknowledged=taken)
        return replace(incident, climb=raised)
    return incident


def _begun_note(incident: Incident, climb: Climb, message: Message, now: datetime) -> AuditDraft:
    return note(
        "ladder_begun",
        incident,
        now,
        policy=climb.policy.name,
        severity=climb.severity,
        channels=climbing.first_channels(climb.policy, climb.severity),
        message=message.key,
        delegated=climb.delegated,
        next_at=climb.next_at,
        why=f"{message.headline}; next: {escalation_news.what_next(climb)}",
    )


def overdue(world: World, now: datetime) -> Iterator[Incident]:
    """The incidents of which something is due by now, and that nothing holds back."""
    for incident in roster.everyone(world):
        climb = incident.climb
        if climb is None or climb.next_at is None or climb.next_at > now or incident.folded:
            continue
        if not held(world, incident, now):
            yield incident


def held(world: World, incident: Incident, now: datetime) -> bool:
    """Whether a silence or a mute window keeps people from hearing of an incident now."""
    if incident.kind is IncidentKind.STORM:
        return False
    severity = incident.climb.severity if incident.climb is not None else incident.severity
    service = world.services[incident.subject].service if incident.of_service else None
    asked = Message(
        key="",
        kind=MessageKind.INCIDENT_OPENED,
        severity=severity,
        headline="",
        created_at=now,
        service=service.name if service is not None else "",
        environment=incident.environment,
        version=incident.version,
        labels=service.labels if service is not None else {"source": incident.subject},
        incident=incident.id,
    )
    return silencing.held(world, asked, incident, now)


def look(world: World, now: datetime) -> Changed:
    """Tell everything that is due."""
    climbs = _Climbs(world, now)
    for incident in roster.everyone(world):
        if incident.climb is None and _of_an_earlier_release(incident):
            climbs.begin(incident)
    for incident in overdue(world, now):
        climbs.go_on(incident)
    return climbs.ended()


def _of_an_earlier_release(incident: Incident) -> bool:
    """Whether people heard of it when there were no ladders yet: its ladder begins when this release first sees it."""
    heard_of = incident.told and bool(incident.heard_by) and not incident.folded
    return heard_of and incident.state is IncidentState.OPEN


def lost(world: World, event: ChannelDead | ChannelLate, now: datetime) -> Changed:
    """A channel did not take a message: the next step is told at once, and all other channels hear of it."""
    message = event.message
    incident = roster.find(world, message.incident, message.service)
    climbs = _Climbs(world, now)
    if incident is not None and _hurries(incident, event):
        climbs.hurry(incident)
    gone = climbs.ended()
    if isinstance(event, ChannelDead):
        news = escalation_news.channel_failed(event, open_=incident is not None, now=now)
    else:
        after = roster.find(gone.world, message.incident, message.service)
        others = set(after.heard_by) - {event.channel} if after is not None else set[str]()
        alone = not others & set(known_channels(world.routes))
        news = escalation_news.channel_late(event, alone=alone, open_=after is not None, now=now)
    return replace(gone, messages=(*gone.messages, news))


def _hurries(incident: Incident, event: ChannelDead | ChannelLate) -> bool:
    """Whether what was lost is the newest that people were told of something that nobody took."""
    climb, message = incident.climb, event.message
    broken = message.kind in (MessageKind.CHANNEL_FAILED, MessageKind.CHANNEL_LATE)
    if climb is None or broken or not message.needs_human:
        return False
    if incident.state is not IncidentState.OPEN or incident.folded:
        return False
    if climb.delegated and event.channel not in climb.policy.delegate:
        return False
    return _step_of(message, climb) >= climb.step


def _step_of(message: Message, climb: Climb) -> int:
    """The step that a message was told with; everything but steps and repeats is told with the first."""
    if message.kind is MessageKind.INCIDENT_REPEATED:
        return climb.step
    return int(message.key.rpartition(":")[2]) if message.kind is MessageKind.ESCALATED else 0


class _Climbs:
    """The incidents that go on in one turn, and what comes of it."""

    def __init__(self, world: World, now: datetime) -> None:
        self.world, self.now = world, now
        self.known = known_channels(world.routes)
        self.changed: dict[str, Incident] = {}
        self.messages: list[Message] = []
        self.notes: list[AuditDraft] = []
        self.reports: dict[tuple[ReportTime, tuple[str, ...]], str] = {}

    def begin(self, incident: Incident) -> None:
        """Its ladder begins now, with its first step told already."""
        climb = taking.begun(self.world, incident, self.now)
        if climb is not None:
            self.changed[incident.id] = replace(incident, climb=climb)

    def hurry(self, incident: Incident) -> None:
        """The next step is due now; told now, if nothing holds it back."""
        if incident.climb is None:
            return
        climb = climbing.hurried(incident.climb, self.now)
        if climb == incident.climb:
            return  # nobody is left who could be told
        incident = replace(incident, climb=climb)
        self.changed[incident.id] = incident
        if not held(self.world, incident, self.now):
            self.go_on(incident)

    def go_on(self, incident: Incident) -> None:
        """Everything of an incident that is due."""
        if incident.climb is None:
            return
        taken = incident.state is IncidentState.ACKNOWLEDGED
        climb, calls = climbing.advance(incident.climb, self.now, acknowledged=taken)
        base = escalation_news.now_of(self.world, incident, now=self.now) if calls else None
        for call in calls:
            if base is not None:
                incident = self._called(incident, base, call)
        self.changed[incident.id] = replace(incident, climb=climb)

    def _called(self, incident: Incident, base: Message, due: Due) -> Incident:
        """One thing that is due, told and recorded."""
        climb, now = due.climb, self.now
        steps = climbing.ladder(climb.policy, climb.severity)
        heard_by = present(incident.heard_by, self.known)
        match due.call:
            case Call.STEP:
                to = present(steps[climb.step].to, self.known) or self._routed(base, climb)
                message = escalation_news.escalated(base, incident, climb, to=to, now=now)
                return self._tell("incident_escalated", incident, message, to, due)
            case Call.REPEAT:
                to = climbing.repeat_channels(climb, heard_by) or self._routed(base, climb)
                message = escalation_news.repeated(base, incident, climb, to=to, now=now)
                return self._tell("incident_repeated", incident, message, to, due)
            case Call.REMINDER:
                message = escalation_news.reminder(base, incident, climb, to=heard_by, now=now)
                return self._tell("acknowledgement_reminded", incident, message, heard_by, due)
            case Call.EXPIRED:
                to = taking.beginners(self.world, incident, base, climb)
                message = escalation_news.unacknowledged(base, incident, climb, to=to, now=now)
                return self._tell(
                    "incident_unacknowledged", taking.alone_again(incident, climb), message, to, due
                )
            case Call.LEFT:
                why = escalation_news.what_next(climb)
                body = {"step": climb.step + 1, "next_at": climb.next_at, "why": why}
                self.notes.append(note("incident_left_to_report", incident, now, **body))
            case Call.REPORT:
                report = steps[climb.step].digest or ReportTime()
                channels = climbing.report_channels(steps, climb.step)
                self.reports[report, channels] = climb.reported
        return incident

    def _routed(self, base: Message, climb: Climb) -> tuple[str, ...]:
        """Who is told where nobody whom the policy names is there any more: whoever would be told first today."""
        return addressees(replace(base, severity=climb.severity, also_to=()), self.world.routes)

    def _tell(
        self, record: str, incident: Incident, message: Message, to: tuple[str, ...], due: Due
    ) -> Incident:
        climb = due.climb
        if to:
            self.messages.append(message)
        self.notes.append(
            note(
                record,
                incident,
                self.now,
                policy=climb.policy.name,
                severity=climb.severity,
                step=climb.step + 1,
                channels=to,
                message=message.key,
                due_at=due.at,
                next_at=climb.next_at,
                why=message.headline,
            )
        )
        heard_by = tuple(dict.fromkeys((*incident.heard_by, *to)))
        return replace(incident, heard_by=heard_by, climb=climb)

    def _report(self) -> None:
        """One report for each time and group of channels, of everything that is left to it."""
        if not self.reports:
            return
        left = [self.changed.get(one.id, one) for one in roster.everyone(self.world)]
        for (report, channels), week in self.reports.items():
            to = present(channels, self.known)
            listed = [
                one for one in left if _left_to(one, report, channels) and not held(self.world, one, self.now)
            ]
            if not to or not listed:
                continue
            message = escalation_news.weekly_report(listed, week=week, report=report, to=to, now=self.now)
            self.messages.append(message)
            body = {"incidents": [one.id for one in listed], "channels": list(to), "message": message.key}
            self.notes.append(AuditDraft(at=self.now, kind="weekly_report", subject="", body=body))

    def ended(self) -> Changed:
        """What comes of all of them."""
        if not self.changed:
            return Changed(world=self.world)
        self._report()
        return Changed(
            world=roster.put(self.world, self.changed.values()),
            incidents=tuple(self.changed.values()),
            audit=tuple(self.notes),
            messages=tuple(self.messages),
        )


def _left_to(incident: Incident, report: ReportTime, channels: tuple[str, ...]) -> bool:
    climb = incident.climb
    if (
        climb is None
        or climb.digest_at is None
        or incident.state is not IncidentState.OPEN
        or incident.folded
    ):
        return False
    steps = climbing.ladder(climb.policy, climb.severity)
    return steps[climb.step].digest == report and climbing.report_channels(steps, climb.step) == channels
