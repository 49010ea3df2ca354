"""Shapes: what the API answers, field by field. The OpenAPI document is made from them.

Changing a name here breaks other people's programs: add, never rename. This module must never hold a
field for a secret.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from watchdog.api.burning import Slo
from watchdog.api.climb import Climb
from watchdog.api.lateness import Heartbeat, Late
from watchdog.core.check import Reason
from watchdog.core.deployment import DeploymentState, Origin
from watchdog.core.incident import IncidentKind, IncidentState
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Against, Direction, Level, Severity, Unit
from watchdog.core.service import Mode


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers: every field is always there, `null` where there is nothing."""


class Health(Shape, frozen=True, kw_only=True):
    """The reactor's progress."""

    status: str
    progress_at: datetime
    stalled_after_seconds: float


class Readiness(Shape, frozen=True, kw_only=True):
    """Whether requests can be answered. A follower is ready."""

    status: str
    leader: bool
    view_at: datetime


class Source(Shape, frozen=True, kw_only=True):
    """One source of numbers. `up` is `null` until it was asked for the first time."""

    name: str
    up: bool | None
    error: str
    failing_since: datetime | None


class Status(Shape, frozen=True, kw_only=True):
    """The daemon itself now. `breaker` says why no automatic rollback is allowed anywhere, if so.

    `holder` is who leads, as far as this watchdog knows; empty when nobody does. `cut_off_at` is since when nothing
    answers the watchdog, so that no target is called dead. `silences` is how many are in force. `late` is what should
    have happened by now; `heartbeat` is null where none is configured.
    """

    at: datetime
    version: str
    leader: bool
    holder: str
    paused_by_file: bool
    breaker: str
    cut_off_at: datetime | None
    store_error: str
    config_fault: str
    config_fault_at: datetime | None
    silences: int
    audit_head: str
    late: tuple[Late, ...]
    heartbeat: Heartbeat | None
    sources: tuple[Source, ...]


class Check(Shape, frozen=True, kw_only=True):
    """A rule applied to one service (and one live version).

    `level` is the newest verdict, `held` what its hold confirms, `latched` what its incident shows. `value`
    and `limit` are in the rule's base unit.
    """

    id: str
    rule: str
    version: str
    variant: str
    level: Level
    held: Level
    latched: Level
    reason: Reason | None
    explanation: str
    value: float | None
    limit: float | None
    events: float | None
    judged_at: datetime | None
    last_data_at: datetime | None
    blind_since: datetime | None


class Variant(Shape, frozen=True, kw_only=True):
    """One variant as the traffic switch shows it. `ready` of `total` units of capacity; `null` is unknown."""

    weight: int
    live: bool
    version: str | None
    ready: int | None
    total: int | None
    requests: int | None
    note: str


class Traffic(Shape, frozen=True, kw_only=True):
    """The state of traffic at one revision. `paused` is the reason of a kill switch on the target itself, or empty.

    `managed_by` would undo a switch; `suspended` is kept from it for the rollback `suspended_for` (`gitops: pause`);
    `noted` write the target and undo nothing.
    """

    variants: dict[str, Variant]
    revision: str
    read_at: datetime
    managed_by: str | None
    paused: str = ""
    suspended: str = ""
    suspended_for: str = ""
    noted: tuple[str, ...] = ()


class Pause(Shape, frozen=True, kw_only=True):
    """A person's kill switch on one service."""

    by: str
    at: datetime
    reason: str


class Taint(Shape, frozen=True, kw_only=True):
    """A version that is never a rollback target. `by` is `watchdog` where it was rolled back."""

    version: str
    at: datetime
    by: str
    reason: str


class Standing(Shape, frozen=True, kw_only=True):
    """What people's word came to: whether the version is tainted, and its state on every variant that carries it."""

    service: str
    version: str
    taint: Taint | None
    states: dict[str, str]


class Veto(Shape, frozen=True, kw_only=True):
    """A guard's no: `reason` is a fixed word, `detail` a sentence."""

    guard: str
    reason: str
    detail: str


class Deployment(Shape, frozen=True, kw_only=True):
    """A version that went to a variant. `named` is false while only the variant is known."""

    id: str
    service: str
    version: str
    variant: str
    state: DeploymentState
    origin: Origin
    named: bool
    armed: bool
    rollback: str
    started_at: datetime
    recorded_at: datetime
    live_at: datetime | None
    ended_at: datetime | None
    soaked_for_seconds: float
    reason: str
    source: str
    url: str
    labels: dict[str, str]


class Breach(Shape, frozen=True, kw_only=True):
    """One rule's part in an incident."""

    check: str
    rule: str
    rule_hash: str
    level: Level
    value: float | None
    since: datetime
    reason: str
    version: str
    runbook: str | None
    cleared_at: datetime | None
    retired_at: datetime | None


