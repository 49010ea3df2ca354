"""What people are told of rollbacks, word for word: asked for, stopped, made, ended, undone.

The headline says the service, what is wrong and what was done, to somebody who has just been woken. Builds messages
only. Nothing secret may enter one.
"""

from __future__ import annotations

from datetime import datetime

from watchdog.core import advice
from watchdog.core.incident import Incident
from watchdog.core.message import Message, MessageKind
from watchdog.core.rollback import Rollback, RollbackState, Veto
from watchdog.core.rule import Severity
from watchdog.core.service import Service
from watchdog.core.turn import Taint
from watchdog.core.units import elapsed, format_duration
from watchdog.core.wording import (
    Facts,
    clock,
    dashboard_of,
    digest,
    evidence_of,
    explaining,
    runbook_of,
    word,
)

#: Ends after which somebody or something else has the matter in hand.
_SETTLED = frozenset({RollbackState.COMPLETED, RollbackState.SUPERSEDED})
#: An end as it stands behind `rollback to VERSION` in a headline.
ENDED_AS = {
    RollbackState.INEFFECTIVE: "did not help",
    RollbackState.UNVERIFIED: "was made, and nobody knows whether it helped",
    RollbackState.CONTESTED: "was undone",
    RollbackState.SUPERSEDED: "was overtaken",
    RollbackState.PARTIAL: "is only half done",
    RollbackState.FAILED: "failed",
    RollbackState.EXPIRED: "was not made",
}


def _veto_facts(vetoes: tuple[Veto, ...]) -> Facts:
    return tuple((f"guard {veto.guard}", veto.detail) for veto in vetoes)


def stopped_by(rollback: Rollback) -> str:
    """The set of guards that stops a rollback in its incident: people are told once of each."""
    return f"{rollback.incident}:{'+'.join(veto.guard for veto in rollback.vetoes)}"


def _because(rollback: Rollback) -> str:
    """Why it was decided, with the rule that says so where it is one: a number alone is no news."""
    alone = rollback.automatic and rollback.reason and len(rollback.rules) == 1
    return f"{rollback.rules[0].name}: {rollback.reason}" if alone else rollback.reason


def rollback_blocked(
    service: Service, rollback: Rollback, *, now: datetime, incident: Incident | None = None
) -> Message:
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
        facts=(
            ("why", rollback.reason),
            *_veto_facts(rollback.vetoes),
            ("traffic", f"stays on {rollback.from_version}"),
        ),
        next_step=advice.when_blocked(service, rollback),
        needs_human=True,
        runbook=runbook_of(rollback.rules),
        dashboard=dashboard_of(rollback.rules),
        evidence=evidence_of(incident),
        explain=explaining(rollback.id),
    )


def approval_wanted(
    service: Service, rollback: Rollback, *, now: datetime, incident: Incident | None = None
) -> Message:
    """Mode approve: everything is ready and waits for a person."""
    until, within = rollback.expires_at, format_duration(service.rollback.approve_within)
    return Message(
        key=f"{MessageKind.APPROVAL_WANTED}:{rollback.id}:{until.isoformat() if until else ''}",
        kind=MessageKind.APPROVAL_WANTED,
        severity=Severity.CRITICAL,
        headline=f"{service.name}: approve the rollback from {rollback.from_version} to {rollback.to_version}? "
        f"{_because(rollback)}",
        created_at=now,
        service=service.name,
        environment=service.environment,
        version=rollback.from_version,
        labels=service.labels,
        incident=rollback.incident,
        rollback=rollback.id,
        facts=(
            ("why", rollback.reason),
            *_from_to(rollback),
            *((("until", f"{clock(until)}; without an answer nothing is moved"),) if until else ()),
        ),
        next_step=advice.to_answer(rollback, within=within),
        needs_human=True,
        runbook=runbook_of(rollback.rules),
        dashboard=dashboard_of(rollback.rules),
        evidence=evidence_of(incident),
        explain=explaining(rollback.id),
    )


def _from_to(rollback: Rollback) -> Facts:
    return (
        ("from", f"{rollback.from_version} on {rollback.from_variant}"),
        ("to", f"{rollback.to_version} on {rollback.to_variant}"),
    )


