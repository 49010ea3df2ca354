"""The pause file: the kill switch that works without network, daemon or database.

Any answer but "does not exist" means paused. This module must never cache an answer, nor leave more than one thread
waiting for a file system that hangs: names are resolved and messages sent by the same few threads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

#: A file system that does not answer within this time means paused.
LIMIT = 1.0


class PauseFile:
    """Looks whether the file is there."""

    def __init__(self, path: Path | None, *, stat: Callable[[Path], object] = os.lstat) -> None:
        self._path = path
        self._stat = stat
        self._looking: asyncio.Future[object] | None = None

    def move(self, path: Path | None) -> None:
        """Look somewhere else from now on."""
        self._path = path

    async def look(self) -> str:
        """Why automation is paused, or nothing. Never raises, within a second; safe to cancel."""
        if self._path is None:
            return ""
        try:
            async with asyncio.timeout(LIMIT):
                await self._look(self._path)
        except FileNotFoundError:
            return ""
        except TimeoutError:
            return f"the pause file {self._path} cannot be looked at: no answer in time"
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            return f"the pause file {self._path} cannot be looked at: {why}"
        return f"the pause file {self._path} exists"

    async def _look(self, path: Path) -> None:
        while self._looking is not None and not self._looking.done():
            await asyncio.wait({self._looking})  # its answer is older than this question
        looking = asyncio.get_running_loop().run_in_executor(None, self._stat, path)
        self._looking = looking
        await asyncio.shield(looking)
