"""Stands between the daemon and HAProxy's admin socket: logs every line, and stops the world where a test says so.

A line that was held reaches HAProxy when it is released, also when the daemon is dead by then: so it would be with a
line that waits in the buffer of a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from pathlib import Path


class Deed(StrEnum):
    """What is done with one line."""

    PASS = "pass"  #: forwarded, answered
    HOLD = "hold"  #: kept until released, then forwarded and answered
    MUTE = "mute"  #: forwarded and obeyed; the answer is never given
    CUT = "cut"  #: forwarded and obeyed; hung up without an answer
    REFUSE = "refuse"  #: hung up at once, nothing forwarded
    BABBLE = "babble"  #: answered with something else, nothing forwarded


class Moment(StrEnum):
    """The three moments of a line at which something can happen."""

    CAME = "came"
    OBEYED = "obeyed"
    ANSWERED = "answered"


def is_write(line: str) -> bool:
    """Whether a line changes anything."""
    return "set server" in line


def enters(line: str) -> bool:
    """Whether it brings the target in."""
    return "state ready" in line and not leaves(line)


def leaves(line: str) -> bool:
    """Whether it takes the others out."""
    return "state maint" in line


class SocketProxy:
    """Listens at `path`. `judge` says what to do with a line; `live` is asked after every write that was obeyed."""

    def __init__(self, target: Path, live: Callable[[], set[str]]) -> None:
        self._target = target
        self._live = live
        self._folder = Path(tempfile.mkdtemp(prefix="wd-", dir="/tmp"))
        self.path = self._folder / "proxy.sock"
        self.judge: Callable[[str], Deed] = lambda _: Deed.PASS
        self.at: Callable[[Moment, str], None] = lambda _moment, _line: None
        self.lines: list[str] = []
        self.writes: list[str] = []
        self.moves: list[set[str]] = []
        self.held: list[str] = []
        self._released = asyncio.Event()
        self._dropped = False
        self._conversations: set[asyncio.Task[None]] = set()

    def watch(self) -> None:
        """Forget what was; the history begins with what is live now."""
        self.lines.clear()
        self.writes.clear()
        self.held.clear()
        self.moves = [self._live()]

    def release(self) -> None:
        """Everything that is held goes on its way, and nothing more is held."""
        self.judge = lambda _: Deed.PASS
        self._dropped = False
        self._let_go()

    def drop(self) -> None:
        """Everything that is held is lost, and nothing more is held."""
        self.judge = lambda _: Deed.PASS
        self._dropped = True
        self._let_go()

    def _let_go(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._serve, self.path)
        try:
            yield
        finally:
            self.drop()
            server.close()
            for conversation in list(self._conversations):
                conversation.cancel()
            await asyncio.gather(*self._conversations, return_exceptions=True)
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        try:
            line = (await reader.readline()).decode().strip()
            if line:
                await self._carry(line, writer)
        except ConnectionError:
            pass  # the daemon was killed, or HAProxy is away: then the daemon sees a connection that ends
        except asyncio.CancelledError:
            pass  # the end of the test; asyncio's stream callback would complain
        finally:
            self._conversations.discard(task)
            writer.transport.abort()

    async def _carry(self, line: str, writer: asyncio.StreamWriter) -> None:
        deed = self.judge(line)
        self.lines.append(line)
        if deed is Deed.HOLD:
            self.held.append(line)
            await self._released.wait()
            if self._dropped:
                return
        self.at(Moment.CAME, line)
        if deed is Deed.REFUSE:
            return
        if deed is Deed.BABBLE:
            writer.write(b"HTTP/1.0 400 Bad request\r\n\r\n<html>\x00\xff</html>\n\n")
            await _hang_up(writer)
            return
        answer = await self._forward(line)
        self.at(Moment.OBEYED, line)
        if deed is Deed.MUTE:
            self.held.append(line)
            await self._released.wait()
            return
        if deed is Deed.CUT:
            self.held.append(line)
            return
        writer.write(answer)
        await _hang_up(writer)
        self.at(Moment.ANSWERED, line)

    async def _forward(self, line: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._target)
        try:
            writer.write(line.encode() + b"\n")
            await writer.drain()
            answer = await reader.read()
        finally:
            writer.transport.abort()
        if is_write(line):
            self.writes.append(line)
            now = self._live()
            if self.moves[-1:] != [now]:
                self.moves.append(now)
        return answer


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
