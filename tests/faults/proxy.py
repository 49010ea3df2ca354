"""Stands between anybody and a real server, on TCP or on a unix socket, and does to a request what a test says.

It knows no protocol: what one side sends at once is a request. `judge` names the deed for each; one that was held
reaches the server when it is released, also when its sender is dead by then: so it would be with what waits in the
buffer of a socket. The server never sees a fault but `LATE`, `TWICE` and what never comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.servers.closing import close_server

#: What `BABBLE` answers.
NONSENSE = b"HTTP/1.0 400 Bad request\r\n\r\n<html>\x00\xff</html>\n\n"
_LINGER_NOT = struct.pack("ii", 1, 0)


class Deed(StrEnum):
    """What is done with one request."""

    PASS = "pass"  #: forwarded, answered
    DELAY = "delay"  #: the same, after `pause` seconds
    HOLD = "hold"  #: kept until released, then forwarded and answered; never released, it hangs
    LATE = "late"  #: kept until its sender has given up, then forwarded and obeyed
    MUTE = "mute"  #: forwarded and obeyed; the answer is never given
    CUT = "cut"  #: forwarded and obeyed; hung up without an answer
    HALF = "half"  #: forwarded and obeyed; half of the answer, then the end of that direction only
    DRIP = "drip"  #: forwarded and obeyed; one byte of the answer each `every` seconds
    TWICE = "twice"  #: forwarded twice, over two connections; the first answer is given
    REFUSE = "refuse"  #: hung up at once, nothing forwarded
    RESET = "reset"  #: the same with a reset where there is one (TCP)
    BABBLE = "babble"  #: answered with something else, nothing forwarded


#: Whatever is done in these, the server obeys, sooner or later.
OBEYED = frozenset(set(Deed) - {Deed.HOLD, Deed.REFUSE, Deed.RESET, Deed.BABBLE})


class Moment(StrEnum):
    """The three moments of a request at which something can happen."""

    CAME = "came"
    OBEYED = "obeyed"
    ANSWERED = "answered"


class _Far:
    """The connection to the server, and what is done with what comes from there."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.deed = Deed.PASS


