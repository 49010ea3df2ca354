"""What was answered about the settled past, kept on disk, so that the next back-test asks only for the rest.

This module must never keep a secret, and never give out what is not whole.
"""

from __future__ import annotations

from pathlib import Path


class Cache:
    """Answers in files below a folder. No file is needed: what cannot be read or written is said in `notes`."""

    def __init__(self, folder: Path) -> None:
        """Opens nothing."""
        self.folder = folder
        #: What people should know: files that were not whole, a folder that cannot be written.
        self.notes: list[str] = []


def default_folder() -> Path:
    """`~/.cache/rollback-watchdog/backtest`, or where `XDG_CACHE_HOME` says."""
    raise NotImplementedError
