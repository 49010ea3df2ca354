"""The reactor puts what can wait into groups, and remembers over its turns when each leaves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.core.scenario import rule
from tests.core.scenario import service as plain_service
from tests.engine.test_reactor import Rig, asks
from tests.engine.worlds import world
from watchdog.core.events import TrafficSeen
from watchdog.core.message import MessageKind, Outgoing
from watchdog.core.request import RequestKind
from watchdog.core.routing import Gather, Route
from watchdog.core.traffic import TrafficState, VariantState
from watchdog.core.world import ServiceWorld, World
from watchdog.testing.clock import BASE

pytestmark = pytest.mark.virtual_time

WAIT = timedelta(seconds=30)
ROUTES = (Route(to=("ops",), notices=("chat",), gather=Gather(by=("environment",), wait=WAIT)),)


def two() -> World:
    rules = (rule(),)
    worlds = (
        ServiceWorld(service=plain_service(name, rules), rules={one.name: one for one in rules})
        for name in ("trips", "cart")
    )
    return world(*worlds, routes=ROUTES)


def traffic(rig: Rig, live: str) -> TrafficState:
    spots = {name: VariantState(weight=int(name == live), ready=1, total=1) for name in ("blue", "green")}
    return TrafficState(variants=spots, revision=live, read_at=rig.clock.now())


def notices(rig: Rig) -> list[Outgoing]:
    rows = (row for turn in rig.store.commits for row in turn.outbox)
    return [row for row in rows if row.message.kind is MessageKind.DEPLOYMENT_WATCHED]


async def test_what_can_wait_leaves_together_whatever_turn_it_came_from() -> None:
    rig = await Rig(two()).open()
    for live in ("blue", "green"):
        for name in ("trips", "cart"):
            await rig.reactor.turn(TrafficSeen(service=name, state=traffic(rig, live)))
            await rig.clock.sleep(5)

    first, second = notices(rig)
    assert {first.message.service, second.message.service} == {"trips", "cart"}
    assert (first.group, first.due_at) == (second.group, second.due_at)
    assert first.group
    assert first.due_at == first.message.created_at + WAIT
    assert second.message.created_at > first.message.created_at


async def test_what_waits_for_nobody_leaves_at_once() -> None:
    rig = await Rig(two()).open()
    await rig.reactor.turn(asks(RequestKind.PAUSE))

    (row,) = rig.store.commits[0].outbox
    assert (row.group, row.due_at) == ("", BASE)
