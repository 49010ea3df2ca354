"""Blindness: checks without data, sources that do not answer, switches that cannot be read or show nothing live.

Silence is never health and never failure: it is told to people, and nothing else. Works on a draft.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from watchdog.core import cutoff, quarantine, suspicion, telling
from watchdog.core.check import CheckId, CheckState, Reason
from watchdog.core.checks import rule_of
from watchdog.core.clockstep import ahead
from watchdog.core.comparing import uncompared
from watchdog.core.draft import Draft, identity
from watchdog.core.evaluate import blind
from watchdog.core.events import Observed
from watchdog.core.incident import INCIDENT, Incident, IncidentEvent, IncidentKind, IncidentState
from watchdog.core.judging import close
from watchdog.core.observation import Failed, FailReason
from watchdog.core.rule import Level, Rule, Severity
from watchdog.core.world import SourceWorld, World

#: After so many failed reads in a row the switch counts as unreadable.
UNREADABLE_AFTER = 3
#: How long nothing may take traffic before it is told, for a service whose rules have no `blind_after` of their own.
IDLE_AFTER = timedelta(minutes=3)
#: What is wrong with a switch that can be read: rules of one version ask nothing then.
NOTHING_LIVE = "no variant takes traffic"
#: Failures that are the source's own; a refused or senseless answer to one query is one rule's.
_SOURCE_FAILED = frozenset(
    {FailReason.UNREACHABLE, FailReason.TIMEOUT, FailReason.HTTP_STATUS, FailReason.MALFORMED}
)
_AGAIN = "data is there again"
_COMPARED = "there is something to compare with again, or nothing that must be"
_FAILED = frozenset(Reason(reason.value) for reason in _SOURCE_FAILED)


def heard(world: World, event: Observed, now: datetime) -> World:
    """The world with what a poll says of its source. Our own inability says nothing of it."""
    service = world.services.get(event.check.service)
    rule = rule_of(service, event.check) if service else None
    if rule is None or rule.is_probe or rule.source is None:
        return world
    source = world.sources.get(rule.source, SourceWorld(name=rule.source))
    failed = event.observation if isinstance(event.observation, Failed) else None
    if failed is not None and failed.reason is FailReason.UNABLE:
        return world
    if failed is not None and failed.reason in _SOURCE_FAILED:
        since = source.failing_since or now
        source = replace(source, up=False, error=failed.detail, failing_since=since)
    else:
        source = replace(source, up=True, error="", failing_since=None)
    if world.sources.get(source.name) == source:
        return world
    return replace(world, sources=world.sources | {source.name: source})


def look(draft: Draft) -> None:
    """Open, update or close the blindness of one service. A source that is down has an incident of its own."""
    known = draft.service.incident_of(IncidentKind.BLIND)
    told = known.checks if known is not None else ()
    own = [
        (check, state)
        for check, state in draft.service.checks.items()
        if state.blind_since is not None
        and (rule := rule_of(draft.service, check)) is not None
        and blind(rule, state, draft.now)
        and not _failed_at_source(rule, state)
        and (
            check.rule in told
            or not (_comes_back(rule, state) or cutoff.hushes(draft.world, rule, state, draft.now))
        )
    ]
    quiet = known.checks if known is not None and known.severity is Severity.LOW else ()
    alone = [
        (check, state)
        for check, state in draft.service.checks.items()
        if (check, state) not in own and _uncompared(draft, check, state, quiet)
    ]
    summary = "; ".join(sorted({_line(check, state) for check, state in (*own, *alone)}))
    checks = tuple(sorted({check.rule for check, _ in (*own, *alone)}))
    severity = Severity.HIGH if own else Severity.LOW
    again = _COMPARED if quiet else _AGAIN
    _follow(
        draft, IncidentKind.BLIND, summary, checks, again=again, severity=severity, missing=(*own, *alone)
    )
    switch_usable(draft)


def _uncompared(draft: Draft, check: CheckId, state: CheckState, told: tuple[str, ...]) -> bool:
    """Whether a check has had nothing to compare with for too long, or was told so and knows nothing since."""
    if state.verdict is None or state.verdict.level is not Level.UNKNOWN:
        return False
    if state.verdict.reason is not Reason.NO_REFERENCE:
        return check.rule in told
    rule = rule_of(draft.service, check)
    return rule is not None and uncompared(draft.service, check, rule, state, now=draft.now)


def switch_usable(draft: Draft) -> None:
    """Open or close the incident of a switch that cannot be read, or shows nothing live for too long."""
    service = draft.service
    known = service.incident_of(IncidentKind.SWITCH)
    if service.traffic_failures >= UNREADABLE_AFTER:
        _follow(draft, IncidentKind.SWITCH, f"its traffic switch cannot be read: {service.traffic_error}", ())
    elif _idle(draft, known):
        if known is not None and known.summary != NOTHING_LIVE:
            close(draft, known, IncidentEvent.CLEARED, "the switch can be read again")
        _follow(draft, IncidentKind.SWITCH, NOTHING_LIVE, ())
    else:
        idle = known is not None and known.summary == NOTHING_LIVE
        _follow(draft, IncidentKind.SWITCH, "", (), again="traffic flows again" if idle else _AGAIN)


def _idle(draft: Draft, known: Incident | None) -> bool:
    """Whether nothing has taken traffic for too long, and is still told after a restart; remembers since when."""
    service = draft.service
    since = None
    if service.traffic is not None and not service.traffic.live:
        since = draft.now if ahead(service.idle_since, draft.now) else service.idle_since or draft.now
    if since != service.idle_since:
        draft.service = replace(service, idle_since=since)
    if since is None:
        return False
    if known is not None and known.summary == NOTHING_LIVE:
        return True
    return draft.now - since >= min((rule.blind_after for rule in service.rules.values()), default=IDLE_AFTER)


def _comes_back(rule: Rule, state: CheckState) -> bool:
    """Whether its source answers again and only a full window is missing: that was told as the source's outage."""
    seen = state.verdict
    return (
        seen is not None and seen.reason is Reason.QUARANTINE and not quarantine.lasts(rule, state, seen.at)
    )


