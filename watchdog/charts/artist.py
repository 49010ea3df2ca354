"""The daemon's side of drawing: a process that draws, started, bounded, and replaced when it dies, hangs or raves.

A chart is worth much and nothing waits for one: whoever asks says how long, and gets `None` when there is none by
then. This module must never raise into a message's way, never wait longer than it was told, never give the process
what is in the daemon's environment, and never leave a process behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from watchdog.aio.clock import Clock
from watchdog.aio.supervise import finish
from watchdog.charts.picture import LARGEST, Picture, how_to_install, sample
from watchdog.charts.pipe import LARGEST_ANSWER, LENGTH, Drawn, Wish, drawn_of, framed

#: What draws, with the daemon's own interpreter; `-P`: nothing is imported from the folder it happens to stand in.
COMMAND: Final = (sys.executable, "-P", "-m", "watchdog.charts.worker")
#: A tenth of a second is usual. What takes so many seconds will never come: the process is killed.
DRAW_LIMIT: Final = 5.0
#: Imports and a first picture on a slow and busy machine, in seconds.
START_LIMIT: Final = 60.0
#: After a process that was lost the next one is started so many seconds later; doubled up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 600.0
#: So many pictures may wait; whoever comes then is told at once that there will be none.
WAITING: Final = 20
#: How long a killed process may take to be gone, in seconds.
_REAP: Final = 5.0
_PNG: Final = b"\x89PNG\r\n\x1a\n"

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Artist:
    """`run` is one supervised task that owns the process; `draw` may be called by anybody on the same loop."""

    def __init__(
        self,
        *,
        clock: Clock,
        command: Sequence[str] = COMMAND,
        draw_limit: float = DRAW_LIMIT,
        start_limit: float = START_LIMIT,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._clock = clock
        self._command = tuple(command)
        self._draw_limit = draw_limit
        self._start_limit = start_limit
        self._first_pause = first_pause
        self._wishes: deque[tuple[Picture, asyncio.Future[bytes | None]]] = deque()
        self._changed = asyncio.Event()
        self._worker: _Worker | None = None
        self._number = 0
        self._fault = ""
        self._advice = how_to_install()

    @property
    def possible(self) -> bool:
        """Whether what draws is installed."""
        return self._advice is None

    @property
    def ready(self) -> bool:
        """Whether a process is there that has drawn."""
        return self._worker is not None

    @property
    def idle(self) -> bool:
        """Whether it would begin a picture at once."""
        return self.ready and not self._wishes

    @property
    def pid(self) -> int | None:
        """The process that draws now."""
        return self._worker.pid if self._worker is not None else None

    async def draw(self, picture: Picture, *, within: float) -> bytes | None:
        """The picture as a PNG, or `None` when there is none `within` so many seconds. Never raises, safe to cancel."""
        if not self.ready or len(self._wishes) >= WAITING:
            return None
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._wishes.append((picture, answer))
        self._changed.set()
        try:
            async with asyncio.timeout(within):
                return await answer
        except TimeoutError:
            return None

    async def run(self) -> None:
        """Keep a process that draws until cancelled. Returns at once, with a line in the log, where none can be had."""
        if self._advice is not None:
            _log.info("no_charts", reason="what draws them is not installed", advice=self._advice)
            return
        pause = self._first_pause
        while True:
            worker = await self._started()
            if worker is not None:
                try:
                    if await self._serve(worker):
                        pause = self._first_pause
                finally:
                    self._worker = None
                    self._give_up()
                    await finish(worker.end())
            await self._clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _started(self) -> _Worker | None:
        """A process that has drawn its first picture: the next one will be quick."""
        try:
            worker = await _start(self._command, self._changed)
        except (OSError, ValueError) as error:
            self._tell(f"could not be started: {error}")
            return None
        drawn: Drawn | None = None
        try:
            drawn = await self._ask(worker, sample(), within=self._start_limit)
        finally:
            if drawn is None or drawn.fault:
                await finish(worker.end())
        if drawn is None or drawn.fault:
            self._tell(drawn.fault if drawn is not None else worker.fault or "drew nothing in time")
            return None
        self._fault = ""
        _log.info("charts_ready", pid=worker.pid)
        return worker

    async def _serve(self, worker: _Worker) -> bool:
        """Draw until the process is lost; answers whether it drew anything before that."""
        self._worker = worker
        drew = False
        while not worker.fault:
            if not self._wishes:
                self._changed.clear()
                await self._changed.wait()
                continue
            picture, answer = self._wishes[0]
            if not answer.done():
                drawn = await self._ask(worker, picture, within=self._draw_limit)
                if drawn is None:
                    break
                if drawn.fault:
                    _log.warning("chart_not_drawn", title=picture.title, reason=drawn.fault)
                drew = True
                if not answer.done():
                    answer.set_result(drawn.png or None)
            self._wishes.popleft()
        self._tell(worker.fault or f"drew nothing in {self._draw_limit:g} s and was killed")
        return drew

    async def _ask(self, worker: _Worker, picture: Picture, *, within: float) -> Drawn | None:
        """One picture; `None` when the process is not to be trusted any more."""
        self._number += 1
        try:
            async with asyncio.timeout(within):
                return await worker.ask(Wish(number=self._number, picture=picture))
        except TimeoutError:
            return None

    def _give_up(self) -> None:
        while self._wishes:
            _, answer = self._wishes.popleft()
            if not answer.done():
                answer.set_result(None)

    def _tell(self, fault: str) -> None:
        if fault != self._fault:
            _log.warning("charts_lost", reason=fault)
        self._fault = fault


class _Worker(asyncio.SubprocessProtocol):
    """One process and its pipes. `fault` says why it is of no use any more."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.fault = ""
        self._changed = changed
        self._exited = asyncio.Event()
        self._transport: Any = None  # uvloop's are of no class of asyncio
        self._held = bytearray()
        self._answer: asyncio.Future[Drawn | None] | None = None
        self._number = 0

    @property
    def pid(self) -> int:
        pid: int = self._transport.get_pid()
        return pid

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._held += data
        if self._answer is None:
            return self._lose("spoke without being asked")
        if len(self._held) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._held)
        if length > LARGEST_ANSWER or len(self._held) > LENGTH.size + length:
            return self._lose("answered too much")
        if len(self._held) < LENGTH.size + length:
            return None
        try:
            drawn = drawn_of(self._held[LENGTH.size :])
        except msgspec.MsgspecError:
            return self._lose("answered something else")
        self._held.clear()
        if drawn.number != self._number or not _is_answer(drawn):
            return self._lose("answered something else")
        if not self._answer.done():
            self._answer.set_result(drawn)
        self._answer = None
        return None

    def process_exited(self) -> None:
        self._exited.set()
        code = self._transport.get_returncode()
        self._lose(f"ended by itself (exit status {code})" if code >= 0 else f"was ended by signal {-code}")

    async def ask(self, wish: Wish) -> Drawn | None:
        """Its answer; `None` when it was lost meanwhile. Has no bound of its own."""
        if self.fault:
            return None
        self._number = wish.number
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.get_pipe_transport(0).write(framed(wish))
        return await self._answer

    async def end(self) -> None:
        """Kill it, wait until it is gone, let go of the pipes."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            self._transport.kill()
        try:
            async with asyncio.timeout(_REAP):
                await self._exited.wait()
        except TimeoutError:
            _log.error("chart_process_stuck", pid=self.pid)
        self._transport.close()

    def _lose(self, fault: str) -> None:
        self.fault = self.fault or fault
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)
        self._changed.set()


def _is_answer(drawn: Drawn) -> bool:
    """Either a reason or a picture of the size that was promised."""
    return bool(drawn.fault) or (drawn.png.startswith(_PNG) and len(drawn.png) <= LARGEST)


async def _start(command: Sequence[str], changed: asyncio.Event) -> _Worker:
    """Start a process. A caller that is cancelled meanwhile leaves none behind. Raises `OSError`, `ValueError`."""
    starting = asyncio.ensure_future(
        asyncio.get_running_loop().subprocess_exec(
            lambda: _Worker(changed),
            *command,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            env=_environment(),
            start_new_session=True,  # what a terminal sends to the daemon's group is not for this one
        )
    )
    try:
        _, worker = await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError, ValueError):
            _, worker = await finish(_awaited(starting))
            await finish(worker.end())
        raise
    return worker


async def _awaited(
    starting: asyncio.Future[tuple[asyncio.SubprocessTransport, _Worker]],
) -> tuple[asyncio.SubprocessTransport, _Worker]:
    return await starting


def _environment() -> dict[str, str]:
    """Nothing of the daemon's own but where modules are found: secrets live in environments."""
    places = [Path(one).absolute() for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    path = {"PYTHONPATH": os.pathsep.join(map(str, places))} if places else {}
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "MPLBACKEND": "agg", "OPENBLAS_NUM_THREADS": "1", **path}
