"""The report of a back-test: all checks, what they were held against, and the same as plain data for `--json`.

This module must never count anything: what is told was counted in `watchdog.lab.backtest`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from watchdog.core.rule import BREACH_LEVELS
from watchdog.lab.backtest import Checked, Incident, Plain
from watchdog.lab.history import Unasked


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What each rule on each service may do at most; `None` is no limit. `noise` is incidents a week."""

    rollbacks: int | None = None
    noise: float | None = None

    def beyond(self, checked: Checked) -> tuple[str, ...]:
        """What of it a check breaks, in words."""
        found = []
        if self.rollbacks is not None and checked.rollbacks > self.rollbacks:
            found.append(f"rollbacks: {checked.rollbacks}, at most {self.rollbacks}")
        if self.noise is not None and checked.incidents_per_week > self.noise:
            noise = f"{checked.incidents_per_week:.3g}, at most {self.noise:.3g}"
            found.append(f"incidents a week: {noise}")
        return tuple(found)


class Report(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A whole back-test, made at `made_at`; `unasked` are checks without a history."""

    made_at: datetime
    checks: tuple[Checked, ...]
    unasked: tuple[Unasked, ...] = ()
    notes: tuple[str, ...] = ()
    budget: Budget = Budget()

    @property
    def beyond(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """The checks that break the budget, by service and rule."""
        told = {(one.subject.service, one.subject.rule.name): self.budget.beyond(one) for one in self.checks}
        return {key: words for key, words in told.items() if words}

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON types; times are RFC 3339 in UTC, durations seconds. docs/how-to/backtest.md describes it."""
        return {
            "made_at": _iso(self.made_at.timestamp()),
            "ok": not self.beyond,
            "budget": {"max_rollbacks": self.budget.rollbacks, "max_noise": self.budget.noise},
            "checks": [self._check(one) for one in self.checks],
            "unasked": [
                {"service": one.service, "rule": one.rule, "reason": one.reason} for one in self.unasked
            ],
            "notes": list(self.notes),
        }

    def _check(self, one: Checked) -> dict[str, Any]:
        values = one.values
        return {
            "service": one.subject.service,
            "rule": one.subject.rule.name,
            "unit": one.subject.rule.unit.value,
            "from": _iso(one.since),
            "to": _iso(one.until),
            "step_seconds": one.step,
            "samples": one.samples,
            "known": one.known,
            "missed": one.missed,
            "reasons": dict(sorted(one.reasons.items())),
            "incidents": len(one.incidents),
            "incidents_per_week": round(one.incidents_per_week, 3),
            "begun": {level.value: one.begun[level] for level in BREACH_LEVELS},
            "rollbacks": one.rollbacks,
            "near_deployments": one.near_deployments,
            "longest_blindness_seconds": one.longest_blindness,
            "values": None if values is None else msgspec.to_builtins(values),
            "plain_alert": None if one.plain is None else _plain(one.plain),
            "beyond_budget": list(self.beyond.get((one.subject.service, one.subject.rule.name), ())),
            "timeline": [_incident(incident) for incident in one.incidents],
            "blind": [
                {"from": _iso(silence.began), "to": _iso(silence.ended), "reason": silence.reason}
                for silence in one.blind
            ],
            "notes": list(one.notes),
        }


def _plain(plain: Plain) -> dict[str, Any]:
    return {
        "limit": plain.limit,
        "alerts": plain.alerts,
        "alerts_per_week": round(plain.alerts_per_week, 3),
        "near_deployments": plain.near_deployments,
    }


def _incident(incident: Incident) -> dict[str, Any]:
    return {
        "level": incident.level.value,
        "version": incident.version or None,
        "breached_at": _iso(incident.breached),
        "began_at": _iso(incident.began),
        "ended_at": None if incident.ended is None else _iso(incident.ended),
        "rolled_back_at": None if incident.rolled_back is None else _iso(incident.rolled_back),
        "armed": incident.armed,
        "peak": incident.peak,
    }


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
