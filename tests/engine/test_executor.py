from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.engine.worlds import intent, service, variants, world
from tests.eventually import eventually
from watchdog.core.attempt import GRACE, WRITES
from watchdog.core.errors import (
    SwitchConflict,
    SwitchError,
    SwitchRejected,
    SwitchUnknown,
    SwitchUnreachable,
)
from watchdog.core.events import Outcome, OutcomeKind
from watchdog.core.facts import facts_before_write
from watchdog.core.guards import BEFORE_WRITE, GuardFacts, ask
from watchdog.core.rollback import Rollback
from watchdog.core.traffic import Change, Tier, TrafficState
from watchdog.engine.executor import LIMIT, Executor
from watchdog.leader.single import SingleLeadership
from watchdog.testing.clock import BASE, LoopClock
from watchdog.testing.traffic import FakeSwitch, Moment

pytestmark = pytest.mark.virtual_time

EXPIRY = 300.0
tiers = pytest.mark.parametrize("tier", list(Tier))


def now() -> float:
    return asyncio.get_running_loop().time()


class Between:
    """The fake switch, with an await before and after whatever it does, and a fault of the provider on demand."""

    def __init__(self, inner: FakeSwitch, said: list[str]) -> None:
        self.inner = inner
        self.said = said
        self.read_faults: list[Callable[[], Awaitable[None]]] = []
        self.apply_faults: list[Callable[[], Awaitable[None]]] = []

    @property
    def tier(self) -> Tier:
        return self.inner.tier

    @property
    def identity(self) -> str:
        return self.inner.identity

    async def read(self) -> TrafficState:
        self.said.append("read")
        await asyncio.sleep(0)
        if self.read_faults:
            await self.read_faults.pop(0)()
        state = await self.inner.read()
        await asyncio.sleep(0)
        return state

    async def inspect(self) -> str | None:
        return await self.inner.inspect()

    async def apply(self, change: Change) -> TrafficState:
        self.said.append("apply")
        await asyncio.sleep(0)
        state = await self.inner.apply(change)
        await asyncio.sleep(0)
        if self.apply_faults:
            await self.apply_faults.pop(0)()
        return state

    async def aclose(self) -> None:
        await self.inner.aclose()


async def broken() -> None:
    raise RuntimeError("a fault in the provider")


async def hangs() -> None:
    await asyncio.Event().wait()


async def cancels_itself() -> None:
    raise asyncio.CancelledError


