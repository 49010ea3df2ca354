"""A draft: what one step changes, collected while it is worked out, handed to the reactor as one value.

The draft is local to one call of `watchdog.core.step.step`; nothing outside ever sees it half done. Identities are
hashes of what they name, so that the same history gives the same ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from watchdog.core.audit import AuditDraft
from watchdog.core.check import CheckId, CheckState
from watchdog.core.deployment import DEPLOYMENT, ENDED, Deployment, DeploymentEvent
from watchdog.core.incident import Incident
from watchdog.core.message import Message
from watchdog.core.request import Reply
from watchdog.core.rollback import ROLLBACK, Passage, Rollback, RollbackEvent, RollbackState
from watchdog.core.world import ServiceWorld, World

replace = msgspec.structs.replace

#: The audit record of a transition is named after the state it leads to, with one exception.
_RECORDS = {RollbackState.AWAITING_APPROVAL: "approval_asked"}


def identity(prefix: str, *parts: object) -> str:
    """A short stable id such as `inc-1f2e3d4c5b` made of what it names."""
    text = "\x1f".join(str(part) for part in parts)
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def plain(value: Any) -> Any:
    """A value as JSON types, for an audit record."""
    return msgspec.to_builtins(value)


@dataclass(slots=True)
class Draft:
    """Changes of one step. `service` is the one being worked on; every setter records what must be stored."""

    world: World
    now: datetime
    service: ServiceWorld
    deployments: dict[str, Deployment] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    rollbacks: dict[str, Rollback] = field(default_factory=dict)
    checks: dict[CheckId, CheckState] = field(default_factory=dict)
    forgotten: set[CheckId] = field(default_factory=set)
    audit: list[AuditDraft] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    looks: set[str] = field(default_factory=set)
    service_changed: bool = False

    @property
    def changed(self) -> bool:
        """Whether there is anything to write, to tell or to do, beside what the world remembers until it is flushed."""
        return self.service_changed or any(
            (
                self.audit,
                self.checks,
                self.forgotten,
                self.deployments,
                self.incidents,
                self.rollbacks,
                self.messages,
                self.replies,
                self.looks,
            )
        )

    def note(self, kind: str, **body: Any) -> None:
        """Add one audit record about this service."""
        self.audit.append(AuditDraft(at=self.now, kind=kind, subject=self.service.name, body=plain(body)))

    def tell(self, message: Message) -> None:
        """Tell people."""
        self.messages.append(message)

    def set_deployment(self, deployment: Deployment, *, store: bool = True) -> None:
        """Put a deployment in place."""
        self.service = replace(
            self.service, deployments=self.service.deployments | {deployment.id: deployment}
        )
        if store:
            self.deployments[deployment.id] = deployment

    def move_deployment(self, deployment: Deployment, event: DeploymentEvent, why: str = "") -> Deployment:
        """Move a deployment along its table; writes nothing when the table ignores the event."""
        state = DEPLOYMENT.step(deployment.state, event)
        if state is deployment.state:
            return deployment
        moved = replace(
            deployment,
            state=state,
            reason=why or deployment.reason,
            ended_at=self.now if state in ENDED else None,
        )
        self.set_deployment(moved)
        self.note(f"deployment_{state}", deployment=moved, why=why)
        return moved

    def set_incident(self, incident: Incident) -> None:
        """Put an incident in place; a closed one leaves the world."""
        incidents = {**self.service.incidents, incident.id: incident}
        if not incident.open:
            del incidents[incident.id]
        self.service = replace(self.service, incidents=incidents)
        self.incidents[incident.id] = incident

    def set_rollback(self, rollback: Rollback) -> None:
        """Put a rollback in place."""
        self.service = replace(self.service, rollbacks=self.service.rollbacks | {rollback.id: rollback})
        self.rollbacks[rollback.id] = rollback

    def move_rollback(
        self,
        rollback: Rollback,
        event: RollbackEvent,
        why: str = "",
        *,
        record: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Rollback:
        """Move a rollback along its table: one line of history and one audit record, with `record` in it."""
        state = ROLLBACK.step(rollback.state, event)
        passage = Passage(state=state, at=self.now, why=why)
        moved = replace(rollback, state=state, history=(*rollback.history, passage), **fields)
        if moved.over:
            moved = replace(moved, ended_at=self.now)
        self.set_rollback(moved)
        self.note(_RECORDS.get(state, f"rollback_{state}"), rollback=moved.id, why=why, **(record or {}))
        return moved

    def set_check(self, check: CheckId, state: CheckState, *, store: bool = False) -> None:
        """Put a check's memory in place; stored at once only where a transition depends on it."""
        self.service = replace(self.service, checks=self.service.checks | {check: state})
        self.forgotten.discard(check)
        if store:
            self.checks[check] = state

    def forget(self, check: CheckId) -> None:
        """Drop a check's memory."""
        checks = {key: state for key, state in self.service.checks.items() if key != check}
        self.service = replace(self.service, checks=checks)
        self.checks.pop(check, None)
        self.forgotten.add(check)

    def change_service(self, **fields: Any) -> None:
        """Change the service's own record (pause, taints, traffic, known verdicts) and have it stored."""
        self.service = replace(self.service, **fields)
        self.service_changed = True
