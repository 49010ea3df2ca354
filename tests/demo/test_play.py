"""The demo as people start it, in a process of its own; and the plot against a daemon of paper."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.eventually import Eventually
from tests.servers.require import require
from watchdog.demo.play import NoEnd, play
from watchdog.demo.process import StartFailed, free_port, start
from watchdog.demo.stage import SERVICE, Missing, Stage, find_haproxy
from watchdog.demo.visitors import Visitors

PERFORM = """
import sys
from watchdog.demo.command import perform
sys.exit(perform(json=True, prometheus=False, keep={keep}, haproxy={haproxy!r}))
"""


class Demo:
    """The demo in a session of its own; `folder` is its temporary one."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self.folder = folder

    @property
    def left_behind(self) -> list[str]:
        """Processes that still name its folder, or run under it."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"TMPDIR={self.folder}".encode() in environment.split(b"\0"):
                found.append(b" ".join(words).decode())
        return found

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


async def begin(folder: Path, *, haproxy: str | None = None, keep: bool = False) -> Demo:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PERFORM.format(keep=keep, haproxy=haproxy),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
        start_new_session=True,
    )
    return Demo(process, folder)


@pytest.fixture
async def demos(tmp_path: Path) -> AsyncIterator[list[Demo]]:
    """Whatever a test began is ended, with all that it began."""
    begun: list[Demo] = []
    yield begun
    for demo in begun:
        if demo.process.returncode is None:
            demo.process.kill()  # its children die with it
            await demo.process.wait()


def contract(line: str) -> dict[str, Any]:
    """What a script may rely on in the last line."""
    said: dict[str, Any] = json.loads(line)
    assert said["outcome"] == "rolled_back"
    assert 0 < said["breach_to_switch_seconds"] < 15
    assert said["requests_total"] > 500
    assert 0 < said["requests_failed"] < said["requests_total"]
    assert said["failed_after_switch"] == 0
    return said


@pytest.mark.timeout(90)
@pytest.mark.parametrize("switch", ["command", "haproxy"])
async def test_the_demo_rolls_back_says_so_and_leaves_nothing_behind(
    demos: list[Demo], tmp_path: Path, switch: str
) -> None:
    haproxy = None
    if switch == "haproxy":
        haproxy = find_haproxy() or require("haproxy")
    long = tmp_path / ("long" * 20)  # longer than HAProxy's socket could be
    long.mkdir()
    demos.append(await begin(long, haproxy=haproxy))
    out, err = await asyncio.wait_for(demos[0].process.communicate(), 80)
    assert demos[0].process.returncode == 0, err.decode()
    said = contract(out.decode().splitlines()[-1])
    assert (said["switch"], said["source"]) == (switch, "scrape")
    assert said["rollback"].startswith("rb-")
    assert said["incident"].startswith("inc-")
    assert "rolled back, and proved" in err.decode()
    assert len(out.decode().splitlines()) == 1, "what is for people goes elsewhere"
    assert demos[0].left_behind == []
    assert demos[0].files == []


@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["at once", "in the middle"])
async def test_an_interrupted_demo_leaves_nothing_behind(
    demos: list[Demo], tmp_path: Path, eventually: Eventually, name: signal.Signals, moment: str
) -> None:
    demos.append(await begin(tmp_path))
    demo = demos[0]
    await eventually(lambda: demo.files, within=20, what="its folder")
    if moment == "in the middle":
        log = Path(demo.folder) / demo.files[0] / "watchdog.log"
        await eventually(lambda: log.exists() and "started" in log.read_text(), within=30)
    demo.process.send_signal(name)
    out, err = await asyncio.wait_for(demo.process.communicate(), 30)
    assert demo.process.returncode == 130, err.decode()
    assert "interrupted; everything was stopped" in err.decode()
    assert "Traceback" not in err.decode()
    assert out == b""
    assert demo.left_behind == []
    assert demo.files == []


@pytest.mark.timeout(90)
async def test_a_demo_that_is_killed_takes_its_processes_with_it(
    demos: list[Demo], tmp_path: Path, eventually: Eventually
) -> None:
    demos.append(await begin(tmp_path))
    demo = demos[0]
    await eventually(lambda: len(demo.left_behind) >= 5, within=30, what="all its processes")
    demo.process.kill()
    await demo.process.wait()
    await eventually(lambda: demo.left_behind == [], within=10, what="the end of its processes")


# The plot, against a daemon of paper


class Paper:
    """Answers as the daemon does, from what the test wrote down."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.deployments: list[dict[str, Any]] = []
        self.rollbacks: list[dict[str, Any]] = []
        self.refuses = False
        self.url = ""

    async def post(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.refuses:
            return web.Response(status=409, text="not now")
        self.posted.append(body)
        if body["version"] == "v1":
            self.deployments = [{"version": "v1", "state": "stable"}]
        return web.json_response({}, status=201)

    async def lists(self, request: web.Request) -> web.Response:
        items: list[dict[str, Any]] = getattr(self, request.match_info["what"], [])
        return web.json_response({"items": items, "next": None})


@pytest.fixture
async def paper() -> AsyncIterator[Paper]:
    one = Paper()
    app = web.Application()
    app.router.add_post("/api/v1/deployments", one.post)
    app.router.add_get("/api/v1/{what}", one.lists)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield one
    await runner.cleanup()


class PaperStage(Stage):
    """Moves traffic on paper, and what comes of it is written down at once."""

    paper: Paper

    @property
    def url(self) -> str:
        return self.paper.url

    async def move_traffic(self, variant: str) -> None:
        self.paper.rollbacks = [
            {
                "id": "rb-1",
                "state": "completed",
                "ended_at": "2026-03-02T10:00:09Z",
                "breached_since": "2026-03-02T10:00:01Z",
                "decided_at": "2026-03-02T10:00:02Z",
                "applied_at": "2026-03-02T10:00:03Z",
                "recovered_at": None,
            }
        ]


def on_paper(folder: Path, paper: Paper) -> PaperStage:
    stage = PaperStage(folder=folder, prometheus=False, haproxy=None)
    stage.paper = paper
    return stage


@pytest.mark.timeout(30)
async def test_the_plot_announces_moves_and_reads_what_became_of_it(tmp_path: Path, paper: Paper) -> None:
    lines: list[str] = []
    story = await play(on_paper(tmp_path, paper), Visitors(url=""), lines.append)
    assert [(one["service"], one["version"], one["variant"]) for one in paper.posted] == [
        (SERVICE, "v1", "blue"),
        (SERVICE, "v2", "green"),
    ]
    assert (story.state, story.rollback, story.incident) == ("completed", "rb-1", "")
    assert story.switched is not None
    assert story.decided is not None
    assert story.switched - story.decided == 1.0
    assert (story.recovered, story.broke) == (None, None)
    assert lines[-1] == "rollback: completed"


async def test_a_daemon_that_refuses_ends_the_plot(tmp_path: Path, paper: Paper) -> None:
    paper.refuses = True
    with pytest.raises(NoEnd, match="refused deployments: not now"):
        await play(on_paper(tmp_path, paper), Visitors(url=""), lambda _: None)


# Its processes


async def test_a_process_that_does_not_come_up_shows_the_end_of_what_it_said(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        argv = [sys.executable, "-c", "import sys; print('the port is taken'); sys.exit(3)"]
        with pytest.raises(StartFailed, match="the port is taken"):
            await start(stack, argv, log=tmp_path / "log", port=free_port())


async def test_a_process_that_listens_is_started_and_ended(tmp_path: Path) -> None:
    port = free_port()
    code = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
    async with AsyncExitStack() as stack:
        await start(stack, [sys.executable, "-c", code], log=tmp_path / "log", port=port)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_without_prometheus_the_demo_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    stage = Stage(folder=tmp_path, prometheus=True, haproxy=None)
    async with AsyncExitStack() as stack:
        with pytest.raises(Missing, match="apt-get install prometheus"):
            await stage.set_up(stack)
    assert list(tmp_path.iterdir()) == [], "it says so before anything is started"
