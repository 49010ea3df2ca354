"""A turn: everything one event changes, written in one transaction or not at all.

The reactor makes one turn per event. Records are whole (upserts by id); messages and audit records are only added.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from watchdog.core.audit import AuditRecord
from watchdog.core.check import CheckId, CheckState, KnownLog
from watchdog.core.deployment import Deployment
from watchdog.core.incident import Incident
from watchdog.core.message import Outgoing
from watchdog.core.request import Reply
from watchdog.core.rollback import Rollback
from watchdog.core.traffic import TrafficState


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A person's kill switch on one service."""

    by: str
    at: datetime
    reason: str = ""


class Taint(msgspec.Struct, frozen=True, kw_only=True):
    """A version that must never be a rollback target."""

    version: str
    at: datetime
    reason: str


class ServiceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What survives of a service beside its deployments, incidents and rollbacks."""

    name: str
    paused: Pause | None = None
    taints: dict[str, Taint] = {}
    traffic: TrafficState | None = None
    known: dict[str, KnownLog] = {}


class CheckRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A check's memory as it is stored."""

    id: CheckId
    state: CheckState


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction. `forgotten` are checks whose memory is no longer needed."""

    services: tuple[ServiceRecord, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    incidents: tuple[Incident, ...] = ()
    rollbacks: tuple[Rollback, ...] = ()
    checks: tuple[CheckRecord, ...] = ()
    forgotten: tuple[CheckId, ...] = ()
    outbox: tuple[Outgoing, ...] = ()
    audit: tuple[AuditRecord, ...] = ()
    replies: tuple[Reply, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not any(getattr(self, field) for field in self.__struct_fields__)
