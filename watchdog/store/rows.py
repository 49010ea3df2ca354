"""Records as rows: which columns each one fills.

This module must never see a connection; a turn that cannot be stored fails here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from watchdog.core.audit import AuditRecord
from watchdog.core.deployment import Deployment
from watchdog.core.incident import Incident
from watchdog.core.message import Outgoing
from watchdog.core.request import Reply, Request
from watchdog.core.rollback import Rollback
from watchdog.core.silence import Silence
from watchdog.core.turn import CheckRecord, Resend, ServiceRecord, Turn
from watchdog.store.codec import encode, stamp

Row = dict[str, Any]
#: What goes first.
URGENT, ORDINARY = 0, 1


class TurnRows(msgspec.Struct, frozen=True, kw_only=True):
    """One turn, ready to be written. Audit records come as values too: their chain is checked when they are written.

    `followed` are the conversations that something urgent was said in, when that is due, and its place in the order.
    """

    services: list[Row]
    deployments: list[Row]
    incidents: list[Row]
    silences: list[Row]
    rollbacks: list[Row]
    checks: list[Row]
    forgotten: list[Row]
    outbox: list[Row]
    followed: list[Row]
    resent: tuple[Resend, ...]
    audit: list[Row]
    links: tuple[AuditRecord, ...]
    replies: list[Row]


def turn_rows(turn: Turn, number: Callable[[], int]) -> TurnRows:
    """Every row of a turn; `number` gives each message its place in the order. Raises `StoreError`."""
    outbox = [{**outgoing_row(record), "number": number()} for record in turn.outbox]
    return TurnRows(
        services=[_service(record) for record in turn.services],
        deployments=[_deployment(record) for record in turn.deployments],
        incidents=[_incident(record) for record in turn.incidents],
        silences=[_silence(record) for record in turn.silences],
        rollbacks=[_rollback(record) for record in turn.rollbacks],
        checks=[_check(record) for record in turn.checks],
        forgotten=[msgspec.structs.asdict(identity) for identity in turn.forgotten],
        outbox=outbox,
        followed=[
            {"of": row["conversation"], "on": row["channel"], "at": row["due_at"], "before": row["number"]}
            for row in outbox
            if row["rank"] == URGENT and row["conversation"]
        ],
        resent=turn.resent,
        audit=[_audit(record) for record in turn.audit],
        links=turn.audit,
        replies=[_reply(record) for record in turn.replies],
    )


def outgoing_row(outgoing: Outgoing) -> Row:
    """A message's row without its number."""
    return {
        "key": outgoing.key,
        "channel": outgoing.channel,
        "state": outgoing.state.value,
        "due_at": stamp(outgoing.due_at),
        "rank": URGENT if outgoing.message.urgent and not outgoing.message.ends else ORDINARY,
        "conversation": outgoing.conversation,
        "gathering": outgoing.group,
        "reference": outgoing.reference,
        "doc": encode(replace(outgoing, thread=None, hastened=False)),
    }


def request_row(request: Request) -> Row:
    """A request's row without its number."""
    return {
        "id": request.id,
        "state": "open",
        "at": stamp(request.at),
        "doc": encode(request),
        "reply": None,
    }


def service_of(incident: Incident) -> str:
    """The service an incident is listed under; none for one of a source or of many services."""
    return incident.subject if incident.of_service else ""


def _service(record: ServiceRecord) -> Row:
    return {"name": record.name, "doc": encode(record)}


def _deployment(record: Deployment) -> Row:
    return {
        "id": record.id,
        "service": record.service,
        "state": record.state.value,
        "at": stamp(record.recorded_at),
        "doc": encode(record),
    }


def _incident(record: Incident) -> Row:
    return {
        "id": record.id,
        "kind": record.kind.value,
        "state": record.state.value,
        "service": service_of(record),
        "at": stamp(record.opened_at),
        "doc": encode(record),
    }


def _silence(record: Silence) -> Row:
    return {
        "id": record.id,
        "state": "active" if record.ended_at is None else "ended",
        "at": stamp(record.created_at),
        "doc": encode(record),
    }


def _rollback(record: Rollback) -> Row:
    return {
        "id": record.id,
        "key": record.key,
        "service": record.service,
        "state": record.state.value,
        "at": stamp(record.decided_at),
        "doc": encode(record),
    }


def _check(record: CheckRecord) -> Row:
    return {**msgspec.structs.asdict(record.id), "doc": encode(record)}


def _audit(record: AuditRecord) -> Row:
    return {
        "seq": record.seq,
        "at": stamp(record.at),
        "kind": record.kind,
        "subject": record.subject,
        "previous": record.previous,
        "hash": record.hash,
        "doc": encode(record),
    }


def _reply(record: Reply) -> Row:
    return {"of": record.request, "answer": encode(record)}
