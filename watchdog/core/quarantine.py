"""Quarantine: after a source was away, its first windows are half empty and their rates are wrong.

Checks stay unknown until one full window of samples exists (design §5; mimir#7691 is the story behind it).
Probes are never quarantined: they have no window. This module must never judge a value.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from watchdog.core.check import CheckState
from watchdog.core.clockstep import ahead
from watchdog.core.observation import Value
from watchdog.core.rule import Rule

#: After that many failed polls in a row the source counts as having been away.
AWAY_AFTER = 3

_END = datetime.max.replace(tzinfo=UTC)


def was_away(state: CheckState) -> bool:
    """Whether the next sample is the first one after an absence."""
    return state.failures >= AWAY_AFTER


def failures_after_answer(state: CheckState) -> int:
    """The count of failed polls after an answer without a new sample: an absence is kept until one comes."""
    return state.failures if was_away(state) else 0


def until(state: CheckState, value: Value, *, window: timedelta, now: datetime) -> datetime | None:
    """The sample time from which on samples count again; `None` when there is no reason to wait.

    A full window begins with the first sample after an absence, or where the source says its gapless data
    begins.
    """
    ends = [state.quarantine_until] if state.quarantine_until is not None else []
    if was_away(state):
        ends.append(_after(value.at, window))
    if value.since is not None and value.since != state.source_since and now - value.since < window:
        ends.append(_after(value.since, window))
    latest = max(ends, default=None)
    return latest if latest is not None and value.at < latest else None


def lasts(rule: Rule, state: CheckState, now: datetime) -> bool:
    """Whether at a poll quarantine had followed on quarantine for longer than one takes: that is told as blindness.

    A source that starts anew again and again never has a full window, and none of its polls fails.
    """
    since = state.quarantined_since
    return since is not None and now - since > 2 * rule.window + 3 * rule.interval


def not_ahead(state: CheckState, *, window: timedelta, now: datetime) -> datetime | None:
    """The end of a quarantine, a window from now when a clock set it that was set back since."""
    return (
        _after(now, window) if ahead(state.quarantine_until, now, beyond=window) else state.quarantine_until
    )


def _after(at: datetime, duration: timedelta) -> datetime:
    """`at + duration`, at the end of time at the latest."""
    return at + duration if _END - at > duration else _END
