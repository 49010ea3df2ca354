from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.eventually import Eventually
from watchdog.demo.visitors import Visit, Visitors


def visit(sent: float, *, failed: bool = False, took: float = 0.01) -> Visit:
    return Visit(sent_at=sent, answered_at=sent + took, failed=failed, version="v1")


class Shop:
    """Answers what the test says, as late as it says."""

    def __init__(self) -> None:
        self.status = 200
        self.takes = 0.0
        self.served = 0
        self.url = ""

    async def answer(self, _: web.Request) -> web.Response:
        self.served += 1
        await asyncio.sleep(self.takes)
        return web.Response(status=self.status, text="x", headers={"X-Version": "v7"})


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    one = Shop()
    app = web.Application()
    app.router.add_get("/", one.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield one
    await runner.cleanup()


async def stop(running: asyncio.Task[None]) -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_the_first_failure_is_the_first_that_was_seen() -> None:
    visitors = Visitors(url="")
    visitors.visits = [
        visit(1, failed=True),
        visit(5),
        visit(6, failed=True, took=3.0),
        visit(7, failed=True, took=0.5),
    ]
    assert visitors.first_failure(after=5) == 7.5
    assert visitors.first_failure(after=0) == 1.01
    assert visitors.first_failure(after=8) is None


def test_a_span_takes_in_its_start_and_leaves_out_its_end() -> None:
    visitors = Visitors(url="")
    visitors.visits = [visit(1), visit(2, failed=True), visit(3)]
    assert visitors.failures(start=1, end=3) == (2, 1)
    assert visitors.failures(start=3, end=float("inf")) == (1, 0)
    assert visitors.failures(start=9, end=10) == (0, 0)


async def test_every_request_is_remembered_with_the_version_that_answered(
    shop: Shop, eventually: Eventually
) -> None:
    visitors = Visitors(url=shop.url, rate=200)
    running = asyncio.create_task(visitors.run())
    await eventually(lambda: len(visitors.visits) >= 20)
    await stop(running)
    assert {(one.failed, one.version) for one in visitors.visits} == {(False, "v7")}
    assert all(one.answered_at >= one.sent_at for one in visitors.visits)


@pytest.mark.parametrize(("status", "failed"), [(500, True), (503, True), (404, False)])
async def test_only_the_servers_own_errors_are_failures(
    shop: Shop, eventually: Eventually, status: int, failed: bool
) -> None:
    shop.status = status
    visitors = Visitors(url=shop.url)
    running = asyncio.create_task(visitors.run())
    await eventually(lambda: visitors.visits)
    await stop(running)
    assert {one.failed for one in visitors.visits} == {failed}


async def test_nobody_there_is_a_failure(eventually: Eventually) -> None:
    visitors = Visitors(url="http://127.0.0.1:9/")
    running = asyncio.create_task(visitors.run())
    await eventually(lambda: len(visitors.visits) >= 3)
    await stop(running)
    assert all(one.failed and not one.version for one in visitors.visits)


async def test_slow_answers_slow_nobody_down(shop: Shop, eventually: Eventually) -> None:
    shop.takes = 30.0
    visitors = Visitors(url=shop.url, rate=50)
    running = asyncio.create_task(visitors.run())
    await eventually(lambda: shop.served >= 20, what="requests that do not wait for each other")
    await stop(running)
    assert visitors.visits == [], "who was sent away has no answer"
