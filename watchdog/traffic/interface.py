"""What every traffic switch promises: read the state, set it under a precondition, read it back.

A switch never decides, never retries a write, never guesses. "Set the weights to B if the state is A at revision R",
never "undo".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from watchdog.core.happenings import Happening
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


@runtime_checkable
class Watched(Protocol):
    """A switch that is told when something changes, and so can be looked at without asking."""

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever something that `read` shows may be different, until cancelled.

        May call it too often, also for nothing: the caller looks at most a few times a second. May raise: it is
        supervised and started again. Returns at once where there is nothing to watch. Never needed for `read`.
        """
        ...

    async def glance(self) -> TrafficState:
        """As `read`, but may be as old as what the watch told last; where that cannot be believed, it is a `read`.

        Never older than what an earlier `read` or `apply` of this switch has shown: a change of our own that the
        watch does not know of yet would look as if somebody had undone it. Promises and errors as for `read`.
        """
        ...


@runtime_checkable
class Suspends(Protocol):
    """A switch that can keep whoever would undo a change from doing so, when `Change.suspend` asks for it.

    It does so inside `apply`, right before the write; what certainly cannot be suspended is a `SwitchRejected`, and
    nothing was switched. `TrafficState.suspended` shows it until `resume`.
    """

    def expect_to_suspend(self) -> None:
        """Say beforehand that `apply` will be asked to: then `inspect` and its rights are about that, too."""
        ...

    async def resume(self, mark: str) -> str:
        """Restore what the rollback `mark` suspended, exactly as it was; answers what that is, for people.

        Raises `SwitchRejected` when there is nothing to restore or it is refused, `SwitchConflict` when another
        rollback suspended it since, `SwitchUnreachable` when nothing was changed for now, `SwitchUnknown` when it may
        have been. Asking again is safe. Done within twice the switch's timeout.
        """
        ...


@runtime_checkable
class Announces(Protocol):
    """A switch whose target shows people what happened to it."""

    async def announce(self, happening: Happening) -> None:
        """Show it on the target, once: what is there under its key already is left as it is.

        Raises `SwitchRejected` when it never will be shown, `SwitchUnreachable` when it may be another time.
        Idempotent, safe to cancel, done within twice the switch's timeout.
        """
        ...
