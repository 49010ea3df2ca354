from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from tests.eventually import Eventually
from tests.servers.process import ROOT
from watchdog.aio.thread import Crowded, Threads


def nothing() -> None:
    """Nobody has to be told."""


async def test_it_answers_what_the_work_answers_or_raises() -> None:
    threads = Threads("t", limit=1)
    assert await threads.run(lambda: 5, give_up=nothing) == 5
    await threads.run(nothing, give_up=nothing)

    def fails() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError, match="x"):
        await threads.run(fails, give_up=nothing)
    assert threads.busy == 0


async def test_there_are_never_more_than_the_limit_and_what_hangs_counts(eventually: Eventually) -> None:
    threads, release = Threads("t", limit=2), threading.Event()
    hanging = [asyncio.create_task(threads.run(release.wait, give_up=nothing)) for _ in range(2)]
    await eventually(lambda: threads.busy == 2, within=20)
    with pytest.raises(Crowded):
        await threads.run(nothing, give_up=nothing)
    for one in hanging:
        one.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    assert threads.busy == 2, "given up, and not ended"
    with pytest.raises(Crowded):
        await threads.run(nothing, give_up=nothing)
    release.set()
    await eventually(lambda: threads.busy == 0, within=20)
    assert await threads.run(lambda: 1, give_up=nothing) == 1


async def test_whoever_is_cancelled_gives_up_and_does_not_wait(eventually: Eventually) -> None:
    threads, release = Threads("t", limit=1), threading.Event()
    task = asyncio.create_task(threads.run(release.wait, give_up=release.set))
    await eventually(lambda: threads.busy == 1, within=20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert release.is_set()
    await eventually(lambda: threads.busy == 0, within=20)


def test_a_thread_that_hangs_keeps_no_process_alive() -> None:
    script = """
import asyncio, threading
from watchdog.aio.thread import Threads

async def main():
    try:
        async with asyncio.timeout(0.1):
            await Threads("t", limit=1).run(threading.Event().wait, give_up=lambda: None)
    except TimeoutError:
        print("given up")

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=True,
        capture_output=True,
        cwd=ROOT,
        text=True,
        timeout=30,
    )
    assert (ended.stdout, ended.stderr) == ("given up\n", "")
