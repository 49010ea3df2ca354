"""The machine's clock is set by an hour, or the machine sleeps, at any moment of a rollback: traffic is moved once.

True time is boot time here: what a duration is measured by, whatever the machine's clock says.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.engine.loop import Engine, Shop
from tests.engine.worlds import ERRORS, POLICY
from tests.eventually import eventually
from tests.soak import Counted
from watchdog.channels.interface import Delivered, Later
from watchdog.core.check import Reason
from watchdog.core.errors import StoreError, SwitchUnreachable
from watchdog.core.observation import Answer, Failed
from watchdog.core.rollback import ENDS, RollbackState
from watchdog.core.rule import Holds, Lasting, Samples
from watchdog.sources.interface import Question
from watchdog.testing.clock import BASE, LoopClock
from watchdog.testing.traffic import Moment

pytestmark = pytest.mark.virtual_time

Make = Callable[..., Awaitable[Engine]]
HOUR = timedelta(hours=1)
NAP = timedelta(minutes=10)
#: What can happen to the machine's clocks.
CHANGES: dict[str, Callable[[LoopClock], None]] = {
    "an hour forward": lambda clock: clock.jump(HOUR),
    "an hour back": lambda clock: clock.jump(-HOUR),
    "ten minutes asleep": lambda clock: clock.suspend(NAP),
}
changes = pytest.mark.parametrize("change", CHANGES)
SEED = 20261121
COOLDOWN = timedelta(minutes=3)


class Neighbour(Shop):
    """A source on the same machine: its samples are dated by the machine's clock, whatever that says."""

    def __init__(self, clock: LoopClock, shares: dict[str, float]) -> None:
        super().__init__(shares)
        self._clock = clock

    async def ask(self, question: Question, *, now: Any) -> Answer | Failed:
        return await super().ask(question, now=self._clock.wall)


class Afar(Neighbour):
    """A source on a machine whose clock nobody touches: it says nothing of use until ours is put right again."""

    async def ask(self, question: Question, *, now: Any) -> Answer | Failed:
        return await Shop.ask(self, question, now=self._clock.true)


@pytest.fixture
async def start() -> AsyncIterator[Make]:
    engines: list[Engine] = []

    async def make(
        source: type[Neighbour] = Neighbour, *, kind: type[Engine] = Engine, **words: Any
    ) -> Engine:
        engine = kind(**words)
        policy = replace(POLICY, cooldown=COOLDOWN)
        engine.services["trips"] = replace(engine.service, rollback=policy)
        engine.shop = source(engine.clock, engine.shop.shares)
        engines.append(engine)
        await engine.start()
        return engine

    yield make
    for engine in engines:
        assert engine.failed() is None
        await engine.crash()


