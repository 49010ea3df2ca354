"""What people are told, word for word.

Headline first: service, what is wrong, what was done; then why; then what to do.

Builds messages only; `watchdog.core.routing` decides who gets them. Nothing secret may enter a message.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from watchdog.core import advice
from watchdog.core.incident import Breach, Incident, IncidentKind
from watchdog.core.message import Message, MessageKind
from watchdog.core.rollback import Rollback, RollbackState, Veto
from watchdog.core.rule import Rule, Severity, Unit
from watchdog.core.service import Service
from watchdog.core.turn import Taint
from watchdog.core.units import format_duration

Facts = tuple[tuple[str, str], ...]

#: Ends after which somebody or something else has the matter in hand.
_SETTLED = frozenset({RollbackState.COMPLETED, RollbackState.SUPERSEDED})


def number(value: float | None, unit: Unit) -> str:
    """A value in its rule's unit, short."""
    if value is None:
        return "no value"
    match unit:
        case Unit.RATIO:
            return f"{value * 100:.4g}%"
        case Unit.SECONDS:
            return f"{value * 1000:.4g}ms" if abs(value) < 1 else f"{value:.4g}s"
        case Unit.BYTES:
            for size, name in ((2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki")):
                if abs(value) >= size:
                    return f"{value / size:.4g}{name}"
            return f"{value:.4g}B"
        case _:
            return f"{value:.6g}"


def severity_of(incident: Incident) -> Severity:
    """How loud an incident is now: that of its worst rule."""
    if incident.kind is IncidentKind.BREACH:
        order = list(Severity)
        found = [
            breach.rule.severity.of(breach.level) for breach in incident.breaches.values() if not breach.over
        ]
        return max(found, key=order.index, default=incident.severity)
    return Severity.HIGH


def _breach_facts(incident: Incident) -> Facts:
    lines: list[tuple[str, str]] = []
    for breach in incident.breaches.values():
        state = "over" if breach.over else str(breach.level)
        limit = breach.limit if breach.limit is not None else breach.rule.thresholds.of(breach.level)
        shown = number(breach.value, breach.rule.unit)
        beyond = f" (limit {number(limit, breach.rule.unit)})" if limit is not None else ""
        text = f"{state}, {shown}{beyond} since {_clock(breach.since)}"
        lines.append((breach.rule.name, f"{text}: {breach.reason}" if breach.reason else text))
    return tuple(lines)


def _stamp(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _veto_facts(vetoes: tuple[Veto, ...]) -> Facts:
    return tuple((f"guard {veto.guard}", veto.detail) for veto in vetoes)


def incident_opened(
    service: Service, incident: Incident, *, now: datetime, worsened: bool = False
) -> Message:
    """An incident began or became worse."""
    kind = MessageKind.INCIDENT_WORSENED if worsened else MessageKind.INCIDENT_OPENED
    on = f" {incident.version}" if incident.version else ""
    return Message(
        key=f"{kind}:{incident.id}:{incident.level}",
        kind=kind,
        severity=severity_of(incident),
        headline=f"{service.name}{on} is {incident.level} in {service.environment}: {incident.summary}",
        created_at=now,
        service=service.name,
        environment=service.environment,
        version=incident.version,
        labels=service.labels,
        incident=incident.id,
        facts=_breach_facts(incident),
        next_step=f"Look at it: watchdog incidents show {incident.id}. Take it: watchdog ack {incident.id}",
        needs_human=True,
        runbook=_runbook(incident),
    )


def _runbook(incident: Incident) -> str | None:
    return next((breach.rule.runbook for breach in incident.breaches.values() if breach.rule.runbook), None)


def blind(service: Service, incident: Incident, *, now: datetime) -> Message:
    """Checks have had no data for too long, or the switch cannot be read."""
    return Message(
        key=f"{MessageKind.INCIDENT_OPENED}:{incident.id}:{_digest(incident.summary)}",
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
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


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
        next_step="Nothing is rolled back on missing data. Bring the source back, or watch these services yourself.",
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
            *_breach_facts(incident),
            ("lasted", format_duration(max(now - incident.opened_at, timedelta()))),
        ),
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
    )


def stopped_by(rollback: Rollback) -> str:
    """The set of guards that stops a rollback in its incident: people are told once of each."""
    return f"{rollback.incident}:{'+'.join(veto.guard for veto in rollback.vetoes)}"


def rollback_blocked(service: Service, rollback: Rollback, *, now: datetime) -> Message:
    """The verdict says roll back, and a guard says no."""
    why = rollback.vetoes[0].detail if rollback.vetoes else "a guard said no"
    return Message(
        key=f"{MessageKind.ROLLBACK_BLOCKED}:{rollback.id}:{stopped_by(rollback)}",
        kind=MessageKind.ROLLBACK_BLOCKED,
        severity=Severity.CRITICAL,
        headline=f"{service.name} {rollback.from_version} should be rolled back and was NOT: {why}",
        created_at=now,
        service=service.name,
        environment=service.environment,
        version=rollback.from_version,
        labels=service.labels,
        incident=rollback.incident,
        rollback=rollback.id,
        facts=(("why", rollback.reason), *_veto_facts(rollback.vetoes)),
        next_step=advice.when_blocked(service, rollback),
        needs_human=True,
        runbook=_rule_runbook(rollback.rules),
    )


def _rule_runbook(rules: tuple[Rule, ...]) -> str | None:
    return next((rule.runbook for rule in rules if rule.runbook), None)


def approval_wanted(service: Service, rollback: Rollback, *, now: datetime) -> Message:
    """Mode approve: everything is ready and waits for a person."""
    return Message(
        key=f"{MessageKind.APPROVAL_WANTED}:{rollback.id}:{_stamp(rollback.expires_at)}",
        kind=MessageKind.APPROVAL_WANTED,
        severity=Severity.CRITICAL,
        headline=f"{service.name}: approve the rollback from {rollback.from_version} to {rollback.to_version}?",
        created_at=now,
        service=service.name,
        environment=service.environment,
        version=rollback.from_version,
        labels=service.labels,
        incident=rollback.incident,
        rollback=rollback.id,
        facts=(("why", rollback.reason),),
        next_step=advice.to_answer(rollback, within=format_duration(service.rollback.approve_within)),
        needs_human=True,
        runbook=_rule_runbook(rollback.rules),
    )


def rollback_switched(service: Service, rollback: Rollback, *, now: datetime) -> Message:
    """Traffic was moved."""
    return Message(
        key=f"{MessageKind.ROLLBACK_SWITCHED}:{rollback.id}",
        kind=MessageKind.ROLLBACK_SWITCHED,
        severity=Severity.CRITICAL,
        headline=f"{service.name}: traffic moved back from {rollback.from_version} to {rollback.to_version}",
        created_at=now,
        service=service.name,
        environment=service.environment,
        version=rollback.from_version,
        labels=service.labels,
        incident=rollback.incident,
        rollback=rollback.id,
        facts=(
            ("why", rollback.reason),
            ("asked by", rollback.requested_by),
            ("from", f"{rollback.from_version} on {rollback.from_variant}"),
            ("to", f"{rollback.to_version} on {rollback.to_variant}"),
        ),
        next_step=advice.when_switched(service, rollback),
        needs_human=False,
        runbook=_rule_runbook(rollback.rules),
    )


def rollback_ended(
    service: Service,
    rollback: Rollback,
    *,
    now: datetime,
    wanted: bool = True,
    incident: Incident | None = None,
) -> Message:
    """A rollback is over: proved, or in one of the other ends.

    `wanted`: what asked for it still does; `incident` is the one that it was about, where that is open. Whoever heard
    of that hears of this, too, however quiet it is.
    """
    urgent = wanted and rollback.state not in _SETTLED
    done = rollback.state is RollbackState.COMPLETED
    kind = MessageKind.ROLLBACK_COMPLETED if done else MessageKind.ROLLBACK_ENDED
    why = rollback.history[-1].why if rollback.history else ""
    lasted = now - (rollback.applied_at or now)
    took = f" after {format_duration(lasted)}" if done and lasted > timedelta() else ""
    headline = (
        f"{service.name}: {'recovered' if rollback.rules else 'is'} on {rollback.to_version}{took}"
        if done
        else f"{service.name}: rollback to {rollback.to_version} is {rollback.state}: {why}"
    )
    return Message(
        key=f"{kind}:{rollback.id}:{rollback.state}",
        kind=kind,
        severity=Severity.CRITICAL if urgent else Severity.HIGH if done else Severity.MEDIUM,
        headline=headline,
        created_at=now,
        service=service.name,
        environment=service.environment,
        version=rollback.to_version,
        labels=service.labels,
        incident=rollback.incident,
        rollback=rollback.id,
        facts=(("why", why), ("traffic", rollback.traffic_proof or "not measured")),
        next_step=advice.at_end(service, rollback, still_open=incident is not None),
        needs_human=urgent,
        runbook=_rule_runbook(rollback.rules),
        also_to=incident.heard_by if incident is not None else (),
    )


def switch_undone(service: Service, taint: Taint, *, rollback: str | None, now: datetime) -> Message:
    """Later than the contest window, traffic went back to a version that was rolled back, or that a person tainted."""
    how = f"tainted by {taint.by}" if taint.by else "rolled back"
    return Message(
        key=f"{MessageKind.SWITCH_UNDONE}:{service.name}:{taint.version}:{now.isoformat()}",
        kind=MessageKind.SWITCH_UNDONE,
        severity=Severity.CRITICAL,
        headline=f"{service.name}: traffic is back on {taint.version}, which was {how}",
        created_at=now,
        service=service.name,
        environment=service.environment,
        version=taint.version,
        labels=service.labels,
        rollback=rollback,
        facts=((how, _clock(taint.at)), ("because", taint.reason.removeprefix("rolled back: "))),
        next_step=f"If nobody meant it: watchdog rollback {service.name} --reason TEXT",
        needs_human=True,
    )


def breaker_open(why: str, names: tuple[str, ...], *, since: datetime, now: datetime) -> Message:
    """No automatic rollback until the limit has room again: one message for all that wait, the last one `since`."""
    return Message(
        key=f"{MessageKind.BREAKER_OPEN}:{_stamp(since)}:{_digest(' '.join(names))}",
        kind=MessageKind.BREAKER_OPEN,
        severity=Severity.CRITICAL,
        headline=f"no automatic rollback anywhere: {why}",
        created_at=now,
        facts=(("services", ", ".join(names)),),
        next_step="Suspect what the services share (network, database, this watchdog's sources) before any version.",
        needs_human=True,
    )


def store_failed(what: str, advice: str, *, now: datetime) -> Message:
    """The store cannot be written, so nothing is done: told past the store.

    What stands in parentheses changes from one attempt to the next: it makes no other message.
    """
    return Message(
        key=f"{MessageKind.STORE_FAILED}:{_digest(what.partition(' (')[0])}",
        kind=MessageKind.STORE_FAILED,
        severity=Severity.CRITICAL,
        headline=f"the watchdog cannot use its store and rolls nothing back: {what}",
        created_at=now,
        next_step=advice,
        needs_human=True,
    )


def channel_dead(channel: str, headline: str, reason: str, *, key: str, now: datetime) -> Message:
    """A message could not be delivered on one channel."""
    return Message(
        key=f"{MessageKind.CHANNEL_FAILED}:{key}",
        kind=MessageKind.CHANNEL_FAILED,
        severity=Severity.HIGH,
        headline=f"channel {channel} failed for good: {reason}",
        created_at=now,
        labels={"channel": channel},
        facts=(("not delivered", headline),),
        next_step=f"Repair the channel {channel}; the message above did not arrive there.",
        needs_human=True,
    )


def pause_changed(service: Service, *, by: str, reason: str, paused: bool, now: datetime) -> Message:
    """Somebody set or lifted the kill switch."""
    kind = MessageKind.PAUSED if paused else MessageKind.RESUMED
    return Message(
        key=f"{kind}:{service.name}:{now.isoformat()}",
        kind=kind,
        severity=Severity.MEDIUM,
        headline=f"{service.name}: automation {kind} by {by}" + (f": {reason}" if reason else ""),
        created_at=now,
        service=service.name,
        environment=service.environment,
        labels=service.labels,
        next_step=f"watchdog resume {service.name}" if paused else "",
    )


def summary_of(breach: Breach) -> str:
    """One line for a headline: the rule and its explanation."""
    return f"{breach.rule.name}: {breach.reason}" if breach.reason else breach.rule.name
