"""The process: reads the configuration, starts the daemon, waits for a signal, stops, answers with an exit code.

Exit codes: 0 for a clean stop, 1 for a failure. This module must never print a traceback for a user's mistake.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import structlog
import uvloop

from watchdog.aio.clock import SystemClock
from watchdog.aio.supervise import Supervisor, TaskEnded
from watchdog.app.daemon import Daemon
from watchdog.app.discovery import discover
from watchdog.app.environment import conflicting_distribution
from watchdog.app.notify import Notifier, Pulse
from watchdog.app.reload import Reloader
from watchdog.config.load import load
from watchdog.config.loaded import Configuration
from watchdog.core.errors import StoreError, WatchdogError
from watchdog.telemetry.logging import configure
from watchdog.telemetry.redact import register_secret

#: Seconds after which a thread that waits for the interpreter is let in. The store commits on a thread of its own: with
#: Python's default of 5 ms, a busy loop made its p99 three times as long.
SWITCH_INTERVAL = 0.0005
#: New objects until Python looks for garbage cycles among them (its default is 700): a thousand red services make
#: hundreds of thousands at once, next to none of them in cycles, and the search took 7 % of the time.
COLLECT_AFTER = 50_000

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def run(path: Path) -> int:
    """Run the daemon until it is told to stop; answers the exit code."""
    conflict = conflicting_distribution()
    if conflict is not None:
        sys.stderr.write(f"{conflict}\n")
        return 1
    try:
        configuration = load(path, environ=os.environ)
    except WatchdogError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    configure()
    for note in configuration.notes:
        _log.warning("configuration_note", note=str(note))
    for token in configuration.server.tokens:
        register_secret(token.token.get_secret_value())
    tune()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(serve(configuration))
    # What asks for a reload while the interpreter ends is no reason to end otherwise.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return code


def tune() -> None:
    """Set the interpreter as the daemon has it."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(COLLECT_AFTER)


async def serve(configuration: Configuration) -> int:
    """Start, wait for a signal or the end of a part, stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    clock = SystemClock()
    daemon = Daemon(configuration, clock=clock, seed=random.SystemRandom().getrandbits(32))
    if not gc.isenabled():  # everything is imported now, and none of it is garbage ever
        gc.freeze()
        gc.enable()
    notifier = Notifier.of(os.environ, clock=clock)
    reloader = Reloader(
        daemon,
        configuration,
        environ=os.environ,
        clock=clock,
        on_begin=notifier.reloading,
        on_end=notifier.ready,
    )
    # Not the loop's own handler: closing the loop takes that away, and the next SIGHUP would kill what is stopping.
    signal.signal(signal.SIGHUP, lambda *_: loop.is_closed() or loop.call_soon_threadsafe(reloader.ask))
    pulse = Pulse(notifier, progress=daemon.progress_at, view=daemon.view, clock=clock)
    tasks = Supervisor()
    tasks.start("service manager", pulse.run, critical=False)
    try:
        await daemon.start()
        daemon.beside("reloader", reloader.run)
        if configuration.discovery is not None:
            daemon.beside("discovery", partial(discover, configuration, found=reloader.ask, clock=clock))
        pulse.started()
        return await _until(daemon, stop, notifier)
    except WatchdogError as error:
        advice = f"\n{error.advice}" if isinstance(error, StoreError) and error.advice else ""
        sys.stderr.write(f"{error}{advice}\n")
        return 1
    finally:
        await tasks.stop(timedelta(seconds=1))


async def _until(daemon: Daemon, stop: asyncio.Event, notifier: Notifier) -> int:
    ended = asyncio.ensure_future(daemon.wait())
    asked = asyncio.ensure_future(stop.wait())
    await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
    code = 0
    if ended.done():
        try:
            ended.result()
        except TaskEnded as error:
            _log.critical("daemon_failed", error=str(error), exc_info=error.__cause__)
            code = 1
    for task in (ended, asked):
        task.cancel()
    await asyncio.gather(ended, asked, return_exceptions=True)
    notifier.stopping()
    await daemon.stop()
    return code
