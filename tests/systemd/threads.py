"""Stops every thread of a process but its first, as a disk does that never answers: the loop lives, the store does not.

`python -m tests.systemd.threads PID` holds them until the process is gone. Linux's ptrace: SIGSTOP would stop the loop,
too.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_SEIZE, _INTERRUPT = 0x4206, 0x4207
_WALL = 0x40000000


def main() -> None:
    process = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    for thread in (int(path.name) for path in Path(f"/proc/{process}/task").iterdir()):
        if thread != process:
            for request in (_SEIZE, _INTERRUPT):
                if libc.ptrace(request, thread, None, None) != 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            os.waitpid(thread, _WALL)
    print("held", flush=True)  # noqa: T201 - the test waits for it
    try:
        while True:
            os.waitpid(-1, _WALL)
    except ChildProcessError:
        return


if __name__ == "__main__":
    main()
