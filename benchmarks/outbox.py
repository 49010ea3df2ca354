"""The outbox alone: how many messages a second leave for one local receiver, and what memory a full one takes.

The store is SQLite on a real file, the channel the webhook with its signature; the receiver is another process, so that
its work is not counted. Memory is that of this process, measured before and while the whole queue waits.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace
from pydantic import SecretStr

from tests.servers.ports import free_port
from tests.servers.process import Process, answers
from watchdog.aio.clock import SystemClock
from watchdog.channels.interface import Channel, Chart, Delivery, Later
from watchdog.channels.specimens import NOW, specimens
from watchdog.channels.webhook import WebhookChannel
from watchdog.core.message import Message, MessageKind, Outgoing, Thread
from watchdog.core.turn import Turn
from watchdog.engine.dispatcher import Dispatcher
from watchdog.store.sqlite import SqliteStore

_SINK = """
import asyncio, sys
async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\\r\\n\\r\\n"):
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\\r\\n")[1:-2])
            await reader.readexactly(int(fields.get(b"content-length", b"0")))
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
"""
_SECRET = SecretStr("benchmark-secret-of-one-run")


@dataclass(slots=True, frozen=True, kw_only=True)
class Sent:
    """So many messages left in so many seconds."""

    messages: int
    seconds: float

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds


@dataclass(slots=True, frozen=True, kw_only=True)
class Waiting:
    """Bytes of this process before anything was queued, and most of it while so many messages wait and are tried."""

    messages: int
    before: int
    most: int


class _Down:
    """A receiver that asks for patience."""

    tried = 0

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        self.tried += 1
        await asyncio.sleep(0.002)
        return Later(reason="HTTP 503")

    async def inspect(self) -> str | None:
        return None

    async def aclose(self) -> None:
        return None


async def sent(messages: int) -> Sent:
    """Send so many to a receiver on loopback, each of a conversation of its own."""
    port = free_port()
    with TemporaryDirectory(prefix="outbox-") as folder:
        argv = [sys.executable, "-c", _SINK, str(port)]
        sink = Process(argv, log=Path(folder) / "sink.log", ready=answers(port, "/"))
        await asyncio.to_thread(sink.start)
        settings = WebhookChannel.Settings.model_validate(
            {"url": f"http://127.0.0.1:{port}/", "secret": _SECRET}
        )
        channel = WebhookChannel(settings, name="hook", clock=SystemClock())
        try:
            async with _store(Path(folder)) as store:
                await _queue(store, messages)
                left, gone = messages, asyncio.Event()

                def took(_channel: str, outcome: str) -> None:
                    nonlocal left
                    left -= outcome == "ok"
                    if not left:
                        gone.set()

                async with _running(store, {"hook": channel}, on_outcome=took):
                    began = time.perf_counter()
                    await asyncio.wait_for(gone.wait(), 600)
                    seconds = time.perf_counter() - began
                assert not await store.outbox_pending()
                return Sent(messages=messages, seconds=seconds)
        finally:
            await channel.aclose()
            await asyncio.to_thread(sink.stop)


async def waiting(messages: int, *, seconds: float) -> Waiting:
    """Let so many wait for a receiver that takes none, and be tried for so long."""
    with TemporaryDirectory(prefix="outbox-") as folder:
        async with _store(Path(folder)) as store:
            await _queue(store, 1000)
            before = _resident()
            await _queue(store, messages - 1000, first=1000)
            most, until = before, time.monotonic() + seconds
            async with _running(store, {"hook": _Down()}):
                while time.monotonic() < until:
                    await asyncio.sleep(0.2)
                    most = max(most, _resident())
            assert await store.outbox_pending() == messages
            return Waiting(messages=messages, before=before, most=most)


@asynccontextmanager
async def _store(folder: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(f"sqlite:///{folder}/watchdog.db")
    await store.open()
    await store.claim(now=datetime.now(UTC))
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def _running(
    store: SqliteStore,
    channels: Mapping[str, Channel],
    on_outcome: Callable[[str, str], None] = lambda _channel, _outcome: None,
) -> AsyncIterator[None]:
    clock, rng = SystemClock(), random.Random(1)
    dispatcher = Dispatcher(store, channels, clock=clock, rng=rng, on_outcome=on_outcome)
    task = asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _queue(store: SqliteStore, messages: int, *, first: int = 0) -> None:
    """Messages as they are in earnest, a thousand a transaction."""
    like, now = specimens()[MessageKind.INCIDENT_OPENED], datetime.now(UTC)
    assert like.created_at == NOW
    for start in range(first, first + messages, 1000):
        rows = []
        for number in range(start, min(start + 1000, first + messages)):
            message = _numbered(like, number, now)
            rows.append(Outgoing(key=f"{message.key}@hook", channel="hook", message=message, due_at=now))
        await store.commit(Turn(outbox=tuple(rows)))


def _numbered(like: Message, number: int, now: datetime) -> Message:
    return replace(like, key=f"opened:{number}", incident=f"inc-{number}", created_at=now)


def _resident() -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found.group(1)) * 1024