def rollback_switched(
    service: Service, rollback: Rollback, *, now: datetime, incident: Incident | None = None
) -> Message:
    """Traffic was moved."""
    because = _because(rollback)
    why = f": {because}" if because else ""
    return Message(
        key=f"{MessageKind.ROLLBACK_SWITCHED}:{rollback.id}",
        kind=MessageKind.ROLLBACK_SWITCHED,
        severity=Severity.CRITICAL,
        headline=f"{service.name}: traffic moved back from {rollback.from_version} to {rollback.to_version}{why}",
        created_at=now,
        service=service.name,
        environment=service.environment,
        version=rollback.from_version,
        labels=service.labels,
        incident=rollback.incident,
        rollback=rollback.id,
        facts=(("why", rollback.reason), ("asked by", rollback.requested_by), *_from_to(rollback)),
        next_step=advice.when_switched(service, rollback),
        needs_human=False,
        runbook=runbook_of(rollback.rules),
        dashboard=dashboard_of(rollback.rules),
        evidence=evidence_of(incident, now_over=True),
        undo=advice.to_undo(service, rollback),
        explain=explaining(rollback.id),
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
    return Message(
        key=f"{kind}:{rollback.id}:{rollback.state}",
        kind=kind,
        severity=Severity.CRITICAL if urgent else Severity.HIGH if done else Severity.MEDIUM,
        headline=_ended(service, rollback, why, now=now),
        created_at=now,
        service=service.name,
        environment=service.environment,
        version=rollback.to_version,
        labels=service.labels,
        incident=rollback.incident,
        rollback=rollback.id,
        facts=(
            ("why", why),
            ("ended as", str(rollback.state)),
            ("traffic", rollback.traffic_proof or "not measured"),
            ("asked by", rollback.requested_by),
            *_from_to(rollback),
        ),
        next_step=advice.at_end(service, rollback, still_open=incident is not None),
        needs_human=urgent,
        runbook=runbook_of(rollback.rules),
        dashboard=dashboard_of(rollback.rules),
        also_to=incident.heard_by if incident is not None else (),
        evidence=evidence_of(incident) if urgent else None,
        undo=advice.to_undo(service, rollback),
        explain=explaining(rollback.id),
    )


def _ended(service: Service, rollback: Rollback, why: str, *, now: datetime) -> str:
    if rollback.state is not RollbackState.COMPLETED:
        said = ENDED_AS.get(rollback.state, f"is {rollback.state}")
        return f"{service.name}: the rollback to {rollback.to_version} {said}: {why}"
    began = rollback.applied_at or now
    took = f" after {elapsed(began, now)}" if now > began else ""
    return f"{service.name}: {'recovered' if rollback.rules else 'is'} on {rollback.to_version}{took}"


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
        facts=((how, clock(taint.at)), ("because", taint.reason.removeprefix("rolled back: "))),
        next_step=f"If nobody meant it: watchdog rollback {word(service.name)} --reason TEXT. If it is good now: "
        f"watchdog untaint {word(service.name)} {word(taint.version)} --reason TEXT",
        needs_human=True,
        explain=explaining(rollback),
    )


def breaker_open(
    why: str, names: tuple[str, ...], *, since: datetime, first: datetime, now: datetime
) -> Message:
    """No automatic rollback until the limit has room again: one message for all that wait.

    The last of them waits `since` then, the `first` one that people heard of for longer.
    """
    return Message(
        key=f"{MessageKind.BREAKER_OPEN}:{since.isoformat()}:{digest(' '.join(names))}",
        kind=MessageKind.BREAKER_OPEN,
        severity=Severity.CRITICAL,
        headline=f"no automatic rollback anywhere: {why}",
        created_at=now,
        about=_about_limits(first),
        facts=(("services", ", ".join(names)),),
        next_step="Suspect what the services share (network, database, this watchdog's sources) before any version. "
        "One that must go back all the same: watchdog rollback SERVICE --reason TEXT",
        needs_human=True,
    )


def breaker_closed(*, since: datetime, now: datetime) -> Message:
    """Nothing waits for the limits any more; people heard that something did since `since`."""
    lasted = elapsed(since, now)
    return Message(
        key=f"{MessageKind.BREAKER_CLOSED}:{since.isoformat()}:{now.isoformat()}",
        kind=MessageKind.BREAKER_CLOSED,
        severity=Severity.LOW,
        headline=f"no rollback waits for the limits any more, after {lasted}",
        created_at=now,
        about=_about_limits(since),
        facts=(("lasted", lasted),),
    )


def _about_limits(since: datetime) -> str:
    """What ties both together, also for receivers that keep one thing open for it."""
    return f"limits:{since.isoformat()}"
