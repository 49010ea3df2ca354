"""What a start leaves out must be there once it is done; nor do signals hurt it, or the stop after it."""

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


#: Asks for a reload all the time, from the command's first step to the last of the interpreter.
HUNG_UP = """
import gc, os, signal, sys, threading
from watchdog.cli.main import app

def hang_up():
    pause, times = threading.Event().wait, 0
    while gc.isenabled():
        pause(0.0001)
    while True:
        os.kill(os.getpid(), signal.SIGHUP)
        pause(0.001)
        if "watchdog.app.daemon" in sys.modules and gc.isenabled():
            times += 1
            if times == 200:
                os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=hang_up, daemon=True).start()
app(["run", "-c", sys.argv[1]])
"""


def test_asking_for_a_reload_ends_neither_a_start_nor_a_stop(configuration: Callable[..., Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HUNG_UP, str(configuration(port=0))],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"stopped"' in done.stderr
