"""Processes of the demo: started in a session of their own, ended by their id, never left behind.

This module must never end a process it did not start.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from watchdog.core.errors import WatchdogError


class StartFailed(WatchdogError):
    """A process of the demo did not come up; the text has the end of its output."""


def free_port() -> int:
    """A port on loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def start(stack: AsyncExitStack, argv: Sequence[str], *, log: Path, port: int) -> None:
    """Start a process and wait until it listens on `port`; the stack ends it. Raises `StartFailed`."""
    guard = shutil.which("setpriv")
    command = [guard, "--pdeathsig", "KILL", *argv] if guard else list(argv)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    stack.push_async_callback(_end, process)
    for _ in range(200):
        if process.returncode is not None:
            break
        if await _listens(port):
            return
        await asyncio.sleep(0.05)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])  # noqa: ASYNC240 - as above
    raise StartFailed(f"{Path(argv[0]).name} did not come up:\n{tail}")


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL after a few seconds."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(8):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
