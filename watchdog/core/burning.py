"""Burn rates: how many times faster than its budget a service fails, over a long and a short window at once (`slo:`).

A burn rate of 1 uses up the error budget (1 − objective) exactly in the period of the objective. A level is reached
when both windows burn faster than its factor: the long one says that it matters, the short one that it still goes on.
Factors and windows are those of The Site Reliability Workbook, chapter 5, table 5-8.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec


class BurnLimit(msgspec.Struct, frozen=True, kw_only=True):
    """One level: the burn rate that both windows must exceed. `short` is shorter than `long`."""

    factor: float
    long: timedelta
    short: timedelta


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """An objective (share of good events, 0..1, both ends excluded) and what burning it too fast is.

    The factors are the rule's thresholds, too. `None`: never reaches that level.
    """

    objective: float
    warning: BurnLimit | None = BurnLimit(factor=1.0, long=timedelta(days=3), short=timedelta(hours=6))
    critical: BurnLimit | None = BurnLimit(factor=6.0, long=timedelta(hours=6), short=timedelta(minutes=30))
    rollback: BurnLimit | None = BurnLimit(factor=14.4, long=timedelta(hours=1), short=timedelta(minutes=5))


class Burn(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured for one level: burn rates of both windows, and the counts of the long one."""

    long: float
    short: float
    events: float
    bad: float
