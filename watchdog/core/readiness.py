"""Says in daylight that a rollback would not work: while a new version is watched, and before anybody needs one.

One quiet incident a deployment, when the guards of readiness have said no for a while. Works on a draft. What people
decided themselves (a pause, `mode: observe`, `rollback: forbidden`) is no news to them, and where there never was
anything to go back to nothing is missing. This module must never decide whether to roll back; the guards do.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from watchdog.core.census import Census
from watchdog.core.clockstep import ahead
from watchdog.core.deployment import Deployment, DeploymentState
from watchdog.core.draft import Draft, identity
from watchdog.core.facts import gather
from watchdog.core.guards import READINESS, ask
from watchdog.core.incident import Incident, IncidentEvent, IncidentKind, IncidentState
from watchdog.core.judging import close
from watchdog.core.message import Message, MessageKind
from watchdog.core.rollback import Veto
from watchdog.core.rule import Level, Severity
from watchdog.core.service import Mode, Service
from watchdog.core.world import ServiceWorld

#: So long the guards must have said no before people hear of it, and yes before it is over: a standby that restarts
#: is no news. Shorter than the 300 s within which people must hear of it (failure catalogue, C2).
LASTS = timedelta(seconds=90)
#: What a pause file says that a person has set, rather than one that cannot be looked at (`watchdog.engine.pause`).
_SET_BY_A_PERSON = " exists"
#: The guards of readiness do not look at what is counted over all services.
_NOBODY = Census(breaching=0, recent_rollbacks=0)
#: What to do, by the guard that says no first.
_ADVICE = {
    "paused": "See what is wrong with the pause file or its disk: while it cannot be looked at, nothing is switched.",
    "known_good_target": "Bring a version that proved itself back to a variant without traffic, or say that the one "
    "there is good: watchdog mark-good {service} VERSION --reason TEXT",
    "target_ready": "Start the standby again, or give the switch a `ready` probe if nobody can tell; see "
    "watchdog status {service}",
    "unmanaged": "Set `gitops: pause` or `ignore` for {service} if a switch may be made all the same.",
}


def look(draft: Draft) -> None:
    """Open or close the incident of a service whose new version could not be rolled back now.

    While the switch cannot be read, a rollback is under way, or another process leads, nothing is said anew.
    """
    known = draft.service.incident_of(IncidentKind.UNREADY)
    watched = _watched(draft)
    if watched is None or (known is not None and known.deployment != watched.id):
        _since(draft, waits=False)
    if known is not None and (watched is None or known.deployment != watched.id):
        close(draft, known, IncidentEvent.CLEARED, _why_over(draft.service, known))
        known = None
    if watched is None or not draft.world.leader or draft.service.traffic_failures:
        return
    vetoes = _vetoes(draft, watched)
    if (known is None) is not bool(vetoes) or (known is None and draft.service.active_rollback() is not None):
        _since(draft, waits=False)
    elif _since(draft, waits=True) < LASTS:
        return
    elif known is None:
        _open(draft, watched, vetoes)
    else:
        _since(draft, waits=False)
        close(draft, known, IncidentEvent.CLEARED, f"{watched.version} could be rolled back again")


def unready(service: Service, incident: Incident, *, now: datetime) -> Message:
    """What people are told, once: which guard says no, why, and what to do."""
    guard = incident.summary.partition(":")[0]
    return Message(
        key=f"{MessageKind.INCIDENT_OPENED}:{incident.id}",
        kind=MessageKind.INCIDENT_OPENED,
        severity=incident.severity,
        headline=f"{service.name} {incident.version} in {service.environment} could not be rolled back now: "
        f"{incident.summary}",
        created_at=now,
        service=service.name,
        environment=service.environment,
        version=incident.version,
        labels=service.labels,
        incident=incident.id,
        next_step=_ADVICE.get(guard, "See watchdog status {service}").format(service=service.name),
        needs_human=True,
    )


def _watched(draft: Draft) -> Deployment | None:
    """The deployment that the watchdog would roll back by itself now, and that has not proved itself yet."""
    service = draft.service
    if service.service.mode is Mode.OBSERVE:
        return None
    if not any(one.state is DeploymentState.WATCHING for one in service.deployments.values()):
        return None
    current = service.current()
    if current is None or current.state is not DeploymentState.WATCHING or not current.armed:
        return None
    if not current.rollback_allowed or _nothing_ever(service, current):
        return None
    return current if draft.now <= current.started_at + service.service.rollback.armed_for else None


def _nothing_ever(service: ServiceWorld, current: Deployment) -> bool:
    """Whether nothing is known to have been anywhere else: there never was a way back that could be missed."""
    variants = service.traffic.variants if service.traffic is not None else ()
    return all(service.on_variant(name) is None for name in variants if name != current.variant)


def _vetoes(draft: Draft, watched: Deployment) -> tuple[Veto, ...]:
    """What says no now, and is news to people."""
    facts = gather(draft.world, draft.service, now=draft.now, automatic=True, bad=watched, census=_NOBODY)
    file = draft.world.paused_by_file
    facts = replace(facts, paused="" if file.endswith(_SET_BY_A_PERSON) else file)
    return tuple(veto for veto in ask(facts, READINESS) if veto.reason != "no_target")


def _since(draft: Draft, *, waits: bool) -> timedelta:
    """How long the guards have said other than what people were told; remembers since when, while it `waits`."""
    before = draft.service.unready_since
    since = None
    if waits:
        since = draft.now if before is None or ahead(before, draft.now) else before
    if since != before:
        draft.service = replace(draft.service, unready_since=since)
    return draft.now - since if since is not None else timedelta()


def _open(draft: Draft, watched: Deployment, vetoes: tuple[Veto, ...]) -> None:
    service = draft.service.service
    _since(draft, waits=False)
    incident = Incident(
        id=identity("inc", IncidentKind.UNREADY, service.name, watched.id, draft.now.isoformat()),
        kind=IncidentKind.UNREADY,
        state=IncidentState.OPEN,
        subject=service.name,
        environment=service.environment,
        deployment=watched.id,
        version=watched.version,
        opened_at=draft.now,
        level=Level.UNKNOWN,
        severity=Severity.LOW,
        summary="; ".join(f"{veto.guard}: {veto.detail}" for veto in vetoes),
    )
    draft.set_incident(incident)
    draft.note("rollback_unready", incident=incident.id, deployment=watched.id, vetoes=vetoes)
    draft.tell(unready(service, incident, now=draft.now))


def _why_over(service: ServiceWorld, incident: Incident) -> str:
    deployment = service.deployments.get(incident.deployment or "")
    if deployment is not None and deployment.state is DeploymentState.STABLE:
        return f"{incident.version} is stable"
    return f"{incident.version} would not be rolled back by itself any more"
