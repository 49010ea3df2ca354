"""Rollbacks: the operation that moves one service's traffic back; its states, its intent, its outcome.

The intent (`key`, `change`) is on disk before anything is written outside. This module must never do I/O.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from watchdog.core.machine import Machine, never
from watchdog.core.observation import Reference
from watchdog.core.rule import Rule
from watchdog.core.traffic import Change


class RollbackState(StrEnum):
    """Where a rollback is. The path is the order of the first ten; the last seven are other ends."""

    DECIDED = "decided"
    BLOCKED = "blocked"  #: a guard said no; tried again while the verdict stays, nothing was written
    AWAITING_APPROVAL = "awaiting_approval"
    INTENDED = "intended"  #: the intent is on disk; the switch may be written from here on
    APPLIED = "applied"  #: the switch acknowledged
    VERIFIED_OBJECT = "verified_object"  #: the switch, read again, shows the target
    VERIFIED_TRAFFIC = "verified_traffic"  #: requests were seen to move, or this cannot be measured
    UNCONTESTED = "uncontested"  #: nobody undid it for `contest_for`
    RECOVERED = "recovered"  #: the breached rules are ok on the target
    COMPLETED = "completed"
    INEFFECTIVE = "ineffective"  #: measured bad at the deadline, or traffic did not move
    UNVERIFIED = "unverified"  #: nothing could be measured by the deadline
    CONTESTED = "contested"  #: somebody undid it
    SUPERSEDED = "superseded"  #: the world changed first: a newer deployment or a person
    PARTIAL = "partial"  #: only a part of the change is in place, or nobody could read whether it is
    FAILED = "failed"  #: the target refused
    EXPIRED = "expired"  #: too late, rejected, or no longer wanted; nothing was written


class RollbackEvent(StrEnum):
    """What can happen to a rollback."""

    VETOED = "vetoed"
    APPROVAL_ASKED = "approval_asked"
    INTENDED = "intended"
    APPLIED = "applied"
    OBJECT_VERIFIED = "object_verified"
    TRAFFIC_VERIFIED = "traffic_verified"
    NOT_MEASURABLE = "not_measurable"
    UNCONTESTED = "uncontested"
    RECOVERED = "recovered"
    COMPLETED = "completed"
    STILL_BAD = "still_bad"
    STILL_UNKNOWN = "still_unknown"
    UNDONE = "undone"
    OVERTAKEN = "overtaken"
    HALF_DONE = "half_done"
    REFUSED = "refused"
    LAPSED = "lapsed"


_S, _E = RollbackState, RollbackEvent

_ENDS = frozenset(
    {
        _S.COMPLETED,
        _S.INEFFECTIVE,
        _S.UNVERIFIED,
        _S.CONTESTED,
        _S.SUPERSEDED,
        _S.PARTIAL,
        _S.FAILED,
        _S.EXPIRED,
    }
)
_WAITING = frozenset({_S.DECIDED, _S.BLOCKED, _S.AWAITING_APPROVAL})
_WRITTEN = frozenset({_S.APPLIED, _S.VERIFIED_OBJECT, _S.VERIFIED_TRAFFIC, _S.UNCONTESTED, _S.RECOVERED})
_DECIDING = frozenset({_E.VETOED, _E.APPROVAL_ASKED, _E.INTENDED})
_EXECUTED = frozenset({_E.APPLIED, _E.HALF_DONE, _E.REFUSED})
_MEASURED = (_E.TRAFFIC_VERIFIED, _E.NOT_MEASURABLE)
_PROVING = frozenset(
    {
        _E.OBJECT_VERIFIED,
        *_MEASURED,
        _E.UNCONTESTED,
        _E.RECOVERED,
        _E.COMPLETED,
        _E.STILL_BAD,
        _E.STILL_UNKNOWN,
        _E.UNDONE,
    }
)

ROLLBACK = Machine(
    name="rollback",
    table={
        (_S.DECIDED, _E.VETOED): _S.BLOCKED,
        (_S.DECIDED, _E.APPROVAL_ASKED): _S.AWAITING_APPROVAL,
        (_S.DECIDED, _E.INTENDED): _S.INTENDED,
        (_S.BLOCKED, _E.VETOED): _S.BLOCKED,
        (_S.BLOCKED, _E.APPROVAL_ASKED): _S.AWAITING_APPROVAL,
        (_S.BLOCKED, _E.INTENDED): _S.INTENDED,
        (_S.BLOCKED, _E.OVERTAKEN): _S.SUPERSEDED,
        (_S.BLOCKED, _E.LAPSED): _S.EXPIRED,
        (_S.AWAITING_APPROVAL, _E.APPROVAL_ASKED): _S.AWAITING_APPROVAL,
        (_S.AWAITING_APPROVAL, _E.VETOED): _S.BLOCKED,
        (_S.AWAITING_APPROVAL, _E.INTENDED): _S.INTENDED,
        (_S.AWAITING_APPROVAL, _E.OVERTAKEN): _S.SUPERSEDED,
        (_S.AWAITING_APPROVAL, _E.LAPSED): _S.EXPIRED,
        (_S.INTENDED, _E.VETOED): _S.BLOCKED,
        (_S.INTENDED, _E.APPLIED): _S.APPLIED,
        (_S.INTENDED, _E.OVERTAKEN): _S.SUPERSEDED,
        (_S.INTENDED, _E.HALF_DONE): _S.PARTIAL,
        (_S.INTENDED, _E.REFUSED): _S.FAILED,
        (_S.INTENDED, _E.LAPSED): _S.EXPIRED,
        (_S.APPLIED, _E.OBJECT_VERIFIED): _S.VERIFIED_OBJECT,
        (_S.APPLIED, _E.UNDONE): _S.CONTESTED,
        (_S.APPLIED, _E.OVERTAKEN): _S.SUPERSEDED,
        (_S.APPLIED, _E.HALF_DONE): _S.PARTIAL,
        (_S.APPLIED, _E.STILL_UNKNOWN): _S.UNVERIFIED,
        (_S.VERIFIED_OBJECT, _E.TRAFFIC_VERIFIED): _S.VERIFIED_TRAFFIC,
        (_S.VERIFIED_OBJECT, _E.NOT_MEASURABLE): _S.VERIFIED_TRAFFIC,
        (_S.VERIFIED_OBJECT, _E.UNDONE): _S.CONTESTED,
        (_S.VERIFIED_OBJECT, _E.OVERTAKEN): _S.SUPERSEDED,
        (_S.VERIFIED_OBJECT, _E.STILL_BAD): _S.INEFFECTIVE,
        (_S.VERIFIED_OBJECT, _E.STILL_UNKNOWN): _S.UNVERIFIED,
        (_S.VERIFIED_TRAFFIC, _E.UNCONTESTED): _S.UNCONTESTED,
        (_S.VERIFIED_TRAFFIC, _E.UNDONE): _S.CONTESTED,
        (_S.VERIFIED_TRAFFIC, _E.OVERTAKEN): _S.SUPERSEDED,
        (_S.VERIFIED_TRAFFIC, _E.STILL_BAD): _S.INEFFECTIVE,
        (_S.VERIFIED_TRAFFIC, _E.STILL_UNKNOWN): _S.UNVERIFIED,
        (_S.UNCONTESTED, _E.RECOVERED): _S.RECOVERED,
        (_S.UNCONTESTED, _E.UNDONE): _S.CONTESTED,
        (_S.UNCONTESTED, _E.OVERTAKEN): _S.SUPERSEDED,
        (_S.UNCONTESTED, _E.STILL_BAD): _S.INEFFECTIVE,
        (_S.UNCONTESTED, _E.STILL_UNKNOWN): _S.UNVERIFIED,
        (_S.RECOVERED, _E.COMPLETED): _S.COMPLETED,
    },
    faults={
        **never(_ENDS, _E, "it has ended"),
        **never(_WAITING, _EXECUTED | _PROVING, "nothing has been written yet"),
        **never([_S.DECIDED], [_E.OVERTAKEN, _E.LAPSED], "it moves on in the step that decided it"),
        **never([_S.INTENDED], {_E.APPROVAL_ASKED, _E.INTENDED} | _PROVING, "the executor has it"),
        **never(_WRITTEN, _DECIDING | {_E.APPLIED, _E.REFUSED, _E.LAPSED}, "it is written"),
        **never(_WRITTEN - {_S.APPLIED}, [_E.OBJECT_VERIFIED, _E.HALF_DONE], "the switch showed it whole"),
        **never(
            [_S.APPLIED],
            _PROVING - {_E.OBJECT_VERIFIED, _E.UNDONE, _E.STILL_UNKNOWN},
            "the switch was not read again yet",
        ),
        **never([_S.VERIFIED_OBJECT], [_E.UNCONTESTED, _E.RECOVERED, _E.COMPLETED], "traffic comes first"),
        **never(
            [_S.VERIFIED_TRAFFIC], [*_MEASURED, _E.RECOVERED, _E.COMPLETED], "the contest window comes first"
        ),
        **never([_S.UNCONTESTED], [*_MEASURED, _E.UNCONTESTED, _E.COMPLETED], "recovery comes first"),
        **never(
            [_S.RECOVERED],
            [*_PROVING - {_E.OBJECT_VERIFIED, _E.COMPLETED}, _E.OVERTAKEN],
            "it completes in the step that saw the recovery",
        ),
    },
)

#: Ends. Nothing moves a rollback from here.
ENDS = _ENDS
#: States that wait for the world after the switch.
VERIFYING = frozenset({_S.APPLIED, _S.VERIFIED_OBJECT, _S.VERIFIED_TRAFFIC, _S.UNCONTESTED})


class Veto(msgspec.Struct, frozen=True, kw_only=True):
    """A guard's no. `reason` is a fixed word, `detail` a sentence for people."""

    guard: str
    reason: str
    detail: str


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a rollback's history."""

    state: RollbackState
    at: datetime
    why: str = ""


