"""Deployments: the record "service S went to version V on variant X at T", and its life.

This module must never look at traffic itself; `watchdog.core.sightings` decides what was seen.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from watchdog.core.machine import Machine


class DeploymentState(StrEnum):
    """Where a deployment is in its life."""

    PENDING = "pending"  #: announced; traffic has not moved yet
    WATCHING = "watching"  #: takes traffic, armed
    ADOPTED = "adopted"  #: was there at first sight: soaks, never armed
    RETURN = "return"  #: traffic went back to an earlier version: soaks, never armed
    STABLE = "stable"  #: was healthy for the whole soak: a rollback target
    ROLLED_BACK = "rolled_back"  #: traffic was taken away from it because it was bad
    SUPERSEDED = "superseded"  #: replaced before it became stable
    FAILED = "failed"  #: announced, but traffic never came


class DeploymentEvent(StrEnum):
    """What can happen to a deployment."""

    TRAFFIC_ARRIVED = "traffic_arrived"
    TRAFFIC_RETURNED = "traffic_returned"
    SOAKED = "soaked"
    REPLACED = "replaced"
    ROLLED_BACK = "rolled_back"
    ANNOUNCEMENT_EXPIRED = "announcement_expired"
    NAMED_ANEW = "named_anew"


_S, _E = DeploymentState, DeploymentEvent

DEPLOYMENT = Machine(
    name="deployment",
    table={
        (_S.PENDING, _E.TRAFFIC_ARRIVED): _S.WATCHING,
        (_S.PENDING, _E.TRAFFIC_RETURNED): _S.RETURN,
        (_S.PENDING, _E.REPLACED): _S.SUPERSEDED,
        (_S.PENDING, _E.ANNOUNCEMENT_EXPIRED): _S.FAILED,
        (_S.WATCHING, _E.SOAKED): _S.STABLE,
        (_S.WATCHING, _E.REPLACED): _S.SUPERSEDED,
        (_S.WATCHING, _E.ROLLED_BACK): _S.ROLLED_BACK,
        (_S.ADOPTED, _E.SOAKED): _S.STABLE,
        (_S.ADOPTED, _E.REPLACED): _S.SUPERSEDED,
        (_S.ADOPTED, _E.ROLLED_BACK): _S.ROLLED_BACK,
        (_S.RETURN, _E.SOAKED): _S.STABLE,
        (_S.RETURN, _E.NAMED_ANEW): _S.WATCHING,
        (_S.RETURN, _E.REPLACED): _S.SUPERSEDED,
        (_S.RETURN, _E.ROLLED_BACK): _S.ROLLED_BACK,
        (_S.STABLE, _E.SOAKED): _S.STABLE,
        (_S.STABLE, _E.REPLACED): _S.STABLE,
        (_S.STABLE, _E.ROLLED_BACK): _S.ROLLED_BACK,
        (_S.ROLLED_BACK, _E.REPLACED): _S.ROLLED_BACK,
        (_S.ROLLED_BACK, _E.ROLLED_BACK): _S.ROLLED_BACK,
        (_S.SUPERSEDED, _E.REPLACED): _S.SUPERSEDED,
        (_S.SUPERSEDED, _E.ROLLED_BACK): _S.ROLLED_BACK,
        (_S.FAILED, _E.REPLACED): _S.FAILED,
    },
)

#: States in which a deployment can take traffic and soak.
SOAKING = frozenset({_S.WATCHING, _S.ADOPTED, _S.RETURN})
#: States after which nothing more is expected of a deployment.
ENDED = frozenset({_S.ROLLED_BACK, _S.SUPERSEDED, _S.FAILED})


class Origin(StrEnum):
    """How a deployment became known."""

    POSTED = "posted"
    SEEN = "seen"
    ADOPTED = "adopted"
    SWITCHED = "switched"


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment.

    `named` is false while only the variant is known: then `version` is the variant's name. `started_at` is when
    traffic may first have moved (for a seen change, the last read of the old state). `soaked_for` is known-healthy
    time so far, counted up to `soaked_at`. `ever_watched` tells an armed record from adopted ones and returns.
    """

    id: str
    service: str
    version: str
    variant: str
    state: DeploymentState
    origin: Origin
    started_at: datetime
    recorded_at: datetime
    named: bool = True
    armed: bool = False
    rollback_allowed: bool = True
    source: str = ""
    url: str = ""
    labels: dict[str, str] = {}
    soaked_for: timedelta = timedelta()
    soaked_at: datetime | None = None
    live_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
