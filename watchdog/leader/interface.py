"""Who may act. A lease only saves work: what refuses a late write is the store's claim and the switched object itself.

One object serves for the whole life of a process: it may lead, lose the lead and lead again.
"""

from __future__ import annotations

from typing import Protocol


class Leadership(Protocol):
    """Says whether this process may act now. `acquire` and `lost` in turn; `release` at the end of each."""

    @property
    def is_leader(self) -> bool:
        """Whether this process may act at this moment; false as soon as it is unsure. Never blocks, never raises.

        By boot time: a process that stood still, or whose machine slept, is no leader at its very first look. Once
        false it stays so until the next `acquire`.
        """
        ...

    @property
    def identity(self) -> str:
        """What others see of this process while it leads."""
        ...

    @property
    def holder(self) -> str:
        """Who leads, as far as is known here; empty when nobody does, or nobody can tell. Never blocks or raises."""
        ...

    async def acquire(self) -> None:
        """Return once this process leads, however long that takes. Safe to cancel; then it does not lead.

        What goes wrong outside is logged and tried again.
        """
        ...

    async def lost(self) -> None:
        """Return once the lead is lost for good, soon after `is_leader` became false. Safe to cancel, to be repeated.

        Nothing but `acquire` brings it back.
        """
        ...

    async def release(self) -> None:
        """Give the lead up, so that another may have it at once. Idempotent, never raises, within seconds."""
        ...

    async def aclose(self) -> None:
        """`release`, and close connections. Idempotent, never raises."""
        ...
