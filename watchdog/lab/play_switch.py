"""The traffic switches of a script: in memory, at once, and refusing a stale write.

As `watchdog.testing.traffic` does for the engine's tests, without waiting. This module must never decide what to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

from watchdog.core.errors import SwitchConflict, SwitchRejected, SwitchUnreachable
from watchdog.core.traffic import Change, TrafficState, VariantState

#: The weight of a variant that takes all traffic, where nothing says another.
ALL = 100


class PlayedSwitch:
    """One service's switch. `revision` counts what was changed, by anybody."""

    def __init__(self, variants: Mapping[str, VariantState]) -> None:
        self.revision = 1
        self._down_until = timedelta.min
        self._variants = dict(variants)
        self._mark: str | None = None

    def fail(self, until: timedelta) -> None:
        """It does not answer until that moment of the script."""
        self._down_until = max(until, self._down_until)

    def read(self, at: timedelta, now: datetime) -> TrafficState:
        """What it shows. Raises `SwitchUnreachable` while it is down."""
        if at < self._down_until:
            raise SwitchUnreachable("the switch does not answer")
        return TrafficState(
            variants=dict(self._variants), revision=f"r{self.revision}", read_at=now, mark=self._mark
        )

    def apply(self, change: Change, at: timedelta, now: datetime) -> TrafficState:
        """Set the target live and the others not, if nothing has changed since it was read."""
        self.read(at, now)
        for name in (change.target, *change.away):
            if name not in self._variants:
                raise SwitchRejected(f"there is no variant {name!r}; nothing was changed")
        if f"r{self.revision}" != change.expect:
            raise SwitchConflict(f"it is at revision r{self.revision}, not {change.expect}")
        weight = max((self._variants[name].weight for name in change.away), default=0) or ALL
        self._mark = change.mark
        self.patch(
            {
                **{name: replace(self._variants[name], weight=0) for name in change.away},
                change.target: replace(self._variants[change.target], weight=weight),
            }
        )
        return self.read(at, now)

    def patch(self, variants: Mapping[str, VariantState]) -> None:
        """Somebody sets these variants."""
        self._variants = {**self._variants, **variants}
        self.revision += 1

    def deploy(self, version: str, variant: str, *, announced: bool) -> None:
        """All traffic goes to a variant that carries this version from now on.

        The switch tells the version where it tells others, or where nobody else does. A variant that it did not have
        has the capacity of what took traffic before it.
        """
        live = next((spot for spot in self._variants.values() if spot.live), None)
        tells = not announced or any(spot.version is not None for spot in self._variants.values())
        spot = self._variants.get(variant) or VariantState(weight=0)
        if spot.ready is None and live is not None:
            spot = replace(spot, ready=live.ready, total=live.total)
        weight = live.weight if live is not None else ALL
        self.patch(
            {
                **{name: replace(one, weight=0) for name, one in self._variants.items()},
                variant: replace(spot, weight=weight, version=version if tells else None),
            }
        )