class Witness:
    """Writes down, by true time, when the switch was written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.writes: list[float] = []
        self._task = asyncio.create_task(self._watch(), name="a witness")

    async def _watch(self) -> None:
        clock = self._engine.clock
        while True:
            new = self._engine.switch.writes - len(self.writes)
            self.writes.extend([clock.boottime()] * new)
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def lived_through(start: Make, *, at: float, change: str, source: type[Neighbour]) -> None:
    """v2 turns bad and goes, v3 turns bad in the cooldown and goes when that is over. `at` seconds in: the change."""
    story = f"{change} after {at:.2f} s, {source.__name__}"
    engine = await start(source)
    engine.shop.shares |= {"v3": 0.2}
    await engine.stable()
    witness = Witness(engine)
    loop = asyncio.get_running_loop()
    loop.call_later(at, CHANGES[change], engine.clock)
    if source is Afar:
        loop.call_later(at + 20, lambda: engine.clock.jump(engine.clock.true - engine.clock.wall))
    await engine.deploy("v2")
    await ended(engine, 1, story)
    await asyncio.sleep(10)
    await engine.deploy("v3")
    # Ends by itself only when the cooldown is over: then there is no veto any more.
    await ended(engine, 2, story, within=1800)
    first, second = engine.rollbacks
    assert (first.from_version, second.from_version) == ("v2", "v3"), story
    # A proof that nobody could look at for its whole time is none.
    assert {first.state, second.state} <= {RollbackState.COMPLETED, RollbackState.UNVERIFIED}, story
    assert len(witness.writes) == engine.switch.writes == 2, f"{story}: {witness.writes}"
    apart = witness.writes[1] - witness.writes[0]
    assert apart >= COOLDOWN.total_seconds(), f"{story}: switched again after {apart:.0f} s"
    assert apart <= (COOLDOWN + NAP).total_seconds() + 120, f"{story}: deaf for {apart:.0f} s"
    assert engine.chain_holds(), story
    await witness.end()


async def ended(engine: Engine, number: int, story: str, *, within: float = 300.0) -> None:
    """So many rollbacks have ended."""
    await eventually(
        lambda: len([one for one in engine.rollbacks if one.state in ENDS]) == number,
        within=within,
        every=0.25,
        what=f"{number} rollbacks that have ended ({story}): "
        f"{[(one.from_version, one.state, one.vetoes) for one in engine.rollbacks]}",
    )


def moments(count: int, until: float) -> list[float]:
    """Moments of the story, more of them in its first minute, where decisions are made."""
    rng = random.Random(SEED)
    return [rng.uniform(0, until if number % 3 == 2 else 30.0) for number in range(count)]


@changes
@pytest.mark.parametrize("source", [Neighbour, Afar])
async def test_a_clock_that_is_set_at_any_moment_moves_traffic_neither_twice_nor_too_soon_nor_never(
    start: Make, change: str, source: type[Neighbour], counted: Counted
) -> None:
    await all_lived_through(start, change, source, counted, count=2)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@changes
@pytest.mark.parametrize("source", [Neighbour, Afar])
async def test_a_clock_that_is_set_at_any_of_many_moments(
    start: Make, change: str, source: type[Neighbour], counted: Counted
) -> None:
    await all_lived_through(start, change, source, counted, count=60)


async def all_lived_through(
    start: Make, change: str, source: type[Neighbour], counted: Counted, *, count: int
) -> None:
    for at in moments(count, until=240.0):
        await lived_through(start, at=at, change=change, source=source)
    counted(count, "moments at which the clock was set or the machine slept")


@changes
@pytest.mark.parametrize("hold", [Samples(2), Lasting(timedelta(seconds=20))], ids=["samples", "time"])
async def test_a_sample_before_and_one_after_never_meet_a_hold(start: Make, change: str, hold: Any) -> None:
    """The version is bad for one sample before and for one after, and well else: nothing may come of it."""
    rule = replace(ERRORS, hold=Holds(warning=Samples(1), critical=Samples(1), rollback=hold))
    engine = await start(rules=(rule,))
    await engine.stable()
    engine.shop.shares["v2"] = 0.0
    await engine.deploy("v2")
    await asyncio.sleep(30)
    engine.shop.shares["v2"] = 0.2
    await eventually(lambda: streak(engine) == 1, every=0.01, within=30, what="one bad sample")
    CHANGES[change](engine.clock)
    await eventually(lambda: streak(engine) == 1 and distrusted(engine), every=0.01, within=60)
    engine.shop.shares["v2"] = 0.0
    await asyncio.sleep(60)
    assert engine.rollbacks == []
    assert engine.switch.writes == 0


def streak(engine: Engine) -> int:
    states = [one for check, one in engine.world.services["trips"].checks.items() if check.version == "v2"]
    return max((one.streaks["rollback"].count for one in states if "rollback" in one.streaks), default=0)


def distrusted(engine: Engine) -> bool:
    return engine.world.edition > 0


async def test_a_clock_that_is_set_is_noticed_within_a_second_recorded_and_makes_one_cycle_unknown(
    start: Make,
) -> None:
    engine = await start()
    await engine.stable()
    with capture_logs() as logs:
        engine.clock.jump(HOUR)
        await eventually(lambda: engine.clock.now() > BASE + HOUR, every=0.01, within=1.1)
        (state,) = engine.world.services["trips"].checks.values()
    assert engine.clock.stepped() == timedelta()
    (note,) = (one for one in engine.audit if one.kind == "clock_set")
    assert note.body["stepped_seconds"] == 3600
    assert [log["how"] for log in logs if log["event"] == "clock_set"] == ["forward by 1h"]
    assert state.verdict is not None
    assert state.verdict.reason is Reason.CLOCK_SET
    await asyncio.sleep(10)
    (state,) = engine.world.services["trips"].checks.values()
    assert state.verdict is not None
    assert state.verdict.level == "ok"
    assert engine.chain_holds()


@pytest.mark.parametrize("seconds", [0.2, 4.9, -4.9])
async def test_a_correction_is_followed_without_a_word(start: Make, seconds: float) -> None:
    engine = await start()
    await engine.stable()
    engine.clock.jump(timedelta(seconds=seconds))
    await asyncio.sleep(1.1)
    assert engine.clock.stepped() == timedelta()
    assert engine.world.edition == 0
    assert "clock_set" not in [one.kind for one in engine.audit]


@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forward", "back"])
async def test_a_store_that_cannot_be_written_keeps_the_old_time_until_it_can(
    start: Make, by: timedelta
) -> None:
    """The clock and all that is remembered move together, or neither does."""
    engine = await start()
    await engine.stable()
    engine.store.fail_always(StoreError("the disk is full"))
    before = engine.clock.now()
    engine.clock.jump(by)
    await asyncio.sleep(30)
    assert engine.clock.now() - before == timedelta(seconds=30)
    assert engine.clock.stepped() == by
    engine.store.heal()
    await asyncio.sleep(2)
    assert engine.clock.stepped() == timedelta()
    assert [one.kind for one in engine.audit].count("clock_set") == 1
    (blue,) = (one for one in engine.deployments if one.version == "v1")
    assert BASE + by <= blue.recorded_at <= BASE + by + timedelta(seconds=90)


@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forward", "back"])
async def test_what_was_done_while_the_clock_was_set_is_dated_by_one_clock(
    start: Make, by: timedelta
) -> None:
    """The outcome waits for a store that is away, and the clock is set meanwhile."""
    engine = await start()
    await engine.stable()
    gate = asyncio.Event()
    engine.switch.hold_apply(gate, at=Moment.AFTER)
    await engine.deploy()
    await eventually(lambda: engine.switch.writes == 1, within=60, every=0.05)
    engine.store.fail_always(StoreError("the disk is full"))
    gate.set()
    await asyncio.sleep(5)
    done_at = engine.clock.boottime() - 5
    engine.clock.jump(by)
    await asyncio.sleep(20)
    engine.store.heal()
    await ended(engine, 1, "an outcome that waited")
    (rollback,) = engine.rollbacks
    assert rollback.state is RollbackState.COMPLETED
    assert rollback.applied_at is not None
    assert abs(rollback.applied_at - (BASE + by + timedelta(seconds=done_at))) < timedelta(seconds=5)


@changes
async def test_an_intent_that_cannot_be_carried_out_ends_in_its_five_minutes(
    start: Make, change: str
) -> None:
    engine = await start()
    await engine.stable()
    engine.switch.fail_apply(SwitchUnreachable("away"))
    await engine.deploy()
    await eventually(
        lambda: [one.state for one in engine.rollbacks] == [RollbackState.INTENDED], within=60, every=0.01
    )
    engine.switch.vanish()
    begun = engine.clock.boottime()
    CHANGES[change](engine.clock)
    await ended(engine, 1, change, within=400)
    assert engine.rollbacks[0].state is RollbackState.EXPIRED
    lived = engine.clock.boottime() - begun
    assert 300 - 6 < lived < max(NAP.total_seconds(), 300) + 30, lived


@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forward", "back"])
async def test_a_message_that_waits_for_its_next_attempt_is_not_an_hour_late(
    start: Make, by: timedelta
) -> None:
    engine = await start()
    await engine.stable()
    engine.channels["ops"].always(Later(reason="busy"))
    await engine.deploy()
    await eventually(lambda: len(engine.channels["ops"].attempts) >= 4, within=300, every=0.5)
    engine.clock.jump(by)
    await asyncio.sleep(2)
    engine.channels["ops"].always(Delivered())
    await eventually(
        lambda: engine.outbox and {str(row.state) for row in engine.outbox} == {"sent"},
        within=400,
        every=1,
        what="every message sent",
    )


class Sleepy(Engine):
    """The machine falls asleep once, when the executor looks at the pause file; then so many calls were made."""

    asleep_at: int | None = None

    async def _paused(self) -> str:
        intended = any(one.state is RollbackState.INTENDED for one in self.rollbacks)
        if intended and self.asleep_at is None:
            self.asleep_at = len(self.switch.calls)
            self.clock.suspend(timedelta(minutes=2))
        return await super()._paused()


async def test_nothing_is_written_on_what_was_read_before_a_sleep(start: Make) -> None:
    """The machine falls asleep between the read and the write: the switch is read again before it is written."""
    engine = await start(kind=Sleepy)
    assert isinstance(engine, Sleepy)
    await engine.stable()
    await engine.deploy()
    await ended(engine, 1, "a sleep before the write")
    assert engine.asleep_at is not None
    kinds = [call.kind for call in engine.switch.calls[engine.asleep_at :]]
    assert "read" in kinds[: kinds.index("apply")], kinds
    assert engine.switch.writes == 1
