"""Incidents: what is wrong with one service, one service's checks, or one source, now.

This module must never decide what to do about it; `watchdog.core.guards` and `watchdog.core.rollback` do.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from watchdog.core.ladder import Climb
from watchdog.core.machine import Machine, never
from watchdog.core.rule import Level, Rule, Severity


class IncidentKind(StrEnum):
    """What the incident is about."""

    BREACH = "breach"  #: a service's rules are worse than ok; one per service and deployment
    BLIND = "blind"  #: a service's checks have had no data for too long; one per service
    SOURCE = "source"  #: a source does not answer; one per source, lists services
    SWITCH = "switch"  #: a service's traffic switch cannot be read, or shows nothing live; one per service
    UNREADY = "unready"  #: a version that is being watched could not be rolled back now; one per deployment
    STORM = (
        "storm"  #: many services turned bad at once and are told as one; at most one is open, lists services
    )


class IncidentState(StrEnum):
    """Whether somebody is needed."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


class IncidentEvent(StrEnum):
    """What can happen to an incident."""

    WORSENED = "worsened"
    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"
    CLEARED = "cleared"
    CLOSED_BY_PERSON = "closed_by_person"


_S, _E = IncidentState, IncidentEvent

INCIDENT = Machine(
    name="incident",
    table={
        (_S.OPEN, _E.WORSENED): _S.OPEN,
        (_S.OPEN, _E.ACKNOWLEDGED): _S.ACKNOWLEDGED,
        (_S.OPEN, _E.CLEARED): _S.CLOSED,
        (_S.OPEN, _E.CLOSED_BY_PERSON): _S.CLOSED,
        (_S.ACKNOWLEDGED, _E.WORSENED): _S.ACKNOWLEDGED,
        (_S.ACKNOWLEDGED, _E.ACKNOWLEDGED): _S.ACKNOWLEDGED,
        (_S.OPEN, _E.UNACKNOWLEDGED): _S.OPEN,
        (_S.ACKNOWLEDGED, _E.UNACKNOWLEDGED): _S.OPEN,
        (_S.ACKNOWLEDGED, _E.CLEARED): _S.CLOSED,
        (_S.ACKNOWLEDGED, _E.CLOSED_BY_PERSON): _S.CLOSED,
        (_S.CLOSED, _E.CLOSED_BY_PERSON): _S.CLOSED,
    },
    faults=never(
        [_S.CLOSED],
        [_E.WORSENED, _E.ACKNOWLEDGED, _E.UNACKNOWLEDGED, _E.CLEARED],
        "a closed incident has left the world",
    ),
)


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """One rule's part in an incident. The rule is the one it was opened with and stays so.

    `limit` is the one of its level that the value was beyond, where it follows from a baseline.
    """

    rule: Rule
    level: Level
    since: datetime
    version: str = ""
    value: float | None = None
    limit: float | None = None
    reason: str = ""
    cleared_at: datetime | None = None
    retired_at: datetime | None = None

    @property
    def over(self) -> bool:
        """Whether this rule holds the incident open no longer."""
        return self.cleared_at is not None or self.retired_at is not None


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """One incident.

    `breaches` is keyed by check; `subjects` are the affected services of a source or a storm,
    `checks` the rules that are blind. `silenced_by` are the silences that hold back its newest message,
    `silenced_messages` how many were held back in all; `told` is false until anybody heard of it,
    `heard_by` are the channels that did. `folded` is the storm with which people heard of it. Of a storm, `stopped`
    is whether they heard that no automatic rollback is made, `untold` whether anything joined that they did not hear.
    `climb` is where it stands on the ladder of who is told next, from when people first heard of it.
    """

    id: str
    kind: IncidentKind
    state: IncidentState
    subject: str
    opened_at: datetime
    level: Level
    severity: Severity
    environment: str = ""
    deployment: str | None = None
    version: str = ""
    summary: str = ""
    breaches: dict[str, Breach] = {}
    subjects: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    closed_at: datetime | None = None
    closed_because: str = ""
    silenced_by: tuple[str, ...] = ()
    silenced_messages: int = 0
    told: bool = True
    heard_by: tuple[str, ...] = ()
    folded: str = ""
    stopped: bool = False
    untold: bool = False
    climb: Climb | None = None

    @property
    def of_service(self) -> bool:
        """Whether it is about one service, which is its subject then."""
        return self.kind not in (IncidentKind.SOURCE, IncidentKind.STORM)

    @property
    def open(self) -> bool:
        """Whether it still wants attention (acknowledged ones are open too)."""
        return self.state is not IncidentState.CLOSED