class Hasty(LoopClock):
    """Its pauses take no time, so that every await is one step of the loop."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Rig:
    """An executor over a fake switch, with the real guards; `said` is what it did, in order."""

    def __init__(self, tier: Tier = Tier.A, *, clock: LoopClock | None = None) -> None:
        self.clock = clock or LoopClock()
        self.switch = FakeSwitch(variants(), tier=tier, clock=LoopClock().now)
        self.said: list[str] = []
        self.outer = Between(self.switch, self.said)
        self.pause = ""
        self.leadership = SingleLeadership()
        self.world = world(service(), leader=True)
        self.outcomes: list[Outcome] = []
        self.executor = self.make()

    def make(self) -> Executor:
        """A new one, as after a restart."""
        self.executor = Executor(
            switches={"trips": self.outer},
            facts=self._facts,
            paused=self._paused,
            epoch=9,
            deliver=self.outcomes.append,
            clock=self.clock,
        )
        return self.executor

    def _facts(self, rollback: Rollback, state: TrafficState, paused: str) -> GuardFacts:
        current = replace(self.world, leader=self.leadership.is_leader)
        return facts_before_write(current, rollback, state, now=LoopClock().now(), paused_by_file=paused)

    async def _paused(self) -> str:
        await asyncio.sleep(0)
        self.said.append("pause")
        return self.pause

    async def carry_out(self, rollback: Rollback | None = None, *, resumed: bool = False) -> Outcome:
        """Submit, and wait for the one outcome."""
        await self.leadership.acquire()
        self.executor.submit(rollback or intent(), resumed=resumed)
        return await self.outcome()

    async def outcome(self) -> Outcome:
        assert await self.executor.crew.finish(timedelta(hours=2)) == ()
        assert len(self.outcomes) == 1, self.outcomes
        return self.outcomes[0]

    async def wrote(self) -> None:
        """Wait for the first write; not a moment longer."""
        await eventually(lambda: self.applies, every=0, what="a write")

    async def crash(self, steps: int) -> bool:
        """Let it come so many steps far, then end it; false when it was done before."""
        for _ in range(steps):
            await asyncio.sleep(0)
        done = bool(self.outcomes)
        await self.executor.crew.stop()
        return not done

    @property
    def applies(self) -> int:
        return sum(call.kind == "apply" for call in self.switch.calls)

    def reads_before_writes(self) -> bool:
        """Every write comes right after a read and a look at the pause file."""
        return all(
            self.said[place - 2 : place] == ["read", "pause"]
            for place, what in enumerate(self.said)
            if what == "apply"
        )


@pytest.fixture
def rig() -> Rig:
    return Rig()


@tiers
async def test_a_free_way_is_read_asked_written_and_reported(tier: Tier) -> None:
    rig = Rig(tier)
    outcome = await rig.carry_out()
    assert outcome.kind is OutcomeKind.APPLIED
    assert rig.said == ["read", "pause", "apply"]
    assert rig.switch.writes == outcome.attempts == 1
    assert outcome.before is not None
    assert outcome.before.live == ("green",)
    assert outcome.state is not None
    assert outcome.state.live == rig.switch.state.live == ("blue",)
    assert outcome.at == BASE


async def test_a_target_that_can_carry_it_is_marked_with_the_intent_and_the_newest_epoch(rig: Rig) -> None:
    await rig.carry_out()
    assert (rig.switch.mark, rig.switch.epoch) == ("rb-1", 9)


async def test_the_write_expects_the_revision_just_read_not_the_one_decided_on(rig: Rig) -> None:
    rig.switch.move({"green": 90})
    await rig.carry_out()
    change = next(call.change for call in rig.switch.calls if call.kind == "apply")
    assert change is not None
    assert change.expect == "r2"


@tiers
async def test_an_unreachable_switch_is_asked_again_until_it_answers(tier: Tier) -> None:
    rig = Rig(tier)
    for _ in range(4):
        rig.switch.fail_read(SwitchUnreachable("refused"))
    rig.switch.fail_apply(SwitchUnreachable("reset"))
    assert (await rig.carry_out()).kind is OutcomeKind.APPLIED
    assert rig.switch.writes == 1
    assert rig.reads_before_writes()
    assert now() == pytest.approx(0.2 + 0.4 + 0.8 + 1.6 + 3.2)


async def test_pauses_between_attempts_never_grow_beyond_five_seconds(rig: Rig) -> None:
    for _ in range(12):
        rig.switch.fail_read(SwitchUnreachable("refused"))
    await rig.carry_out()
    assert now() == pytest.approx(0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 7 * 5.0)


@tiers
async def test_a_conflict_without_a_foreign_change_is_read_and_written_again(tier: Tier) -> None:
    rig = Rig(tier)
    rig.switch.fail_apply(SwitchConflict("somebody touched an annotation"))
    outcome = await rig.carry_out()
    assert (outcome.kind, rig.switch.writes, outcome.attempts) == (OutcomeKind.APPLIED, 1, 2)
    assert rig.reads_before_writes()


@tiers
async def test_a_conflict_because_a_person_moved_traffic_is_left_to_him(tier: Tier) -> None:
    rig, gate = Rig(tier), asyncio.Event()
    rig.switch.hold_apply(gate)
    await rig.leadership.acquire()
    rig.executor.submit(intent())
    await asyncio.sleep(1)
    rig.switch.move({"red": 100})
    gate.set()
    outcome = await rig.outcome()
    assert outcome.kind is OutcomeKind.OVERTAKEN
    assert rig.switch.writes == 0
    assert rig.switch.state.live == ("red",)


@tiers
async def test_a_refusal_ends_it(tier: Tier) -> None:
    rig = Rig(tier)
    rig.switch.fail_apply(SwitchRejected("no right to do so"))
    outcome = await rig.carry_out()
    assert (outcome.kind, outcome.detail) == (OutcomeKind.REFUSED, "no right to do so")
    assert rig.applies == 1


@tiers
async def test_an_unknown_outcome_that_took_effect_is_found_by_reading(tier: Tier) -> None:
    rig = Rig(tier)
    rig.switch.fail_apply(SwitchUnknown("the answer was lost"), at=Moment.AFTER)
    outcome = await rig.carry_out()
    assert outcome.kind is OutcomeKind.APPLIED
    assert rig.switch.writes == rig.applies == 1
    assert rig.said == ["read", "pause", "apply", "read"]


@tiers
async def test_an_unknown_outcome_without_effect_is_written_again_after_a_read(tier: Tier) -> None:
    rig = Rig(tier)
    rig.switch.fail_apply(SwitchUnknown("the answer was lost"), at=Moment.BEFORE)
    outcome = await rig.carry_out()
    assert (outcome.kind, rig.applies, rig.switch.writes) == (OutcomeKind.APPLIED, 2, 1)
    assert rig.reads_before_writes()


@tiers
async def test_a_lost_answer_and_then_an_unreadable_switch_is_still_found_done(tier: Tier) -> None:
    rig = Rig(tier)
    rig.switch.fail_apply(SwitchUnknown("the answer was lost"), at=Moment.AFTER)
    await rig.leadership.acquire()
    rig.executor.submit(intent())
    await rig.wrote()
    for _ in range(3):
        rig.switch.fail_read(SwitchUnreachable("restarting"))
    assert (await rig.outcome()).kind is OutcomeKind.APPLIED
    assert rig.switch.writes == 1


@tiers
async def test_a_target_that_is_not_ready_any_more_is_not_written(tier: Tier) -> None:
    rig, gate = Rig(tier), asyncio.Event()
    rig.switch.hold_read(gate)
    await rig.leadership.acquire()
    rig.executor.submit(intent())
    await asyncio.sleep(0.1)
    rig.switch.observe("blue", ready=0, total=1)
    gate.set()
    outcome = await rig.outcome()
    assert outcome.kind is OutcomeKind.VETOED
    assert [veto.guard for veto in outcome.vetoes] == ["target_ready"]
    assert rig.applies == 0


@tiers
async def test_a_target_that_is_not_shown_for_a_moment_does_not_end_the_rollback_quietly(tier: Tier) -> None:
    """The bad version still serves. People hear of the guards' no, and it is tried again."""
    rig = Rig(tier)
    without = {name: spot for name, spot in variants().items() if name != "blue"}
    rig.outer.inner = FakeSwitch(without, tier=tier, clock=LoopClock().now)
    outcome = await rig.carry_out()
    assert outcome.kind is OutcomeKind.VETOED
    assert [veto.guard for veto in outcome.vetoes] == ["known_good_target", "target_ready"]
    assert rig.applies == 0


