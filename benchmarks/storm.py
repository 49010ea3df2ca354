"""A thousand services turn red at the same moment: how long until it is decided, on disk, and a message is due.

The reactor, the store on a real file and the outbox are the product's own; nothing is switched and nothing is sent.
Every service has a version that was deployed a minute ago and a good one to go back to, so that each is decided about.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory

from tests.engine.red import bad, nowhere, red_world
from tests.eventually import eventually
from watchdog.aio.clock import SystemClock
from watchdog.core.audit import ChainHead
from watchdog.core.events import Ticked
from watchdog.core.message import MessageKind
from watchdog.core.rollback import RollbackState
from watchdog.engine.reactor import Reactor
from watchdog.store.sqlite import SqliteStore


@dataclass(slots=True, kw_only=True)
class Storm:
    """What came of it: all is decided, on disk, and every message due so many seconds after the answers arrived.

    `spent` are seconds of processor time. `told` counts messages by kind.
    """

    services: int
    spent: float
    told_after: float
    intended: int
    blocked: int
    told: Counter[MessageKind] = field(default_factory=Counter)


async def measure(services: int) -> Storm:
    """Let so many turn red at once."""
    with TemporaryDirectory(prefix="storm-") as folder:
        store = SqliteStore(f"sqlite:///{folder}/watchdog.db")
        await store.open()
        await store.claim(now=datetime.now(UTC))
        try:
            return await _measure(store, services)
        finally:
            await store.aclose()


async def _measure(store: SqliteStore, services: int) -> Storm:
    clock = SystemClock()
    world = red_world(services, clock.now())
    reactor = Reactor(store=store, world=world, head=ChainHead(), effects=nowhere(store, clock), clock=clock)
    running = asyncio.create_task(reactor.run())
    reactor.deliver(Ticked())
    await eventually(lambda: reactor.ticks, within=120, every=0.002, what="a tick of a quiet world")
    began, spent = time.perf_counter(), time.process_time()
    for name in world.services:
        reactor.deliver(bad(name, clock.now()))
    reactor.deliver(Ticked())
    await eventually(lambda: reactor.ticks == 2, within=120, every=0.002, what="a tick")
    told_after, spent = time.perf_counter() - began, time.process_time() - spent
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    rollbacks = list(reactor.world.rollbacks())
    due = await store.due(now=clock.now() + timedelta(days=1), limit=10 * services)
    return Storm(
        services=services,
        spent=spent,
        told_after=told_after,
        intended=sum(one.state is RollbackState.INTENDED for one in rollbacks),
        blocked=sum(one.state is RollbackState.BLOCKED for one in rollbacks),
        told=Counter(one.message.kind for one in due),
    )


if __name__ == "__main__":
    print(asyncio.run(measure(1000)))
