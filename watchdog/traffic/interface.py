"""What every traffic switch promises: read the state, set it under a precondition, read it back.

A switch never decides, never retries a write, never guesses. "Set the weights to B if the state is A at revision R",
never "undo".
"""

from __future__ import annotations

from typing import Protocol

from watchdog.core.traffic import Change, Tier, TrafficState


class TrafficSwitch(Protocol):
    """Reads and sets which variant of one service takes traffic."""

    @property
    def tier(self) -> Tier:
        """`A` when the target itself refuses a stale write, else `B` (single writer, host lock)."""
        ...

    @property
    def identity(self) -> str:
        """A stable name of the switched object on this host, such as `haproxy:/run/haproxy/admin.sock:trips`.

        Two services or two daemons with the same identity would fight; the host lock is taken on it.
        """
        ...

    async def read(self) -> TrafficState:
        """The state now. Raises `SwitchUnreachable` (gone, refused, timed out, garbage, a configured name missing).

        Idempotent, safe to cancel, done within the switch's timeout. Where the target can carry a person's mark that
        stops the automation, `paused` is its reason, as it is at this moment.
        """
        ...

    async def apply(self, change: Change) -> TrafficState:
        """Set `change.target` live and `change.away` not, if the revision still is `change.expect`; read back.

        Answers the state read back after the write. Raises `SwitchConflict`, `SwitchRejected` or `SwitchUnreachable`
        when certainly nothing was changed, `SwitchUnknown` when it may have been. Applying a change whose end state
        is already there writes nothing new. A target that is marked as paused by then is a `SwitchConflict`. Never
        retries. Done within twice the switch's timeout. When cancelled
        after the write began, the outcome is unknown and must be read.
        """
        ...

    async def inspect(self) -> str | None:
        """What would make `apply` fail although `read` works, and what to do about it; `None` when nothing is known.

        Asks for rights and parts, changes nothing. Idempotent, safe to cancel, done within the switch's timeout. Never
        raises for what the outside does: what cannot be asked is told.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. Idempotent, never raises."""
        ...
