"""A loop in virtual time: it jumps to the next timer instead of waiting; an hour passes in milliseconds.

Only for tests whose outside is fakes. Sockets and threads answer in real time while this loop's clock runs
ahead of them, so a test with either belongs on the real loop.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any

STUCK_AFTER = 5.0  # real seconds that a loop without any timer waits for a thread before it says so


class _Jumping(selectors.BaseSelector):
    """A selector that looks once and then moves the clock by the whole timeout."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(STUCK_AFTER if timeout is None else 0)
        if ready:
            return ready
        if timeout is None:
            raise RuntimeError("virtual time stands still: every task waits and no timer is set")
        self.now += max(timeout, 0.0)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Chosen with `@pytest.mark.virtual_time`. `loop.time()` starts at 0.0, moves when all tasks wait."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now
