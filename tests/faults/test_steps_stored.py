"""A store in which somebody wrote: the daemon starts or says why not, touches nothing, and all has a way out (D17)."""

from __future__ import annotations

import asyncio
import copy
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from msgspec.structs import replace

from tests.core.scenario import OK, Scenario
from tests.engine.loop import Engine
from tests.faults.fleet import Fleet
from tests.faults.test_store import refuses_to_start
from watchdog.core.checks import checks_of
from watchdog.core.errors import StoreError
from watchdog.core.events import OutcomeKind
from watchdog.core.observation import Value
from watchdog.core.request import RequestKind
from watchdog.core.rollback import ENDS, RollbackState
from watchdog.core.service import Mode
from watchdog.testing.store import MemoryData

OPEN = sorted(set(RollbackState) - ENDS)
#: What a rollback can be without and still be read.
DEADLINES = ("expires_at", "intended_at", "applied_at", "contest_until", "verify_until", "change", "incident")
STORIES: dict[str, Callable[[], Scenario]] = {
    "before the switch": lambda: Scenario().decided(),
    "asked": lambda: Scenario(mode=Mode.APPROVE).decided(),
    "after the switch": lambda: Scenario().verified(),
}


def found_in(story: Scenario, state: RollbackState, *, without: tuple[str, ...]) -> Scenario:
    """A start that finds the rollback in this state, without what these fields say."""
    odd = replace(story.rollback, state=state, **dict.fromkeys(without))
    service = replace(story.service, rollbacks={odd.id: odd})
    story.world = replace(story.world, services={story.name: service})
    return story.restart()


def time_passes(story: Scenario, minutes: int) -> None:
    """All is well from now on; what the executor gets, it never gets done."""
    story.looks_every = 100
    for _ in range(minutes):
        story.after("60s")
        for check in checks_of(story.service):
            story.sees(check, Value(value=OK, at=story.now))
        story.traffic().tick()
        for one in list(story.service.rollbacks.values()):
            if (
                one.state is RollbackState.INTENDED
                and one.expires_at is not None
                and story.now > one.expires_at
            ):
                story.outcome(OutcomeKind.LAPSED, rollback=one.id, detail="too old")


@pytest.mark.parametrize("without", [(), DEADLINES], ids=["whole", "without deadlines"])
@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize("name", STORIES)
def test_every_state_that_can_be_stored_comes_to_an_end_by_itself(
    name: str, state: RollbackState, without: tuple[str, ...]
) -> None:
    story = found_in(STORIES[name](), state, without=without)
    time_passes(story, 75)
    (rollback,) = story.service.rollbacks.values()
    assert rollback.over, f"stays {rollback.state}"
    assert story.service.incidents == {}


@pytest.mark.parametrize("state", sorted(set(OPEN) - {RollbackState.INTENDED}))
@pytest.mark.parametrize("name", STORIES)
def test_every_state_that_can_be_stored_gives_way_to_a_person(name: str, state: RollbackState) -> None:
    """But the intent, which the executor has: that ends in five minutes."""
    story = found_in(STORIES[name](), state, without=DEADLINES)
    first = story.rollback.id
    story.ask(RequestKind.MARK_GOOD, version="green", reason="I know better")
    story.ask(RequestKind.MARK_GOOD, version="blue", reason="I know better")
    live = story.service.traffic.live[0] if story.service.traffic else ""
    other = "blue" if live == "green" else "green"
    reply = story.after("1s").ask(RequestKind.ROLLBACK, to=other, reason="enough")
    assert reply.status == 202, reply.detail
    assert story.service.rollbacks[first].over


def spoilt(document: dict[str, Any], rng: random.Random) -> str:
    """A record in which one or two things are not what they were, or that is no record any more."""
    for _ in range(rng.randint(1, 2)):
        field = rng.choice(sorted(document))
        document[field] = rng.choice(
            (
                None,
                "",
                "nonsense",
                -1,
                [],
                {},
                "2026-03-02T10:00:00Z",
                sorted(RollbackState)[rng.randint(0, 15)],
            )
        )
        if rng.random() < 0.2:
            del document[field]
    text = json.dumps(document)
    return text[: rng.randint(0, len(text))] if rng.random() < 0.1 else text


async def blocked() -> MemoryData:
    """v2 is bad and live, and nothing may be switched: somebody paused."""
    engine = Engine()
    await engine.start()
    await engine.stable()
    engine.pause = "the pause file exists"
    await engine.deploy()
    await asyncio.sleep(60)
    assert [one.state for one in engine.rollbacks] == [RollbackState.BLOCKED]
    return await engine.crash()


@pytest.mark.virtual_time
@pytest.mark.timeout(120)
async def test_whatever_is_written_into_the_store_nothing_is_touched_while_somebody_paused() -> None:
    data, started, refused = await blocked(), 0, list[str]()
    for seed in range(60):
        rng = random.Random(seed)
        changed = copy.deepcopy(data)
        table = rng.choice((changed.rollbacks, changed.rollbacks, changed.deployments, changed.incidents))
        row = table[rng.choice(sorted(table))]
        row["doc"] = spoilt(json.loads(row["doc"]), rng)
        engine = Engine(data=changed)
        engine.pause = "the pause file exists"
        engine.switch.move({"green": 100})
        try:
            await engine.start()
        except StoreError as error:
            refused.append(error.advice)
            continue
        started += 1
        await asyncio.sleep(30)
        assert engine.failed() is None, f"seed {seed}"
        assert engine.switch.writes == 0, f"seed {seed}"
        assert engine.chain_holds()
        await engine.crash()
    assert started >= 10
    assert len(refused) >= 10
    assert all("restore a backup" in advice for advice in refused)


@pytest.mark.timeout(60)
async def test_a_state_that_nobody_knows_is_told_at_the_start_and_nothing_is_touched(fleet: Fleet) -> None:
    fleet.add("trips")
    await fleet.launch()
    await fleet.watched("v2")
    fleet.daemon.kill()
    with closing(sqlite3.connect(fleet.daemon.store)) as database, database:
        changed = 'UPDATE deployments SET doc = replace(doc, \'"state":"\', \'"state":"un\')'
        assert database.execute(changed).rowcount > 0
    fleet.turn_bad("v2")
    await refuses_to_start(fleet, "a stored Deployment cannot be read", "restore a backup of the store")
