"""Blindness: checks without data, sources that do not answer, switches that cannot be read.

Silence is never health and never failure: it is told to people, and nothing else. Works on a draft.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from watchdog.core import telling
from watchdog.core.check import CheckId, CheckState, Reason
from watchdog.core.draft import Draft, identity
from watchdog.core.evaluate import blind
from watchdog.core.incident import INCIDENT, Incident, IncidentEvent, IncidentKind, IncidentState
from watchdog.core.judging import close
from watchdog.core.rule import Level, Rule, Severity
from watchdog.core.world import ServiceWorld, SourceWorld

#: After so many failed reads in a row the switch counts as unreadable.
UNREADABLE_AFTER = 3
#: Failures that are the source's own; a refused query is one rule's.
_FAILED = frozenset({Reason.UNREACHABLE, Reason.TIMEOUT, Reason.HTTP_STATUS, Reason.MALFORMED})


def look(draft: Draft) -> None:
    """Open, update or close the blindness of one service. A source that is down has an incident of its own."""
    missing = [
        (check, state)
        for check, state in draft.service.checks.items()
        if check.rule in draft.service.rules and blind(draft.service.rules[check.rule], state, draft.now)
    ]
    own = [
        (check, state)
        for check, state in missing
        if not failed_at_source(draft.service.rules[check.rule], state)
    ]
    summary = "; ".join(sorted(_line(check, state) for check, state in own))
    _follow(draft, IncidentKind.BLIND, summary)


def switch_readable(draft: Draft) -> None:
    """Open or close the incident of a switch that cannot be read."""
    failing = draft.service.traffic_failures >= UNREADABLE_AFTER
    summary = f"its traffic switch cannot be read: {draft.service.traffic_error}" if failing else ""
    _follow(draft, IncidentKind.SWITCH, summary)


def failed_at_source(rule: Rule, state: CheckState) -> bool:
    """Whether a check is blind because its source fails, rather than because there is no data in it."""
    return not rule.is_probe and state.verdict is not None and state.verdict.reason in _FAILED


def _line(check: CheckId, state: CheckState) -> str:
    reason = state.verdict.reason if state.verdict else "never asked"
    return f"{check.rule} has no data ({reason})"


def _follow(draft: Draft, kind: IncidentKind, summary: str) -> None:
    """One incident a service and kind: opened once, told again only when other checks are concerned."""
    incident = draft.service.incident_of(kind)
    if not summary:
        if incident is not None:
            close(draft, incident, IncidentEvent.CLEARED, "data is there again")
        return
    if incident is None:
        incident = Incident(
            id=identity("inc", kind, draft.service.name, draft.now.isoformat()),
            kind=kind,
            state=IncidentState.OPEN,
            subject=draft.service.name,
            environment=draft.service.service.environment,
            opened_at=draft.now,
            level=Level.UNKNOWN,
            severity=Severity.HIGH,
            summary=summary,
        )
    elif incident.summary == summary:
        return
    told = replace(incident, summary=summary)
    draft.set_incident(told)
    draft.note(
        "blind" if kind is IncidentKind.BLIND else "switch_unreadable", incident=told.id, summary=summary
    )
    draft.tell(telling.blind(draft.service.service, told, now=draft.now))


def blind_services(
    services: dict[str, ServiceWorld], source: str, now: datetime
) -> tuple[tuple[str, ...], str]:
    """The services that have been blind for too long because a source fails, and what it said."""
    affected: list[str] = []
    why = ""
    for service in services.values():
        for check, state in service.checks.items():
            rule = service.rules.get(check.rule)
            if rule is None or rule.source != source or not failed_at_source(rule, state):
                continue
            if blind(rule, state, now):
                affected.append(service.name)
                why = state.verdict.explanation if state.verdict else why
                break
    return tuple(sorted(affected)), why


def source_incident(
    source: SourceWorld, affected: tuple[str, ...], why: str, *, now: datetime
) -> Incident | None:
    """The source's incident as it should be now: opened when services are blind, closed when it answers again."""
    incident = source.incident
    if affected and incident is None:
        return Incident(
            id=identity("inc", IncidentKind.SOURCE, source.name, now.isoformat()),
            kind=IncidentKind.SOURCE,
            state=IncidentState.OPEN,
            subject=source.name,
            opened_at=now,
            level=Level.UNKNOWN,
            severity=Severity.HIGH,
            summary=why or source.error,
            subjects=affected,
        )
    if incident is not None and not affected and source.up:
        return replace(
            incident,
            state=INCIDENT.step(incident.state, IncidentEvent.CLEARED),
            closed_at=now,
            closed_because="the source answers again",
        )
    if incident is not None and set(affected) - set(incident.subjects):
        return replace(incident, subjects=tuple(sorted({*incident.subjects, *affected})))
    return incident
