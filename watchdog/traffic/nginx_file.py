"""The file that holds an upstream, and beside it the record of what nginx ran before we wrote.

A file is replaced in one step: a temporary name in the same folder, flushed to disk, then renamed. Both names of ours
begin with a dot, which no pattern of an `include` such as `conf.d/*` or `conf.d/*.conf` takes in. All of this blocks,
and is called in a thread. This module must never change a file that is not, character for character, the one just read.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

#: No upstream needs more (bytes); what is larger is another file.
LARGEST: Final = 4 * 2**20
_SUFFIX: Final = "rollback-watchdog"
_LINKS: Final = 40
#: EINVAL: an owner whom our user namespace (`PrivateUsers=yes` of the unit) does not know.
_NOT_GIVEN: Final = {errno.EPERM, errno.EINVAL}


class Changed(Exception):
    """Somebody replaced or edited the file since it was read. Nothing was written."""


class Withdrawn(Exception):
    """The caller has given up meanwhile. Nothing was written."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A file at one moment. `path` has no links in it; `changed` is when it or a link to it was last changed (ns)."""

    path: Path
    text: str
    changed: int
    mode: int
    uid: int
    gid: int
    inode: int


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The text that these workers of nginx run, and the digest of the one written over it."""

    boot: str
    workers: frozenset[tuple[int, int]]
    running: str
    written: str


def digest(*texts: str) -> str:
    """A short name for texts."""
    return hashlib.sha256("\0".join(texts).encode("latin-1")).hexdigest()[:16]


def read(path: Path) -> Seen:
    """The file as it is now. Raises `OSError`, and `ValueError` for what is no file of a sensible size."""
    real = path.resolve(strict=True)
    # NONBLOCK: a FIFO put there must not make us wait.
    descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("is no regular file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"has more than {LARGEST // 2**20} MiB")
    return Seen(
        path=real,
        # One character for each byte: what is written back is what was read, in any encoding.
        text=data.decode("latin-1"),
        changed=max([facts.st_ctime_ns, *_links_changed(path)]),
        mode=stat.S_IMODE(facts.st_mode),
        uid=facts.st_uid,
        gid=facts.st_gid,
        inode=facts.st_ino,
    )


def replace(before: Seen, text: str, *, withdrawn: Callable[[], bool]) -> None:
    """Put `text` in place of what was read, with the same mode, and the same owner where that is allowed.

    Raises `OSError`, `Changed` and `Withdrawn` when nothing was replaced.
    """
    temporary = _beside(before.path, ".new")
    try:
        _write(temporary, text, before)
        now = read(before.path)
        if (now.text, now.inode) != (before.text, before.inode):
            raise Changed
        if withdrawn():
            raise Withdrawn
        temporary.rename(before.path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    # It is in place. A crash of the machine before the folder is on disk brings the old one back, and nginx with it.
    with contextlib.suppress(OSError):
        _flush_folder(before.path.parent)


def remember(path: Path, record: Record) -> None:
    """Write the record beside the file, on disk when this returns. Raises `OSError`."""
    temporary = _beside(path, ".tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(descriptor)
        temporary.rename(_beside(path))
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _flush_folder(path.parent)


def recall(path: Path) -> Record | None:
    """The record beside the file, if there is a readable one."""
    try:
        return msgspec.json.decode(_beside(path).read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return None


def forget(path: Path) -> None:
    """Remove the record: what nginx runs is what the file says. Never raises."""
    with contextlib.suppress(OSError):
        _beside(path).unlink()


def lock(folder: Path) -> int:
    """Open and lock the folder against another writer of ours. Raises `BlockingIOError` at once, and `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _beside(path: Path, ending: str = "") -> Path:
    return path.with_name(f".{path.name}.{_SUFFIX}{ending}")


def _write(temporary: Path, text: str, like: Seen) -> None:
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode("latin-1"))
        file.flush()
        # Without the right to give files away it becomes ours; the group is kept where it is one of ours.
        for uid, gid in ((like.uid, like.gid), (-1, like.gid)):
            try:
                os.fchown(descriptor, uid, gid)
                break
            except OSError as error:
                if error.errno not in _NOT_GIVEN:
                    raise
        os.fchmod(descriptor, like.mode)
        os.fsync(descriptor)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _links_changed(path: Path) -> list[int]:
    """When each symbolic link on the way to the file was made: pointing one elsewhere changes what is read."""
    times: list[int] = []
    path = path.absolute()
    while len(times) < _LINKS:
        link = next((part for part in [*reversed(path.parents), path] if part.is_symlink()), None)
        if link is None:
            break
        times.append(link.lstat().st_ctime_ns)
        path = link.parent / link.readlink() / path.relative_to(link)
    return times
