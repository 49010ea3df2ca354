"""Which requests were announced: each once, whichever process stored it, however often it is seen.

Requests of other processes are found by looking again and again; what this process stores itself is seen there, too.
This module must never store anything, nor look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from watchdog.core.request import Request


class Look(msgspec.Struct, frozen=True):
    """One look, as it was begun: what was announced before it, and in which life."""

    life: int
    heard: frozenset[str]


class Hearing:
    """Hears requests from `start` to `stop`; before and after, somebody else is to hear them."""

    def __init__(self, announce: Callable[[Request], None]) -> None:
        self._announce = announce
        self._life = 0
        self._begun = False
        self._heard: set[str] = set()

    def start(self, known: Iterable[Request]) -> None:
        """From now on what is not `known` is announced. Once a life: while one goes on, nothing happens."""
        if not self._begun:
            self._begun = True
            self._heard = {request.id for request in known}

    def stop(self) -> None:
        """Nothing is announced any more, and what a look of this life still finds is not either."""
        self._life += 1
        self._begun = False
        self._heard = set()

    def stored(self, request: Request) -> None:
        """There is one."""
        if self._begun and request.id not in self._heard:
            self._heard.add(request.id)
            self._announce(request)

    def look(self) -> Look:
        """A look begins. Looks do not overlap."""
        return Look(self._life, frozenset(self._heard))

    def looked(self, look: Look, unanswered: tuple[Request, ...]) -> None:
        """It found these. What was announced before it began and was not found is answered, and never found again."""
        if not self._begun or look.life != self._life:
            return
        for request in unanswered:
            self.stored(request)
        self._heard -= look.heard - {request.id for request in unanswered}
