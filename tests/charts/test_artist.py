from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop
from structlog.testing import capture_logs

from tests.eventually import Eventually
from tests.eventually import eventually as poll
from watchdog.aio.clock import SystemClock
from watchdog.charts.artist import COMMAND, Artist
from watchdog.charts.picture import how_to_install, sample
from watchdog.charts.pipe import LENGTH, Drawn, Wish, drawn_of, framed

pytestmark = pytest.mark.timeout(120)

Start = Callable[..., Awaitable[Artist]]
_PNG = b"\x89PNG\r\n\x1a\n"
#: Says that it has drawn, so that tests of what goes wrong need not wait for a drawing library.
_STUB = """
import os, sys, time
import msgspec
from watchdog.charts.pipe import LENGTH, Drawn, framed, wish_of
count = 0
while head := sys.stdin.buffer.read(4):
    wish = wish_of(sys.stdin.buffer.read(LENGTH.unpack(head)[0]))
    answer = framed(Drawn(number=wish.number, png=b"\\x89PNG\\r\\n\\x1a\\n" + str(count).encode()))
    count += 1
    if count > 1:
        {then}
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
"""


@asynccontextmanager
async def drawing(artist: Artist) -> AsyncIterator[Artist]:
    task = asyncio.create_task(artist.run())
    try:
        yield artist
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def begin(*command: str, draw_limit: float = 30.0) -> Artist:
            artist = Artist(
                clock=SystemClock(), command=command or COMMAND, draw_limit=draw_limit, first_pause=0.01
            )
            return await stack.enter_async_context(drawing(artist))

        yield begin


def stub(then: str) -> tuple[str, ...]:
    return (sys.executable, "-c", _STUB.format(then=then))


def alive(pid: int) -> bool:
    """Whether the process is there; one that nobody has waited for counts."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def ready(artist: Artist, eventually: Eventually, *, not_pid: int | None = None) -> int:
    await eventually(lambda: artist.pid not in (None, not_pid), within=60.0, what="a process that draws")
    pid = artist.pid
    assert pid is not None
    return pid


async def test_a_chart_comes_from_another_process_that_gives_way(
    start: Start, eventually: Eventually
) -> None:
    artist = await start()
    assert await artist.draw(sample(), within=60.0) is None, "nobody waits for the start"
    pid = await ready(artist, eventually)
    png = await artist.draw(sample(), within=60.0)
    assert png is not None
    assert png.startswith(_PNG)
    assert pid != os.getpid()
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 5


async def test_the_process_sees_no_secret_and_holds_no_socket_of_the_daemon(
    start: Start, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-planted")
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    artist = await start()
    pid = await ready(artist, eventually)
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"xoxb-planted" not in environment
    names = {entry.partition(b"=")[0].decode() for entry in environment.split(b"\0") if entry}
    assert names <= {"PATH", "LC_ALL", "MPLBACKEND", "OPENBLAS_NUM_THREADS", "PYTHONPATH"}
    ours = {Path(f"/proc/self/fd/{one.fileno()}").readlink() for one in server.sockets}
    theirs = {entry.readlink() for entry in Path(f"/proc/{pid}/fd").iterdir()}
    assert not ours & theirs
    server.close()


async def test_a_process_that_draws_can_reach_no_network_and_start_no_program() -> None:
    program = (
        "import sys, socket, subprocess\n"
        "from watchdog.charts import worker\n"
        "sys.addaudithook(worker._refuse)\n"
        "for attempt in (socket.socket, lambda: subprocess.run(['true'])):\n"
        "    try:\n        attempt()\n    except PermissionError as error:\n        print(error)\n"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    assert said.count(b"a process that draws does no") == 2


async def test_after_it_was_killed_another_one_draws(start: Start, eventually: Eventually) -> None:
    artist = await start()
    pid = await ready(artist, eventually)
    os.kill(pid, signal.SIGKILL)
    other = await ready(artist, eventually, not_pid=pid)
    png = await artist.draw(sample(), within=60.0)
    assert png is not None
    assert not alive(pid)
    assert alive(other)


async def test_whoever_waits_when_it_is_killed_is_told_at_once(start: Start, eventually: Eventually) -> None:
    artist = await start()
    pid = await ready(artist, eventually)
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(artist.draw(sample(), within=600.0))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    assert await waiting is None
    assert not alive(pid)


async def test_one_that_hangs_is_killed_and_replaced(start: Start, eventually: Eventually) -> None:
    artist = await start(*stub("time.sleep(3600) if not os.environ.get('never') else None"), draw_limit=0.5)
    pid = await ready(artist, eventually)
    assert await artist.draw(sample(), within=600.0) is None
    await ready(artist, eventually, not_pid=pid)
    assert not alive(pid)


async def test_one_that_is_frozen_is_killed_and_replaced(start: Start, eventually: Eventually) -> None:
    artist = await start(*stub("pass"), draw_limit=0.5)
    pid = await ready(artist, eventually)
    os.kill(pid, signal.SIGSTOP)
    assert await artist.draw(sample(), within=0.05) is None, "the message has gone without"
    await ready(artist, eventually, not_pid=pid)
    assert not alive(pid)


@pytest.mark.parametrize(
    "then",
    [
        "sys.stdout.buffer.write(b'Traceback (most recent call last): and so on'); sys.stdout.flush(); continue",
        "sys.stdout.buffer.write(LENGTH.pack(2**31)); sys.stdout.flush(); continue",
        "answer = LENGTH.pack(4) + b'\\xff\\xff\\xff\\xff'",
        "answer = framed(Drawn(number=999, png=b'\\x89PNG\\r\\n\\x1a\\n'))",
        "answer = framed(Drawn(number=wish.number, png=b'<html>'))",
        "answer = answer + b'more'",
        "answer = answer[:10]; sys.stdout.buffer.write(answer); sys.stdout.flush(); sys.exit(0)",
        "sys.exit(3)",
    ],
    ids=["text", "endless", "garbage", "another", "no-picture", "too-much", "half", "exits"],
)
async def test_one_that_raves_gives_no_chart_and_is_replaced(
    start: Start, eventually: Eventually, then: str
) -> None:
    artist = await start(*stub(then))
    pid = await ready(artist, eventually)
    assert await artist.draw(sample(), within=600.0) is None
    await ready(artist, eventually, not_pid=pid)
    assert not alive(pid)


async def test_one_that_speaks_without_being_asked_is_replaced(start: Start, eventually: Eventually) -> None:
    artist = await start(*stub("sys.stdout.buffer.write(answer); sys.stdout.flush(); answer = b'hello'"))
    pid = await ready(artist, eventually)
    await artist.draw(sample(), within=600.0)
    await ready(artist, eventually, not_pid=pid)


async def test_what_cannot_be_drawn_costs_one_chart_and_not_the_process(
    start: Start, eventually: Eventually
) -> None:
    artist = await start()
    pid = await ready(artist, eventually)
    empty = sample().__class__(title="nothing", unit=sample().unit, points=())
    assert await artist.draw(empty, within=60.0) is None
    assert await artist.draw(sample(), within=60.0) is not None
    assert artist.pid == pid


async def test_only_so_many_wait_and_the_others_are_told_at_once(
    start: Start, eventually: Eventually
) -> None:
    artist = await start(*stub("time.sleep(0.001)"))
    await ready(artist, eventually)
    answers = await asyncio.gather(*(artist.draw(sample(), within=60.0) for _ in range(50)))
    assert sum(answer is not None for answer in answers) == 20


class _Pauses(SystemClock):
    """Waits for nothing, a few times."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == 12:
            await asyncio.Event().wait()


