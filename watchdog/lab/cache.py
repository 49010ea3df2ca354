"""What was answered about the settled past, kept on disk, so that the next back-test asks only for the rest.

Every answer is a file of its own, written aside and moved into place, with a checksum: a process that is killed leaves
whole files behind and no others. This module must never keep a secret, and never give out what is not whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

#: Below so many bytes nothing is thrown away; then what was used least recently.
LIMIT = 512 * 2**20
#: What a writer that was killed left behind is thrown away after so long (seconds).
_LEFT_FOR = 3600.0
_MAGIC = b"rollback-watchdog range 1\n"
_DIGEST = 32
_ENDING, _ASIDE = ".range", ".part"


def default_folder() -> Path:
    """`~/.cache/rollback-watchdog/backtest`, or where `XDG_CACHE_HOME` says."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # "All paths set in these environment variables must be absolute", else ignored (XDG Base Directory Specification).
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "rollback-watchdog" / "backtest"


class Cache:
    """Answers in files below a folder, by a key of bytes. Safe to use from several threads and processes at once.

    Never raises for what is wrong with the disk: what cannot be read is as if it were not there, what cannot be
    written is not kept, and `notes` say so, once each.
    """

    def __init__(self, folder: Path, *, limit: int = LIMIT) -> None:
        """Opens nothing. `limit` is in bytes."""
        self.folder = folder
        self._limit = limit
        self._lock = threading.Lock()
        self._broken = False
        self.notes: list[str] = []

    def get(self, key: bytes) -> bytes | None:
        """What was put under the key; `None` when there is nothing, or nothing whole."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._say(f"the cache cannot be read ({path}: {error.strerror}); asked anew")
            return None
        body = _body(content, key)
        if body is None:
            self._say(f"a file of the cache was damaged ({path}); it is asked for anew")
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return body

    def put(self, key: bytes, body: bytes) -> None:
        """Keep it. Another process never sees half of it."""
        if self._broken:
            return
        path = self._path(key)
        aside = ""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor, aside = tempfile.mkstemp(dir=path.parent, suffix=_ASIDE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_whole(key, body))
            Path(aside).replace(path)
        except OSError as error:
            self._broken = True
            self._say(
                f"the cache cannot be written ({error.filename or path}: {error.strerror}); going on without"
            )
            if aside:
                with contextlib.suppress(OSError):
                    Path(aside).unlink()

    def prune(self) -> None:
        """Throw away what was used least recently, until the limit holds, and what killed writers left behind."""
        kept: list[tuple[float, int, Path]] = []
        for path, status in self._files():
            if path.suffix == _ENDING:
                kept.append((status.st_mtime, status.st_size, path))
            elif time.time() - status.st_mtime > _LEFT_FOR:
                with contextlib.suppress(OSError):
                    path.unlink()
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept, key=lambda it: it[:2]):
            if total <= self._limit:
                return
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Our own files; nothing else below the folder is ever touched."""
        for place, _, names in os.walk(self.folder):
            for name in names:
                path = Path(place) / name
                if path.suffix in {_ENDING, _ASIDE}:
                    with contextlib.suppress(OSError):
                        yield path, path.stat()

    def _path(self, key: bytes) -> Path:
        name = hashlib.sha256(key).hexdigest()
        return self.folder / name[:2] / f"{name[2:]}{_ENDING}"

    def _say(self, note: str) -> None:
        with self._lock:
            if note not in self.notes:
                self.notes.append(note)


def _whole(key: bytes, body: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(key + body).digest() + body


def _body(content: bytes, key: bytes) -> bytes | None:
    digest, body = content[len(_MAGIC) : len(_MAGIC) + _DIGEST], content[len(_MAGIC) + _DIGEST :]
    fine = content.startswith(_MAGIC) and hashlib.sha256(key + body).digest() == digest
    return body if fine else None
