"""A service: one thing people deploy and the watchdog protects, in one environment, and its rollback policy.

This module must never know how a service's traffic is switched.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

import msgspec

from watchdog.core.arming import Proof


class Mode(StrEnum):
    """What the watchdog may do: only look, ask first, or act."""

    OBSERVE = "observe"
    APPROVE = "approve"
    ENFORCE = "enforce"


class GitOps(StrEnum):
    """What to do about a target that a GitOps controller would revert."""

    VETO = "veto"
    PAUSE = "pause"
    IGNORE = "ignore"


class RollbackPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of an automatic rollback; every default is design §6's. `min_ready` is a share 0..1."""

    warmup: timedelta = timedelta(seconds=30)
    armed_for: timedelta = timedelta(minutes=60)
    soak: timedelta = timedelta(minutes=30)
    stabilise: timedelta = timedelta(seconds=5)
    verify: timedelta = timedelta(minutes=2)
    contest_for: timedelta = timedelta(seconds=60)
    cooldown: timedelta = timedelta(minutes=15)
    max_per_day: int = 2
    min_ready: float = 0.8
    confirm: tuple[str, ...] = ()
    approve_within: timedelta = timedelta(minutes=15)


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One protected service; `rules` are names, already resolved from tags.

    `proofs` says by rule what back-tests showed, where the service asks for that (`None`: it does not).
    """

    name: str
    environment: str = "production"
    labels: dict[str, str] = {}
    rules: tuple[str, ...] = ()
    mode: Mode = Mode.ENFORCE
    gitops: GitOps = GitOps.VETO
    rollback: RollbackPolicy = RollbackPolicy()
    proofs: dict[str, Proof] | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Blast radius over all services.

    At most `max_rollbacks` in `per`; the breaker opens when both `max_share` of the services and `at_least` services
    are breaching.
    """

    max_rollbacks: int = 3
    per: timedelta = timedelta(minutes=10)
    max_share: float = 0.3
    at_least: int = 5


class Intervals(msgspec.Struct, frozen=True, kw_only=True):
    """Named poll intervals."""

    critical: timedelta = timedelta(seconds=30)
    normal: timedelta = timedelta(minutes=5)
    extended: timedelta = timedelta(hours=1)
    recheck: timedelta = timedelta(seconds=5)
