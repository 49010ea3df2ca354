"""Stands between the daemon and HAProxy's admin socket: the fault proxy, and what it knows of HAProxy's commands.

The history of what is live is written at every write that HAProxy has obeyed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.faults.proxy import Deed, FaultProxy, Moment

__all__ = ["Deed", "Moment", "SocketProxy", "enters", "is_write", "leaves"]


def is_write(line: str) -> bool:
    """Whether a line changes anything."""
    return "set server" in line


def enters(line: str) -> bool:
    """Whether it brings the target in."""
    return "state ready" in line and not leaves(line)


def leaves(line: str) -> bool:
    """Whether it takes the others out."""
    return "state maint" in line


class SocketProxy(FaultProxy):
    """`live` is asked after every write that was obeyed."""

    def __init__(self, target: Path, live: Callable[[], set[str]], *, tcp: bool = False) -> None:
        super().__init__(target, lines=True, tcp=tcp)
        self._live = live
        self.writes: list[str] = []
        self.moves: list[set[str]] = []

    def watch(self) -> None:
        """Forget what was; the history begins with what is live now."""
        self.lines.clear()
        self.writes.clear()
        self.held.clear()
        self.moves = [self._live()]

    def obeyed(self, request: str) -> None:
        if is_write(request):
            self.writes.append(request)
            now = self._live()
            if self.moves[-1:] != [now]:
                self.moves.append(now)