class Rollback(msgspec.Struct, frozen=True, kw_only=True):
    """One rollback. `key` is unique: `auto:SERVICE:DEPLOYMENT` allows one automatic switch per deployment.

    `rules` are the breached rules whose recovery proves that it helped, as they were when it was decided, and
    `references` what those with a baseline compared the bad version with, by rule: the target is compared with it, too.
    `observed_at` is the arrival of the answer that decided it (for the measured delay). `told` are the sets of vetoes
    that people have heard of, with a storm where it is `folded`.
    """

    id: str
    key: str
    service: str
    deployment: str
    incident: str | None
    state: RollbackState
    automatic: bool
    requested_by: str
    reason: str
    from_variant: str
    from_version: str
    to_variant: str
    to_version: str
    decided_at: datetime
    change: Change | None = None
    rules: tuple[Rule, ...] = ()
    references: dict[str, Reference] = {}
    vetoes: tuple[Veto, ...] = ()
    told: tuple[str, ...] = ()
    folded: bool = False
    expires_at: datetime | None = None
    intended_at: datetime | None = None
    applied_at: datetime | None = None
    contest_until: datetime | None = None
    verify_until: datetime | None = None
    recovered_at: datetime | None = None
    ended_at: datetime | None = None
    observed_at: datetime | None = None
    breached_since: datetime | None = None
    traffic_proof: str = ""
    requests_at_switch: dict[str, int] = {}
    attempts: int = 0
    history: tuple[Passage, ...] = ()

    @property
    def over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state in ENDS

    @property
    def switched(self) -> bool:
        """Whether traffic was moved by this rollback."""
        return self.applied_at is not None