def _failed_at_source(rule: Rule, state: CheckState) -> bool:
    """Whether a check is blind because its source fails, rather than because there is no data in it."""
    asked = not rule.is_probe and rule.source is not None
    seen = state.verdict
    return (
        asked and seen is not None and seen.reason in _FAILED and not quarantine.lasts(rule, state, seen.at)
    )


def _line(check: CheckId, state: CheckState) -> str:
    reason = state.verdict.reason if state.verdict else "never asked"
    if reason is Reason.NO_REFERENCE:
        return f"{check.rule} has nothing to compare with ({reason})"
    if suspicion.quiet(state):
        return f"{check.rule} has no traffic to judge ({reason})"
    return f"{check.rule} has no data ({reason})"


def _follow(
    draft: Draft,
    kind: IncidentKind,
    summary: str,
    checks: tuple[str, ...],
    *,
    again: str = _AGAIN,
    severity: Severity = Severity.HIGH,
    missing: tuple[tuple[CheckId, CheckState], ...] = (),
) -> None:
    """One incident a service and kind: opened once, told again only when more checks are concerned.

    `missing` are the checks without data, for what is told of them.
    """
    incident = draft.service.incident_of(kind)
    if not summary:
        if incident is not None:
            close(draft, incident, IncidentEvent.CLEARED, again)
        return
    opened = incident is None
    if incident is None:
        incident = Incident(
            id=identity("inc", kind, draft.service.name, draft.now.isoformat()),
            kind=kind,
            state=IncidentState.OPEN,
            subject=draft.service.name,
            environment=draft.service.service.environment,
            opened_at=draft.now,
            level=Level.UNKNOWN,
            severity=severity,
            summary=summary,
        )
    elif incident.checks == checks and incident.severity is severity:
        return
    louder = severity is Severity.HIGH and incident.severity is not severity
    more = opened or louder or bool(set(checks) - set(incident.checks))
    told = replace(incident, summary=summary, checks=checks, severity=severity)
    draft.set_incident(told)
    switch = "switch_idle" if summary == NOTHING_LIVE else "switch_unreadable"
    draft.note("blind" if kind is IncidentKind.BLIND else switch, incident=told.id, summary=summary)
    if more:
        message = telling.blind(draft.service.service, told, now=draft.now)
        if missing:
            step = suspicion.next_step(missing)
            message = replace(message, facts=suspicion.facts(missing), next_step=step)
        draft.tell(message)


def blind_services(world: World, source: SourceWorld, now: datetime) -> tuple[tuple[str, ...], str]:
    """The services that a failing source leaves blind, and what it said; none before one was it for too long.

    Then all of them: polls are moments apart, and people hear of an outage once. That nothing at all answers is told
    as such, not as this source's outage.
    """
    failing: set[str] = set()
    too_long, why = False, ""
    for service in world.services.values():
        for check, state in service.checks.items():
            if state.verdict is None or state.verdict.reason not in _FAILED:
                continue
            rule = rule_of(service, check)
            if rule is None or rule.source != source.name or not _failed_at_source(rule, state):
                continue
            if source.incident is None and cutoff.hushes(world, rule, state, now):
                continue
            failing.add(service.name)
            if blind(rule, state, now):
                too_long = True
                why = state.verdict.explanation
    return tuple(sorted(failing)) if too_long else (), why


def start_over(world: World, source: str, now: datetime) -> World:
    """A person closed the incident of a source that still fails: it is told again after another `blind_after`."""
    services = dict(world.services)
    for name, service in services.items():
        checks = {
            check: replace(state, blind_since=now)
            for check, state in service.checks.items()
            if state.blind_since is not None
            and (rule := rule_of(service, check)) is not None
            and rule.source == source
        }
        if checks:
            services[name] = replace(service, checks=service.checks | checks)
    return replace(world, services=services)


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
