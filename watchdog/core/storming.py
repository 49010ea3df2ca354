"""Many services turn bad at once: people get a handful of pages, not one for each. Pure.

The first `SINGLY` services within `WITHIN` are told one by one. The news of those behind them is folded into one
message, the storm, which is told by the next tick and, when more join, again after `EVERY`. What was folded ends as it
began, with the storm; what was told on its own is told to be over on its own. Where a few stay bad after all others are
well, the storm ends, and each of them becomes a matter of its own.

A storm is an incident: it is stored, so that nothing is told twice after a restart, and people take and close it like
any other. This module must never fold what is told of traffic that was moved, and never drop an incident.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from watchdog.core import storm_news
from watchdog.core.addressing import addressees
from watchdog.core.audit import AuditDraft
from watchdog.core.breaker import heard_waiting
from watchdog.core.census import count_of, follow
from watchdog.core.clockstep import ahead
from watchdog.core.draft import identity, plain
from watchdog.core.incident import INCIDENT, Incident, IncidentEvent, IncidentKind, IncidentState
from watchdog.core.message import Message, MessageKind
from watchdog.core.request import Reply, Request, RequestKind
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.roster import put
from watchdog.core.rule import Severity, rank
from watchdog.core.silencing import Changed, news_of
from watchdog.core.storm import EVERY, SETTLED, SINGLY, SUBJECT, WITHIN, Storm
from watchdog.core.taking import Taken, note, take
from watchdog.core.world import ServiceWorld, World

#: News of what is wrong with one service.
_NEWS = frozenset({MessageKind.INCIDENT_OPENED, MessageKind.INCIDENT_WORSENED})
#: What guards and people are asked about a rollback that was not made.
_UNMADE = frozenset({MessageKind.ROLLBACK_BLOCKED, MessageKind.APPROVAL_WANTED})
#: Everything that can be folded.
_FOLDED = _NEWS | _UNMADE | {MessageKind.ROLLBACK_ENDED}
#: A rollback about which people can still be asked: an intent is the executor's, and is not written twice.
_WAITING = frozenset({RollbackState.BLOCKED, RollbackState.AWAITING_APPROVAL})


class _Folding:
    """One step's messages: which go out as they are, and what the others leave behind."""

    def __init__(self, before: World, world: World, now: datetime) -> None:
        self.before, self.now = before, now
        self.world = world
        self.storm = world.storm
        self.services: dict[str, ServiceWorld] = {}
        self.incidents: dict[str, Incident] = {}
        self.rollbacks: dict[str, Rollback] = {}

    def keeps(self, message: Message) -> bool:
        """Whether the message goes out."""
        service = self._service(message.service)
        if service is None or message.kind not in _FOLDED:
            return True
        if message.kind in _NEWS:
            incident = service.incidents.get(message.incident or "")
            return incident is None or self._keeps_news(message, service, incident)
        rollback = service.rollbacks.get(message.rollback or "")
        if rollback is None or not rollback.automatic:
            return True
        incident = service.incidents.get(rollback.incident or "")
        folded = incident is not None and self._in_storm(incident)
        if message.kind is MessageKind.ROLLBACK_ENDED:
            if folded and rollback.folded and storm_news.unanswered(rollback):
                self._to_be_told()
            return _heard_of(rollback) or heard_waiting(self.before, rollback)
        if folded:
            self._to_be_told()
        if rollback.folded is not folded:
            self._put_rollback(service, replace(rollback, folded=folded))
        return not folded

    def _service(self, name: str) -> ServiceWorld | None:
        return self.services.get(name) or self.world.services.get(name)

    def _in_storm(self, incident: Incident) -> bool:
        return self.storm.incident is not None and incident.folded == self.storm.incident.id

    def _to_be_told(self) -> None:
        """Something was folded: on disk, too, so that a restart loses none of it."""
        storm = self.storm.incident
        if storm is not None and not storm.untold:
            storm = self.incidents[storm.id] = replace(storm, untold=True)
        self.storm = replace(self.storm, incident=storm, news=True)

    def _keeps_news(self, message: Message, service: ServiceWorld, incident: Incident) -> bool:
        if not self._in_storm(incident):
            lately = {name: at for name, at in self.storm.singly.items() if _within(at, self.now)}
            if not self._crowded(len(lately.keys() - {service.name})):
                self.storm = replace(self.storm, singly={**lately, service.name: self.now})
                return True
            if service.name not in lately:
                self.storm = replace(self.storm, singly=lately, joined_at=self.now)
        storm = self._widened(message, incident)
        known = self.before.services.get(service.name)
        was = known.incidents.get(incident.id) if known is not None else None
        folded = replace(
            incident,
            folded=storm.id,
            told=was is not None and was.told,
            heard_by=was.heard_by if was is not None else (),
        )
        if folded != incident:
            self.incidents[folded.id] = folded
            self._put(service, incidents={**service.incidents, folded.id: folded})
        return False

    def _crowded(self, lately: int) -> bool:
        joining = self.storm.incident is not None and _within(self.storm.joined_at, self.now)
        return joining or lately >= SINGLY

    def _widened(self, message: Message, incident: Incident) -> Incident:
        """The storm, and with it the channels that would have had this message."""
        storm = self.storm.incident or _begun(incident, self.now)
        channels = addressees(message, self.world.routes, incident)
        order = list(Severity)
        wider = replace(
            storm,
            heard_by=tuple(dict.fromkeys((*storm.heard_by, *channels))),
            severity=max(storm.severity, message.severity, key=order.index),
            level=max(storm.level, incident.level, key=rank),
            environment=storm.environment if storm.environment == incident.environment else "",
            untold=True,
        )
        if wider != self.storm.incident:
            self.incidents[wider.id] = wider
        self.storm = replace(self.storm, incident=wider, news=True)
        return wider

    def _put_rollback(self, service: ServiceWorld, rollback: Rollback) -> None:
        self.rollbacks[rollback.id] = rollback
        self._put(service, rollbacks={**service.rollbacks, rollback.id: rollback})

    def _put(self, service: ServiceWorld, **fields: Any) -> None:
        self.services[service.name] = replace(service, **fields)

    def ended(self) -> World:
        """The world with all of it."""
        for service in self.services.values():
            self.world = follow(self.world, service)
        return self.world if self.storm is self.world.storm else replace(self.world, storm=self.storm)