@pytest.mark.parametrize("command", [("/nonexistent/python",), (sys.executable, "-c", "raise SystemExit(1)")])
async def test_where_no_process_can_be_had_it_is_tried_again_ever_more_rarely(
    eventually: Eventually, command: tuple[str, ...]
) -> None:
    clock = _Pauses()
    async with drawing(Artist(clock=clock, command=command)) as artist:
        await eventually(lambda: len(clock.pauses) == 12, within=60.0, what="a dozen attempts")
        assert await artist.draw(sample(), within=60.0) is None
    assert clock.pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]


async def test_a_stop_leaves_no_process_wherever_it_comes(eventually: Eventually) -> None:
    artist = Artist(clock=SystemClock(), command=stub("time.sleep(3600)"))
    async with drawing(artist):
        pid = await ready(artist, eventually)
        waiting = asyncio.create_task(artist.draw(sample(), within=600.0))
        await asyncio.sleep(0)
    assert await waiting is None
    assert not alive(pid)
    assert await artist.draw(sample(), within=600.0) is None
    for turns in range(6):  # while it is being started
        before = children()
        task = asyncio.create_task(Artist(clock=SystemClock()).run())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert children() == before


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


async def test_it_ends_by_itself_when_the_daemon_is_gone() -> None:
    """Nobody kills it when the daemon was killed: its end of the pipe closes."""
    child = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(framed(Wish(number=7, picture=sample())))
    length = LENGTH.unpack(await child.stdout.readexactly(4))[0]
    drawn = drawn_of(await child.stdout.readexactly(length))
    assert (drawn.number, drawn.fault) == (7, "")
    child.send_signal(signal.SIGTERM)  # meant for the daemon, which still has messages to send
    child.stdin.write(framed(Wish(number=8, picture=sample())))
    length = LENGTH.unpack(await child.stdout.readexactly(4))[0]
    assert drawn_of(await child.stdout.readexactly(length)).number == 8
    child.stdin.close()
    assert await child.wait() == 0


@pytest.mark.parametrize(
    "garbage", [b"\xff\xff\xff\xff", LENGTH.pack(3) + b"\xff\xff\xff", framed(Drawn(number=1))]
)
async def test_it_ends_when_it_is_asked_something_else(garbage: bytes) -> None:
    child = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate(garbage)
    assert said == b""
    assert child.returncode == 0


async def test_where_what_draws_is_not_installed_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert how_to_install() is None
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    advice = how_to_install()
    assert advice == "install the extra: pip install 'rollback-watchdog[charts]'"
    artist = Artist(clock=SystemClock())
    assert not artist.possible
    with capture_logs() as logs:
        await artist.run()
    assert [(line["event"], line["advice"]) for line in logs] == [("no_charts", advice)]
    assert await artist.draw(sample(), within=60.0) is None


def test_it_draws_and_is_replaced_on_the_loop_of_the_daemon_too() -> None:
    """uvloop has child processes, pipes and their endings of its own."""

    async def story() -> tuple[bytes | None, int, int]:
        async with drawing(Artist(clock=SystemClock(), first_pause=0.01)) as artist:
            first = await ready(artist, poll)
            os.kill(first, signal.SIGKILL)
            second = await ready(artist, poll, not_pid=first)
            return await artist.draw(sample(), within=60.0), first, second

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        png, first, second = runner.run(story())
    assert png is not None
    assert png.startswith(_PNG)
    assert not alive(first)
    assert not alive(second)
