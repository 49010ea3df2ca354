"""One shell for all `console shell` blocks of a page, as one terminal is for a reader: jobs, variables and folder stay.

What it starts is stopped with it, and nothing else: everything lives in one process group of its own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

#: Longest time for one command (seconds); the slowest waits for a version to become stable or to be rolled back.
_WITHIN = 150.0
#: How long jobs may take to stop by themselves (seconds).
_GRACE = 10.0


class Shell:
    """`run` types a command; `close` ends the shell and all of its jobs."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._end = f"end-{secrets.token_hex(8)}"
        self._child = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def folder(self) -> Path:
        """Where the shell is now."""
        return Path(f"/proc/{self._child.pid}/cwd").readlink()

    def run(self, words: str) -> tuple[str, int]:
        """What the command printed, and its exit code. Its standard input is empty."""
        assert self._child.stdin is not None
        typed = f"{{ {words}\n}} < /dev/null\nprintf '{self._end} %d\\n' $?\n"
        self._child.stdin.write(typed.encode())
        self._child.stdin.flush()
        printed, _, code = self._until_the_end(words).rpartition(f"{self._end} ")
        return printed, int(code)

    def _until_the_end(self, words: str) -> str:
        assert self._child.stdout is not None
        deadline = time.monotonic() + _WITHIN
        printed = b""
        while f"{self._end} ".encode() not in printed or not printed.endswith(b"\n"):
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self._child.stdout], [], [], max(left, 0))
            assert readable, f"`{words}` takes longer than {_WITHIN:g} s; it printed:\n{printed.decode()}"
            piece = os.read(self._child.stdout.fileno(), 65536)
            assert piece, f"`{words}` ended the shell; it printed:\n{printed.decode()}"
            printed += piece
        return printed.decode()

    def close(self) -> None:
        """End the shell and what it started: asked first, forced after a while."""
        group = self._child.pid
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        for number, grace in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
            if _gone(self._child, within=grace):
                break
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        self._child.stdout.close()


def _gone(child: subprocess.Popen[bytes], *, within: float) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        child.poll()
        try:
            os.killpg(child.pid, 0)
        except ProcessLookupError:
            return True
        select.select([], [], [], 0.05)
    return False