@tiers
async def test_a_pause_set_after_the_decision_stops_the_write(tier: Tier) -> None:
    rig, gate = Rig(tier), asyncio.Event()
    rig.switch.hold_read(gate, at=Moment.AFTER)
    await rig.leadership.acquire()
    rig.executor.submit(intent())
    await asyncio.sleep(0.1)
    rig.pause = "the pause file exists"
    gate.set()
    outcome = await rig.outcome()
    assert (outcome.kind, outcome.detail) == (OutcomeKind.VETOED, "the pause file exists")
    assert outcome.facts is not None
    assert ask(outcome.facts, BEFORE_WRITE) == outcome.vetoes
    assert rig.applies == 0


async def test_the_pause_file_is_looked_at_again_before_each_write(rig: Rig) -> None:
    rig.switch.fail_apply(SwitchConflict("moved"))
    await rig.leadership.acquire()
    rig.executor.submit(intent())
    await rig.wrote()
    rig.pause = "the pause file exists"
    assert (await rig.outcome()).kind is OutcomeKind.VETOED
    assert rig.applies == 1
    assert rig.switch.writes == 0


async def test_who_lost_the_lead_does_not_write(rig: Rig) -> None:
    rig.executor.submit(intent())
    outcome = await rig.outcome()
    assert outcome.kind is OutcomeKind.VETOED
    assert [veto.guard for veto in outcome.vetoes] == ["leader"]