def fold(before: World, world: World, messages: tuple[Message, ...], now: datetime) -> Changed:
    """Take out of a step's messages what is told with a storm. `before` is the world before the step."""
    if not any(message.kind in _FOLDED for message in messages):
        return Changed(world=world, messages=messages)
    folding = _Folding(before, world, now)
    kept = tuple(message for message in messages if folding.keeps(message))
    return Changed(
        world=folding.ended(),
        incidents=tuple(folding.incidents.values()),
        rollbacks=tuple(folding.rollbacks.values()),
        messages=kept,
    )


def _within(at: datetime | None, now: datetime) -> bool:
    return at is not None and not ahead(at, now) and now - at < WITHIN


def _begun(first: Incident, now: datetime) -> Incident:
    return Incident(
        id=identity("inc", IncidentKind.STORM, now.isoformat()),
        kind=IncidentKind.STORM,
        state=IncidentState.OPEN,
        subject=SUBJECT,
        environment=first.environment,
        opened_at=now,
        level=first.level,
        severity=first.severity,
        summary="many services turned bad at once",
        told=False,
    )


def _heard_of(rollback: Rollback) -> bool:
    """Whether people must hear how it ended: it was begun, or they heard that guards or nobody let it begin."""
    if rollback.intended_at is not None:
        return True
    asked = any(passage.state is RollbackState.AWAITING_APPROVAL for passage in rollback.history)
    return not rollback.folded and (asked or bool(rollback.told))


