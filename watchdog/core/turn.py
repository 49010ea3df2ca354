"""A turn: everything one event changes, written in one transaction or not at all.

The reactor makes a turn of one event, or of several that only say what was seen. Records are whole (upserts by id);
messages and audit records are only added.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import chain

import msgspec

from watchdog.core.audit import AuditRecord
from watchdog.core.check import CheckId, CheckState, KnownLog
from watchdog.core.deployment import Deployment
from watchdog.core.incident import Incident
from watchdog.core.message import Outgoing
from watchdog.core.request import Reply
from watchdog.core.rollback import Rollback
from watchdog.core.silence import Silence
from watchdog.core.switchplace import SwitchPlace
from watchdog.core.traffic import TrafficState


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A person's kill switch on one service."""

    by: str
    at: datetime
    reason: str = ""


class Taint(msgspec.Struct, frozen=True, kw_only=True):
    """A version that must never be a rollback target. `by` is the person who said so; empty for the watchdog itself."""

    version: str
    at: datetime
    reason: str
    by: str = ""


class ServiceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What survives of a service beside its deployments, incidents and rollbacks.

    `place` is what the switch was of which `traffic` was read; `None` when an older release stored it.
    """

    name: str
    paused: Pause | None = None
    taints: dict[str, Taint] = {}
    traffic: TrafficState | None = None
    known: dict[str, KnownLog] = {}
    place: SwitchPlace | None = None


class CheckRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A check's memory as it is stored."""

    id: CheckId
    state: CheckState


class Resend(msgspec.Struct, frozen=True, kw_only=True):
    """A person wants a message that was given up to be tried again, from `at` on. `key` is the outbox's."""

    key: str
    at: datetime


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction. `forgotten` are checks whose memory is no longer needed."""

    services: tuple[ServiceRecord, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    incidents: tuple[Incident, ...] = ()
    silences: tuple[Silence, ...] = ()
    rollbacks: tuple[Rollback, ...] = ()
    checks: tuple[CheckRecord, ...] = ()
    forgotten: tuple[CheckId, ...] = ()
    outbox: tuple[Outgoing, ...] = ()
    resent: tuple[Resend, ...] = ()
    audit: tuple[AuditRecord, ...] = ()
    replies: tuple[Reply, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not any(getattr(self, field) for field in self.__struct_fields__)


#: Records of which only the newest is written, by what tells them apart.
_NEWEST = {"services": "name", "deployments": "id", "incidents": "id", "rollbacks": "id", "silences": "id"}


def together(turns: Sequence[Turn]) -> Turn:
    """Turns one after the other as one transaction: of records that are written whole, the newest."""
    if len(turns) == 1:
        return turns[0]
    joined = {
        field: tuple(chain.from_iterable(getattr(turn, field) for turn in turns))
        for field in Turn.__struct_fields__
    }
    for field, key in _NEWEST.items():
        joined[field] = tuple({getattr(one, key): one for one in joined[field]}.values())
    checks: dict[CheckId, CheckRecord | None] = {}
    for turn in turns:
        checks |= {**dict.fromkeys(turn.forgotten), **{record.id: record for record in turn.checks}}
    joined["checks"] = tuple(record for record in checks.values() if record is not None)
    joined["forgotten"] = tuple(check for check, record in checks.items() if record is None)
    return Turn(**joined)