@tiers
@pytest.mark.parametrize("person", [{"blue": 100}, {"red": 100}])
async def test_whoever_moves_traffic_at_any_moment_has_the_last_word(
    tier: Tier, person: dict[str, int]
) -> None:
    for steps in range(60):
        rig = Rig(tier)
        await rig.leadership.acquire()
        rig.executor.submit(intent())
        for _ in range(steps):
            await asyncio.sleep(0)
        ended = bool(rig.outcomes)
        ours = rig.switch.writes
        rig.switch.move(person)
        outcome = await rig.outcome()
        assert rig.switch.writes == ours, f"written after the person's move at step {steps}"
        assert rig.switch.state.live == tuple(person)
        if not ours and person == {"red": 100}:
            assert outcome.kind is OutcomeKind.OVERTAKEN, steps
        if not ours:  # the switch may find the same move in place already
            assert outcome.kind in {OutcomeKind.OVERTAKEN, OutcomeKind.APPLIED}, steps
        if ended:
            assert steps > 5
            return
    pytest.fail("it never came to an end")


@tiers
async def test_an_intent_that_cannot_begin_in_time_lapses(tier: Tier) -> None:
    rig = Rig(tier)
    rig.switch.vanish()
    outcome = await rig.carry_out()
    assert outcome.kind is OutcomeKind.LAPSED
    assert "gone" in outcome.detail
    assert EXPIRY <= now() <= EXPIRY + 5
    assert rig.applies == 0


async def test_an_intent_that_is_found_too_old_lapses_though_the_switch_answers(rig: Rig) -> None:
    await asyncio.sleep(EXPIRY)
    outcome = await rig.carry_out()
    assert (outcome.kind, outcome.detail) == (OutcomeKind.LAPSED, "the intent is too old")
    assert rig.applies == 0


@tiers
async def test_nothing_lapses_while_something_of_ours_may_be_in_place(tier: Tier) -> None:
    rig = Rig(tier)
    rig.switch.fail_apply(SwitchUnknown("the answer was lost"), at=Moment.AFTER)
    await rig.leadership.acquire()
    rig.executor.submit(intent())
    await rig.wrote()
    for _ in range(150):
        rig.switch.fail_read(SwitchUnreachable("away"))
    await asyncio.sleep(2 * EXPIRY)
    assert not rig.outcomes
    assert (await rig.outcome()).kind is OutcomeKind.APPLIED
    assert rig.switch.writes == 1


async def test_a_resumed_intent_does_not_lapse_before_the_switch_was_read(rig: Rig) -> None:
    for _ in range(150):
        rig.switch.fail_read(SwitchUnreachable("away"))
    await rig.leadership.acquire()
    rig.executor.submit(intent(), resumed=True)
    await asyncio.sleep(2 * EXPIRY)
    assert not rig.outcomes
    outcome = await rig.outcome()
    assert outcome.kind is OutcomeKind.LAPSED  # nothing of ours is in place after all
    assert rig.applies == 0


@tiers
@pytest.mark.parametrize("fault", [SwitchConflict, SwitchUnknown])
async def test_writes_of_one_intent_are_bounded(tier: Tier, fault: type[SwitchError]) -> None:
    rig = Rig(tier)
    for _ in range(3 * WRITES):
        rig.switch.fail_apply(fault("again and again"))
    outcome = await rig.carry_out()
    assert outcome.kind is OutcomeKind.REFUSED
    assert rig.applies == outcome.attempts == WRITES
    assert "again and again" in outcome.detail


