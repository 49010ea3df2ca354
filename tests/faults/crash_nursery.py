"""Real daemons at a tenth of the price: `python -m tests.faults.crash_nursery` has imported everything, and forks.

Each line on its standard input is one life: a child, forked before there is any loop or thread, which installs the
hook that it was given and then is what `watchdog run -c FILE` is, nothing less. It dies a real death; the parent tells
of births and deaths on its standard output, one line of JSON each. The end of the standard input is the end of it, and
the kernel ends every child with it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from tests.faults import recorded
from watchdog.aio import faultpoint
from watchdog.aio.faultpoint import Point
from watchdog.app.run import run
from watchdog.core.errors import StoreError, SwitchConflict, SwitchUnknown, SwitchUnreachable

_PR_SET_PDEATHSIG = 1
#: What a daemon imports only when its configuration names it: nobody shall do that once a life.
_LATE = (
    "watchdog.channels.log",
    "watchdog.channels.webhook",
    "watchdog.sources.prometheus",
    "watchdog.store.sql",
)
#: What a hook may raise, by name.
ERRORS: dict[str, type[Exception]] = {
    "SwitchUnreachable": SwitchUnreachable,
    "SwitchUnknown": SwitchUnknown,
    "SwitchConflict": SwitchConflict,
    "RuntimeError": RuntimeError,
    "StoreError": StoreError,
    "OperationalError": sqlite3.OperationalError,
}


class Fate:
    """The hook: at the nth pass of a point (`*`: of any point) it does its deed, once, and writes it down first."""

    def __init__(self, orders: list[dict[str, Any]], record: int) -> None:
        self._orders = [dict(order) for order in orders]
        self._record = record
        self._passed: Counter[str] = Counter()

    def __call__(self, point: Point) -> None:
        self._passed[point.value] += 1
        self._passed["*"] += 1
        for order in self._orders:
            name = order["point"]
            if name in {"*", point.value} and self._passed[name] == order["nth"]:
                self._do(order, point)

    def _do(self, order: dict[str, Any], point: Point) -> None:
        os.write(self._record, f"{order['deed']} at {point.value}\n".encode())
        match order["deed"]:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "kill later":
                threading.Thread(target=_kill_after, args=(order["after"],), daemon=True).start()
            case "terminate":
                os.kill(os.getpid(), signal.SIGTERM)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "raise":
                raise ERRORS[order["error"]]("made by a test")
            case other:
                raise AssertionError(f"no such deed: {other}")


def _kill_after(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def _live(order: dict[str, Any]) -> NoReturn:
    """The child, from its birth to its end."""
    code = 70
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        append = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        log = os.open(order["log"], append, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, place in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(number, place)
        if order["orders"]:
            faultpoint.install(Fate(order["orders"], os.open(order["record"], append, 0o600)))
        code = run(Path(order["config"]))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def main() -> None:
    """Fork and tell until the standard input ends."""
    recorded.register()
    for name in _LATE:
        importlib.import_module(name)
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.disable()  # as `watchdog run` does before it imports anything
    waiting = b""
    while True:
        ready, _, _ = select.select([0, reading], [], [])
        if reading in ready:
            os.read(reading, 4096)
            _bury()
        if 0 in ready:
            came = os.read(0, 65536)
            if not came:
                return
            *lines, waiting = (waiting + came).split(b"\n")
            for line in lines:
                _tell(born=_fork(json.loads(line)))


def _fork(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        _live(order)
    return pid


def _bury() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(dead=pid, code=os.waitstatus_to_exitcode(status))


def _tell(**news: int) -> None:
    os.write(1, json.dumps(news).encode() + b"\n")


if __name__ == "__main__":
    main()