class Incident(Shape, frozen=True, kw_only=True):
    """What is wrong with one service, one source, or many services at once (`storm`). `services` are those affected.

    `silenced_by` are the silences that hold back its newest message, `silenced_messages` how many were held back.
    `climb` is who heard of it and who is told next, from when people first heard of it.
    """

    id: str
    kind: IncidentKind
    state: IncidentState
    subject: str
    service: str | None
    environment: str
    deployment: str | None
    version: str
    level: Level
    severity: Severity
    summary: str
    opened_at: datetime
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    closed_at: datetime | None
    closed_because: str
    breaches: tuple[Breach, ...]
    services: tuple[str, ...]
    silenced_by: tuple[str, ...]
    silenced_messages: int
    climb: Climb | None


class Silence(Shape, frozen=True, kw_only=True):
    """For a while people hear nothing of incidents that match. `held_back` counts the messages nobody got."""

    id: str
    matchers: dict[str, str]
    reason: str
    by: str
    active: bool
    created_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    ended_by: str
    held_back: int


class Place(Shape, frozen=True, kw_only=True):
    """A version on a variant."""

    variant: str
    version: str


class Passage(Shape, frozen=True, kw_only=True):
    """One entry of a rollback's history."""

    state: RollbackState
    at: datetime
    why: str


class Rollback(Shape, frozen=True, kw_only=True):
    """The operation that moves one service's traffic back.

    `decision_seconds` is from the answer that decided it to the switch's acknowledgement.
    """

    id: str
    service: str
    deployment: str
    incident: str | None
    state: RollbackState
    over: bool
    switched: bool
    automatic: bool
    requested_by: str
    reason: str
    from_: Place = msgspec.field(name="from")
    to: Place
    rules: tuple[str, ...]
    breached_since: datetime | None
    observed_at: datetime | None
    decided_at: datetime
    expires_at: datetime | None
    intended_at: datetime | None
    applied_at: datetime | None
    contest_until: datetime | None
    verify_until: datetime | None
    recovered_at: datetime | None
    ended_at: datetime | None
    decision_seconds: float | None
    attempts: int
    vetoes: tuple[Veto, ...]
    traffic_proof: str
    history: tuple[Passage, ...]


class Policy(Shape, frozen=True, kw_only=True):
    """Limits of an automatic rollback of one service (design §6)."""

    warmup_seconds: float
    armed_for_seconds: float
    soak_seconds: float
    verify_seconds: float
    contest_for_seconds: float
    cooldown_seconds: float
    max_per_day: int
    min_ready: float


class Service(Shape, frozen=True, kw_only=True):
    """One protected service now. `rollback_ready`: would a rollback work now? `not_ready`: who says no."""

    name: str
    environment: str
    mode: Mode
    policy: Policy
    labels: dict[str, str]
    level: Level
    paused: Pause | None
    traffic: Traffic | None
    traffic_error: str
    deployment: Deployment | None
    stable: Deployment | None
    checks: tuple[Check, ...]
    incidents: tuple[str, ...]
    rollback: Rollback | None
    taints: tuple[Taint, ...]
    rollback_ready: bool
    not_ready: tuple[Veto, ...]


class Hold(Shape, frozen=True, kw_only=True):
    """How long a level must last: that many fresh samples, or that long. One of the two is `null`."""

    samples: int | None
    duration_seconds: float | None


class Evidence(Shape, frozen=True, kw_only=True):
    """What must be there beside the value. `excess` is a share of one window; `confidence` is one-sided."""

    min_events: int
    min_bad: int | None
    confidence: float | None
    excess: float | None


class Baseline(Shape, frozen=True, kw_only=True):
    """What a rule compares with, and by how much it may be worse (`worse_by`: shares of the reference).

    `earlier` is `ago_seconds` before, `usual` the median of `over_seconds`, of which `worse_by` counts deviations.
    """

    against: Against
    ago_seconds: float | None
    over_seconds: float | None
    worse_by: dict[str, float]
    test: dict[str, float] | None


class Rule(Shape, frozen=True, kw_only=True):
    """One compiled rule; numbers are in the base unit (seconds, bytes, ratio 0..1)."""

    name: str
    summary: str
    hash: str
    form: dict[str, Any]
    source: str | None
    unit: Unit
    direction: Direction
    interval_seconds: float
    window_seconds: float
    thresholds: dict[str, float]
    baseline: Baseline | None
    slo: Slo | None
    hold: dict[str, Hold]
    clear_samples: int
    evidence: Evidence | None
    blind_after_seconds: float
    max_age_seconds: float | None
    severity: dict[str, Severity]
    tags: tuple[str, ...]
    runbook: str | None
    services: tuple[str, ...]


class AuditEntry(Shape, frozen=True, kw_only=True):
    """One link of the audit chain, as it was hashed."""

    seq: int
    at: datetime
    kind: str
    subject: str
    body: dict[str, Any]
    previous: str
    hash: str