@tiers
async def test_a_half_done_change_is_finished_forward(tier: Tier) -> None:
    rig = Rig(tier)
    rig.switch.move({"green": 100, "blue": 100})
    outcome = await rig.carry_out(resumed=True)
    assert (outcome.kind, rig.switch.writes) == (OutcomeKind.APPLIED, 1)
    assert rig.switch.state.live == ("blue",)


async def test_both_live_long_after_the_decision_is_never_written_whoever_did_it(rig: Rig) -> None:
    rig.switch.move({"green": 50, "blue": 50})
    await asyncio.sleep(timedelta(days=3).total_seconds())
    outcome = await rig.carry_out(resumed=True)
    assert outcome.kind is OutcomeKind.HALF_DONE
    assert "green and blue are live" in outcome.detail
    assert rig.applies == 0


@tiers
async def test_a_half_done_change_that_is_vetoed_is_told_as_half_done(tier: Tier) -> None:
    rig = Rig(tier)
    rig.switch.move({"green": 100, "blue": 100})
    rig.pause = "the pause file exists"
    outcome = await rig.carry_out(resumed=True)
    assert (outcome.kind, outcome.detail) == (OutcomeKind.HALF_DONE, "the pause file exists")
    assert rig.applies == 0


@tiers
async def test_a_half_done_change_that_is_refused_is_told_as_half_done(tier: Tier) -> None:
    rig = Rig(tier)
    rig.switch.move({"green": 100, "blue": 100})
    rig.switch.fail_apply(SwitchRejected("no"))
    assert (await rig.carry_out(resumed=True)).kind is OutcomeKind.HALF_DONE


async def test_a_mark_of_ours_makes_a_half_done_change_ours(rig: Rig) -> None:
    rig.switch.mark = "rb-1"
    rig.switch.move({"green": 100, "blue": 100})
    rig.pause = "the pause file exists"
    assert (await rig.carry_out()).kind is OutcomeKind.HALF_DONE


async def test_both_live_is_somebody_elses_work_when_nothing_of_ours_can_be_there(rig: Rig) -> None:
    rig.switch.move({"green": 100, "blue": 100})
    assert (await rig.carry_out()).kind is OutcomeKind.OVERTAKEN
    assert rig.applies == 0


async def test_a_target_that_was_live_beside_before_is_no_half_done_change(rig: Rig) -> None:
    rig.switch.move({"green": 100, "blue": 100})
    change = intent().change
    assert change is not None
    rig.pause = "the pause file exists"
    outcome = await rig.carry_out(intent(change=replace(change, beside=True)))
    assert outcome.kind is OutcomeKind.VETOED


async def test_a_switch_that_acknowledges_and_shows_something_else_is_read_again(rig: Rig) -> None:
    class Lying(Between):
        async def apply(self, change: Change) -> TrafficState:
            before = self.inner.state
            await super().apply(change)
            return before

    rig.outer = Lying(rig.switch, rig.said)
    rig.make()
    outcome = await rig.carry_out()
    assert (outcome.kind, rig.switch.writes) == (OutcomeKind.APPLIED, 1)
    assert rig.said[-1] == "read"


async def test_an_intent_without_a_change_writes_nothing(rig: Rig) -> None:
    assert (await rig.carry_out(intent(change=None))).kind is OutcomeKind.REFUSED
    assert rig.applies == 0


async def test_one_intent_is_never_two_pieces_of_work(rig: Rig) -> None:
    await rig.leadership.acquire()
    for _ in range(3):
        rig.executor.submit(intent())
        rig.executor.submit(intent(), resumed=True)
        await asyncio.sleep(0)
    await rig.outcome()
    assert (rig.switch.writes, rig.said.count("read")) == (1, 1)


async def test_the_same_intent_can_be_carried_out_again_after_a_veto(rig: Rig) -> None:
    rig.pause = "the pause file exists"
    assert (await rig.carry_out()).kind is OutcomeKind.VETOED
    rig.pause, rig.outcomes[:] = "", []
    assert (await rig.carry_out()).kind is OutcomeKind.APPLIED


