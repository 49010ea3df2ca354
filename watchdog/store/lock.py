"""One daemon per store on one host: a lock on a file beside the database.

The kernel gives the lock back when its holder dies, however it dies. The file is never removed: a second process could
hold the removed file while a third holds a new one. This module must never wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from watchdog.core.errors import StoreLocked


class HostLock:
    """The lock of one store; held from `acquire` to `release` or to the end of the process."""

    def __init__(self, database: Path) -> None:
        # Two names for one database must lead to one lock.
        real = database.resolve()
        self.path = real.with_name(real.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises `StoreLocked` when another process has it, `OSError` when the file cannot be had."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise StoreLocked(
                f"another watchdog (process {holder}) uses this store; it holds {self.path}",
                advice=f"stop process {holder}, or give this watchdog a store of its own (`store: url`)",
            ) from error
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back. Idempotent, never raises."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
