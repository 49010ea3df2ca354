"""Naming: a version that was only known by its variant gets its name, and everything about it goes on under that.

Works on a draft. A name changes what a version is called, never what is known of it.
"""

from __future__ import annotations

from msgspec.structs import replace

from watchdog.core.deployment import Deployment, DeploymentState, Origin
from watchdog.core.draft import Draft
from watchdog.core.incident import Breach, Incident


def rename(draft: Draft, deployment: Deployment, version: str) -> Deployment:
    """Call a deployment's version `version`: the record, its checks, its incident, its rollback, its taint.

    Of one that was there before (adopted, or switched back to) the older records get the name too.
    """
    was, variant = deployment.version, deployment.variant
    there_before = deployment.origin in (Origin.ADOPTED, Origin.SWITCHED)
    for one in list(draft.service.deployments.values()):
        same = there_before and one.variant == variant and one.version == was and not one.named
        if same or one.id == deployment.id:
            draft.set_deployment(replace(one, version=version, named=True))
    if was != version:
        moved = _rename_checks(draft, variant, was, version)
        _rename_incidents(draft, deployment, moved, version)
        _rename_rollbacks(draft, deployment, version)
        _rename_taint(draft, deployment, version)
    return draft.service.deployments[deployment.id]


def _rename_checks(draft: Draft, variant: str, was: str, version: str) -> dict[str, str]:
    moved: dict[str, str] = {}
    for check, state in list(draft.service.checks.items()):
        if check.variant == variant and check.version == was:
            renamed = replace(check, version=version)
            draft.forget(check)
            draft.set_check(renamed, state, store=True)
            moved[str(check)] = str(renamed)
    return moved


def _rename_incidents(draft: Draft, deployment: Deployment, moved: dict[str, str], version: str) -> None:
    was = deployment.version
    for incident in list(draft.service.incidents.values()):
        own = incident.deployment == deployment.id
        breaches: dict[str, Breach] = {}
        for key, breach in incident.breaches.items():
            if key in moved or (own and breach.version == was):
                breaches[_renamed(key, deployment, version)] = replace(breach, version=version)
            else:
                breaches[key] = breach
        named: Incident = replace(incident, breaches=breaches, version=version if own else incident.version)
        if named != incident:
            draft.set_incident(named)


def _renamed(key: str, deployment: Deployment, version: str) -> str:
    """The name of a check under another name of its version."""
    for place in ("", f"/{deployment.variant}"):
        ending = f"@{deployment.version}{place}"
        if key.endswith(ending):
            return f"{key.removesuffix(ending)}@{version}{place}"
    return key


def _rename_rollbacks(draft: Draft, deployment: Deployment, version: str) -> None:
    was, variant = deployment.version, deployment.variant
    for rollback in list(draft.service.rollbacks.values()):
        if rollback.over:
            continue
        named = rollback
        if rollback.deployment == deployment.id:
            named = replace(named, from_version=version)
        if rollback.to_variant == variant and rollback.to_version == was:
            named = replace(named, to_version=version)
        if named != rollback:
            draft.set_rollback(named)


def _rename_taint(draft: Draft, deployment: Deployment, version: str) -> None:
    """A version that was rolled back before anybody said its name is tainted under its name."""
    taints = dict(draft.service.taints)
    taint = taints.pop(deployment.version, None)
    if taint is not None and deployment.state is DeploymentState.ROLLED_BACK:
        draft.change_service(taints=taints | {version: replace(taint, version=version)})
