"""An alert is a hint: what is asked rarely is asked at once, and judged as ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.engine.loop import Engine
from tests.engine.worlds import ERRORS
from watchdog.core.request import RequestKind
from watchdog.core.rule import Match, Ratio, Rule

pytestmark = pytest.mark.virtual_time

Make = Callable[..., Awaitable[Engine]]
#: So rare that no poll of its own comes while a test looks.
RARE = replace(ERRORS, name="rare", interval=timedelta(hours=2), match=None)
SHARED: Rule = replace(
    RARE,
    name="shared",
    form=Ratio(bad='errors{kind="5xx"}', total="requests"),
    match=Match(labels={"service": "name"}),
)


@pytest.fixture
async def start() -> AsyncIterator[Make]:
    engines: list[Engine] = []

    async def make(*rules: Rule, **words: Any) -> Engine:
        engines.append(Engine(rules=rules, **words))
        await engines[-1].start()
        await asyncio.sleep(30)  # every first poll is over
        return engines[-1]

    yield make
    for engine in engines:
        assert engine.failed() is None
        await engine.crash()


def asked(engine: Engine) -> int:
    return len(engine.shop.asked)


async def test_every_check_of_the_service_is_asked_at_once(start: Make) -> None:
    engine = await start(RARE, replace(RARE, name="rarer"))
    before, began = asked(engine), engine.clock.now()
    reply = await engine.ask(RequestKind.ALERT, alert="HighErrorRate", fingerprint="f00d")
    assert reply.status == 200
    await asyncio.sleep(0.5)
    assert asked(engine) == before + 2
    traffic = engine.world.services["trips"].traffic
    assert traffic is not None
    assert traffic.read_at >= began


async def test_other_services_are_left_alone(start: Make) -> None:
    engine = await start(RARE, others=("hotels",))
    before = asked(engine)
    await engine.ask(RequestKind.ALERT, "hotels", alert="HighErrorRate", fingerprint="f00d")
    await asyncio.sleep(0.5)
    assert asked(engine) == before + 1


async def test_a_rule_that_is_asked_for_all_services_is_asked_once(start: Make) -> None:
    engine = await start(SHARED)
    engine.shop.services = {"trips": 0.0}
    before = len(engine.shop.dealt)
    await engine.ask(RequestKind.ALERT, alert="HighErrorRate", fingerprint="f00d")
    await asyncio.sleep(0.5)
    assert len(engine.shop.dealt) == before + 1


async def test_the_sampling_is_escalated_and_the_action_is_not(start: Make) -> None:
    engine = await start(RARE)
    for number in range(5):
        await engine.ask(RequestKind.ALERT, alert="HighErrorRate", fingerprint=str(number))
    await asyncio.sleep(60)
    assert engine.rollbacks == []
    assert engine.switch.writes == 0


async def test_a_service_that_is_gone_is_no_fault(start: Make) -> None:
    engine = await start(RARE)
    reply = await engine.ask(RequestKind.ALERT, "nowhere", alert="HighErrorRate", fingerprint="f00d")
    assert reply.status == 404
