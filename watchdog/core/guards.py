"""The guards: named questions that each can stop a rollback. Pure functions of recorded facts.

`GuardFacts` is everything a guard may look at; it goes into the audit record, so that `watchdog explain` asks the same
guards again and must hear the same answers. This module must never look at anything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from watchdog.core.deployment import DeploymentState
from watchdog.core.rollback import Veto
from watchdog.core.rule import Level, rank
from watchdog.core.service import GitOps, Mode, RollbackPolicy
from watchdog.core.units import format_duration

#: How far back `not_already_bad` looks before the deployment (design §7).
BASELINE_WITHIN = timedelta(hours=24)


class GuardFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at the moment of asking. Absent knowledge is `None`, never a comfortable default."""

    now: datetime
    automatic: bool
    policy: RollbackPolicy
    mode: Mode
    approved: bool = False
    paused: str = ""
    leader: bool = False
    from_version: str = ""
    from_variant: str = ""
    from_live: bool = False
    live: tuple[str, ...] = ()
    attributable: bool = True
    deployment_state: DeploymentState | None = None
    armed: bool = False
    started_at: datetime | None = None
    forbidden: bool = False
    target_version: str = ""
    target_variant: str = ""
    target_problem: str = ""
    target_detail: str = ""
    target_ready: int | None = None
    target_note: str = ""
    live_capacity: int | None = None
    rule: str = ""
    known_before: Level | None = None
    known_before_at: datetime | None = None
    previous_bad: str = ""
    switched_at: datetime | None = None
    rollbacks_today: int = 0
    recent_rollbacks: int = 0
    max_rollbacks: int = 0
    max_rollbacks_per: timedelta = timedelta()
    breaching: int = 0
    services: int = 0
    max_share: float = 1.0
    max_share_at_least: int = 0
    confirming: dict[str, Level] = {}
    managed_by: str | None = None
    gitops: GitOps = GitOps.VETO
    unproven: str = ""
    unproven_detail: str = ""


Guard = Callable[[GuardFacts], Veto | None]


def mode(facts: GuardFacts) -> Veto | None:
    """The service's mode lets the watchdog act (or somebody approved)."""
    if facts.mode is Mode.OBSERVE:
        return Veto(
            guard="mode", reason="observe", detail="the service is in mode observe: the watchdog only tells"
        )
    if facts.mode is Mode.APPROVE and not facts.approved:
        return Veto(
            guard="mode",
            reason="not_approved",
            detail="the service is in mode approve and nobody approved yet",
        )
    return None


def paused(facts: GuardFacts) -> Veto | None:
    """No kill switch is set: the file, the one by API, or a mark on the target."""
    if facts.paused:
        return Veto(guard="paused", reason="paused", detail=facts.paused)
    return None


def leader(facts: GuardFacts) -> Veto | None:
    """This process is the one that may act."""
    if not facts.leader:
        return Veto(guard="leader", reason="not_leader", detail="this process is not the leader")
    return None


def armed(facts: GuardFacts) -> Veto | None:
    """The deployment is young enough, and was a deployment at all."""
    if not facts.armed or facts.started_at is None:
        return Veto(
            guard="armed",
            reason="not_armed",
            detail="nothing was deployed that could be taken back: the version was adopted or traffic returned to it",
        )
    if facts.now > facts.started_at + facts.policy.armed_for:
        window = format_duration(facts.policy.armed_for)
        return Veto(
            guard="armed", reason="too_late", detail=f"the deployment is older than armed_for ({window})"
        )
    return None


def known_good_target(facts: GuardFacts) -> Veto | None:
    """There is a stable, untainted version to go to, and the deployment does not forbid it."""
    if facts.forbidden:
        return Veto(
            guard="known_good_target",
            reason="forbidden",
            detail="the deployment was recorded with rollback: forbidden; move traffic by hand if that is safe",
        )
    if facts.target_problem or not facts.target_variant:
        return Veto(
            guard="known_good_target",
            reason=facts.target_problem or "no_variant",
            detail=f"no known good version to go to: {facts.target_detail or 'none'}",
        )
    return None


def target_ready(facts: GuardFacts) -> Veto | None:
    """The target has enough ready capacity, relative to all that is live now. Unknown is a no."""
    if not facts.target_variant:
        return Veto(guard="target_ready", reason="no_target", detail="there is no target")
    if facts.target_ready is None:
        note = facts.target_note or "the switch cannot tell"
        return Veto(
            guard="target_ready",
            reason="unknown",
            detail=f"readiness of {facts.target_variant} is unknown: {note}",
        )
    wanted = needed(facts.policy, facts.live_capacity)
    if facts.target_ready < wanted:
        return Veto(
            guard="target_ready",
            reason="not_ready",
            detail=f"{facts.target_variant} has {facts.target_ready} ready, {wanted} needed"
            + (f" ({facts.target_note})" if facts.target_note else ""),
        )
    return None


def needed(policy: RollbackPolicy, live_capacity: int | None) -> int:
    """How many units a target must have ready to stand in for so many: never less than one."""
    return max(1, math.ceil(policy.min_ready * (live_capacity or 1) - 1e-9))


