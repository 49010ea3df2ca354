"""Holds: how long a level must last before it counts, and how long it must be gone before it is over.

Only fresh samples with a known verdict come here; sample times are compared, never poll times, so that
looking more often proves nothing faster. This module must never see an unknown verdict: that makes silence
harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from watchdog.core.check import Streak
from watchdog.core.rule import BREACH_LEVELS, Hold, Level, Rule, Samples, rank


def extended(rule: Rule, streaks: Mapping[str, Streak], level: Level, at: datetime) -> dict[str, Streak]:
    """The streaks after a fresh sample at `level`: one longer for it and milder ones, gone for worse ones."""
    longer: dict[str, Streak] = {}
    for step in BREACH_LEVELS[: rank(level)]:
        if rule.thresholds.of(step) is None:
            continue
        before = streaks.get(step)
        if before is None:
            longer[step.value] = Streak(count=1, since=at, last=at)
        else:
            longer[step.value] = Streak(count=before.count + 1, since=before.since, last=at)
    return longer


def met(hold: Hold, streak: Streak) -> bool:
    """Whether a streak is long enough. A duration needs two samples that far apart: one lasts no time."""
    if isinstance(hold, Samples):
        return streak.count >= hold.count
    if streak.since is None or streak.last is None:
        return False
    return streak.count >= 2 and streak.last - streak.since >= hold.duration


def held(rule: Rule, streaks: Mapping[str, Streak]) -> Level:
    """The worst level whose hold is met; `OK` when none is."""
    for level in reversed(BREACH_LEVELS):
        streak = streaks.get(level)
        if streak is not None and met(rule.hold.of(level), streak):
            return level
    return Level.OK
