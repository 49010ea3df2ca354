"""Rules with `match` through the whole engine: one question for all services, each judged by what is its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.engine.loop import Engine
from tests.engine.worlds import ERRORS
from tests.eventually import eventually
from watchdog.core.check import CheckId, Reason
from watchdog.core.observation import Failed, FailReason
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import (
    Against,
    Baseline,
    Direction,
    Level,
    Match,
    Rate,
    Ratio,
    Rule,
    Thresholds,
    Unit,
)

pytestmark = pytest.mark.virtual_time

Make = Callable[..., Awaitable[Engine]]
SHARED = replace(
    ERRORS,
    form=Ratio(bad='requests_total{status=~"5.."}', total="requests_total"),
    match=Match(labels={"service": "name"}),
    interval=timedelta(seconds=10),
)
FEWER = replace(
    SHARED,
    form=Rate(of="requests_total"),
    unit=Unit.COUNT,
    direction=Direction.BELOW,
    thresholds=Thresholds(),
    evidence=None,
    baseline=Baseline(
        against=Against.BEFORE_DEPLOYMENT, margins=Thresholds(warning=0.3, critical=0.5, rollback=0.55)
    ),
)
MANY = tuple(f"service-{number}" for number in range(49))


@pytest.fixture
async def start() -> AsyncIterator[Make]:
    engines: list[Engine] = []

    async def make(rule: Rule = SHARED, **words: Any) -> Engine:
        engines.append(Engine(rules=(rule,), **words))
        await engines[-1].start()
        return engines[-1]

    yield make
    for engine in engines:
        assert engine.failed() is None
        await engine.crash()


def levels(engine: Engine) -> dict[str, Level]:
    return {
        name: state.verdict.level
        for name, service in engine.world.services.items()
        if (state := service.checks.get(CheckId(service=name, rule="errors"))) is not None and state.verdict
    }


async def test_one_question_a_tick_is_asked_for_fifty_services(start: Make) -> None:
    engine = await start(others=MANY)
    await asyncio.sleep(95)

    assert engine.shop.asked == []
    assert 10 <= len(engine.shop.dealt) <= 11
    assert all(set(names) == {"trips", *MANY} for _, names in engine.shop.dealt)
    assert levels(engine) == dict.fromkeys(("trips", *MANY), Level.OK)


async def test_only_the_bad_one_of_many_is_rolled_back(start: Make) -> None:
    engine = await start(others=MANY[:3])
    await engine.stable()
    await engine.deploy()
    engine.shop.services["trips"] = 0.2
    await eventually(lambda: engine.switch.writes == 1, within=120, every=0.05, what="a switch")
    engine.shop.services["trips"] = 0.0
    await eventually(
        lambda: [one.state for one in engine.rollbacks] == [RollbackState.COMPLETED],
        within=120,
        every=0.05,
        what="a rollback that is complete",
    )

    assert all(engine.switches[name].writes == 0 for name in MANY[:3])
    assert [one.service for one in engine.stored_rollbacks] == ["trips"]
    assert engine.chain_holds()


async def test_while_something_hangs_on_one_only_that_one_is_asked_for_more_often(start: Make) -> None:
    engine = await start(others=MANY[:3])
    await engine.stable()
    began = asyncio.get_running_loop().time()
    engine.shop.services["trips"] = 0.012
    await asyncio.sleep(60)
    recent = [names for when, names in engine.shop.dealt if when > began]
    alone = [names for names in recent if len(names) == 1]

    assert alone
    assert all(names == ["trips"] for names in alone)
    assert 5 <= len([names for names in recent if len(names) == 4]) <= 7

    engine.shop.services["trips"] = 0.0
    await asyncio.sleep(60)
    calm = asyncio.get_running_loop().time()
    await asyncio.sleep(60)
    assert all(len(names) == 4 for when, names in engine.shop.dealt if when > calm)


async def test_a_question_that_fails_is_a_failure_for_everybody(start: Make) -> None:
    engine = await start(others=MANY[:3])
    await asyncio.sleep(30)
    engine.shop.failed = Failed(reason=FailReason.TIMEOUT, detail="no answer")
    await asyncio.sleep(15)

    assert levels(engine) == dict.fromkeys(("trips", *MANY[:3]), Level.UNKNOWN)
    reasons = {
        state.verdict and state.verdict.reason
        for one in engine.world.services.values()
        for state in one.checks.values()
    }
    assert reasons == {Reason.TIMEOUT}
    assert engine.world.sources["prometheus"].up is False


async def test_a_service_that_has_no_series_is_the_only_one_without_data(start: Make) -> None:
    engine = await start(others=MANY[:3])
    del engine.shop.services[MANY[0]]
    engine.shop.services["stranger"] = 0.5
    await asyncio.sleep(30)

    assert levels(engine) == {"trips": Level.OK, MANY[0]: Level.UNKNOWN, MANY[1]: Level.OK, MANY[2]: Level.OK}
    assert engine.metric('watchdog_rule_unclaimed{rule="errors"}') == 1


async def test_only_the_one_whose_traffic_fell_since_its_deployment_is_rolled_back(start: Make) -> None:
    engine = await start(FEWER, others=MANY[:3])
    engine.shop.services = dict.fromkeys(engine.services, 1.0)
    await engine.stable()
    await asyncio.sleep(60)
    calm = asyncio.get_running_loop().time()
    await asyncio.sleep(60)
    recent = [names for when, names in engine.shop.dealt if when > calm]
    assert 5 <= len(recent) <= 7
    assert all(len(names) == 4 for names in recent), "what they are compared with is known"

    await engine.deploy()
    engine.shop.services["trips"] = 0.4
    await eventually(lambda: engine.switch.writes == 1, within=120, every=0.05, what="a switch")
    (rollback,) = engine.rollbacks
    assert "400 is 60% below 1000, the median in the 30m before the deployment" in rollback.reason
    engine.shop.services["trips"] = 1.0
    await eventually(
        lambda: [one.state for one in engine.rollbacks] == [RollbackState.COMPLETED],
        within=120,
        every=0.05,
        what="a rollback that is complete",
    )

    assert all(engine.switches[name].writes == 0 for name in MANY[:3])
    assert levels(engine) == dict.fromkeys(("trips", *MANY[:3]), Level.OK)
    assert engine.chain_holds()


async def test_services_of_one_start_are_compared_with_before_it_by_one_question(start: Make) -> None:
    engine = await start(FEWER, others=MANY)
    engine.shop.services = dict.fromkeys(engine.services, 1.0)
    await asyncio.sleep(45)

    later = [(when, names) for when, names in engine.shop.dealt if when > 1]  # all of them are seen by then
    assert len(later) >= 4
    assert len({when for when, _ in later}) == len(later)
    assert all(len(names) == 50 for _, names in later)
    assert levels(engine) == dict.fromkeys(engine.services, Level.OK)
