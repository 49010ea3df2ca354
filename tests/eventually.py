"""Waiting for something to become true, with a deadline and a message: never a bare sleep."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, overload

T = TypeVar("T")


class Eventually(Protocol):
    """The type of the fixture `eventually`."""

    @overload
    async def __call__(
        self,
        condition: Callable[[], Awaitable[T]],
        *,
        within: float = 5.0,
        every: float = 0.02,
        what: str = "",
    ) -> T: ...

    @overload
    async def __call__(
        self, condition: Callable[[], T], *, within: float = 5.0, every: float = 0.02, what: str = ""
    ) -> T: ...


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], *, within: float = 5.0, every: float = 0.02, what: str = ""
) -> T: ...


@overload
async def eventually(
    condition: Callable[[], T], *, within: float = 5.0, every: float = 0.02, what: str = ""
) -> T: ...


async def eventually(
    condition: Callable[[], T | Awaitable[T]], *, within: float = 5.0, every: float = 0.02, what: str = ""
) -> T:
    """The first truthy answer of `condition`, which may be async and may fail an `assert` meanwhile.

    `within` and `every` are seconds of the loop's clock. Other exceptions come through at once. After the
    deadline an `AssertionError` says what was awaited and what was seen last.
    """
    seen = "no answer yet"
    try:
        async with asyncio.timeout(within):
            while True:
                try:
                    answer = condition()
                    value = await answer if inspect.isawaitable(answer) else answer
                    if value:
                        return value
                    seen = repr(value)
                except AssertionError as error:
                    seen = f"failed assertion: {error}"
                await asyncio.sleep(every)
    except TimeoutError:
        awaited = what or getattr(condition, "__name__", repr(condition))
        raise AssertionError(f"not within {within} s: {awaited}; last seen: {seen}") from None
