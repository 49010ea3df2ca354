"""Whether a provider left anything behind: open descriptors and tasks, counted before and after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.eventually import eventually

_HERE = Path("/proc/self/fd")


def sockets() -> set[str]:
    """The sockets and pipes that this process has open, by their inodes."""
    found: set[str] = set()
    for link in _HERE.iterdir():
        try:
            found.add(str(link.readlink()))
        except OSError:
            continue  # it was the directory's own
    return {one for one in found if one.startswith(("socket:", "pipe:"))}


def tasks() -> set[str]:
    """The tasks of this loop that are not done, by name; the proxies' own are no business of a provider."""
    return {one.get_name() for one in asyncio.all_tasks() if not one.done()}


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """What is opened within is closed by the end, soon."""
    before, running = sockets(), tasks()
    yield

    def over() -> bool:
        left, tasks_left = sockets() - before, tasks() - running
        assert not left, f"still open: {left}"
        assert not tasks_left, f"still running: {tasks_left}"
        return True

    await eventually(over, within=20, what="nothing left open or running")
