"""One judged observation: what was seen, by which rule, after what, and what came of it.

Its `inputs` are what an audit record keeps so that the verdict can be reached again (`watchdog.core.replay`).
"""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from watchdog.core.check import CheckId, CheckState, Verdict
from watchdog.core.deployment import Deployment
from watchdog.core.evaluate import Evaluated
from watchdog.core.events import Observed
from watchdog.core.rule import Rule


class Judged(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """`deployment` is the one the check judges, where any is known."""

    check: CheckId
    rule: Rule
    before: CheckState
    event: Observed
    result: Evaluated
    deployment: Deployment | None

    @property
    def verdict(self) -> Verdict:
        """What the observation meant."""
        return self.result.verdict

    @functools.cached_property
    def inputs(self) -> dict[str, Any]:
        """The record of it, as JSON types."""
        return {
            "check": str(self.check),
            "rule": self.rule.plain,
            "rule_hash": self.rule.hash,
            "before": msgspec.to_builtins(self.before),
            "observation": msgspec.to_builtins(self.event.observation),
            "arrived_at": msgspec.to_builtins(self.event.arrived_at),
            "verdict": msgspec.to_builtins(self.verdict),
        }