# What a provider may do wrong


async def test_a_read_that_breaks_makes_nothing_ours(rig: Rig) -> None:
    rig.outer.read_faults.append(broken)
    await rig.leadership.acquire()
    rig.executor.submit(intent())
    await asyncio.sleep(0.1)
    rig.switch.move({"blue": 100})
    assert (await rig.outcome()).kind is OutcomeKind.OVERTAKEN


async def test_a_switch_that_breaks_at_every_read_lets_the_intent_lapse(rig: Rig) -> None:
    rig.outer.read_faults.extend([broken] * 1000)
    outcome = await rig.carry_out()
    assert (outcome.kind, outcome.detail) == (OutcomeKind.LAPSED, "RuntimeError in the provider")


@pytest.mark.parametrize("fault", [broken, hangs, cancels_itself])
async def test_a_write_that_breaks_is_read_before_anything_else(
    rig: Rig, fault: Callable[[], Awaitable[None]]
) -> None:
    rig.outer.apply_faults.append(fault)
    outcome = await rig.carry_out()
    assert (outcome.kind, rig.switch.writes) == (OutcomeKind.APPLIED, 1)
    assert rig.said == ["read", "pause", "apply", "read"]


@pytest.mark.parametrize("fault", [broken, hangs, cancels_itself])
async def test_a_read_that_breaks_is_tried_again(rig: Rig, fault: Callable[[], Awaitable[None]]) -> None:
    rig.outer.read_faults.append(fault)
    assert (await rig.carry_out()).kind is OutcomeKind.APPLIED
    assert now() <= LIMIT.total_seconds() + 1


# Crashes: at every await, then a new start


async def _nothing(_: Rig) -> None:
    """A free way."""


async def _lost_answer(rig: Rig) -> None:
    rig.switch.fail_apply(SwitchUnknown("the answer was lost"), at=Moment.AFTER)


async def _no_effect(rig: Rig) -> None:
    rig.switch.fail_apply(SwitchUnknown("nothing arrived"), at=Moment.BEFORE)


async def _conflict(rig: Rig) -> None:
    rig.switch.fail_apply(SwitchConflict("touched"))


async def _half_done(rig: Rig) -> None:
    rig.switch.move({"green": 100, "blue": 100})
    rig.switch.mark = "rb-1"


@tiers
@pytest.mark.parametrize("trouble", [_nothing, _lost_answer, _no_effect, _conflict, _half_done])
async def test_an_intent_cut_off_anywhere_is_finished_by_the_next_start_with_one_move_in_all(
    tier: Tier, trouble: Callable[[Rig], Awaitable[None]]
) -> None:
    for steps in range(200):
        rig = Rig(tier, clock=Hasty())
        await trouble(rig)
        await rig.leadership.acquire()
        rig.executor.submit(intent(), resumed=trouble is _half_done)
        cut = await rig.crash(steps)
        if not cut:
            assert steps > 5
            assert rig.switch.writes == 1
            return
        assert not rig.outcomes
        rig.make().submit(intent(), resumed=True)
        outcome = await rig.outcome()
        assert outcome.kind in {OutcomeKind.APPLIED, OutcomeKind.FOUND_DONE}, steps
        assert rig.switch.writes == 1, f"{rig.switch.writes} moves after a cut at step {steps}"
        assert rig.switch.state.live == ("blue",)
        assert rig.reads_before_writes()
    pytest.fail("it never came to an end")


@tiers
async def test_two_crashes_anywhere_still_make_one_move(tier: Tier) -> None:
    for first in range(14):
        for second in range(14):
            rig = Rig(tier, clock=Hasty())
            await rig.leadership.acquire()
            rig.executor.submit(intent())
            if await rig.crash(first):
                rig.make().submit(intent(), resumed=True)
                if await rig.crash(second):
                    rig.make().submit(intent(), resumed=True)
            await rig.outcome()
            assert rig.switch.writes == 1, (first, second)


