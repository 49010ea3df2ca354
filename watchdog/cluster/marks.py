"""What the watchdog writes on the objects it switches, and what people write there for it.

The rollback and the epoch stand in the same write as the change: afterwards the object itself tells who moved it, and a
process whose time is over can see that somebody newer was there. This module must never read or write an object.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from watchdog.core.traffic import Change, pause_reason

PREFIX: Final = "rollback-watchdog.io/"
#: Id of the rollback that wrote last.
ROLLBACK: Final = PREFIX + "rollback"
#: Epoch of the watchdog that wrote last: a lower one may not write any more.
EPOCH: Final = PREFIX + "epoch"
#: When that was (RFC 3339, UTC).
SWITCHED_AT: Final = PREFIX + "switched-at"
#: A person's kill switch: while it is there the watchdog leaves the object alone. Its value is the reason.
PAUSED: Final = PREFIX + "paused"
#: On an object of Argo CD or Flux: what its automatic sync was before the watchdog suspended it (JSON).
SUSPENDED: Final = PREFIX + "suspended"

#: Seconds since 1970 have ten digits; what has more than these nobody of ours wrote.
_LONGEST_EPOCH: Final = 18


def marks(change: Change, *, now: datetime) -> dict[str, str]:
    """The annotations of one change."""
    return {
        ROLLBACK: change.mark,
        EPOCH: str(change.epoch),
        SWITCHED_AT: now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def epoch_of(annotations: Mapping[str, str]) -> int:
    """The epoch that wrote last; 0 for none, and for what a person made unreadable."""
    text = annotations.get(EPOCH, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_EPOCH else 0


def paused_of(annotations: Mapping[str, str]) -> str:
    """The reason of a person's kill switch; empty when there is none. `"false"` is none, anything else is one."""
    text = annotations.get(PAUSED)
    return "" if text is None or text.strip().lower() == "false" else pause_reason(text)
