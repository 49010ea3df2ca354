"""Three kill switches, each set at every instant between the decision and the write: zero switches.

An instant is one step of the loop. The pause file and the API are looked at right before the write: what is set after
that look is too late for a write that is on its way, and in time for every later one. A mark on the target is found by
the write itself: there is no instant at which it is too late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.engine.test_executor import Hasty, Rig
from tests.engine.worlds import intent
from watchdog.core.errors import SwitchConflict, SwitchUnknown
from watchdog.core.events import Outcome, OutcomeKind
from watchdog.core.guards import GuardFacts
from watchdog.core.rollback import Rollback
from watchdog.core.traffic import Tier, TrafficState
from watchdog.core.turn import Pause
from watchdog.testing.clock import BASE
from watchdog.testing.traffic import FakeSwitch

pytestmark = pytest.mark.virtual_time

#: More steps of the loop than any intent here takes.
ENOUGH = 200


class Watched(Rig):
    """It also says when the guards are asked."""

    def __init__(self, tier: Tier) -> None:
        super().__init__(tier, clock=Hasty())

    def _facts(self, rollback: Rollback, state: TrafficState, paused: str) -> GuardFacts:
        self.said.append("asked")
        return super()._facts(rollback, state, paused)

    @property
    def on_its_way(self) -> bool:
        """Whether a write was allowed and nobody knows its outcome yet."""
        return self.said[-1:] in (["asked"], ["apply"])


def by_file(rig: Watched) -> None:
    rig.pause = "the pause file exists"


def by_api(rig: Watched) -> None:
    service = rig.world.services["trips"]
    paused = replace(service, paused=Pause(by="alice", at=BASE, reason="enough"))
    rig.world = replace(rig.world, services={"trips": paused})


def by_mark(rig: Watched) -> None:
    rig.switch.pause("by bob")


SWITCHES = {"file": by_file, "api": by_api, "mark": by_mark}
STORIES: dict[str, Callable[[FakeSwitch], None]] = {
    "a free way": lambda _: None,
    "a conflict before": lambda switch: switch.fail_apply(SwitchConflict("somebody touched an annotation")),
    "a lost write before": lambda switch: switch.fail_apply(SwitchUnknown("the answer was lost")),
}
INTENTS: dict[str, dict[str, Any]] = {
    "automatic": {},
    "of a person": {"automatic": False, "key": "manual:req-1"},
}
tiers = pytest.mark.parametrize("tier", list(Tier))
set_by = pytest.mark.parametrize("kill", list(SWITCHES))
stories = pytest.mark.parametrize("story", list(STORIES))
whose = pytest.mark.parametrize("intended", list(INTENTS))


async def carried_out(
    rig: Watched, kill: Callable[[Watched], None] | None, after: int, rollback: Rollback, *, resumed: bool
) -> tuple[Outcome, bool, int]:
    """The outcome, and what was on its way and written when the kill switch was set after so many steps."""
    await rig.leadership.acquire()
    rig.executor.submit(rollback, resumed=resumed)
    for _ in range(after):
        await asyncio.sleep(0)
    on_its_way, written = rig.on_its_way, rig.switch.writes
    if kill is not None:
        kill(rig)
    for _ in range(ENOUGH):
        if rig.outcomes:
            break
        await asyncio.sleep(0)
    return await rig.outcome(), on_its_way, written


async def steps(tier: Tier, story: str, rollback: Rollback) -> int:
    """How many steps of the loop the whole story takes when nobody stops it."""
    for number in range(ENOUGH):
        rig = Watched(tier)
        STORIES[story](rig.switch)
        await rig.leadership.acquire()
        rig.executor.submit(rollback)
        for _ in range(number):
            await asyncio.sleep(0)
        done = bool(rig.outcomes)
        await rig.executor.crew.stop()
        if done:
            return number
    raise AssertionError("it never ends")


@tiers
@set_by
@stories
@whose
async def test_a_kill_switch_set_at_any_instant_before_the_write_leaves_zero_switches(
    tier: Tier, kill: str, story: str, intended: str
) -> None:
    rollback = intent(**INTENTS[intended])
    stopped = 0
    for number in range(await steps(tier, story, rollback)):
        rig = Watched(tier)
        STORIES[story](rig.switch)
        outcome, on_its_way, written = await carried_out(rig, SWITCHES[kill], number, rollback, resumed=False)
        too_late = written or (on_its_way and kill != "mark")
        if not too_late:
            stopped += 1
            assert rig.switch.writes == 0, f"set after {number} steps"
            assert outcome.kind is OutcomeKind.VETOED
            assert [veto.guard for veto in outcome.vetoes] == ["paused"]
            assert rig.switch.state.live == ("green",)
        assert rig.switch.writes <= 1
    assert stopped >= 3, "there are instants at which it is in time"


@tiers
@set_by
async def test_an_intent_that_an_earlier_process_left_is_stopped_as_well(tier: Tier, kill: str) -> None:
    for number in range(4):
        rig = Watched(tier)
        outcome, on_its_way, written = await carried_out(rig, SWITCHES[kill], number, intent(), resumed=True)
        if not written and (kill == "mark" or not on_its_way):
            assert (rig.switch.writes, outcome.kind) == (0, OutcomeKind.VETOED)


@tiers
@set_by
async def test_set_before_the_decision_was_carried_out_nothing_is_even_tried(tier: Tier, kill: str) -> None:
    rig = Watched(tier)
    SWITCHES[kill](rig)
    outcome = await rig.carry_out()
    assert outcome.kind is OutcomeKind.VETOED
    assert rig.applies == 0
    assert rig.said == ["read", "pause", "asked"]


@tiers
async def test_all_three_at_once_are_all_named(tier: Tier) -> None:
    rig = Watched(tier)
    for kill in SWITCHES.values():
        kill(rig)
    outcome = await rig.carry_out()
    assert outcome.detail == (
        "the pause file exists; paused by alice: enough; paused by a mark on the target: by bob"
    )


@tiers
async def test_a_mark_that_is_set_while_the_write_is_on_its_way_is_found_by_the_write(tier: Tier) -> None:
    rig, gate = Watched(tier), asyncio.Event()
    rig.switch.hold_apply(gate)
    await rig.leadership.acquire()
    rig.executor.submit(intent())
    for _ in range(20):
        await asyncio.sleep(0)
    assert rig.said[-1] == "apply"
    rig.switch.pause("by bob")
    gate.set()
    outcome = await rig.outcome()
    assert outcome.kind is OutcomeKind.VETOED
    assert outcome.detail == "paused by a mark on the target: by bob"
    assert rig.switch.writes == 0


@tiers
@set_by
async def test_when_the_kill_switch_is_gone_the_same_intent_can_be_carried_out(tier: Tier, kill: str) -> None:
    rig = Watched(tier)
    SWITCHES[kill](rig)
    assert (await rig.carry_out()).kind is OutcomeKind.VETOED
    rig.pause = ""
    rig.switch.pause("")
    rig.world = replace(rig.world, services={"trips": replace(rig.world.services["trips"], paused=None)})
    rig.outcomes.clear()
    assert (await rig.carry_out()).kind is OutcomeKind.APPLIED
    assert rig.switch.writes == 1
