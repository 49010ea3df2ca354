"""What went wrong with the store, in words, and what a person should do about it.

This module must never hide a cause: the driver's exception stays chained to what it makes.
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from watchdog.core.errors import StoreCorrupt, StoreError

START_AFRESH = (
    "keep {path} (with its -wal and -shm files) aside and put a backup in its place. Without a backup, start with no "
    "file at all: the running version of every service is then adopted as it is, and nothing is rolled back "
    "automatically until the next deployment of that service"
)
_FREE = (
    "free space on the filesystem that holds {folder}; the watchdog goes on by itself as soon as it can write"
)
_WRITABLE = (
    "make {path} and its folder writable for the user the watchdog runs as; is its filesystem mounted ro?"
)
_DISK = (
    "look at the kernel's log and at the disk that holds {folder}; restart the watchdog once the disk is well"
)
_OTHER = (
    "find the program that has {path} open (fuser {path}) and close it; only the watchdog may write there"
)
_OPENING = (
    "see that the folder {folder} exists and that the user the watchdog runs as may read and write {path}"
)

#: By the first part of SQLite's name for the error: what happened, and the advice.
_SQLITE = {
    "FULL": ("the disk is full", _FREE),
    "READONLY": ("it is read-only", _WRITABLE),
    "PERM": ("access is denied", _WRITABLE),
    "AUTH": ("access is denied", _WRITABLE),
    "BUSY": ("another program holds it", _OTHER),
    "LOCKED": ("another program holds it", _OTHER),
    "CANTOPEN": ("it cannot be opened", _OPENING),
    "IOERR": ("the disk failed", _DISK),
}
_CORRUPT = {
    "CORRUPT": "the file is damaged",
    "NOTADB": "the file is not a database",
}
_OS = {
    errno.ENOSPC: ("the disk is full", _FREE),
    errno.EDQUOT: ("the disk quota is used up", _FREE),
    errno.EROFS: ("the filesystem is read-only", _WRITABLE),
    errno.EACCES: ("access is denied", _WRITABLE),
    errno.EPERM: ("access is denied", _WRITABLE),
}


def explain(error: Exception, path: Path) -> StoreError:
    """The `StoreError` for anything that the driver or the system raised. A `StoreError` stays what it is."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, DBAPIError) and isinstance(error.orig, Exception):
        error = error.orig
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, path)
    if isinstance(error, OSError):
        what, advice = _OS.get(error.errno or 0, (error.strerror or type(error).__name__, _OPENING))
        where = error.filename or path
        return StoreError(f"store {path}: {what} ({where})", advice=_fill(advice, path))
    return StoreError(f"store {path}: {type(error).__name__}: {error}", advice=_fill(_DISK, path))


def corrupt(path: Path, what: str) -> StoreCorrupt:
    """The error for a damaged file."""
    return StoreCorrupt(f"store {path}: {what}", advice=_fill(START_AFRESH, path))


def _of_sqlite(error: sqlite3.Error, path: Path) -> StoreError:
    name = getattr(error, "sqlite_errorname", "")
    family = name.removeprefix("SQLITE_").split("_")[0]
    if family in _CORRUPT:
        return corrupt(path, _CORRUPT[family])
    what, advice = _SQLITE.get(family, (str(error), _DISK))
    return StoreError(f"store {path}: {what} ({name or type(error).__name__})", advice=_fill(advice, path))


def _fill(advice: str, path: Path) -> str:
    return advice.format(path=path, folder=path.parent)
