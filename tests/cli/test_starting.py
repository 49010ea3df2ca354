"""What a start leaves out must be there once it is done."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

#: Runs the daemon as `watchdog run` does, and stops it as soon as it collects garbage again.
PROGRAM = """
import gc, os, signal, sys, threading
from watchdog.cli.main import app

def look():
    while "watchdog.app.daemon" not in sys.modules or not gc.isenabled():
        threading.Event().wait(0.01)
    assert gc.get_freeze_count() > 0
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=look, daemon=True).start()
app(["run", "-c", sys.argv[1]])
"""


def test_a_daemon_that_has_started_collects_garbage(configuration: Callable[..., Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(configuration(port=0))],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"stopped"' in done.stderr
