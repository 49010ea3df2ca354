"""What is said on a service's own object in its platform: the few things that who looks there must find.

One happening for each transition that a committed turn records, with a name that is the same whoever says it, so that
a restart or a second replica repeats none. This module must never put anything into a note that a message would not
hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec

from watchdog.core.audit import AuditRecord
from watchdog.core.incident import Incident
from watchdog.core.rollback import Rollback
from watchdog.core.turn import Turn

#: No note is longer than this (characters): what a Kubernetes Event takes.
LONGEST_NOTE = 1024


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `reason` is a fixed word; `grave`: a person should look; `key` tells it from others."""

    service: str
    reason: str
    grave: bool
    note: str
    key: str
    at: datetime


def happenings(turn: Turn) -> tuple[Happening, ...]:
    """What a committed turn gives to say, in order."""
    if not turn.audit:
        return ()
    return tuple(_said(turn))


def _said(turn: Turn) -> Iterator[Happening]:
    incidents = {one.id: one for one in turn.incidents}
    rollbacks = {one.id: one for one in turn.rollbacks}
    for record in turn.audit:
        if record.kind == "incident_opened":
            incident = incidents.get(str(record.body.get("incident")))
            if incident is not None:
                yield _made(record, "IncidentOpened", incident.id, _opened(incident))
        elif record.kind in _TOLD:
            reason, grave, words = _TOLD[record.kind]
            rollback = rollbacks.get(str(record.body.get("rollback")))
            if rollback is not None:
                yield _made(record, reason, rollback.id, words(rollback, record), grave=grave)


def _made(record: AuditRecord, reason: str, what: str, note: str, *, grave: bool = True) -> Happening:
    told = [what, reason]
    if reason == "RollbackBlocked":
        told += _guards(record)
    key = hashlib.sha256("\x1f".join(told).encode()).hexdigest()[:16]
    return Happening(
        service=record.subject, reason=reason, grave=grave, note=_short(note), key=key, at=record.at
    )


def _opened(incident: Incident) -> str:
    on = f"{incident.version} is " if incident.version else ""
    return f"{on}{incident.level}: {incident.summary} (incident {incident.id})"


def _blocked(rollback: Rollback, record: AuditRecord) -> str:
    guards = ", ".join(_guards(record))
    why = record.body.get("why") or "a guard said no"
    return (
        f"{rollback.from_version} should be rolled back and was not: guard {guards}: {why} ({_ids(rollback)})"
    )


def _switched(rollback: Rollback, _: AuditRecord) -> str:
    return (
        f"traffic moved back from {rollback.from_version} on {rollback.from_variant} to {rollback.to_version} on "
        f"{rollback.to_variant}: {rollback.reason} ({_ids(rollback)})"
    )


def _completed(rollback: Rollback, record: AuditRecord) -> str:
    return f"back on {rollback.to_version}: {record.body.get('why') or 'proved'} ({_ids(rollback)})"


def _ended(rollback: Rollback, record: AuditRecord) -> str:
    return (
        f"the rollback from {rollback.from_version} to {rollback.to_version} is {record.kind.removeprefix('rollback_')}"
        f": {record.body.get('why')} ({_ids(rollback)})"
    )


def _guards(record: AuditRecord) -> list[str]:
    vetoes = record.body.get("vetoes") or ()
    return [str(veto["guard"]) for veto in vetoes if isinstance(veto, dict) and "guard" in veto]


def _ids(rollback: Rollback) -> str:
    return f"rollback {rollback.id}" + (f", incident {rollback.incident}" if rollback.incident else "")


def _short(note: str) -> str:
    line = " ".join(note.split())
    return line if len(line) <= LONGEST_NOTE else line[: LONGEST_NOTE - 1] + "…"


_Words = Callable[[Rollback, AuditRecord], str]
#: By the kind of the audit record: the reason, whether it is grave, and the note.
_TOLD: dict[str, tuple[str, bool, _Words]] = {
    "rollback_blocked": ("RollbackBlocked", True, _blocked),
    "rollback_applied": ("RolledBack", False, _switched),
    "rollback_completed": ("RollbackCompleted", False, _completed),
    "rollback_ineffective": ("RollbackIneffective", True, _ended),
    "rollback_unverified": ("RollbackUnverified", True, _ended),
    "rollback_contested": ("RollbackContested", True, _ended),
    "rollback_partial": ("RollbackPartial", True, _ended),
    "rollback_failed": ("RollbackFailed", True, _ended),
}
