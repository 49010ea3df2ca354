"""One writer for a switch that cannot refuse a stale write (tier B): a lock on this host.

It is held for the daemon's life and protects against a second daemon on this host only. The file is never
deleted: whoever deletes a lock file that another has just opened lets two in. This module must never wait.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from watchdog.core.errors import StoreError, StoreLocked

_USUAL: Final = Path("/run/lock")


class HostLock:
    """The lock on one switch's `identity`. Not taken until `acquire`; a context manager, too."""

    def __init__(self, identity: str, directory: Path | None = None) -> None:
        """`directory`: where all daemons of this host look; default /run/lock, else the temporary one."""
        self._identity = identity
        name = f"rollback-watchdog-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.lock"
        self._path = (directory or _default_directory()) / name
        self._file: int | None = None

    @property
    def path(self) -> Path:
        """The file that is locked."""
        return self._path

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._file is not None

    def acquire(self) -> None:
        """Take it, or raise at once: `StoreLocked` names the file and the holder, `StoreError` what is wrong.

        Taking it again while it is held does nothing.
        """
        if self._file is not None:
            return
        file = self._open()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = _holder(file)
            os.close(file)
            raise StoreLocked(
                f"the traffic switch {self._identity} is already held by {holder} (lock file {self._path})",
                advice="run one watchdog for each switch; two of them would undo each other's changes",
            ) from None
        except OSError as error:
            os.close(file)
            raise StoreError(
                f"the lock file {self._path} cannot be used: {error.strerror}",
                advice="see that its folder is writable and not full",
            ) from error
        self._file = file

    def release(self) -> None:
        """Let go. Idempotent, never raises; the file stays."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                os.close(file)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _open(self) -> int:
        try:
            # NONBLOCK: a FIFO put there by somebody must not make us wait.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            file = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise self._refused(error) from error
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise StoreError(
                f"the lock file {self._path} is no plain file", advice="find out who put it there"
            )
        return file

    def _refused(self, error: OSError) -> StoreError:
        if error.errno == errno.ELOOP:
            return StoreError(f"the lock file {self._path} is a link", advice="find out who put it there")
        owner = _owner(self._path)
        if owner is not None and owner != os.geteuid():
            return StoreLocked(
                f"the traffic switch {self._identity} is locked by a file of user {owner}: {self._path}",
                advice="another user's watchdog works on this switch, or did; then remove the file",
            )
        return StoreError(
            f"the lock file {self._path} cannot be opened: {error.strerror}",
            advice="see that its folder exists and is writable for the watchdog's user",
        )


def _default_directory() -> Path:
    return _USUAL if os.access(_USUAL, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def _holder(file: int) -> str:
    """Who holds it, as it wrote itself down."""
    text = os.pread(file, 32, 0).strip()
    if not text.isdigit():
        return "another process"
    return "this very process" if int(text) == os.getpid() else f"process {int(text)}"


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except OSError:
        return None
