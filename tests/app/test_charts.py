from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.app.conftest import Home
from tests.channels.fake_slack import CHANNEL, TOKEN, FakeSlack, slack
from tests.eventually import Eventually
from tests.eventually import eventually as poll
from watchdog.aio.clock import SystemClock
from watchdog.app.daemon import Daemon
from watchdog.app.doctor import examine
from watchdog.app.finding import Finding, Health
from watchdog.config.load import load
from watchdog.config.loaded import Configuration

pytestmark = pytest.mark.timeout(120)

_RULES = """version: 1
rules:
  - name: depth
    unit: count
    gauge: {of: 'depth{service="$service"}', by: max}
    interval: critical
    window: 5s
    threshold: {warning: 10, critical: 20, rollback: 1000}
    hold: {warning: 1 samples, critical: 1 samples}
"""


class _Page:
    """A page with one gauge on it."""

    def __init__(self) -> None:
        self.depth = 3
        self.port = 0
        self.asked = 0

    async def metrics(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(text=f'# TYPE depth gauge\ndepth{{service="trips"}} {self.depth}\n')


@pytest.fixture
async def page() -> AsyncIterator[_Page]:
    served = _Page()
    app = web.Application()
    app.router.add_get("/metrics", served.metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.port = runner.addresses[0][1]
    yield served
    await runner.cleanup()


@pytest.fixture
async def workspace() -> AsyncIterator[FakeSlack]:
    async with slack() as fake:
        yield fake


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def drawing() -> set[str]:
    """Our children that draw."""
    found = set[str]()
    for pid in children():
        try:
            if b"watchdog.charts.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
        except OSError:
            continue
    return found


def configured(home: Home, page: _Page, workspace: FakeSlack) -> Configuration:
    (home.folder / "rules.yaml").write_text(_RULES)
    (home.folder / "token").write_text(TOKEN)
    home.settings["intervals"] = {"critical": "1s", "recheck": "1s"}
    source = {"kind": "scrape", "urls": [f"http://127.0.0.1:{page.port}/metrics"], "interval": "1s"}
    home.settings["sources"] = {"app": source}
    home.settings["services"][0]["rules"] = ["depth"]
    home.settings["channels"]["ops"] = {"kind": "slack", "channel": CHANNEL, "url": workspace.url}
    home.settings["routes"] = [{"to": ["ops"]}]
    text = home.path.read_text().replace('"kind": "slack"', '"kind": "slack", "token": !file token')
    file = home.folder / "with-token.yaml"
    file.write_text(text)
    return load(file, environ={})


async def within(seconds: float, done: Callable[[], bool]) -> bool:
    try:
        await poll(done, within=seconds)
    except AssertionError:
        return False
    return True


async def test_a_page_comes_with_its_chart_and_a_stop_leaves_no_process(
    home: Home, page: _Page, workspace: FakeSlack, eventually: Eventually
) -> None:
    daemon = Daemon(configured(home, page, workspace), clock=SystemClock(), seed=1)
    before = drawing()
    with capture_logs() as logs:
        await daemon.start()
        try:
            ready = lambda: any(line["event"] == "charts_ready" for line in logs)  # noqa: E731
            await eventually(ready, within=60.0, what="a process that draws")
            asked = page.asked
            await eventually(lambda: page.asked >= asked + 5, within=60.0, what="samples")
            assert len(drawing() - before) == 1
            for depth in (
                50,
                3,
            ) * 10:  # a busy machine may be too late with a chart, and the page goes without
                page.depth, told = depth, len(workspace.posts)
                await eventually(lambda: len(workspace.posts) > told, within=60.0, what="news")  # noqa: B023
                if depth == 50 and await within(5.0, lambda: bool(workspace.files)):
                    break
        finally:
            await daemon.stop()
    file = workspace.files[0]
    assert file["content"].startswith(b"\x89PNG")
    assert file["thread_ts"] in {post.ts for post in workspace.roots}
    described = workspace.called("files.getUploadURLExternal")[0]["alt_txt"]
    assert described.startswith("Chart of trips/depth until ")
    assert ": 50, above the critical threshold of 20 since " in described
    assert drawing() == before


async def test_where_no_channel_shows_pictures_nothing_draws(home: Home) -> None:
    before = drawing()
    daemon = Daemon(home.load(), clock=SystemClock(), seed=1)
    await daemon.start()
    try:
        assert daemon.term is not None
        assert not {"charts", "history"} & set(daemon.term.running)
    finally:
        await daemon.stop()
    assert drawing() == before


async def test_the_doctor_says_how_charts_can_be_had(
    home: Home, page: _Page, workspace: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def said() -> list[Finding]:
        found = await examine(configured(home, page, workspace))
        return [one for one in found if one.what == "channel ops" and "charts" in one.detail]

    assert await said() == []
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (finding,) = await said()
    assert finding.health is Health.WARN
    assert finding.advice == "install the extra: pip install 'rollback-watchdog[charts]'"
