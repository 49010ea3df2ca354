"""The pause file: the kill switch that works without network, daemon or database.

Any answer but "does not exist" means paused. This module must never cache an answer.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

#: A file system that does not answer within this time means paused.
LIMIT = 1.0


class PauseFile:
    """Looks whether the file is there."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    async def look(self) -> str:
        """Why automation is paused, or nothing. Never raises, within a second; safe to cancel."""
        if self._path is None:
            return ""
        try:
            async with asyncio.timeout(LIMIT):
                await asyncio.to_thread(os.lstat, self._path)
        except FileNotFoundError:
            return ""
        except TimeoutError:
            return f"the pause file {self._path} cannot be looked at: no answer in time"
        except OSError as error:
            return f"the pause file {self._path} cannot be looked at: {error.strerror}"
        return f"the pause file {self._path} exists"
