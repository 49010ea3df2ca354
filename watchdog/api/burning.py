"""What the API answers about objectives, and how it is made.

Written out field by field, as `watchdog.api.presenters`.
"""

from __future__ import annotations

import msgspec

from watchdog.core import burning


class BurnLimit(msgspec.Struct, frozen=True, kw_only=True):
    """How many times faster than its budget a service must fail, over both windows."""

    rate: float
    long_seconds: float
    short_seconds: float


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """An objective (the share of events that must be good), and which burn rates are too fast, by level."""

    objective: float
    burn: dict[str, BurnLimit]


def present_slo(slo: burning.Slo) -> Slo:
    """An objective."""
    burn = {
        level: BurnLimit(
            rate=limit.factor,
            long_seconds=limit.long.total_seconds(),
            short_seconds=limit.short.total_seconds(),
        )
        for level, limit in slo.limits.items()
    }
    return Slo(objective=slo.objective, burn=burn)
