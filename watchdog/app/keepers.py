"""What the doctor tells of who else writes a service's target: Argo CD, Flux, Helm, autoscalers.

This module must never ask anybody: it judges what was read.
"""

from __future__ import annotations

from watchdog.app.finding import Finding, Health
from watchdog.core.service import GitOps, Service
from watchdog.core.traffic import TrafficState


def keepers(service: Service, state: TrafficState) -> list[Finding]:
    """Who would undo a switch and what becomes of that, what is suspended, and who is only to be known of."""
    what = f"switch of {service.name}"
    found = [*_managed(what, service, state)]
    if state.suspended is not None:
        detail = f"{state.suspended.owner} is suspended for rollback {state.suspended.rollback}"
        advice = f"when its source is in order: watchdog gitops resume {service.name} --reason TEXT"
        found.append(Finding(what=what, health=Health.WARN, detail=detail, advice=advice))
    found += [Finding(what=what, health=Health.OK, detail=f"noted: {one}") for one in state.noted]
    return found


def _managed(what: str, service: Service, state: TrafficState) -> list[Finding]:
    if not state.managed_by:
        return []
    if service.gitops is GitOps.PAUSE:
        detail = f"managed by {state.managed_by}, which is suspended before a switch"
        return [Finding(what=what, health=Health.OK, detail=detail)]
    if service.gitops is GitOps.IGNORE:
        detail = f"managed by {state.managed_by}, which may revert a switch"
        advice = "gitops: pause keeps it from that"
    else:
        detail = f"managed by {state.managed_by}, so nothing is rolled back"
        advice = "set gitops: pause or ignore for the service, or roll back where it is managed"
    return [Finding(what=what, health=Health.WARN, detail=detail, advice=advice)]
