"""Work that blocks, in threads that nobody waits for longer than they want, and of which there are never many.

For libraries that know no event loop. The threads of asyncio's own executor will not do: a process cannot end before
they have. This module must never wait for a thread, or let calls that hang pile up.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Crowded(Exception):
    """As many calls as there may be are under way (hang, most likely)."""


class Threads:
    """Runs blocking calls, at most `limit` at a time. To be used on one loop."""

    def __init__(self, name: str, *, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._busy = 0

    @property
    def busy(self) -> int:
        """How many threads have not ended, given up or not."""
        return self._busy

    async def run(self, work: Callable[[], T], *, give_up: Callable[[], None]) -> T:
        """What `work` answers or raises. The caller brings the timeout.

        When the caller is cancelled, `give_up` is called, which must not block and should make `work` end soon; its
        thread counts until it has. Raises `Crowded` without a call when too many are under way.
        """
        if self._busy >= self._limit:
            raise Crowded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            self._busy -= 1
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # `None` only where that is what work answers

        def body() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as fault:  # noqa: BLE001 - it is the caller's
                error = fault
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

        thread = threading.Thread(target=body, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more
            raise Crowded from error
        self._busy += 1
        try:
            return await future
        except asyncio.CancelledError:
            give_up()
            raise
