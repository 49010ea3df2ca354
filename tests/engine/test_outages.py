"""An outside that is overloaded or gone for long: few calls, one success, and nobody waits for anybody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.engine.loop import Engine
from tests.eventually import eventually
from watchdog.channels.interface import Delivered, Unclear
from watchdog.core.errors import SwitchUnreachable
from watchdog.core.message import MessageKind
from watchdog.core.rollback import RollbackState
from watchdog.core.routing import Route

pytestmark = pytest.mark.virtual_time

Make = Callable[..., Awaitable[Engine]]
HOUR = 3600.0


@pytest.fixture
async def start() -> AsyncIterator[Make]:
    engines: list[Engine] = []

    async def make(**words: Any) -> Engine:
        engines.append(Engine(**words))
        await engines[-1].start()
        return engines[-1]

    yield make
    for engine in engines:
        assert engine.failed() is None
        await engine.crash()


async def until(engine: Engine, state: RollbackState, *, within: float = 180.0) -> None:
    await eventually(
        lambda: [one.state for one in engine.rollbacks] == [state], within=within, every=0.05, what=str(state)
    )


async def test_a_switch_that_is_overloaded_for_a_minute_is_asked_now_and_then_and_written_once(
    start: Make,
) -> None:
    engine = await start()
    await engine.stable()
    for _ in range(4):
        engine.switch.fail_apply(SwitchUnreachable("too many requests"))
    await engine.deploy()
    await until(engine, RollbackState.INTENDED)
    before = len(engine.switch.calls)
    begun = asyncio.get_running_loop().time()
    await until(engine, RollbackState.COMPLETED)
    tries = [call for call in engine.switch.calls[before:] if call.kind == "apply"]
    assert len(tries) <= 5
    assert engine.switch.writes == 1
    assert asyncio.get_running_loop().time() - begun < 300


@pytest.mark.timeout(180)
async def test_a_channel_that_is_down_for_an_hour_delays_no_switch_and_no_other_channel() -> None:
    engine = Engine()
    engine.routes = (Route(to=("ops", "oncall")),)
    await engine.start()
    try:
        await engine.stable()
        engine.channels["ops"].always(Unclear(reason="no answer"))
        await engine.deploy()
        begun = asyncio.get_running_loop().time()
        await eventually(lambda: engine.switch.writes == 1, within=60, every=0.05, what="the switch")
        assert asyncio.get_running_loop().time() - begun < 30
        await until(engine, RollbackState.COMPLETED)
        told = [one.message.kind for one in engine.channels["oncall"].attempts]
        assert MessageKind.ROLLBACK_SWITCHED in told
        await asyncio.sleep(HOUR)
        attempts = engine.channels["ops"].attempts
        keys = {one.key for one in attempts}
        assert keys
        assert len(attempts) <= HOUR / 20, (
            "a page is tried once in half a minute, when it has failed for long"
        )
        engine.channels["ops"].always(Delivered())
        await eventually(
            lambda: {str(row.state) for row in engine.outbox} == {"sent"},
            within=900,
            every=1,
            what="all sent",
        )
        since = len(attempts)
        await asyncio.sleep(900)
        assert len(engine.channels["ops"].attempts) == since, "what has arrived is not sent again"
        wanted = {row.key for row in engine.outbox if row.channel == "ops"}
        assert keys < wanted, "what came after waited for what came before"
        assert {one.key for one in engine.channels["ops"].attempts} == wanted, "under the keys it had"
    finally:
        assert engine.failed() is None
        await engine.crash()
