"""The shapes of services and their profiles: which keys there are, and what each value looks like.

What needs more than one value to judge is judged elsewhere. This module must never read a file.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from watchdog.config.fields import Count, LabelName, Name, Share
from watchdog.core.service import GitOps, Mode
from watchdog.settings.model import Duration, PositiveDuration, Settings


class RollbackShape(Settings):
    """`rollback` of a service or a profile. Left out: the profile's value, then the default of design §6."""

    warmup: Duration | None = None
    """After a deployment, verdicts count from here on."""
    armed_for: PositiveDuration | None = None
    """How long after a deployment the watchdog may roll it back by itself."""
    soak: Duration | None = None
    """How long a version must be known healthy to become stable."""
    stabilise: Duration | None = None
    """Wait after the switch before looking."""
    verify: PositiveDuration | None = None
    """How long the recovery may take, at least."""
    contest_for: Duration | None = None
    """How long to watch for somebody undoing the switch."""
    cooldown: Duration | None = None
    """Least time between two automatic rollbacks."""
    max_per_day: Count | None = None
    """Most automatic rollbacks in 24 hours."""
    min_ready: Share | None = None
    """Ready capacity of the target, relative to what is live beside it (and at least to its own)."""
    confirm: Any = None
    """`none`, a rule, or a list of rules of which one must at least warn."""
    approve_within: PositiveDuration | None = None
    """How long an approval may take in mode `approve`."""


class ServiceShape(Settings):
    """One service."""

    name: Name = ""
    """Unique."""
    environment: Name = "production"
    """Where it runs; chooses the profile."""
    labels: dict[LabelName, str] = Field(default_factory=dict)
    """For routes and `$label.NAME`."""
    rules: tuple[Any, ...] | None = None
    """Names of rules, or `{tag: TAG}`."""
    mode: Mode | None = None
    """What the watchdog may do; `enforce` by default."""
    gitops: GitOps | None = None
    """What to do about a target that a GitOps controller would revert; `veto` by default."""
    require_backtest: bool | None = None
    """Whether a rule must have been back-tested, as it is and within `backtest`, to roll back by itself."""
    traffic: dict[str, Any] | None = None
    """The traffic switch: `kind`, its settings, and `ready`."""
    rollback: RollbackShape = RollbackShape()
    """Limits of an automatic rollback."""


class ProfileShape(Settings):
    """`environments.NAME`: values for every service in that environment that has none of its own."""

    mode: Mode | None = None
    """As in a service."""
    gitops: GitOps | None = None
    """As in a service."""
    require_backtest: bool | None = None
    """As in a service."""
    rollback: RollbackShape = RollbackShape()
    """As in a service."""


class TagShape(Settings):
    """`{tag: TAG}` in a service's rules."""

    tag: Name
    """Every rule that has it."""
