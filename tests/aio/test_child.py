"""The operator's commands as children: whoever is cancelled leaves nobody behind."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.eventually import Eventually
from watchdog.aio.child import run


def running(word: str) -> list[str]:
    """The processes with this word on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and word in (entry / "cmdline").read_text():
                found.append(entry.name)
    return found


@pytest.mark.timeout(120)
async def test_cancelled_at_any_moment_of_its_start_it_ends_and_so_do_its_kin(
    tmp_path: Path, eventually: Eventually
) -> None:
    mark = f"61.{tmp_path.stat().st_ino}"
    for turns in range(25):
        argv = ["/bin/sh", "-c", f"sleep {mark} & sleep {mark}"]
        task = asyncio.create_task(
            run(argv, cwd=None, environment={}, timeout=60, within=60, stop_when_full=True)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        _, pending = await asyncio.wait({task}, timeout=5)
        assert not pending, f"still there after a cancellation in turn {turns}"
        assert task.cancelled()
    await eventually(lambda: running(mark) == [], what="the end of all children")
