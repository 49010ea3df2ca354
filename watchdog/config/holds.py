"""`hold` of a rule: how long each level must last, and what it is where nothing is written.

This module must never judge a sample.
"""

from __future__ import annotations

from watchdog.config.schema import HoldShape
from watchdog.core.burning import Slo
from watchdog.core.rule import Holds, Samples

#: Of burn rates: their windows have smoothed them already, so that only one wrong answer must be outlasted.
_STEADY = Holds(warning=Samples(2), critical=Samples(2), rollback=Samples(2))


def holds_of(written: HoldShape, slo: Slo | None) -> Holds:
    """The holds of a rule, with an objective or without."""
    default = Holds() if slo is None else _STEADY
    return Holds(
        warning=default.warning if written.warning is None else written.warning,
        critical=default.critical if written.critical is None else written.critical,
        rollback=default.rollback if written.rollback is None else written.rollback,
    )