class FaultProxy:
    """Listens as its target does, at `path` for a unix socket, at `port` for a TCP port on 127.0.0.1; or as told.

    With `lines`, a conversation is one line and an answer up to the end of the connection: then an answer is given
    only when the server has said all of it.
    """

    def __init__(self, target: Path | int, *, lines: bool = False, tcp: bool | None = None) -> None:
        self._target = target
        self._tcp = isinstance(target, int) if tcp is None else tcp
        self._lines = lines
        self._folder = Path(tempfile.mkdtemp(prefix="wd-", dir="/tmp"))
        self.path = self._folder / "proxy.sock"
        self.port = 0
        self.judge: Callable[[str], Deed] = lambda _: Deed.PASS
        self.at: Callable[[Moment, str], None] = lambda _moment, _request: None
        self.pause = 0.1
        self.every = 1.0
        self.lines: list[str] = []
        self.held: list[str] = []
        self._released = asyncio.Event()
        self._dropped = False
        self._over = False
        self.taken = 0
        self._conversations: dict[asyncio.Task[None], asyncio.StreamWriter | None] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def busy(self) -> int:
        """Connections and deliveries that are not over."""
        return len(self._conversations)

    def always(self, deed: Deed) -> None:
        """Every request comes to this from now on."""
        self.judge = lambda _: deed

    def release(self) -> None:
        """Everything that is held goes on its way, and nothing more is held."""
        self.always(Deed.PASS)
        self._dropped = False
        self._let_go()

    def drop(self) -> None:
        """Everything that is held is lost, and nothing more is held."""
        self.always(Deed.PASS)
        self._dropped = True
        self._let_go()

    def _let_go(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        if self._tcp:
            server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
            self.port = server.sockets[0].getsockname()[1]
        else:
            server = await asyncio.start_unix_server(self._accepted, self.path)
        try:
            yield
        finally:
            self._over = True
            self.drop()
            await close_server(server)
            while self._conversations:
                for conversation, writer in list(self._conversations.items()):
                    conversation.cancel()
                    if writer is not None:
                        writer.transport.abort()  # one that is cancelled before it runs does not do so itself
                await asyncio.gather(*self._conversations, return_exceptions=True)
            shutil.rmtree(self._folder, ignore_errors=True)

    def obeyed(self, request: str) -> None:
        """The server has done what was asked."""

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No coroutine: a task of asyncio's own would not be known here before it runs for the first time.
        if self._over:
            writer.transport.abort()
        else:
            self.taken += 1
            self._start(self._talk(reader, writer), writer)

    def _start(self, work: Coroutine[Any, Any, None], writer: asyncio.StreamWriter | None = None) -> None:
        task = asyncio.get_running_loop().create_task(work, name="a proxied conversation")
        self._conversations[task] = writer
        task.add_done_callback(self._conversations.pop)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(_abort, writer)
            # The sender was killed, or the server is away: then the sender sees a connection that ends.
            with contextlib.suppress(OSError):
                await self._carry(reader, writer, stack)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stack: contextlib.AsyncExitStack
    ) -> None:
        far: _Far | None = None
        back: asyncio.Task[None] | None = None
        while request := await (reader.readline() if self._lines else reader.read(65536)):
            deed = await self._judged(request, reader, writer)
            if deed is None:
                return
            if far is None:
                far = await self._reach()
                stack.callback(_abort, far.writer)
            far.deed = deed
            far.writer.write(request)
            await far.writer.drain()
            if deed is Deed.TWICE:
                self._start(self._once_more(request))
            if self._lines:
                await self._answer_whole(request, far, writer)
                return
            if back is None:
                back = asyncio.create_task(self._answer(far, writer), name="a proxied answer")
                back.add_done_callback(lambda _: reader.feed_eof())
                stack.push_async_callback(_end, back)
        if back is not None and far is not None and far.deed is Deed.LATE:
            await asyncio.wait([back], timeout=5)

    async def _judged(
        self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Deed | None:
        """What is done with a request whose time has come to go on to the server; `None`: it does not."""
        text = _text(request)
        deed = self.judge(text)
        self.lines.append(text)
        if deed is Deed.HOLD:
            self.held.append(text)
            await self._released.wait()
            if self._dropped:
                return None
        if deed is Deed.DELAY:
            await asyncio.sleep(self.pause)
        if deed is Deed.LATE:
            with contextlib.suppress(ConnectionError):
                while await reader.read(65536):
                    pass
        self.at(Moment.CAME, text)
        if deed is Deed.RESET:
            _reset(writer)
        if deed is Deed.BABBLE:
            writer.write(NONSENSE)
            await _hang_up(writer)
        return None if deed in {Deed.REFUSE, Deed.RESET, Deed.BABBLE} else deed

    async def _reach(self) -> _Far:
        if isinstance(self._target, Path):
            return _Far(*await asyncio.open_unix_connection(self._target))
        return _Far(*await asyncio.open_connection("127.0.0.1", self._target))

    async def _once_more(self, request: bytes) -> None:
        far = await self._reach()
        try:
            far.writer.write(request)
            await far.writer.drain()
            async with asyncio.timeout(5):
                await far.reader.read(65536)
            self.obeyed(_text(request))
        except (TimeoutError, ConnectionError):
            pass
        finally:
            far.writer.transport.abort()

    async def _answer_whole(self, request: bytes, far: _Far, writer: asyncio.StreamWriter) -> None:
        """Of a server that ends the conversation with its answer."""
        answer, text, deed = await far.reader.read(), _text(request), far.deed
        self.obeyed(text)
        self.at(Moment.OBEYED, text)
        if deed in {Deed.MUTE, Deed.CUT}:
            self.held.append(text)
            if deed is Deed.MUTE:
                await self._released.wait()
            return
        await self._give(answer, deed, writer)
        await _hang_up(writer)
        self.at(Moment.ANSWERED, text)

    async def _answer(self, far: _Far, writer: asyncio.StreamWriter) -> None:
        """Of a server that goes on talking."""
        while answer := await far.reader.read(65536):
            self.obeyed(_text(answer))
            if far.deed is Deed.CUT:
                break
            if far.deed is not Deed.MUTE:
                await self._give(answer, far.deed, writer)
        if far.deed is Deed.MUTE:
            await self._released.wait()
        await _hang_up(writer)

    async def _give(self, answer: bytes, deed: Deed, writer: asyncio.StreamWriter) -> None:
        if deed is Deed.HALF:
            writer.write(answer[: len(answer) // 2])
            if writer.can_write_eof():
                writer.write_eof()
            await self._released.wait()
        elif deed is Deed.DRIP:
            for byte in answer:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(self.every)
        else:
            writer.write(answer)
            await writer.drain()


def _text(request: bytes) -> str:
    return request.decode(errors="replace").strip()


def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        await writer.drain()
        writer.close()
        await writer.wait_closed()