def still_live(facts: GuardFacts) -> Veto | None:
    """The version that breached takes traffic now, and the breach can be laid at its door."""
    if not facts.from_live:
        return Veto(
            guard="still_live",
            reason="not_live",
            detail=f"{facts.from_version or 'the version that breached'} takes no traffic any more",
        )
    if not facts.attributable:
        live = " and ".join(facts.live)
        return Veto(
            guard="still_live",
            reason="not_attributable",
            detail=f"{live} are live and the rule does not say which one is bad: let it name $version or $variant",
        )
    return None


def not_already_bad(facts: GuardFacts) -> Veto | None:
    """The rule was fine before the deployment, and no version that still serves is equally bad."""
    if facts.known_before is None:
        return Veto(
            guard="not_already_bad",
            reason="no_baseline",
            detail=f"nothing is known of {facts.rule} in the 24 h before the deployment",
        )
    if rank(facts.known_before) >= rank(Level.CRITICAL):
        return Veto(
            guard="not_already_bad",
            reason="already_bad",
            detail=f"{facts.rule} was {facts.known_before} before the deployment",
        )
    if facts.previous_bad:
        return Veto(
            guard="not_already_bad",
            reason="previous_bad_too",
            detail=f"{facts.previous_bad} still serves and is equally bad",
        )
    return None


def cooldown(facts: GuardFacts) -> Veto | None:
    """The last switch of this service is long enough ago."""
    if facts.switched_at is not None and facts.now < facts.switched_at + facts.policy.cooldown:
        left = format_duration(facts.switched_at + facts.policy.cooldown - facts.now)
        return Veto(
            guard="cooldown",
            reason="too_soon",
            detail=f"the last rollback was just now; {left} of cooldown left",
        )
    return None


def max_per_day(facts: GuardFacts) -> Veto | None:
    """The service has automatic rollbacks left today."""
    if facts.rollbacks_today >= facts.policy.max_per_day:
        return Veto(
            guard="max_per_day",
            reason="used_up",
            detail=f"{facts.rollbacks_today} automatic rollbacks in 24 h, at most {facts.policy.max_per_day} allowed",
        )
    return None


def breaker(facts: GuardFacts) -> Veto | None:
    """Over all services, neither too many rollbacks lately nor too much red at once."""
    if facts.recent_rollbacks >= facts.max_rollbacks:
        window = format_duration(facts.max_rollbacks_per)
        return Veto(
            guard="breaker",
            reason="too_many_rollbacks",
            detail=f"{facts.recent_rollbacks} automatic rollbacks in {window}, at most {facts.max_rollbacks} allowed",
        )
    share = facts.breaching / facts.services if facts.services else 0.0
    if share > facts.max_share and facts.breaching >= facts.max_share_at_least:
        return Veto(
            guard="breaker",
            reason="too_much_red",
            detail=f"{facts.breaching} of {facts.services} services are breaching: suspect what they share",
        )
    return None


def confirmed(facts: GuardFacts) -> Veto | None:
    """One of the confirming rules at least warns; passes when none is asked for."""
    if not facts.policy.confirm:
        return None
    if any(rank(level) >= rank(Level.WARNING) for level in facts.confirming.values()):
        return None
    shown = ", ".join(
        f"{name} is {facts.confirming.get(name, Level.UNKNOWN)}" for name in facts.policy.confirm
    )
    return Veto(guard="confirmed", reason="not_confirmed", detail=f"no confirming rule warns: {shown}")


def backtested(facts: GuardFacts) -> Veto | None:
    """A rule that asks for it proved itself on history, where the service wants that; a person's yes is enough, too."""
    if facts.mode is Mode.APPROVE or facts.approved or not facts.unproven:
        return None
    return Veto(guard="backtested", reason=facts.unproven, detail=facts.unproven_detail)


def unmanaged(facts: GuardFacts) -> Veto | None:
    """No controller would undo the switch, or the service says what to do about it."""
    if facts.managed_by and facts.gitops is GitOps.VETO:
        return Veto(
            guard="unmanaged",
            reason="managed",
            detail=f"{facts.managed_by} manages the target and would revert it; set gitops: pause or ignore",
        )
    return None


#: Every guard by name, in the order in which they are asked.
GUARDS: dict[str, Guard] = {
    "mode": mode,
    "paused": paused,
    "leader": leader,
    "armed": armed,
    "known_good_target": known_good_target,
    "target_ready": target_ready,
    "still_live": still_live,
    "not_already_bad": not_already_bad,
    "cooldown": cooldown,
    "max_per_day": max_per_day,
    "breaker": breaker,
    "confirmed": confirmed,
    "backtested": backtested,
    "unmanaged": unmanaged,
}
#: Asked again immediately before every write.
BEFORE_WRITE = ("mode", "paused", "leader", "known_good_target", "target_ready", "still_live", "unmanaged")
#: Not asked when a person wants the rollback.
SKIPPED_FOR_PEOPLE = frozenset(
    {"mode", "armed", "cooldown", "max_per_day", "breaker", "confirmed", "not_already_bad", "backtested"}
)
#: What `watchdog_rollback_ready` asks in daylight.
READINESS = ("paused", "leader", "known_good_target", "target_ready", "unmanaged")


def ask(facts: GuardFacts, names: tuple[str, ...] = tuple(GUARDS)) -> tuple[Veto, ...]:
    """Every veto of the named guards, in order; none when the way is free."""
    skipped = frozenset() if facts.automatic else SKIPPED_FOR_PEOPLE
    answers = (GUARDS[name](facts) for name in names if name not in skipped)
    return tuple(veto for veto in answers if veto is not None)
