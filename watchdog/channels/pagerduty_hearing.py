"""What people did in PagerDuty, from a signed callback or from an incident that was asked for.

Only what a person did counts: the acknowledgement that we sent ourselves comes back, too, and an alert that PagerDuty
resolved because nobody touched it for hours was taken by nobody. This module must never raise on what came over the
wire, and never believe a callback that was not signed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from watchdog.channels.interface import Heard, Received
from watchdog.channels.pagerduty_events import incident_of
from watchdog.core.request import RequestKind
from watchdog.telemetry.redact import one_line

SIGNATURE = "x-pagerduty-signature"
#: PagerDuty repeats a callback for two days; what is older was kept by somebody. Ahead of us only clocks can be.
OLDEST, AHEAD = timedelta(hours=49), timedelta(minutes=10)

_PERSON = "user_reference"
_NAME = 100
_SIGNATURES = 16
_NONSENSE = (msgspec.DecodeError, UnicodeError, RecursionError)  # the last for what is nested too deeply


class _Who(msgspec.Struct, frozen=True):
    type: str = ""
    summary: str | None = None
    id: str = ""


class _Acknowledgement(msgspec.Struct, frozen=True):
    at: str = ""
    acknowledger: _Who | None = None


class _Incident(msgspec.Struct, frozen=True):
    id: str = ""
    status: str = ""
    incident_key: str | None = None
    acknowledgements: tuple[_Acknowledgement, ...] | None = None
    last_status_change_at: str | None = None
    last_status_change_by: _Who | None = None


class _Event(msgspec.Struct, frozen=True):
    id: str
    event_type: str
    occurred_at: datetime | None = None
    agent: _Who | None = None
    data: _Incident = _Incident()


class _Callback(msgspec.Struct, frozen=True):
    event: _Event


class _Listed(msgspec.Struct, frozen=True):
    incidents: tuple[_Incident, ...] = ()


def sign(secret: str, body: bytes) -> str:
    """One value of `X-PagerDuty-Signature` for a raw body."""
    return f"v1={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def authentic(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether one of the signatures is ours (there are several while a secret is replaced). Constant time."""
    given = next((value for name, value in headers.items() if name.lower() == SIGNATURE), "")
    expected = sign(secret, body).encode()
    parts = [part.strip().encode(errors="replace") for part in given.split(",")[:_SIGNATURES]]
    return sum(hmac.compare_digest(expected, part) for part in parts) > 0


def read(body: bytes, *, now: datetime) -> Received:
    """What a callback that is authentic asks of us; nothing where it is about others' alerts, or too old."""
    try:
        event = msgspec.json.decode(body, type=_Callback).event
    except _NONSENSE:
        return Received()
    incident = incident_of(event.data.incident_key)
    if incident is None or not event.id or not _fresh(event.occurred_at, now):
        return Received()
    by = _person(event.agent)
    identity = f"pagerduty:{one_line(event.id, limit=_NAME)}"
    match event.event_type:
        case "incident.acknowledged" if by:
            heard = Heard(id=identity, kind=RequestKind.ACKNOWLEDGE, target=incident, by=by)
        case "incident.resolved" if by:
            heard = _resolved(identity, incident, by)
        case "incident.unacknowledged":
            heard = Heard(
                id=identity,
                kind=RequestKind.UNACKNOWLEDGE,
                target=incident,
                by=by or "PagerDuty",
                reason="" if by else "the acknowledgement in PagerDuty ran out",
            )
        case _:
            return Received()
    return Received(heard=(heard,))


def taken(body: str, incident: str) -> Heard | None:
    """Who took an incident, from the answer to `GET /incidents?incident_key=…`; `None` when nobody did yet.

    Of several with that key (one was resolved, and opened again) the first counts: they are asked for newest first.
    """
    try:
        listed = msgspec.json.decode(body, type=_Listed).incidents
    except _NONSENSE:
        return None
    if not listed:
        return None
    one = listed[0]
    if one.status == "resolved":
        by = _person(one.last_status_change_by)
        identity = f"pagerduty:{one.id}:resolved:{one.last_status_change_at}"
        return _resolved(one_line(identity, limit=_NAME * 2), incident, by) if by else None
    if one.status != "acknowledged":
        return None
    for acknowledgement in reversed(one.acknowledgements or ()):
        if by := _person(acknowledgement.acknowledger):
            identity = f"pagerduty:{one.id}:acknowledged:{acknowledgement.at}"
            return Heard(
                id=one_line(identity, limit=_NAME * 2), kind=RequestKind.ACKNOWLEDGE, target=incident, by=by
            )
    return None


def _resolved(identity: str, incident: str, by: str) -> Heard:
    """Whether it is over is measured, not said: who resolves it there has seen it."""
    return Heard(
        id=identity, kind=RequestKind.ACKNOWLEDGE, target=incident, by=by, reason="resolved in PagerDuty"
    )


def _person(who: _Who | None) -> str:
    """A person's name; empty for integrations, services and nobody."""
    if who is None or who.type != _PERSON:
        return ""
    name = one_line(who.summary or who.id, limit=_NAME)
    return f"{name} (PagerDuty)" if name else ""


def _fresh(at: datetime | None, now: datetime) -> bool:
    if at is None:
        return True  # signed, and known by its id: nothing to measure by
    moment = at if at.tzinfo else at.replace(tzinfo=UTC)
    return now - OLDEST <= moment <= now + AHEAD
