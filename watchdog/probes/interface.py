"""What every probe promises: alive, dead, or "we could not even try".

Refused, reset, timed out and wrong answers are the target's failures (`Pulse(passed=False)`). Only our own inability
(no route, resolver down, no descriptors) is `Failed(reason=UNABLE)`: it says nothing about the target.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from watchdog.core.observation import Failed, Pulse


class Probe(Protocol):
    """One kind of active check; one instance serves all targets of that kind."""

    async def check(self, settings: dict[str, Any], *, now: datetime) -> Pulse | Failed:
        """Try one target once. `settings` are the kind's validated settings with all variables filled in.

        Never raises for an outside fault, safe to cancel, bounded by the `timeout` in the settings. Never follows
        the target anywhere it was not told to, never reads more than it needs.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. Idempotent, never raises."""
        ...
