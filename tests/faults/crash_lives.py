"""Lives and deaths of the real daemon, as a test asks for them: the near end of `tests.faults.crash_nursery`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.servers.process import ROOT
from watchdog.aio.faultpoint import Point

Order = dict[str, Any]


def order(point: Point | str, deed: str, *, nth: int = 1, **more: Any) -> Order:
    """At the nth pass of a point (`*`: of any point): `kill`, `terminate`, `stop`, `raise` (`error`), `kill later`."""
    return {"point": str(point), "deed": deed, "nth": nth, **more}


class Life:
    """One daemon, a process of its own."""

    def __init__(self, pid: int, record: Path, written: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._record = record
        self._written = written

    @property
    def deeds(self) -> list[str]:
        """What its hook did, such as `kill at before write`."""
        if not self._record.exists():
            return []
        return self._record.read_text()[self._written :].splitlines()

    @property
    def over(self) -> bool:
        return self.ended.done()

    def send(self, number: signal.Signals) -> None:
        """To this process only; nothing when it has ended."""
        if not self.over:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def end(self, number: signal.Signals = signal.SIGKILL, *, within: float = 30.0) -> int:
        """Send a signal and wait for the end; answers the exit code (minus the signal that ended it)."""
        self.send(number)
        async with asyncio.timeout(within):
            return await asyncio.shield(self.ended)


class Lives:
    """`async with Lives(folder) as lives:`; all that were begun are dead at the end of the block."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "lives.log"
        self._record = folder / "deeds.log"
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._lives: dict[int, Life] = {}
        self.count = 0

    async def __aenter__(self) -> Self:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.faults.crash_nursery",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                # Nothing here speaks TLS, and reading all authorities is a tenth of a life.
                env={**os.environ, "SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull},
                start_new_session=True,
            )
        self._reader = asyncio.create_task(self._listen(), name="the nursery's news")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._reader is not None
        for life in self._lives.values():
            life.send(signal.SIGKILL)
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(20):
                await self._process.wait()
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def begin(self, config: Path, orders: Sequence[Order] = ()) -> Life:
        """A birth. One after the other: the same store and port have room for one."""
        assert self._process is not None
        assert self._process.stdin is not None
        written = self._record.stat().st_size if self._record.exists() else 0
        words = {
            "config": str(config),
            "log": str(self.log),
            "record": str(self._record),
            "orders": list(orders),
        }
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        await self._process.stdin.drain()
        pid = await self._birth()
        self.count += 1
        life = self._lives[pid]
        life._written = written  # noqa: SLF001  made where the news came in
        return life

    async def _birth(self) -> int:
        try:
            async with asyncio.timeout(60):
                return await self._born.get()
        except TimeoutError:
            raise AssertionError(f"nobody was born:\n{self.log.read_text()[-3000:]}") from None

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            news = json.loads(line)
            if "born" in news:
                pid = news["born"]
                self._lives[pid] = Life(pid, self._record, 0)
                self._born.put_nowait(pid)
            else:
                life = self._lives.pop(news["dead"])
                life.ended.set_result(news["code"])
