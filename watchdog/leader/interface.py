"""Who may act. A lease only saves work; the compare-and-set of the switched object is the fence."""

from __future__ import annotations

from typing import Protocol


class Leadership(Protocol):
    """Says whether this process may act now."""

    @property
    def is_leader(self) -> bool:
        """Whether this process may act at this moment; false as soon as it is unsure. Never blocks, never raises."""
        ...

    @property
    def epoch(self) -> int:
        """Grows with every change of leader; written into switched objects that can carry it."""
        ...

    async def acquire(self) -> None:
        """Become or start to try to become the leader. Raises `StoreLocked` when another process holds it for good."""
        ...

    async def release(self) -> None:
        """Give it up. Idempotent, never raises."""
        ...