async def test_what_was_found_in_place_after_a_restart_says_so(rig: Rig) -> None:
    rig.switch.move({"blue": 100})
    outcome = await rig.carry_out(resumed=True)
    assert (outcome.kind, outcome.attempts, rig.applies) == (OutcomeKind.FOUND_DONE, 0, 0)


async def test_a_resumed_intent_asks_the_guards_again(rig: Rig) -> None:
    rig.pause = "the pause file exists"
    assert (await rig.carry_out(resumed=True)).kind is OutcomeKind.VETOED


async def test_a_resumed_intent_of_a_version_that_lost_its_traffic_is_overtaken(rig: Rig) -> None:
    rig.switch.move({"red": 100})
    assert (await rig.carry_out(resumed=True)).kind is OutcomeKind.OVERTAKEN


async def test_a_clean_stop_waits_for_a_write_under_way(rig: Rig) -> None:
    gate = asyncio.Event()
    rig.switch.hold_apply(gate)
    await rig.leadership.acquire()
    rig.executor.submit(intent())
    await eventually(lambda: "apply" in rig.said)
    stop: asyncio.Task[Any] = asyncio.create_task(rig.executor.crew.finish(timedelta(seconds=4)))
    await asyncio.sleep(1)
    assert not stop.done()
    gate.set()
    assert await stop == ()
    assert rig.outcomes[0].kind is OutcomeKind.APPLIED


async def test_who_is_halted_finishes_what_is_under_way_and_begins_nothing(rig: Rig) -> None:
    gate = asyncio.Event()
    rig.switch.hold_apply(gate)
    await rig.leadership.acquire()
    rig.executor.submit(intent())
    await eventually(lambda: "apply" in rig.said)
    rig.executor.halt()
    rig.executor.submit(replace(intent(), id="rb-2"))
    assert rig.executor.crew.names == ("rb-1",)
    gate.set()
    assert (await rig.outcome()).kind is OutcomeKind.APPLIED
    assert rig.applies == 1


async def test_that_nothing_is_live_for_a_moment_ends_no_intent(rig: Rig) -> None:
    rig.switch.move({})
    await rig.leadership.acquire()
    rig.executor.submit(intent())
    await asyncio.sleep(60)
    assert not rig.outcomes
    rig.switch.move({"green": 100})
    assert (await rig.outcome()).kind is OutcomeKind.APPLIED
    assert rig.switch.state.live == ("blue",)


@pytest.mark.parametrize("resumed", [False, True])
async def test_an_intent_lapses_when_nothing_is_live_until_its_end(rig: Rig, resumed: bool) -> None:
    rig.switch.move({})
    outcome = await rig.carry_out(resumed=resumed)
    assert (outcome.kind, outcome.detail) == (OutcomeKind.LAPSED, "nothing takes any traffic now")
    assert EXPIRY <= now() <= EXPIRY + 5
    assert rig.applies == 0


@tiers
@pytest.mark.parametrize("late", [0.0, 3 * 86400.0])
async def test_what_may_be_written_and_can_never_be_read_again_ends_and_says_that_nobody_knows(
    tier: Tier, late: float
) -> None:
    rig = Rig(tier)
    await asyncio.sleep(late)
    rig.switch.vanish()
    outcome = await rig.carry_out(resumed=True)
    assert outcome.kind is OutcomeKind.HALF_DONE
    assert "unknown whether it was written: the switch could not be read" in outcome.detail
    end = max(late, EXPIRY) + GRACE.total_seconds()
    assert end <= now() <= end + 5
    assert rig.applies == 0


async def test_a_lost_answer_of_a_switch_that_never_comes_back_ends_too(rig: Rig) -> None:
    rig.switch.fail_apply(SwitchUnknown("the answer was lost"), at=Moment.AFTER)
    await rig.leadership.acquire()
    rig.executor.submit(intent())
    await rig.wrote()
    rig.switch.vanish()
    assert (await rig.outcome()).kind is OutcomeKind.HALF_DONE
    assert now() <= EXPIRY + GRACE.total_seconds() + 5
