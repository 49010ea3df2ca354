"""What people are told of incidents, channels, the store and the kill switch, word for word.

Headline first: service, what is wrong, what was done; then why; then what to do. Rollbacks have words of their own
(`watchdog.core.rollback_news`), and so do storms, ladders, lost reach and the configuration.

Builds messages only; `watchdog.core.routing` decides who gets them. Nothing secret may enter a message.
"""

from __future__ import annotations

from datetime import datetime

from watchdog.core.incident import Breach, Incident, IncidentKind
from watchdog.core.message import Message, MessageKind
from watchdog.core.rule import Level, Severity
from watchdog.core.service import Service
from watchdog.core.units import elapsed
from watchdog.core.wording import (
    LEVELS,
    Facts,
    breach_facts,
    dashboard_of,
    digest,
    evidence_of,
    explaining,
    number,
    rules_of,
    runbook_of,
    word,
)


def severity_of(incident: Incident) -> Severity:
    """How loud an incident is now: that of its worst rule."""
    if incident.kind is IncidentKind.BREACH:
        order = list(Severity)
        found = [
            breach.rule.severity.of(breach.level) for breach in incident.breaches.values() if not breach.over
        ]
        return max(found, key=order.index, default=incident.severity)
    return Severity.HIGH


def incident_opened(
    service: Service, incident: Incident, *, now: datetime, worsened: bool = False
) -> Message:
    """An incident began or became worse."""
    kind = MessageKind.INCIDENT_WORSENED if worsened else MessageKind.INCIDENT_OPENED
    on = f" {incident.version}" if incident.version else ""
    rules = rules_of(incident)
    return Message(
        key=f"{kind}:{incident.id}:{incident.level}",
        kind=kind,
        severity=severity_of(incident),
        headline=f"{service.name}{on} is {LEVELS.get(incident.level, incident.level)} in {service.environment}: "
        f"{incident.summary}",
        created_at=now,
        service=service.name,
        environment=service.environment,
        version=incident.version,
        labels=service.labels,
        incident=incident.id,
        facts=(*breach_facts(incident), *_untouched(incident)),
        next_step=to_take(incident),
        needs_human=True,
        runbook=runbook_of(rules),
        dashboard=dashboard_of(rules),
        evidence=evidence_of(incident),
        explain=explaining(incident.id),
    )


def to_take(incident: Incident) -> str:
    """How to look at an incident, and to say that somebody does."""
    return f"Take it: watchdog ack {incident.id}. Look at it: watchdog incidents show {incident.id}"


def _untouched(incident: Incident) -> Facts:
    """What was done about what is not bad enough to be rolled back: nothing, and from where on something is."""
    if incident.level is Level.ROLLBACK:
        return ()
    limits = (
        f"{breach.rule.name} beyond {number(breach.rule.thresholds.rollback, breach.rule.unit)}"
        for breach in incident.breaches.values()
        if not breach.over and breach.rule.thresholds.rollback is not None
    )
    at = ", ".join(dict.fromkeys(limits))
    return (
        ("traffic", "not moved; " + (f"a rollback begins at {at}" if at else "no breached rule rolls back")),
    )


def blind(service: Service, incident: Incident, *, now: datetime) -> Message:
    """Checks have had no data for too long, or the switch cannot be read."""
    return Message(
        key=f"{MessageKind.INCIDENT_OPENED}:{incident.id}:{digest(incident.summary)}",
        kind=MessageKind.INCIDENT_OPENED,
        severity=incident.severity,
        headline=f"{service.name} in {service.environment} is not being watched: {incident.summary}",
        created_at=now,
        service=service.name,
        environment=service.environment,
        labels=service.labels,
        incident=incident.id,
        next_step="Nothing is rolled back while this lasts. See what is missing: watchdog doctor -c FILE",
        needs_human=True,
        explain=explaining(incident.id),
    )


