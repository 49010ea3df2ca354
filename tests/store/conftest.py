"""Stores on a real disk, small disks that run full, and other processes that use the same store."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.require import MISSING
from tests.store import samples
from watchdog.store.sqlite import SqliteStore

HERE = Path(__file__).parents[2]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "watchdog.db"


@pytest.fixture
def url(database: Path) -> str:
    return f"sqlite:///{database}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(url)
    await store.open()
    await store.claim(now=samples.DAY)
    await store.load(now=samples.DAY)
    yield store
    await store.aclose()


@pytest.fixture
def start_committer() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start_committer(url, 3)`: `tests.store.committer` as a process that has opened the store; always stopped."""
    with contextlib.ExitStack() as stack:

        def start(url: str, *turns: int) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.store.committer", url, *map(str, turns)],
                cwd=HERE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            return process

        yield start


class SmallDisk:
    """A filesystem of its own in memory; needs the right to mount."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def mount(self, *, megabytes: int) -> None:
        self._run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(self.folder))

    def fill(self) -> None:
        """Leave not one byte free."""
        with self._filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    def free(self) -> None:
        self._filler.unlink()

    def make_read_only(self) -> None:
        self._run("mount", "-o", "remount,ro", str(self.folder))

    def unmount(self) -> None:
        self._run("umount", str(self.folder))

    def _run(self, *words: str) -> None:
        subprocess.run(words, check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = SmallDisk(folder)
    if os.geteuid() != 0:
        pytest.skip(f"{MISSING}: a disk of its own (only root may mount one)")
    try:
        disk.mount(megabytes=2)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"{MISSING}: a disk of its own (mounting is not permitted here)")
    yield disk
    disk.unmount()
