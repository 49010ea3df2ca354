"""One command of the operator's as a child process: bounded in time and output, gone afterwards with its kin.

The child leads a process group of its own, which is killed when the time is over, when the caller is
cancelled, and when the child has ended but left others behind. What shall stay (a daemon) must leave the
group, as `setsid` and `systemd-run` do. Switches and probes run their commands by it. This module must never use a
shell and never hand on the daemon's own environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from watchdog.aio.supervise import finish

#: How much of stdout and of stderr is kept, in bytes; the rest is read and dropped.
KEPT: Final = 1024 * 1024
#: The only variables of the daemon that a command sees.
_INHERITED: Final = ("PATH", "HOME", "LANG")
#: No room for a process or a file just now, or the program is being written at this moment.
_PASSING: Final = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY}
#: How long the output of a child that has ended may stay open, in seconds: a grandchild may hold it.
_DRAIN: Final = 0.2
#: How long a killed child may take to be gone, in seconds; longer only in the kernel's uninterruptible sleep.
_REAP: Final = 5.0


class NotStarted(Exception):
    """The command could not be started: it has done nothing. `str()` continues a sentence.

    `passing`: for a reason that goes away by itself.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class Overrun(Exception):
    """The command was killed; what it did until then is unknown. `str()` continues a sentence."""


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended by itself. A negative `code` is the signal that ended it."""

    code: int
    stdout: bytes
    stderr: bytes


async def run(
    argv: Sequence[str],
    *,
    cwd: Path | None,
    environment: Mapping[str, str],
    timeout: float,
    within: float,
    stop_when_full: bool,
    stdin: bytes | None = None,
) -> Finished:
    """Run `argv` to its end. `timeout` is the time left, `within` what was configured; both in seconds.

    With `stop_when_full` a command that prints more than `KEPT` is killed, else the rest is dropped. `stdin` is
    what it may read; without it, nothing. Raises `NotStarted` and `Overrun`. When cancelled, the command is killed
    and waited for before that goes on.
    """
    if timeout <= 0:
        raise NotStarted(f"was not started: the {within:g} s were over")
    starting = asyncio.ensure_future(
        asyncio.get_running_loop().subprocess_exec(
            _Child,
            *argv,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            cwd=cwd,
            env=_environment(environment),
            start_new_session=True,
        )
    )
    try:
        transport, child = await asyncio.shield(starting)
    except (OSError, ValueError) as error:
        passing = isinstance(error, OSError) and error.errno in _PASSING
        raise NotStarted(f"could not be started: {_reason(error, argv[0])}", passing=passing) from error
    except asyncio.CancelledError:
        await finish(_discard(starting))
        raise
    if stdin is not None:
        _feed(transport, stdin)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.wait(
                [child.exited, child.full] if stop_when_full else [child.exited],
                return_when=asyncio.FIRST_COMPLETED,
            )
            await asyncio.wait(
                [child.closed, child.full], timeout=_DRAIN, return_when=asyncio.FIRST_COMPLETED
            )
    except TimeoutError:
        raise Overrun(f"did not end within {within:g} s and was killed") from None
    finally:
        await _end(transport, child)
    if stop_when_full and child.full.done():
        raise Overrun(f"printed more than {KEPT} bytes and was killed")
    code = transport.get_returncode()
    if code is None:
        raise Overrun("was killed and is still there")
    return Finished(code=code, stdout=bytes(child.kept[1]), stderr=bytes(child.kept[2]))


def missing(argv: Sequence[str], *, cwd: Path | None, environment: Mapping[str, str]) -> str | None:
    """Why `run` could not start this, as far as files show it; `None` when nothing speaks against it."""
    if cwd is not None and not cwd.is_dir():
        return f"the folder {cwd} does not exist"
    program = argv[0]
    if "/" in program:
        # A path counts from the folder in which the command runs.
        file = (cwd or Path()) / program
        if not file.is_file():
            return f"{program} does not exist"
        return None if os.access(file, os.X_OK) else f"{program} may not be executed by this user"
    if shutil.which(program, path=_environment(environment)["PATH"]) is None:
        return f"{program} is in no folder of PATH"
    return None


class _Child(asyncio.SubprocessProtocol):
    """Keeps the beginning of both streams and knows when what is over.

    The streams of asyncio's own `Process` are not used: its `wait` may wait for a grandchild holding a pipe.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.kept = {1: bytearray(), 2: bytearray()}
        self.full: asyncio.Future[None] = loop.create_future()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._open = {1, 2}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        room = KEPT - len(self.kept[fd])
        self.kept[fd] += data[:room]
        if fd == 1 and len(data) > room:
            _mark(self.full)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if not self._open:
            _mark(self.closed)

    def process_exited(self) -> None:
        _mark(self.exited)


async def _discard(starting: asyncio.Future[tuple[asyncio.SubprocessTransport, _Child]]) -> None:
    """End a command whose caller was cancelled while it was started.

    Left to itself asyncio would kill the child alone, and wait until nobody holds its pipes: a grandchild may for ever.
    """
    with contextlib.suppress(OSError, ValueError):
        await _end(*await starting)


def _feed(transport: asyncio.SubprocessTransport, content: bytes) -> None:
    pipe: Any = transport.get_pipe_transport(0)  # uvloop's are of no class of asyncio
    pipe.write(content)
    pipe.write_eof()


def _mark(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _end(transport: asyncio.SubprocessTransport, child: _Child) -> None:
    """Kill the whole group, wait for the child, let go of the pipes."""
    # The group's number is the child's. While anybody of the group lives, nobody else can get that number;
    # when nobody does, there is nothing to kill.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(transport.get_pid(), signal.SIGKILL)
    try:
        await asyncio.wait([child.exited], timeout=_REAP)
    finally:
        transport.close()


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {"PATH": os.defpath, **inherited, **given}


def _reason(error: OSError | ValueError, program: str) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or program}: {error.strerror}"
    return f"{program}: {error}"
