"""What is late, and the sign of life for somebody outside, as the API shows them.

This module must never hold a field for a secret: not the address that takes the sign of life.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from watchdog.core.lateness import What
from watchdog.core.view import View


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """What should have happened at `since`. `what` is a word for it, as in the metric."""

    what: What
    since: datetime
    detail: str


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """The sign of life for somebody outside. `withheld`: while something is late none is given."""

    last_success_at: datetime | None
    withheld: bool
    error: str


def present_late(view: View) -> tuple[Late, ...]:
    """Everything that should have happened by now."""
    return tuple(Late(what=one.what, since=one.since, detail=one.detail) for one in view.late)


def present_heartbeat(view: View) -> Heartbeat | None:
    """The sign of life; `None` where none is configured."""
    beat = view.heartbeat
    if beat is None:
        return None
    return Heartbeat(last_success_at=beat.last_at, withheld=beat.withheld, error=beat.error)
