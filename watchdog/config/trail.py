"""What a configuration was read from: every file with a mark of its content, every pattern with what it matched.

By it the daemon sees that something changed, and that what it read was there at one moment: files are swapped one by
one, or a whole folder at once through a link. This module must never keep a content, nor wait for anything but a disk.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

#: The mark of what is no plain file (a pipe, a terminal): it can be read once only, so it never changes.
_SPECIAL = "special"


@dataclass(frozen=True, slots=True)
class _Read:
    limit: int
    mark: str
    secret: bool


@dataclass(slots=True)
class Trail:
    """The places of one load. Two are equal when the same was read from the same places."""

    _files: dict[str, _Read] = field(default_factory=dict)
    _patterns: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def read(self, path: Path, content: bytes, *, limit: int, secret: bool = False) -> None:
        """At most `limit` bytes of a file were read. What is `secret` stays out of `digest`."""
        mark = hashlib.sha256(content).hexdigest() if _is_plain(path) else _SPECIAL
        self._files[os.fspath(path)] = _Read(limit, mark, secret)

    def failed(self, path: Path, fault: OSError, *, limit: int, secret: bool = False) -> None:
        """A file could not be read."""
        self._files[os.fspath(path)] = _Read(limit, _mark_of(fault), secret)

    def refused(self, path: Path, *, limit: int, secret: bool = False) -> None:
        """A file was not read, because it is no plain file."""
        self._files[os.fspath(path)] = _Read(limit, _mark_now(os.fspath(path), limit), secret)

    def matched(self, base: Path, pattern: str, names: list[str]) -> None:
        """A pattern of files was looked up."""
        self._patterns[os.fspath(base), pattern] = tuple(names)

    def secrets(self) -> tuple[Path, ...]:
        """The files of `!file`, sorted."""
        return tuple(Path(path) for path in sorted(path for path, one in self._files.items() if one.secret))

    def mark(self, path: Path) -> str:
        """The mark of a file's content as it was read; empty for a file that was not."""
        found = self._files.get(os.fspath(path))
        return found.mark if found is not None else ""

    def again(self) -> Trail:
        """The same places as they are now. Blocks for the disk."""
        files = {
            path: _Read(one.limit, _mark_now(path, one.limit), one.secret)
            for path, one in self._files.items()
        }
        patterns = {(base, pattern): tuple(matches(Path(base), pattern)) for base, pattern in self._patterns}
        return Trail(files, patterns)

    @property
    def digest(self) -> str:
        """A short hash of everything that was read but secrets, for the record."""
        found = sorted((path, one.mark) for path, one in self._files.items() if not one.secret)
        return hashlib.sha256(repr(found).encode(errors="surrogateescape")).hexdigest()[:16]


def matches(base: Path, pattern: str) -> list[str]:
    """What a pattern of files matches below `base`, sorted."""
    # Not Path.glob: it refuses absolute patterns.
    return sorted(glob.glob(pattern, root_dir=base, recursive=True))  # noqa: PTH207


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _mark_now(path: str, limit: int) -> str:
    try:
        # NONBLOCK: nobody may be at the other end of a pipe.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(file, "rb") as opened:
            if stat.S_ISDIR(os.fstat(file).st_mode):
                return _mark_of(IsADirectoryError())
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return _SPECIAL
            return hashlib.sha256(opened.read(limit + 1)).hexdigest()
    except OSError as fault:
        return _mark_of(fault)


def _mark_of(fault: OSError) -> str:
    """Folders answer differently to being opened and to being read."""
    return f"unreadable: {'folder' if isinstance(fault, IsADirectoryError) else fault.errno}"
