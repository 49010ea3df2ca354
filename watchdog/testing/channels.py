"""A channel for tests: it remembers what it was given and answers what the test says.

It keeps the promises of `watchdog.channels.interface` (the contract suite runs against it) and must never
reach outside.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta

import msgspec

from watchdog.channels.interface import Chart, Delivered, Delivery, Unclear
from watchdog.channels.rendering import as_text
from watchdog.core.message import Message, Thread


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One call of `send`, at `at` seconds of the loop's clock."""

    message: Message
    key: str
    at: float


class FakeChannel:
    """Answers the planned outcomes in order, then `Delivered`. `attempts` are all calls, hung ones too."""

    def __init__(self, *plan: Delivery, timeout: timedelta = timedelta(seconds=5)) -> None:
        self.attempts: list[Attempt] = []
        self.fault: str | None = None
        """What `inspect` says."""
        self.closed = 0
        """How often it was closed."""
        self._plan: deque[Delivery] = deque(plan)
        self._always: Delivery | None = None
        self._timeout = timeout
        self._answers = asyncio.Event()
        self._answers.set()

    def plan(self, *outcomes: Delivery) -> None:
        """Answer these next, one a call."""
        self._plan.extend(outcomes)

    def always(self, outcome: Delivery | None) -> None:
        """Answer this whenever nothing is planned; `None` is `Delivered` again."""
        self._always = outcome

    def hang(self) -> None:
        """Answer nothing from now on, until `release`; after its timeout a call ends `Unclear`."""
        self._answers.clear()

    def release(self) -> None:
        """Answer again, waiting calls too."""
        self._answers.set()

    @property
    def keys(self) -> list[str]:
        """The keys of all attempts, in order."""
        return [attempt.key for attempt in self.attempts]

    @property
    def texts(self) -> list[str]:
        """All attempts as people would read them."""
        return [as_text(attempt.message) for attempt in self.attempts]

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        self.attempts.append(Attempt(message=message, key=key, at=asyncio.get_running_loop().time()))
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                await self._answers.wait()
        except TimeoutError:
            return Unclear(reason="the fake channel was told to hang")
        if self._plan:
            return self._plan.popleft()
        return self._always or Delivered()

    async def inspect(self) -> str | None:
        return self.fault

    async def aclose(self) -> None:
        self.closed += 1
