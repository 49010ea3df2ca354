"""Presents the limits of a rule: absolute ones, and what they are relative to.

Written out field by field, as `watchdog.api.presenters`.
"""

from __future__ import annotations

from watchdog.api import shapes
from watchdog.core.rule import BREACH_LEVELS, Baseline, Thresholds


def present_limits(limits: Thresholds) -> dict[str, float]:
    """Those that there are, by level."""
    found = {level.value: limits.of(level) for level in BREACH_LEVELS}
    return {level: limit for level, limit in found.items() if limit is not None}


def present_baseline(baseline: Baseline) -> shapes.Baseline:
    """What a rule compares with."""
    test = baseline.test
    tested = (
        None
        if test is None
        else {"confidence": test.confidence, "effect": test.effect, "samples": test.samples}
    )
    return shapes.Baseline(
        against=baseline.against,
        ago_seconds=None if baseline.ago is None else baseline.ago.total_seconds(),
        over_seconds=None if baseline.over is None else baseline.over.total_seconds(),
        worse_by=present_limits(baseline.margins),
        test=tested,
    )
