"""Everything red at once: at most the limit of switches, a handful of pages, each with its end, and no more of either
because the process dies in the middle of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from tests.engine.red import bad, good, nowhere, red_world
from tests.eventually import eventually
from tests.faults.fleet import Fleet
from watchdog.aio.clock import SystemClock
from watchdog.core.audit import verify
from watchdog.core.events import Event, Ticked
from watchdog.core.ladder import Policy, Step
from watchdog.core.message import Message, MessageKind
from watchdog.core.restore import restore_service
from watchdog.core.rollback import RollbackState
from watchdog.core.routing import Route
from watchdog.core.rule import Severity
from watchdog.core.step import step
from watchdog.core.storm import SINGLY
from watchdog.core.storming import restored
from watchdog.core.world import World
from watchdog.engine.reactor import Reactor
from watchdog.store.sqlite import SqliteStore
from watchdog.testing.clock import BASE

T = TypeVar("T")
SERVICES = 1000


class Standing(SystemClock):
    """A clock that stands until it is moved, however slow the machine is; batches are as long as they may be."""

    def __init__(self) -> None:
        super().__init__()
        self.at = BASE

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - BASE).total_seconds()

    def boottime(self) -> float:
        return self.monotonic()

    def stepped(self) -> timedelta:
        return timedelta()


class Life:
    """The engine on a store, from one start to the next."""

    def __init__(self, store: SqliteStore, clock: Standing) -> None:
        self.store, self.clock = store, clock
        self.reactor: Reactor

    async def start(self, world: World) -> None:
        """With what is stored."""
        await self.store.claim(now=self.clock.now())
        saved = await self.store.load(now=self.clock.now())
        incidents = {one.subject: one for one in saved.incidents}
        rollbacks = {one.service: one for one in saved.rollbacks}
        checks = {one.id.service: one for one in saved.checks}
        services = {
            name: restore_service(
                one.service,
                one.rules,
                record=one.record(),
                deployments=one.deployments.values(),
                incidents=of(incidents, name),
                rollbacks=of(rollbacks, name),
                checks=of(checks, name),
            )
            for name, one in world.services.items()
        }
        self.reactor = Reactor(
            store=self.store,
            world=replace(world, services=services, storm=restored(saved.incidents, services)),
            head=saved.head,
            effects=nowhere(self.store, self.clock),
            clock=self.clock,
        )

    async def take(self, *events: Event) -> None:
        """Until the next tick was taken in, too."""
        for event in (*events, Ticked()):
            self.reactor.deliver(event)
        ticks = self.reactor.ticks
        running = asyncio.create_task(self.reactor.run())
        await eventually(lambda: self.reactor.ticks > ticks, within=280, what="a tick")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def told(self) -> list[Message]:
        """Everything that people are to hear, in order."""
        page = await self.store.outbox(limit=200)
        waiting = list(page.items)
        while page.next is not None:
            page = await self.store.outbox(limit=200, cursor=page.next)
            waiting.extend(page.items)
        return [one.message for one in reversed(waiting)]


def of(records: dict[str, T], name: str) -> list[T]:
    """The one of a service, if there is any."""
    return [records[name]] if name in records else []


@asynccontextmanager
async def life(folder: Path) -> AsyncIterator[Life]:
    store = SqliteStore(f"sqlite:///{folder}/watchdog.db")
    await store.open()
    try:
        yield Life(store, Standing())
    finally:
        await store.aclose()


@pytest.mark.timeout(600)
async def test_a_thousand_services_red_in_one_tick_are_three_switches_and_a_handful_of_pages(
    tmp_path: Path,
) -> None:
    async with life(tmp_path) as one:
        world = red_world(SERVICES, BASE)
        names = list(world.services)
        await one.start(world)
        await one.take(*(bad(name, BASE) for name in names))

        rollbacks = list(one.reactor.world.rollbacks())
        assert len(rollbacks) == SERVICES, "each of them was decided about"
        states = Counter(rollback.state for rollback in rollbacks)
        assert states == {RollbackState.INTENDED: 3, RollbackState.BLOCKED: SERVICES - 3}
        told = await one.told()
        assert [message.service for message in told] == [*names[:SINGLY], ""]
        assert told[-1].kind is MessageKind.BREAKER_OPEN
        assert f"{SERVICES} of {SERVICES} services are in trouble at once" in told[-1].headline
        storm = one.reactor.world.storm.incident
        assert storm is not None
        assert storm.subjects == tuple(names[SINGLY:])

        # The process dies; then all of it is seen to be bad again.
        await one.start(world)
        one.clock.at += timedelta(seconds=5)
        await one.take(*(bad(name, one.clock.at) for name in names))
        assert await one.told() == told, "nothing is told twice"

        one.clock.at += timedelta(seconds=5)
        await one.take(*(good(name, one.clock.at) for name in names))
        rest = (await one.told())[len(told) :]
        # Those of which a rollback is under way are not over yet; of the others each ends as it began.
        waiting = {one.service for one in rollbacks if one.state is RollbackState.INTENDED}
        assert {message.kind for message in rest} == {MessageKind.INCIDENT_CLOSED}
        assert sorted(message.service for message in rest) == ["", *sorted(set(names[:SINGLY]) - waiting)]
        assert verify([record async for record in one.store.chain()])[1] is None


@pytest.mark.timeout(120)
def test_a_thousand_services_that_nobody_takes_climb_a_few_ladders_and_not_a_thousand() -> None:
    """For an hour: who was told on its own and the storm each climb; what is folded does not."""
    after = timedelta(minutes=10)
    ladder = (Step(to=("oncall",)), Step(after=after, to=("lead",)), Step(after=2 * after, to=("manager",)))
    policy = Policy(name="production", ladders={Severity.CRITICAL: ladder})
    world = replace(red_world(SERVICES, BASE), routes=(Route(policy=policy),))
    told: list[Message] = []
    for name in list(world.services):
        stepped = step(world, bad(name, BASE), BASE)
        world, told = stepped.world, [*told, *stepped.messages]
    now = BASE
    while now < BASE + timedelta(hours=1):
        stepped = step(world, Ticked(), now)
        world, told = stepped.world, [*told, *stepped.messages]
        now += timedelta(minutes=2)
    climbing = {message.incident for message in told if message.kind is MessageKind.ESCALATED}
    assert 0 < len(climbing) <= SINGLY + 1
    steps = [message for message in told if message.kind is MessageKind.ESCALATED]
    assert len(steps) == 2 * len(climbing), "each step once"
    assert len({message.key for message in told}) == len(told) <= 6 * (SINGLY + 1)


@pytest.mark.timeout(600)
async def test_when_all_services_of_a_real_daemon_turn_red_people_get_a_handful_of_pages_and_each_its_end(
    fleet: Fleet,
) -> None:
    names = [f"shop-{number}" for number in range(SINGLY + 4)]
    for name in names:
        fleet.add(name, source="shared")
    fleet.daemon.settings["limits"] = {"max_rollbacks": "3 per 10m"}
    await fleet.launch()
    await asyncio.gather(*(fleet.watched(service=name) for name in names))

    fleet.turn_bad(service=names[0])

    async def all_decided() -> bool:
        found = await asyncio.gather(*(fleet.rollbacks(name) for name in names))
        return all(found)

    await eventually(all_decided, within=60, every=0.2, what="a decision about every service")
    await eventually(lambda: together(fleet), within=30, what="people told of all of them as one")
    moved = [name for name in names if await fleet.switches(name)]
    assert len(moved) <= 3
    fleet.daemon.kill()
    await fleet.daemon.begin()
    await fleet.looked_at()
    opened = fleet.people.heard("incident_opened")
    alone = {message["service"] for message in opened} - {""}
    assert len(alone) <= SINGLY
    assert len([message for message in opened if message["service"]]) == len(alone)
    assert len(together(fleet)) <= 3, "the storm, the limits, and one more a minute"
    assert fleet.people.heard("rollback_blocked") == []

    fleet.fake.bad["shared"].clear()

    over = await eventually(
        lambda: [one for one in fleet.people.heard("incident_closed") if not one["service"]],
        within=60,
        what="people told that it is over",
    )
    assert len(over) == 1
    assert "are well again" in over[0]["headline"]

    async def each_ended() -> bool:
        return {one["service"] for one in fleet.people.heard("incident_closed")} - {""} == alone

    await eventually(each_ended, within=60, what="an end for everything that was told on its own")
    await fleet.audit_holds()


def together(fleet: Fleet) -> list[dict[str, Any]]:
    """The messages that are about many services."""
    kinds = ("incident_opened", "incident_worsened", "breaker_open")
    return [one for kind in kinds for one in fleet.people.heard(kind) if not one["service"]]
