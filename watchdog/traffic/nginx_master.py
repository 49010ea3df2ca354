"""Which worker processes of nginx take traffic, and since when: the only proof of what a running nginx has loaded.

A reload starts new workers and tells the old ones to go (nginx's "Controlling nginx"); when the new configuration is
not valid, the old ones stay and only the error log says so. So workers are told apart by process id and start time.
Linux only, through /proc. A worker that crashed is started anew with what its master has loaded, not with what the file
says; as long as another worker of its generation lives, that is seen. This module must never send a signal.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")
_SECOND: Final = 1_000_000_000
_MASTER: Final = "nginx: master process"
_WORKER: Final = "nginx: worker process"
_LEAVING: Final = "is shutting down"


class NotRunning(Exception):
    """There is no such nginx, or it cannot be looked at; `str()` says why and continues a sentence."""


class Stopped(NotRunning):
    """Its master is there and does nothing (SIGSTOP, a debugger)."""


class Worker(NamedTuple):
    """One worker process; `started` in clock ticks since the machine was booted."""

    pid: int
    started: int

    def before(self, moment: int) -> bool:
        """Whether it surely was started before a moment of the wall clock, in nanoseconds."""
        booted = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        # Start times are cut down to a tick, so it may be that much younger.
        return booted + (self.started + 1) * _SECOND // os.sysconf("SC_CLK_TCK") < moment


class Running(NamedTuple):
    """The master and its workers that take new connections."""

    master: int
    workers: frozenset[Worker]


def look(pid_file: Path) -> Running:
    """The nginx whose master's number is in `pid_file`. Raises `NotRunning`. Blocks for microseconds."""
    master = _master(pid_file)
    try:
        text = (_PROC / f"{master}/task/{master}/children").read_text()
    except OSError as error:
        raise NotRunning(f"its workers cannot be listed: {error.strerror}") from error
    workers = []
    for pid in map(int, text.split()):
        try:
            words = _command(pid)
            if words.startswith(_WORKER) and _LEAVING not in words:
                workers.append(Worker(pid, int(_stat(pid)[19])))
        except OSError:
            continue  # it ended meanwhile
    if not workers:
        raise NotRunning(f"its master {master} has no worker process")
    return Running(master, frozenset(workers))


def may_signal(running: Running) -> bool:
    """Whether this user may tell that master to reload."""
    try:
        os.kill(running.master, 0)
    except PermissionError:
        return False
    except ProcessLookupError:
        return True  # gone meanwhile: nothing is known
    return True


def boot() -> str:
    """This boot of the machine, without which ticks and process ids mean nothing; empty when it is hidden."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _master(pid_file: Path) -> int:
    try:
        text = pid_file.read_text(errors="replace").strip()
    except FileNotFoundError:
        raise NotRunning(f"it is not running: there is no {pid_file}") from None
    except OSError as error:
        raise NotRunning(f"its pid file {pid_file} cannot be read: {error.strerror}") from error
    if not text:
        raise NotRunning(f"it is not running: {pid_file} is empty")
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise NotRunning(f"{pid_file} holds no process id")
    pid = int(text)
    try:
        words, state = _command(pid), _stat(pid)[0]
    except OSError as error:
        raise NotRunning(_unseen(pid, pid_file)) from error
    if not words.startswith(_MASTER):
        raise NotRunning(f"it is not running: process {pid} of {pid_file} is no master of nginx")
    if state in {"T", "t"}:
        raise Stopped(f"its master {pid} was stopped (SIGSTOP)")
    return pid


def _unseen(pid: int, pid_file: Path) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return f"it is not running: there is no process {pid}, of which {pid_file} tells"
    except PermissionError:
        pass
    return f"its master {pid} is hidden from this user; under systemd write ProtectProc=default"


def _command(pid: int) -> str:
    return (_PROC / f"{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _stat(pid: int) -> list[str]:
    """The fields behind the name, which may hold anything: state is 0, start time is 19 (proc(5): 3 and 22)."""
    return (_PROC / f"{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
