from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from tests.eventually import Eventually
from watchdog.engine.pause import LIMIT, PauseFile


class Stuck:
    """A file system that does not answer until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.inside = 0
        self.most = 0
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, path: Path) -> object:
        with self._lock:
            self.inside, self.calls = self.inside + 1, self.calls + 1
            self.most = max(self.most, self.inside)
        try:
            self.go.wait(timeout=10)
            return os.lstat(path)
        finally:
            with self._lock:
                self.inside -= 1


async def test_no_file_means_not_paused_and_a_file_says_which(tmp_path: Path) -> None:
    path = tmp_path / "pause"
    file = PauseFile(path)
    assert await file.look() == ""
    path.touch()
    assert await file.look() == f"the pause file {path} exists"
    path.unlink()
    assert await file.look() == "", "no answer is remembered"


async def test_without_a_path_there_is_nothing_to_look_at() -> None:
    assert await PauseFile(None).look() == ""


async def test_a_link_that_leads_nowhere_is_a_file_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "pause"
    path.symlink_to(tmp_path / "nothing")
    assert "exists" in await PauseFile(path).look()


async def test_a_folder_in_its_place_is_a_file_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "pause").mkdir()
    assert "exists" in await PauseFile(tmp_path / "pause").look()


async def test_any_other_answer_means_paused(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    reason = await PauseFile(tmp_path / "plain" / "pause").look()
    assert "cannot be looked at: Not a directory" in reason
    assert "cannot be looked at" in await PauseFile(tmp_path / ("x" * 300)).look()
    assert "cannot be looked at" in await PauseFile(tmp_path / "a\0b").look()


async def test_a_folder_without_right_to_search_means_paused(tmp_path: Path) -> None:
    def denied(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    assert "Permission denied" in await PauseFile(tmp_path / "pause", stat=denied).look()


async def test_a_file_system_that_hangs_means_paused_within_a_second(tmp_path: Path) -> None:
    stuck = Stuck()
    file = PauseFile(tmp_path / "pause", stat=stuck)
    began = asyncio.get_running_loop().time()
    assert "no answer in time" in await file.look()
    assert asyncio.get_running_loop().time() - began < LIMIT + 0.5
    stuck.go.set()


async def test_a_file_system_that_hangs_takes_one_thread_and_no_more(
    tmp_path: Path, eventually: Eventually
) -> None:
    """The same few threads resolve names: were they all stuck, nobody could be told."""
    stuck = Stuck()
    file = PauseFile(tmp_path / "pause", stat=stuck)
    answers = await asyncio.gather(*(file.look() for _ in range(20)))
    assert all("no answer in time" in answer for answer in answers)
    assert (stuck.most, stuck.calls) == (1, 1)
    stuck.go.set()
    await eventually(lambda: stuck.inside == 0)
    assert await file.look() == "", "it recovers by itself"


async def test_a_look_that_waited_for_another_makes_its_own(tmp_path: Path, eventually: Eventually) -> None:
    stuck, path = Stuck(), tmp_path / "pause"
    file = PauseFile(path, stat=stuck)
    first = asyncio.create_task(file.look())
    await eventually(lambda: stuck.inside == 1)
    second = asyncio.create_task(file.look())
    await asyncio.sleep(0)
    stuck.go.set()
    await asyncio.gather(first, second)
    assert stuck.calls == 2


async def test_a_cancelled_look_leaves_the_next_one_in_order(tmp_path: Path, eventually: Eventually) -> None:
    stuck = Stuck()
    file = PauseFile(tmp_path / "pause", stat=stuck)
    look = asyncio.create_task(file.look())
    await eventually(lambda: stuck.inside == 1)
    look.cancel()
    with pytest.raises(asyncio.CancelledError):
        await look
    stuck.go.set()
    assert await file.look() == ""