def tell(world: World, messages: tuple[Message, ...], now: datetime) -> Changed:
    """What is to be told of the storm now, by a tick with these messages; it takes the place of the breaker's news."""
    storm, incident = world.storm, world.storm.incident
    if incident is None:
        return Changed(world=world, messages=messages)
    members = _members(world, incident)
    left = len({one.subject for one in members})
    if left != storm.left or storm.left_at is None or ahead(storm.left_at, now):
        storm = replace(storm, left=left, left_at=now)
        world = replace(world, storm=storm)
    if not left:
        return _over(
            world, incident, messages, f"all {len(incident.subjects)} of them are well again", now=now
        )
    if incident.told and _only_few_stay(storm, now):
        return _dissolved(world, incident, messages, members, now)
    return _news(world, incident, messages, members, now)


def _members(world: World, storm: Incident) -> list[Incident]:
    """The open incidents that people heard of with this storm, or will."""
    return [
        incident
        for service in world.services.values()
        for incident in service.incidents.values()
        if incident.folded == storm.id
    ]


def _only_few_stay(storm: Storm, now: datetime) -> bool:
    unchanged = storm.left_at is not None and now - storm.left_at >= SETTLED
    return storm.left <= SINGLY and unchanged and not _within(storm.joined_at, now)


def _news(
    world: World, incident: Incident, messages: tuple[Message, ...], members: list[Incident], now: datetime
) -> Changed:
    """Tell of the storm when it is new, and of those that joined it once in a while."""
    storm = world.storm
    breaker = [message for message in messages if message.kind is MessageKind.BREAKER_OPEN]
    names = {one.subject for one in members}
    soon = storm.told_at is not None and not ahead(storm.told_at, now) and now - storm.told_at < EVERY
    stopped = _stopped(world)
    known = {*incident.subjects, *storm.singly}
    due = not incident.told or (not soon and (storm.news or bool(names - known)))
    if not due:
        said = incident.stopped and set(world.breaker_told) <= known
        rest = tuple(message for message in messages if not said or message not in breaker)
        return Changed(world=world, messages=rest)
    alone = [
        one
        for name in storm.singly.keys() - names
        for one in (world.services[name].incidents.values() if name in world.services else ())
    ]
    grown = incident.told
    subjects = tuple(sorted({*incident.subjects, *names}))
    told = replace(
        incident, subjects=subjects, told=True, untold=False, summary=f"{len(names)} services are in trouble"
    )
    message = storm_news.opened(
        told,
        [*members, *alone],
        services=len(world.services),
        rollbacks=[one for name in names for one in world.services[name].rollbacks.values() if one.folded],
        stopped=stopped,
        grown=grown,
        now=now,
    )
    told = replace(told, summary=message.headline, stopped=told.stopped or bool(stopped))
    body = {"incident": told.id, "services": list(subjects), "why": message.headline}
    replaced = breaker if stopped else []
    return Changed(
        world=replace(world, storm=replace(storm, incident=told, told_at=now, news=False)),
        incidents=(told,),
        audit=(AuditDraft(at=now, kind="storm_grew" if grown else "storm_opened", subject="", body=body),),
        messages=(*(one for one in messages if one not in replaced), message),
    )


def _stopped(world: World) -> str:
    """Why no automatic rollback is made anywhere, if none is."""
    if world.breaker:
        return world.breaker
    breaching, services = count_of(world).breaching, len(world.services)
    limits = world.limits
    if breaching < limits.at_least or not services or breaching / services <= limits.max_share:
        return ""
    return f"{breaching} of {services} services are breaching"


