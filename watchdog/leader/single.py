"""One process, always the leader: the store's lock and the host locks of the switches keep others away."""

from __future__ import annotations


class SingleLeadership:
    """Leads from `acquire` to `release`."""

    def __init__(self, *, epoch: int = 1) -> None:
        self._epoch = epoch
        self._leading = False

    @property
    def is_leader(self) -> bool:
        return self._leading

    @property
    def epoch(self) -> int:
        return self._epoch

    async def acquire(self) -> None:
        self._leading = True

    async def release(self) -> None:
        self._leading = False
