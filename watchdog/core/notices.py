"""What is only good to know: a deployment begins to be watched, a deployment is stable. It wakes nobody.

Made only where some route wants notices. Never of what was there before, nor of what traffic went back to: nobody did
anything then. This module must never make anything that needs somebody.
"""

from __future__ import annotations

from watchdog.core.deployment import Deployment, DeploymentState
from watchdog.core.draft import Draft
from watchdog.core.message import Message, MessageKind
from watchdog.core.rule import Severity
from watchdog.core.service import Mode
from watchdog.core.units import format_duration
from watchdog.core.wording import clock


def look(draft: Draft) -> None:
    """Tell what became of deployments in this step."""
    if not draft.deployments or not any(route.notices for route in draft.world.routes):
        return
    before = draft.world.services[draft.service.name].deployments
    for identity in draft.deployments:
        now, was = draft.service.deployments.get(identity), before.get(identity)
        if now is None or (was is not None and was.state is now.state):
            continue
        if now.state is DeploymentState.WATCHING and not _goes_on(now, before):
            draft.tell(watched(draft, now))
        elif (
            now.state is DeploymentState.STABLE and was is not None and was.state is DeploymentState.WATCHING
        ):
            draft.tell(stable(draft, now))


def _goes_on(deployment: Deployment, before: dict[str, Deployment]) -> bool:
    """Whether it was watched already, and was only started again elsewhere."""
    return any(
        one.state is DeploymentState.WATCHING
        and (one.version, one.started_at) == (deployment.version, deployment.started_at)
        for one in before.values()
    )


def watched(draft: Draft, deployment: Deployment) -> Message:
    """A deployment begins to be watched."""
    service, policy = draft.service.service, draft.service.service.rollback
    until = clock(deployment.started_at + policy.armed_for)
    if not deployment.rollback_allowed:
        armed = "never: a rollback of it is forbidden"
    else:
        armed = {
            Mode.ENFORCE: f"until {until}",
            Mode.APPROVE: f"until {until}, when somebody approves",
            Mode.OBSERVE: "never: the service is only observed",
        }[service.mode]
    return _notice(
        draft,
        deployment,
        MessageKind.DEPLOYMENT_WATCHED,
        f"{service.name} {deployment.version} in {service.environment} is being watched",
        ("rolled back by itself", armed),
        ("stable after", f"{format_duration(policy.soak)} in good health"),
    )


def stable(draft: Draft, deployment: Deployment) -> Message:
    """A deployment proved itself, or a person vouched for it."""
    service = draft.service.service
    return _notice(
        draft,
        deployment,
        MessageKind.DEPLOYMENT_STABLE,
        f"{service.name} {deployment.version} in {service.environment} is stable: a version to go back to",
        ("why", deployment.reason),
        ("took traffic", f"since {clock(deployment.live_at or deployment.started_at)}"),
    )


def _notice(
    draft: Draft, deployment: Deployment, kind: MessageKind, headline: str, *facts: tuple[str, str]
) -> Message:
    service = draft.service.service
    return Message(
        key=f"{kind}:{deployment.id}",
        kind=kind,
        severity=Severity.LOW,
        headline=headline,
        created_at=draft.now,
        service=service.name,
        environment=service.environment,
        version=deployment.version,
        labels=service.labels,
        facts=(("variant", deployment.variant), *((name, text) for name, text in facts if text)),
        about=deployment.id,
    )
