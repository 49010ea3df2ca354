"""A changed configuration under the whole engine, in virtual time: no poll is lost, none is doubled."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.engine.loop import Engine
from tests.engine.worlds import ERRORS
from tests.eventually import eventually
from tests.store import samples
from watchdog.core.errors import StoreError
from watchdog.core.reconfigure import Reconfigured
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Rule
from watchdog.core.switchplace import switch_place
from watchdog.core.world import World

pytestmark = pytest.mark.virtual_time

Make = Callable[..., Awaitable[Engine]]
LAXER = replace(ERRORS, thresholds=replace(ERRORS.thresholds, warning=0.5, critical=0.6, rollback=0.9))


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


def change(engine: Engine, rule: Rule = ERRORS, **changes: Any) -> Reconfigured:
    made = Reconfigured(
        services={"trips": engine.service},
        rules={rule.name: rule},
        sources=("prometheus",),
        limits=engine.world.limits,
        routes=engine.routes,
        recheck=engine.world.recheck,
    )
    return replace(made, **changes)


def reads(engine: Engine) -> int:
    return sum(call.kind == "read" for call in engine.switch.calls)


async def take(engine: Engine, changed: Reconfigured) -> None:
    edition = engine.world.edition
    engine.reactor.deliver(changed)
    await eventually(lambda: engine.world.edition > edition, within=5, every=0.0001)


async def disturb(engine: Engine, times: int, *, every: float) -> None:
    """So many changes that leave every question as it is."""
    cooldown = engine.service.rollback.cooldown
    for number in range(times):
        policy = replace(engine.service.rollback, cooldown=cooldown + timedelta(seconds=number % 7))
        service = replace(engine.service, rollback=policy, labels={"number": str(number)})
        rule = replace(ERRORS, summary=f"number {number}")
        await take(engine, change(engine, rule, services={"trips": service}))
        await asyncio.sleep(every)


async def test_a_thousand_changes_lose_no_poll_and_double_none(start: Make) -> None:
    calm, busy = await start(), await start()
    await calm.stable()
    await busy.stable()
    begun = asyncio.get_running_loop().time()
    await disturb(busy, 1000, every=0.2)
    assert busy.world.edition == 1000
    polled = [[at for at, _ in engine.shop.asked if at >= begun] for engine in (calm, busy)]
    assert len(polled[0]) > 20
    assert len(polled[1]) == len(polled[0])
    for engine, times in zip((calm, busy), polled, strict=True):
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert max(gaps) <= ERRORS.interval.total_seconds() * 1.2, engine
        assert min(gaps) > 0.2, engine


async def test_a_bad_deployment_is_rolled_back_once_through_a_thousand_changes(start: Make) -> None:
    engine = await start()
    await engine.stable()
    storm = asyncio.create_task(disturb(engine, 1000, every=0.05))
    await engine.deploy()
    await eventually(
        lambda: [one.state for one in engine.rollbacks] == [RollbackState.COMPLETED], within=120, every=0.05
    )
    await storm
    assert engine.switch.writes == 1
    assert len(engine.stored_rollbacks) == 1
    assert engine.chain_holds()


async def test_another_question_is_asked_at_once(start: Make) -> None:
    engine = await start()
    await engine.stable()
    before = len(engine.shop.asked)
    await take(engine, change(engine, LAXER))
    await asyncio.sleep(0.01)
    assert len(engine.shop.asked) == before + 1


async def test_an_answer_that_was_on_its_way_is_asked_for_again(start: Make) -> None:
    engine = await start()
    await engine.stable()
    count = len(engine.shop.asked)
    await eventually(lambda: len(engine.shop.asked) > count, within=60, every=0.001)  # takes 3 ms
    await take(engine, change(engine, LAXER))
    assert engine.world.services["trips"].checks == {}
    await asyncio.sleep(0.004)
    assert len(engine.shop.asked) == count + 2
    await asyncio.sleep(0.004)
    (state,) = engine.world.services["trips"].checks.values()
    assert state.verdict is not None


async def test_a_service_that_is_gone_is_neither_polled_nor_looked_at(start: Make) -> None:
    engine = await start()
    await engine.stable()
    await take(engine, change(engine, services={}))
    await asyncio.sleep(1)
    assert engine.checks._jobs == {}  # noqa: SLF001 - not even asked whether there is something to ask
    polled, looked = len(engine.shop.asked), reads(engine)
    await asyncio.sleep(300)
    assert (len(engine.shop.asked), reads(engine)) == (polled, looked)


async def test_a_rollback_that_ends_as_its_service_comes_back_is_counted_and_not_carried_out(
    start: Make,
) -> None:
    engine = await start()
    await engine.stable()
    left = samples.rollback(1, state=RollbackState.INTENDED, ended_at=None)
    here, there = switch_place("here", None), switch_place("there", None)
    known = replace(engine.world.services["trips"], place=here, rollbacks={left.id: left})
    await take(engine, change(engine, services={}))
    await take(engine, change(engine, restored={"trips": known}, switches={"trips": there}))
    assert [one.state for one in engine.stored_rollbacks] == [RollbackState.SUPERSEDED]
    assert engine.metric('watchdog_rollbacks_total{outcome="superseded",service="trips"}') == 1
    await asyncio.sleep(60)
    assert engine.switch.writes == 0


async def test_an_intent_of_a_service_that_is_found_after_the_start_is_carried_out(start: Make) -> None:
    engine = await start()
    await engine.stable()
    engine.switch.hold_apply(asyncio.Event())
    await engine.deploy()
    await eventually(
        lambda: [one.state for one in engine.rollbacks] == [RollbackState.INTENDED], within=120, every=0.05
    )
    known, data = engine.world.services["trips"], await engine.crash()
    again = Engine(data=data, switch=engine.switch)
    again.services = {}
    await again.start()
    try:
        await take(again, change(again, restored={"trips": known}))
        await eventually(lambda: engine.switch.writes == 1, within=60, every=0.05)
        assert engine.switch.state.live == ("blue",)
    finally:
        await again.crash()


async def test_a_change_that_cannot_be_written_is_not_taken(start: Make) -> None:
    engine = await start()
    await engine.stable()
    heard: list[World | None] = []
    engine.reactor._on_change = lambda _, before: heard.append(before)  # noqa: SLF001 - what the daemon gives it
    before = engine.world.services["trips"].rules
    engine.store.fail_always(StoreError("the disk is full", advice="make room"))
    engine.reactor.deliver(change(engine, LAXER))
    await eventually(lambda: heard == [None], within=5)
    assert engine.world.services["trips"].rules == before
    assert engine.world.edition == 0
    engine.store.heal()