def _dissolved(
    world: World, storm: Incident, messages: tuple[Message, ...], members: list[Incident], now: datetime
) -> Changed:
    """All but a few are well again: the storm is over, and the few are told on their own."""
    told: list[Incident] = []
    asked: list[Rollback] = []
    alone: list[Message] = []
    for incident in members:
        service = world.services[incident.subject]
        message = news_of(service.service, incident, now=now)
        own = replace(incident, folded="", told=True)
        told.append(own)
        alone.append(storm_news.on_its_own(message, storm))
        folded = [
            one
            for one in service.rollbacks.values()
            if one.incident == own.id and one.folded and one.state in _WAITING
        ]
        alone += storm_news.asked_on_their_own(service.service, folded, now=now)
        unfolded = [replace(one, folded=False) for one in folded]
        asked += unfolded
        world = follow(
            world,
            replace(
                service,
                incidents={**service.incidents, own.id: own},
                rollbacks=service.rollbacks | {one.id: one for one in unfolded},
            ),
        )
    names = sorted({one.subject for one in members})
    well = len(set(storm.subjects) - set(names))
    why = f"{well} of {len(storm.subjects)} are well again; told on their own now: {', '.join(names)}"
    over = _over(world, storm, (*messages, *alone), why, told=tuple(told), now=now)
    return replace(over, rollbacks=tuple(asked))


def _over(
    world: World,
    storm: Incident,
    messages: tuple[Message, ...],
    why: str,
    *,
    told: tuple[Incident, ...] = (),
    now: datetime,
) -> Changed:
    """The storm is over. People hear of it who heard of its beginning."""
    closed = replace(
        storm,
        state=INCIDENT.step(storm.state, IncidentEvent.CLEARED),
        closed_at=now,
        closed_because=why,
    )
    news = (storm_news.closed(closed, now=now),) if storm.told else ()
    body = {"incident": closed.id, "why": why}
    return Changed(
        world=replace(world, storm=Storm(singly=world.storm.singly)),
        incidents=(*told, closed),
        audit=(AuditDraft(at=now, kind="storm_over", subject="", body=body),),
        messages=(*messages, *news),
    )


def answer(world: World, request: Request, now: datetime) -> Changed | None:
    """A person takes the storm, gives it back or closes it; `None` when the request is not about it."""
    storm = world.storm.incident
    if storm is None or storm.id != request.target:
        return None
    left: tuple[Incident, ...] = ()
    if request.kind in (RequestKind.ACKNOWLEDGE, RequestKind.UNACKNOWLEDGE):
        taken = take(world, storm, request, now)
        after = replace(world.storm, incident=taken.incident)
    elif request.kind is RequestKind.CLOSE:
        taken = _closed(storm, request, now)
        after = Storm(singly=world.storm.singly)
        world, left = _left_alone(world, storm)
    else:
        return None
    return Changed(
        world=replace(world, storm=after),
        incidents=(*left, taken.incident) if taken.incident != storm else (),
        audit=taken.audit,
        messages=taken.messages,
        replies=(Reply(request=request.id, status=200, body=plain(taken.incident)),),
    )


def _left_alone(world: World, storm: Incident) -> tuple[World, tuple[Incident, ...]]:
    """The world without the storm's members, and those: nobody is told of them now, but by what comes next of each."""
    left = tuple(replace(one, folded="") for one in _members(world, storm))
    return put(world, left), left


def _closed(storm: Incident, request: Request, now: datetime) -> Taken:
    why = f"closed by {request.by}" + (f": {request.body['reason']}" if request.body.get("reason") else "")
    state = INCIDENT.step(storm.state, IncidentEvent.CLOSED_BY_PERSON)
    closed = replace(storm, state=state, closed_at=now, closed_because=why)
    record = note("incident_closed_by_person", closed, now, by=request.by)
    news = (storm_news.closed(closed, now=now),) if storm.told else ()
    return Taken(incident=closed, audit=(record,), messages=news)


def restored(incidents: Iterable[Incident], services: Mapping[str, ServiceWorld]) -> Storm:
    """The storm as the store knows it, after a start."""
    found = next((one for one in incidents if one.kind is IncidentKind.STORM and one.open), None)
    of_services = [one for service in services.values() for one in service.incidents.values()]
    singly: dict[str, datetime] = {}
    for one in of_services:
        if one.told and not one.folded:
            singly[one.subject] = max(one.opened_at, singly.get(one.subject, one.opened_at))
    joined = [one.opened_at for one in of_services if found is not None and one.folded == found.id]
    return Storm(
        singly=singly,
        incident=found,
        joined_at=max(joined, default=None),
        news=found is not None and found.untold,
    )
