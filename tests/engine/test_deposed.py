"""Whoever lost the lead: what is in the outbox is the next leader's to send."""

from __future__ import annotations

import asyncio
import random

import pytest

from watchdog.core.message import Message, MessageKind, Outgoing, OutgoingState
from watchdog.core.rule import Severity
from watchdog.core.turn import Turn
from watchdog.engine.dispatcher import Dispatcher
from watchdog.testing.channels import FakeChannel
from watchdog.testing.clock import BASE, LoopClock
from watchdog.testing.store import MemoryStore

pytestmark = pytest.mark.virtual_time


async def test_nothing_of_the_outbox_is_sent_after_the_lead_was_lost() -> None:
    store, channel, leads = MemoryStore(), FakeChannel(), [True]
    await store.open()
    await store.claim(now=BASE)
    dispatcher = Dispatcher(
        store, {"ops": channel}, clock=LoopClock(), rng=random.Random(1), may_send=lambda: leads[0]
    )
    running = asyncio.create_task(dispatcher.run())
    try:
        await store.commit(Turn(outbox=(message("first"),)))
        dispatcher.wake()
        await asyncio.sleep(5)
        assert [one.key for one in channel.attempts] == ["first@ops"]
        leads[0] = False
        await store.commit(Turn(outbox=(message("second"),)))
        dispatcher.wake()
        await asyncio.sleep(300)
        assert [one.key for one in channel.attempts] == ["first@ops"]
        (row,) = await store.due(now=BASE)
        assert (row.key, row.state, row.attempts) == ("second@ops", OutgoingState.PENDING, 0)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def message(key: str) -> Outgoing:
    told = Message(
        key=key,
        kind=MessageKind.INCIDENT_OPENED,
        severity=Severity.HIGH,
        headline=f"headline of {key}",
        created_at=BASE,
    )
    return Outgoing(key=f"{key}@ops", channel="ops", message=told, due_at=BASE)