def source_down(incident: Incident, *, now: datetime) -> Message:
    """A source does not answer: one message for all services that depend on it."""
    count = len(incident.subjects)
    return Message(
        key=f"{MessageKind.INCIDENT_OPENED}:{incident.id}",
        kind=MessageKind.INCIDENT_OPENED,
        severity=incident.severity,
        headline=f"source {incident.subject} does not answer: {count} service{'s'[: count != 1]} not being watched",
        created_at=now,
        incident=incident.id,
        labels={"source": incident.subject},
        facts=(("why", incident.summary), ("services", ", ".join(incident.subjects[:20]))),
        next_step="Nothing is rolled back on missing data. Bring the source back, or watch these services yourself. "
        f"{to_take(incident)}",
        needs_human=True,
    )


def incident_closed(incident: Incident, *, now: datetime, service: Service | None = None) -> Message:
    """An incident is over."""
    what = service.name if service else incident.subject
    return Message(
        key=f"{MessageKind.INCIDENT_CLOSED}:{incident.id}",
        kind=MessageKind.INCIDENT_CLOSED,
        severity=Severity.LOW if incident.kind is not IncidentKind.BREACH else incident.severity,
        headline=f"{what}: closed: {incident.closed_because}",
        created_at=now,
        service=service.name if service else "",
        environment=incident.environment,
        version=incident.version,
        labels=service.labels if service else {"source": incident.subject},
        incident=incident.id,
        also_to=incident.heard_by,
        facts=(
            *breach_facts(incident),
            ("lasted", elapsed(incident.opened_at, now)),
        ),
        explain=explaining(incident.id),
    )


def acknowledged(incident: Incident, *, now: datetime, service: Service | None) -> Message:
    """Somebody took an incident."""
    return Message(
        key=f"{MessageKind.INCIDENT_ACKNOWLEDGED}:{incident.id}:{incident.acknowledged_by}",
        kind=MessageKind.INCIDENT_ACKNOWLEDGED,
        severity=Severity.LOW,
        headline=f"{incident.subject}: acknowledged by {incident.acknowledged_by}",
        created_at=now,
        service=service.name if service else "",
        environment=incident.environment,
        version=incident.version,
        labels=service.labels if service else {"source": incident.subject},
        incident=incident.id,
        also_to=incident.heard_by,
        undo=f"watchdog unack {incident.id} --reason TEXT",
    )


def store_failed(what: str, advice: str, *, now: datetime) -> Message:
    """The store cannot be written, so nothing is done: told past the store.

    What stands in parentheses changes from one attempt to the next: it makes no other message.
    """
    return Message(
        key=f"{MessageKind.STORE_FAILED}:{digest(what.partition(' (')[0])}",
        kind=MessageKind.STORE_FAILED,
        severity=Severity.CRITICAL,
        headline=f"the watchdog cannot use its store and rolls nothing back: {what}",
        created_at=now,
        about="store",
        next_step=advice,
        needs_human=True,
    )


def pause_changed(
    service: Service, *, by: str, reason: str, paused: bool, now: datetime, since: datetime | None = None
) -> Message:
    """Somebody set or lifted the kill switch; `since` is when it was set."""
    kind = MessageKind.PAUSED if paused else MessageKind.RESUMED
    began = now if paused else since or now
    lasted = (("lasted", elapsed(began, now)),) if not paused and since else ()
    return Message(
        key=f"{kind}:{service.name}:{now.isoformat()}",
        kind=kind,
        severity=Severity.MEDIUM,
        headline=f"{service.name}: automation {kind} by {by}" + (f": {reason}" if reason else ""),
        created_at=now,
        service=service.name,
        environment=service.environment,
        labels=service.labels,
        about=f"paused:{service.name}:{began.isoformat()}",
        facts=(("by", by), *lasted),
        next_step=f"Nothing is rolled back by itself until: watchdog resume {word(service.name)}"
        if paused
        else "",
        undo=f"watchdog resume {word(service.name)}"
        if paused
        else f"watchdog pause {word(service.name)} --reason TEXT",
    )


def summary_of(breach: Breach) -> str:
    """One line for a headline: the rule and its explanation."""
    return f"{breach.rule.name}: {breach.reason}" if breach.reason else breach.rule.name
