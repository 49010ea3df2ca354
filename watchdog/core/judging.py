"""From an observation to incidents: the check's verdict, the deployment's soak, the incident's life.

Works on a draft. Whether to roll back is `watchdog.core.deciding`'s, what happens after a switch `verifying`'s.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from watchdog.core import telling
from watchdog.core.baseline import resolved
from watchdog.core.check import CheckId, CheckState, Reason, Verdict
from watchdog.core.checks import exists, rule_of
from watchdog.core.clockstep import ahead
from watchdog.core.deciding import consider
from watchdog.core.deployment import SOAKING, Deployment, DeploymentState
from watchdog.core.draft import Draft, identity
from watchdog.core.evaluate import evaluate
from watchdog.core.events import Observed
from watchdog.core.incident import INCIDENT, Breach, Incident, IncidentEvent, IncidentKind, IncidentState
from watchdog.core.judged import Judged
from watchdog.core.known import known_of, remember
from watchdog.core.observation import Pulse, Value
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.rule import Level, Rule, rank
from watchdog.core.sightings import soak
from watchdog.core.verifying import settling


def observed(draft: Draft, event: Observed) -> None:
    """Judge one observation and everything that follows from it."""
    check = event.check
    rule = rule_of(draft.service, check)
    if rule is None or not exists(draft.service, check):
        return  # asked before its version lost its traffic: it judges nothing any more
    before = draft.service.checks.get(check, CheckState())
    deployment = draft.service.deployment_of(check)
    if _too_early(draft, event, before, deployment):
        return
    result = evaluate(rule, before, event.observation, now=event.arrived_at)
    draft.set_check(check, result.state, store=result.state.latched is not before.latched)
    _remember(draft, rule, result.verdict, deployment)
    if deployment is not None and deployment.state in SOAKING:
        _soak(draft, rule, check, result.verdict, deployment)
    judged = Judged(check=check, rule=rule, before=before, event=event, result=result, deployment=deployment)
    incident = _incident(draft, judged)
    if result.verdict.level is Level.ROLLBACK and result.counted and result.state.held is Level.ROLLBACK:
        consider(draft, judged, incident)


def _too_early(draft: Draft, event: Observed, before: CheckState, deployment: Deployment | None) -> bool:
    """Whether the observation does not count: a switch was made a moment ago, or the deployment warms up.

    A probe that says dead counts even during the warm-up, and one that says alive ends a row of dead ones.
    """
    observation = event.observation
    sampled_at = observation.at if isinstance(observation, Value | Pulse) else draft.now
    if settling(draft.service, min(sampled_at, draft.now), now=draft.now):
        why = "traffic was moved a moment ago"
    elif deployment is not None and _warming_up(draft, deployment):
        if isinstance(observation, Pulse):
            if not observation.passed:
                return False
            before = replace(before, probe_failures=0, streaks={}, held=Level.OK)
        why = f"{deployment.version} is still warming up"
    else:
        return False
    verdict = Verdict(level=Level.UNKNOWN, reason=Reason.WARMING_UP, at=draft.now, explanation=why)
    draft.set_check(event.check, replace(before, verdict=verdict))
    return True


def _warming_up(draft: Draft, deployment: Deployment) -> bool:
    young = draft.now < deployment.started_at + draft.service.service.rollback.warmup
    if ahead(deployment.started_at, draft.now):
        return False  # by a clock that was set back: nothing of the time before is counted any more either
    return young and deployment.armed and deployment.state is DeploymentState.WATCHING


def _remember(draft: Draft, rule: Rule, verdict: Verdict, deployment: Deployment | None) -> None:
    """Keep the known verdicts of the last day: what a later deployment is compared with."""
    if verdict.level is Level.UNKNOWN:
        return
    kept = draft.service.known.get(rule.name)
    if kept is not None and kept.question not in ("", rule.question) and _kept_open(draft, rule):
        return  # an open incident keeps the rule as it was, and what was known of it
    log = known_of(draft.service.known, rule)
    version = deployment.version if deployment else ""
    longer = remember(log, verdict, version)
    draft.service = replace(draft.service, known=draft.service.known | {rule.name: longer})


def _kept_open(draft: Draft, rule: Rule) -> bool:
    """Whether some check of that name is still asked by an earlier rule."""
    return any(check.rule == rule.name for check in draft.service.stale)


def _soak(draft: Draft, rule: Rule, check: CheckId, verdict: Verdict, deployment: Deployment) -> None:
    """Count the time in which something was known ok and nothing was worse; it never ends in an open incident.

    What another check last knew, and what it has latched, counts: an answer that is missing since makes nothing better.
    """
    others_worse = any(
        _worse(state)
        for other, state in draft.service.checks.items()
        if other != check and other.version in ("", deployment.version)
    )
    longest_gap = max(3 * rule.interval, timedelta(seconds=5))
    ends_soon = deployment.soaked_for + longest_gap >= draft.service.service.rollback.soak
    in_incident = draft.service.incident_of(IncidentKind.BREACH, deployment.id) is not None
    soak(
        draft,
        deployment,
        ok=verdict.level is Level.OK and not (in_incident and ends_soon),
        worse=others_worse or rank(verdict.level) > rank(Level.OK),
        longest_gap=longest_gap,
    )


def _worse(state: CheckState) -> bool:
    levels = (state.latched, *(one.level for one in (state.verdict, state.known) if one is not None))
    return any(rank(level) > rank(Level.OK) for level in levels)


def _incident(draft: Draft, judged: Judged) -> Incident | None:
    """Open, worsen or clear the incident this check belongs to; answers it while it is open."""
    check, state = judged.check, judged.result.state
    incident = _holding(draft, check, judged.deployment)
    if state.latched is Level.OK:
        if incident is not None and state.clears >= judged.rule.clear:
            _clear(draft, incident, check)
        return incident
    breach = incident.breaches.get(str(check)) if incident else None
    if breach is not None and not breach.over and rank(state.latched) <= rank(breach.level):
        return incident
    if not judged.result.counted:
        return incident
    return _worsen(draft, judged, incident)


def _holding(draft: Draft, check: CheckId, deployment: Deployment | None) -> Incident | None:
    """The open incident that this check holds open, else the one of its deployment."""
    for incident in draft.service.incidents.values():
        breach = incident.breaches.get(str(check))
        if breach is not None and not breach.over:
            return incident
    return draft.service.incident_of(IncidentKind.BREACH, deployment.id if deployment else "")


def _worsen(draft: Draft, judged: Judged, incident: Incident | None) -> Incident:
    level, verdict, deployment = judged.result.state.latched, judged.verdict, judged.deployment
    breach = Breach(
        rule=judged.rule,
        level=level,
        since=judged.result.state.breached_at or draft.now,
        version=judged.check.version or (deployment.version if deployment else ""),
        value=verdict.value,
        limit=_limit(judged, level),
        reason=verdict.explanation,
    )
    opened = incident is None
    if incident is None:
        incident = _new_incident(draft, judged)
    else:
        incident = replace(incident, state=INCIDENT.step(incident.state, IncidentEvent.WORSENED))
    louder = opened or rank(level) > rank(incident.level)
    incident = replace(
        incident,
        breaches=incident.breaches | {str(judged.check): breach},
        level=level if louder else incident.level,
        summary=telling.summary_of(breach) if louder else incident.summary,
    )
    incident = replace(incident, severity=telling.severity_of(incident))
    draft.set_incident(incident)
    draft.note(
        "incident_opened" if opened else "incident_worsened",
        incident=incident.id,
        level=level,
        **judged.inputs,
    )
    if louder:
        draft.tell(
            telling.incident_opened(draft.service.service, incident, now=draft.now, worsened=not opened)
        )
    return incident


def _limit(judged: Judged, level: Level) -> float | None:
    """The limit of a level that follows from what the value was compared with."""
    observation = judged.event.observation
    if judged.rule.baseline is None or not isinstance(observation, Value):
        return None
    against = resolved(judged.rule, observation)
    return against.thresholds.of(level) if against is not None else None


def _new_incident(draft: Draft, judged: Judged) -> Incident:
    deployment, level = judged.deployment, judged.result.state.latched
    target = deployment.id if deployment else ""
    return Incident(
        id=identity("inc", IncidentKind.BREACH, draft.service.name, target, draft.now.isoformat()),
        kind=IncidentKind.BREACH,
        state=IncidentState.OPEN,
        subject=draft.service.name,
        environment=draft.service.service.environment,
        deployment=target,
        version=deployment.version if deployment else "",
        opened_at=draft.now,
        level=level,
        severity=judged.rule.severity.of(level),
    )


def _clear(draft: Draft, incident: Incident, check: CheckId) -> None:
    """One check is ok again."""
    breach = incident.breaches.get(str(check))
    if breach is None or breach.over:
        return
    cleared = replace(breach, cleared_at=draft.now)
    draft.set_incident(replace(incident, breaches=incident.breaches | {str(check): cleared}))
    draft.note("check_cleared", incident=incident.id, check=str(check))


def retire_breaches(draft: Draft) -> None:
    """Checks of versions without traffic hold nothing open."""
    if not draft.service.incidents:
        return
    alive = {str(check) for check in draft.service.checks}
    live = draft.service.traffic.live if draft.service.traffic else ()
    for incident in list(draft.service.incidents.values()):
        if incident.kind is not IncidentKind.BREACH:
            continue
        gone = {
            key: replace(breach, retired_at=draft.now)
            for key, breach in incident.breaches.items()
            if not breach.over and "@" in key and key not in alive and _version_gone(draft, breach, live)
        }
        if gone:
            draft.set_incident(replace(incident, breaches=incident.breaches | gone))
            draft.note("checks_retired", incident=incident.id, checks=sorted(gone))


def _version_gone(draft: Draft, breach: Breach, live: tuple[str, ...]) -> bool:
    """Whether other versions took its traffic; that nothing takes any is an outage, not an end."""
    if not live:
        return False
    serving = [draft.service.serving(variant) for variant in live]
    return all(deployment is None or deployment.version != breach.version for deployment in serving)


def close_cleared(draft: Draft) -> None:
    """Close every incident whose checks are all over and whose rollback, if any, has ended."""
    for incident in list(draft.service.incidents.values()):
        if incident.kind is not IncidentKind.BREACH or not incident.breaches:
            continue
        if all(breach.over for breach in incident.breaches.values()) and not _busy(draft, incident):
            close(draft, incident, IncidentEvent.CLEARED, _why_over(draft, incident))


def _busy(draft: Draft, incident: Incident) -> bool:
    waiting = (RollbackState.BLOCKED, RollbackState.AWAITING_APPROVAL)
    return any(
        rollback.incident == incident.id and not rollback.over and rollback.state not in waiting
        for rollback in draft.service.rollbacks.values()
    )


def _why_over(draft: Draft, incident: Incident) -> str:
    done = _rollback_of(draft, incident)
    if done is not None and done.state is RollbackState.COMPLETED:
        return f"recovered after the rollback to {done.to_version}"
    if all(breach.retired_at is not None for breach in incident.breaches.values()):
        return "the version takes no traffic any more"
    return "every check is ok again"


def _rollback_of(draft: Draft, incident: Incident) -> Rollback | None:
    for rollback in reversed(draft.service.rollbacks.values()):
        if rollback.incident == incident.id:
            return rollback
    return None


def close(draft: Draft, incident: Incident, event: IncidentEvent, why: str) -> Incident:
    """Close an incident and say so on every channel that heard of it."""
    closed = replace(
        incident, state=INCIDENT.step(incident.state, event), closed_at=draft.now, closed_because=why
    )
    draft.set_incident(closed)
    draft.note("incident_closed", incident=closed.id, why=why)
    draft.tell(telling.incident_closed(closed, now=draft.now, service=draft.service.service))
    return closed
