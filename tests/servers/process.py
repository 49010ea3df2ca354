"""One outside process with its log: started, waited for, and always stopped by its own id.

The child dies with the test run even when that is killed; a Ctrl-C at the terminal reaches only the test run.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_POLL = 0.02

ROOT = Path(__file__).parents[2]


class Process:
    """A context manager around one process. Blocking on purpose: servers start in well under a second."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        ready: Callable[[], bool] = lambda: True,
        within: float = 10.0,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        grace: float = 5.0,
    ) -> None:
        """`ready` is polled until true, at most `within` seconds; `env` is added to the test run's own.

        `grace` is how long (seconds) SIGTERM may take before SIGKILL.
        """
        self.argv = list(argv)
        self.log = log
        self._ready = ready
        self._within = within
        self._env = dict(env or {})
        self._cwd = cwd
        self._grace = grace
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when one ended it."""
        return self._started().poll()

    def output(self) -> str:
        """Standard output and error so far, over all starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def start(self) -> Self:
        """Start (again, after a stop or a kill), wait until ready. Raises RuntimeError with the log's end."""
        if self._child is not None and self._child.poll() is None:
            raise RuntimeError(f"{self.argv[0]} runs already, as {self._child.pid}")
        argv = self.argv
        if setpriv := shutil.which("setpriv"):
            argv = [setpriv, "--pdeathsig", "KILL", *argv]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self._env},
                cwd=self._cwd,
            )
        try:
            self._wait_until(self._ready, "ready")
        except BaseException:
            self.stop()
            raise
        return self

    def wait(self, within: float = 5.0) -> int:
        """Its exit code, once it has ended by itself. Raises `subprocess.TimeoutExpired`."""
        return self._started().wait(within)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; without effect on a process that has ended."""
        self._started().send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.wait()

    def freeze(self) -> None:
        """SIGSTOP: there, and answering nobody once this returns, whichever of its threads was running."""
        self.send(signal.SIGSTOP)
        self._wait_until(lambda: self._threads() <= {"T"}, "stopped")

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after the grace. Idempotent; also for frozen processes."""
        if self._child is None or self._child.poll() is not None:
            return
        self._child.send_signal(signal.SIGCONT)
        self._child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(self._grace)
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait(5.0)

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self._within
        while not condition():
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._started().wait(_POLL)
                raise RuntimeError(f"{self.argv[0]} ended with {code} before it was {what}:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.argv[0]} was not {what} in {self._within} s:\n{self._tail()}")

    def _threads(self) -> set[str]:
        """The states of its threads; empty when it has ended."""
        states = set[str]()
        for stat in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):  # a thread that has ended
                states.add(stat.read_text().rpartition(")")[2].split()[0])
        return states

    def _tail(self) -> str:
        return self.output()[-2000:]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise RuntimeError(f"{self.argv[0]} was not started")
        return self._child

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def http_get(port: int, path: str, *, timeout: float = 1.0) -> tuple[int, str]:
    """Status and body of a page on 127.0.0.1; raises OSError or `http.client.HTTPException`. Blocks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def answers(port: int, path: str) -> Callable[[], bool]:
    """A readiness check: the page answers 200."""

    def check() -> bool:
        try:
            return http_get(port, path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    return check
