"""Tasks: every one has a name and an owner, and none ends unseen. Outside this package nobody makes free ones.

A task that the daemon cannot live without (critical) takes everything down when it ends, so that systemd or
Kubernetes starts afresh from what was stored; any other is started again. This module must never swallow a
cancellation that was meant for its caller.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from watchdog.core.errors import WatchdogError

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, None]]

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Pauses before a restart: the first, and the longest. Running longer than that is a recovery.
_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=30)
#: How long the others have to end after a critical task did.
_GRACE = timedelta(seconds=5)


class TaskEnded(WatchdogError):
    """A critical task ended; `name` says which, the cause (if it raised) is chained."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the task {name!r} ended and the daemon cannot go on without it")
        self.name = name


class Supervisor:
    """Starts tasks, restarts those that may be restarted, and stops all of them in reverse order."""

    def __init__(self, *, rng: random.Random | None = None) -> None:
        self._rng = rng or random.Random()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._over = asyncio.Event()
        self._ended: str | None = None
        self._stopping = False

    def start(self, name: str, work: Work, *, critical: bool) -> None:
        """Run `work()` as the task `name`. Raises `ValueError` when the name runs already, or after `stop`.

        Critical: when it returns or raises, `wait` stops everything and raises `TaskEnded`. Else: when it
        raises it is started again after 1 s, doubling to 30 s; when it returns it is done.
        """
        running = self._tasks.get(name)
        if running is not None and not running.done():
            raise ValueError(f"a task {name!r} is running already")
        if self._stopping:
            raise ValueError(f"the task {name!r} comes too late: everything is being stopped")
        self._tasks.pop(name, None)  # the stopping order is that of the last start
        body = self._critical(name, work) if critical else self._restarting(name, work)
        self._tasks[name] = asyncio.create_task(body, name=name)

    def end(self, name: str) -> None:
        """Cancel one task that is not critical, and forget it when it has ended. Unknown names are nothing."""
        task = self._tasks.get(name)
        if task is None:
            return
        task.add_done_callback(lambda done: self._forget(name, done))
        task.cancel()

    def _forget(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task and not self._stopping:
            del self._tasks[name]

    @property
    def running(self) -> tuple[str, ...]:
        """Names of the tasks that have not ended, in the order of their start."""
        return tuple(name for name, task in self._tasks.items() if not task.done())

    async def wait(self) -> None:
        """Return after `stop` was called; when a critical task ends, stop everything and raise `TaskEnded`.

        Safe to cancel; the tasks go on then, and `stop` is the caller's.
        """
        await self._over.wait()
        if self._ended is None:
            return
        name = self._ended
        await self.stop(_GRACE)
        task = self._tasks[name]
        cause = task.exception() if task.done() and not task.cancelled() else None
        raise TaskEnded(name) from cause

    async def stop(self, timeout: timedelta) -> tuple[str, ...]:
        """Cancel every task, the last started first, each after the one before it has ended.

        Answers (and logs) the names of those that did not end within `timeout`, which is shared out, so that
        one stuck task cannot use up the time of the others. Idempotent. When cancelled itself, cancels all
        the rest at once.
        """
        self._stopping = True
        self._over.set()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout.total_seconds()
        left = [task for task in reversed(self._tasks.values()) if task is not asyncio.current_task()]
        stuck: list[str] = []
        try:
            while left:
                task = left[0]
                share = max(deadline - loop.time(), 0.0) / len(left)
                if not task.done():
                    task.cancel()
                    await asyncio.wait({task}, timeout=share)
                del left[0]
                if not task.done():
                    stuck.append(task.get_name())
                    _log.error("task_stuck", task=task.get_name(), at=_whereabouts(task))
                elif not task.cancelled() and (fault := task.exception()) is not None:
                    _log.error("task_failed_at_stop", task=task.get_name(), exc_info=fault)
        finally:
            for task in left:
                task.cancel()
        return tuple(stuck)

    async def _critical(self, name: str, work: Work) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            if self._stopping or asked_to_end():
                raise
            raise RuntimeError(f"{name} was cancelled from within") from None
        finally:
            if not self._stopping:
                self._ended = self._ended or name
                self._over.set()

    async def _restarting(self, name: str, work: Work) -> None:
        loop = asyncio.get_running_loop()
        pause, told = _FIRST_PAUSE, ""
        while True:
            began = loop.time()
            recovery = loop.call_later(_LONGEST_PAUSE.total_seconds(), _tell_recovery, name) if told else None
            try:
                return await work()
            except asyncio.CancelledError:
                if self._stopping or asked_to_end():
                    raise
                fault, trace = "cancelled from within", None
            except Exception as error:
                if self._stopping or asked_to_end():
                    raise  # its way of ending; `stop` tells about it
                fault, trace = f"{type(error).__name__}: {error}", error
            finally:
                if recovery is not None:
                    recovery.cancel()
            if loop.time() - began >= _LONGEST_PAUSE.total_seconds():
                pause, told = _FIRST_PAUSE, ""
            if fault != told:
                _log.error("task_failed", task=name, error=fault, exc_info=trace)
                told = fault
            await asyncio.sleep(pause.total_seconds() * self._rng.uniform(0.8, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)


async def run_all(work: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Run named pieces of work at the same time and return when all have ended.

    When one raises, the others are cancelled and awaited, and an `ExceptionGroup` is raised. Cancelling the
    caller cancels them all.
    """
    async with asyncio.TaskGroup() as group:
        for name, piece in work.items():
            group.create_task(piece, name=name)


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end even when the caller is cancelled; the cancellation is raised afterwards.

    For what must not be lost halfway (recording an outcome). `work` brings its own timeout.
    """
    task = asyncio.create_task(work, name="finish")
    interruption: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            interruption = error
    if interruption is not None:
        raise interruption from (None if task.cancelled() else task.exception())
    return task.result()


def asked_to_end() -> bool:
    """Whether somebody asked this task to end; a `CancelledError` can also come out of its own work."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _tell_recovery(name: str) -> None:
    _log.info("task_recovered", task=name)


def _whereabouts(task: asyncio.Task[None]) -> str:
    """The chain of awaits down to where the task waits; `Task.get_stack` knows only its outermost part."""
    places = []
    inner: Any = task.get_coro()
    while isinstance(inner, Coroutine) and (frame := getattr(inner, "cr_frame", None)) is not None:
        places.append(f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}")
        inner = getattr(inner, "cr_await", None)
    return " > ".join(places)
