"""Records to store: small, whole, and different for each number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from watchdog.core.audit import AuditDraft, AuditRecord, ChainHead, link
from watchdog.core.check import CheckId, CheckState, Streak
from watchdog.core.deployment import Deployment, DeploymentState, Origin
from watchdog.core.incident import Breach, Incident, IncidentKind, IncidentState
from watchdog.core.message import Message, MessageKind, Outgoing
from watchdog.core.request import Request, RequestKind
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.rule import Level, Ratio, Rule, Severity, Thresholds
from watchdog.core.silence import Silence
from watchdog.core.switchplace import switch_place
from watchdog.core.turn import CheckRecord, ServiceRecord, Turn

#: The day of every sample; a sample's number is its distance in seconds.
DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)

RULE = Rule(
    name="error-rate",
    form=Ratio(bad='errors_total{version="$version"}', total='requests_total{version="$version"}'),
    thresholds=Thresholds(warning=0.005, critical=0.01, rollback=0.015),
)


def at(number: float) -> datetime:
    return DAY + timedelta(seconds=number)


def service(name: str = "trips", **changes: Any) -> ServiceRecord:
    return ServiceRecord(name=name, **changes)


def switched_service(name: str) -> ServiceRecord:
    """One whose switch is known."""
    return service(
        name, place=switch_place("haproxy:/run/haproxy.sock:trips", {"blue": "one", "green": "two"})
    )


def deployment(number: int, **changes: Any) -> Deployment:
    values: dict[str, Any] = {
        "id": f"d{number:04}",
        "service": "trips",
        "version": f"v{number}",
        "variant": "green",
        "state": DeploymentState.WATCHING,
        "origin": Origin.POSTED,
        "started_at": at(number),
        "recorded_at": at(number),
        "labels": {"commit": "é☃"},
        "soaked_for": timedelta(seconds=1.5),
    }
    return Deployment(**{**values, **changes})


def incident(number: int, **changes: Any) -> Incident:
    values: dict[str, Any] = {
        "id": f"i{number:04}",
        "kind": IncidentKind.BREACH,
        "state": IncidentState.OPEN,
        "subject": "trips",
        "opened_at": at(number),
        "level": Level.CRITICAL,
        "severity": Severity.HIGH,
        "breaches": {
            "trips/error-rate@v2": Breach(rule=RULE, level=Level.CRITICAL, since=at(number), value=0.2)
        },
    }
    return Incident(**{**values, **changes})


def silence(number: int, **changes: Any) -> Silence:
    values: dict[str, Any] = {
        "id": f"s{number:04}",
        "matchers": {"service": "trips", "label.team": "é☃"},
        "by": "oncall",
        "created_at": at(number),
        "ends_at": at(number + 3600),
        "reason": "load test",
        "held_back": number,
    }
    return Silence(**{**values, **changes})


def rollback(number: int, **changes: Any) -> Rollback:
    values: dict[str, Any] = {
        "id": f"r{number:04}",
        "key": f"auto:trips:d{number:04}",
        "service": "trips",
        "deployment": f"d{number:04}",
        "incident": f"i{number:04}",
        "state": RollbackState.INTENDED,
        "automatic": True,
        "requested_by": "watchdog",
        "reason": "error-rate",
        "from_variant": "green",
        "from_version": "v2",
        "to_variant": "blue",
        "to_version": "v1",
        "decided_at": at(number),
        "rules": (RULE,),
    }
    return Rollback(**{**values, **changes})


def check(rule: str = "error-rate", version: str = "v2", variant: str = "green") -> CheckRecord:
    return CheckRecord(
        id=CheckId(service="trips", rule=rule, version=version, variant=variant),
        state=CheckState(
            streaks={"critical": Streak(count=2, since=at(1), last=at(2))}, excess=((at(1), 0.5),)
        ),
    )


def outgoing(number: int, *, channel: str = "ops", due: float | None = None, **changes: Any) -> Outgoing:
    message = Message(
        key=f"m{number:04}",
        kind=MessageKind.INCIDENT_OPENED,
        severity=Severity.HIGH,
        headline=f"trips: something is wrong ({number})",
        created_at=at(number),
        facts=(("rule", "error-rate"),),
    )
    due_at = at(number if due is None else due)
    return Outgoing(key=f"m{number:04}:{channel}", channel=channel, message=message, due_at=due_at, **changes)


def request(number: int, **changes: Any) -> Request:
    values: dict[str, Any] = {
        "id": f"q{number:04}",
        "kind": RequestKind.PAUSE,
        "target": "trips",
        "by": "oncall",
        "at": at(number),
        "body": {"reason": "looking"},
    }
    return Request(**{**values, **changes})


def links(head: ChainHead, count: int, *, subject: str = "trips") -> tuple[AuditRecord, ...]:
    records: list[AuditRecord] = []
    for _ in range(count):
        draft = AuditDraft(
            at=at(head.seq),
            kind="rollback_intended",
            subject=subject,
            body={"seen": [0.25, 1], "n": head.seq},
        )
        record = link(head, draft)
        head = ChainHead(seq=record.seq, hash=record.hash)
        records.append(record)
    return tuple(records)


def head_of(records: tuple[AuditRecord, ...]) -> ChainHead:
    return ChainHead(seq=records[-1].seq, hash=records[-1].hash)


def whole_turn(number: int, head: ChainHead) -> Turn:
    """A typical turn: an incident, its rollback, two messages and one audit record."""
    return Turn(
        incidents=(incident(number),),
        rollbacks=(rollback(number),),
        outbox=(outgoing(number, channel="ops"), outgoing(number, channel="oncall")),
        audit=links(head, 1),
    )
