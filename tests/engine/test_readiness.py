"""The standby goes away while a new version is watched: the gauge falls, and people hear of it before an incident."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.engine.loop import Engine
from watchdog.core.message import Message, MessageKind
from watchdog.core.rule import Severity

pytestmark = pytest.mark.virtual_time

READY = 'watchdog_rollback_ready{service="trips"}'


def restarted(before: Engine) -> Engine:
    """A new process on the same store and switch; what is new must prove itself for an hour."""
    engine = Engine(data=before.store.data, switch=before.switch)
    service = engine.services["trips"]
    policy = replace(service.rollback, soak=timedelta(hours=1))
    engine.services["trips"] = replace(service, rollback=policy)
    engine.shop.shares = {"v1": 0.0, "v2": 0.0}
    return engine


@pytest.fixture
async def watched() -> AsyncIterator[Engine]:
    """v2 is live and well and far from proved; v1 stands by."""
    first = Engine()
    await first.start()
    await first.stable()
    await first.crash()
    engine = restarted(first)
    await engine.start()
    await engine.deploy()
    await asyncio.sleep(60)
    yield engine
    assert engine.failed() is None
    await engine.crash()


def heard(engine: Engine) -> list[Message]:
    """What people heard that is new to them, in order."""
    sent = [attempt.message for attempt in engine.channels["ops"].attempts]
    return [one for one in sent if one.kind in (MessageKind.INCIDENT_OPENED, MessageKind.INCIDENT_CLOSED)]


async def test_people_hear_within_five_minutes_that_a_rollback_would_fail_and_the_gauge_says_so_at_once(
    watched: Engine,
) -> None:
    assert watched.metric(READY) == 1
    watched.switch.observe("blue", ready=0, total=1)
    await asyncio.sleep(30)
    assert watched.metric(READY) == 0

    await asyncio.sleep(270)

    (message,) = heard(watched)
    assert message.severity is Severity.LOW
    assert "v2 in production could not be rolled back now: target_ready: blue has 0 ready" in message.headline
    assert "Start the standby again" in message.next_step
    assert (watched.switch.writes, watched.rollbacks) == (0, [])
    assert watched.chain_holds()


async def test_a_restart_tells_it_no_second_time_and_its_end_is_told(watched: Engine) -> None:
    watched.switch.observe("blue", ready=0, total=1)
    await asyncio.sleep(300)
    (opened,) = heard(watched)
    await watched.crash()

    again = restarted(watched)
    await again.start()
    await asyncio.sleep(300)
    assert heard(again) == []
    again.switch.observe("blue", ready=1, total=1)
    await asyncio.sleep(300)

    (closed,) = heard(again)
    assert (closed.kind, closed.incident) == (MessageKind.INCIDENT_CLOSED, opened.incident)
    assert again.metric(READY) == 1
    await again.crash()


async def test_a_standby_that_is_there_is_nothing_to_tell(watched: Engine) -> None:
    await asyncio.sleep(200)
    assert heard(watched) == []
    assert watched.metric(READY) == 1
