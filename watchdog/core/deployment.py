"""Deployments: the record "service S went to version V on variant X at T", and its life.

This module must never look at traffic itself; `watchdog.core.sightings` decides what was seen.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from watchdog.core.machine import Machine, never


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
    FOUND_LIVE = "found_live"  #: announced before the first sight of the service, and live at that
    SOAKED = "soaked"
    REPLACED = "replaced"
    ROLLED_BACK = "rolled_back"
    ANNOUNCEMENT_EXPIRED = "announcement_expired"
    NAMED_ANEW = "named_anew"
    VOUCHED_FOR = "vouched_for"  #: a person said that it is good
    NOT_THERE_YET = "not_there_yet"  #: announced in place, while a rollback took traffic from its variant


_S, _E = DeploymentState, DeploymentEvent

DEPLOYMENT = Machine(
    name="deployment",
    table={
        (_S.PENDING, _E.TRAFFIC_ARRIVED): _S.WATCHING,
        (_S.PENDING, _E.TRAFFIC_RETURNED): _S.RETURN,
        (_S.PENDING, _E.FOUND_LIVE): _S.ADOPTED,
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
        (_S.WATCHING, _E.NOT_THERE_YET): _S.PENDING,
        (_S.RETURN, _E.NOT_THERE_YET): _S.PENDING,
        (_S.WATCHING, _E.VOUCHED_FOR): _S.STABLE,
        (_S.ADOPTED, _E.VOUCHED_FOR): _S.STABLE,
        (_S.RETURN, _E.VOUCHED_FOR): _S.STABLE,
        (_S.STABLE, _E.VOUCHED_FOR): _S.STABLE,
        (_S.ROLLED_BACK, _E.VOUCHED_FOR): _S.STABLE,
        (_S.SUPERSEDED, _E.VOUCHED_FOR): _S.STABLE,
    },
    faults={
        **never(
            [_S.PENDING], [_E.SOAKED, _E.ROLLED_BACK, _E.NAMED_ANEW], "an announced one takes no traffic yet"
        ),
        **never(
            set(_S) - {_S.PENDING},
            [_E.TRAFFIC_ARRIVED, _E.TRAFFIC_RETURNED, _E.FOUND_LIVE, _E.ANNOUNCEMENT_EXPIRED],
            "only an announced one waits for traffic; later arrivals make records of their own",
        ),
        **never(
            set(_S) - {_S.PENDING, _S.RETURN},
            [_E.NAMED_ANEW],
            "only a return can turn out to be something new",
        ),
        **never([_S.ROLLED_BACK, _S.SUPERSEDED, _S.FAILED], [_E.SOAKED], "one without traffic does not soak"),
        **never(
            set(_S) - {_S.WATCHING, _S.RETURN},
            [_E.NOT_THERE_YET],
            "only one that was just announced in place can turn out not to be there",
        ),
        **never([_S.FAILED], [_E.ROLLED_BACK], "traffic never came"),
        **never([_S.PENDING, _S.FAILED], [_E.VOUCHED_FOR], "nobody can know one that never took traffic"),
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

    `named` is false while only the variant is known: then `version` is the variant's name. `reported` is what the
    switch itself calls the version, where it can tell. `started_at` is when traffic may first have moved (for a seen
    change, the last read of the old state). `soaked_for` is known-healthy time so far, counted up to `soaked_at`.
    `armed` tells what was newly deployed from adopted ones and returns, for good. `vouched_at` is when a person said
    that it is good, and what its variant carries: announcements from before that count no more.
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
    reported: str | None = None
    armed: bool = False
    rollback_allowed: bool = True
    source: str = ""
    url: str = ""
    labels: dict[str, str] = {}
    soaked_for: timedelta = timedelta()
    soaked_at: datetime | None = None
    live_at: datetime | None = None
    ended_at: datetime | None = None
    vouched_at: datetime | None = None
    reason: str = ""

    def fits(self, told: str | None) -> bool:
        """Whether what the switch tells of the version can be this deployment; telling nothing fits all."""
        return told is None or told == (self.reported or self.version)
