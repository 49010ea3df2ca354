"""kill -9 of the real daemon at every fault point and at random instants: traffic is moved once, and everybody is told.

The judge is the switch's own log (`tests/faults/recorded.py`), which outlives every daemon. A tier A switch refuses a
stale write, a tier B switch does whatever it is told. `make soak` runs the same with more deaths.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.faults.crash_lives import Order, order
from tests.faults.crash_stage import PATIENCE, CrashStage
from tests.faults.socket_proxy import Deed
from tests.soak import Counted
from watchdog.aio.faultpoint import DUE, OPENING, PRUNING, REQUEST, TAKING, Point
from watchdog.core.traffic import Tier

SEED = 20261121
#: So many services go bad at once.
SERVICES = 10
#: An intent lives for five minutes, however often the daemon dies.
DEATHS_A_WAVE = 40

tiers = pytest.mark.parametrize("tier", list(Tier))
pytestmark = pytest.mark.timeout(600)

#: Passed only while somebody asks for something: they have a test of their own.
REQUESTS = set(REQUEST)
#: Leases are written where several processes have one store; and what is old is forgotten once an hour.
ELSEWHERE = {*TAKING, *PRUNING}
EVERYWHERE = [point for point in Point if point not in REQUESTS | ELSEWHERE]
#: Passed twice in every life, and perhaps no more often.
SELDOM = {*OPENING, DUE.before, DUE.after}
#: Passed only when an attempt has failed: with these, one does.
FAILED_ATTEMPT = [
    order(Point.BEFORE_READ, "raise", error="SwitchUnreachable"),
    order(Point.AFTER_READ, "raise", error="SwitchUnreachable"),
    order(Point.BEFORE_WRITE, "raise", error="SwitchUnknown"),
    order(Point.AFTER_WRITE, "raise", error="SwitchUnknown"),
]
#: All that may be raised there, and does not mean what it says.
ERRORS = [
    (Point.BEFORE_READ, "SwitchUnreachable"),
    (Point.AFTER_READ, "SwitchUnreachable"),
    (Point.BEFORE_WRITE, "SwitchUnreachable"),
    (Point.BEFORE_WRITE, "SwitchConflict"),
    (Point.BEFORE_WRITE, "SwitchUnknown"),
    (Point.AFTER_WRITE, "SwitchUnknown"),
    (Point.AFTER_WRITE, "RuntimeError"),
    (Point.BEFORE_DUE, "StoreError"),
    (Point.AFTER_DUE, "StoreError"),
    (Point.BEFORE_SEND, "RuntimeError"),
    (Point.AFTER_SEND, "RuntimeError"),
    (Point.BEFORE_SETTLE, "StoreError"),
    (Point.AFTER_SETTLE, "StoreError"),
    (Point.TURN_BEGUN, "OperationalError"),
    (Point.TURN_WRITTEN, "OperationalError"),
    (Point.SETTLE_BEGUN, "OperationalError"),
    (Point.SETTLE_WRITTEN, "OperationalError"),
]


@asynccontextmanager
async def staged(
    folder: Path, tier: Tier, *, services: int = SERVICES, seed: int = SEED
) -> AsyncIterator[CrashStage]:
    """A stage that is open, and at the end the audit and the messages of everything that was played on it."""
    async with AsyncExitStack() as stack:
        stage = CrashStage(folder, stack, tier=tier, services=services, seed=seed)
        try:
            await stage.open()
            yield stage
            await stage.close()
        except BaseException as error:
            error.add_note(stage.picture())
            raise


def at(point: Point, deed: str, dice: random.Random) -> list[Order]:
    """What makes a daemon die there: at the first pass, or after a few."""
    if point in {Point.BEFORE_PAUSE, Point.AFTER_PAUSE}:
        return [dice.choice(FAILED_ATTEMPT), order(point, deed)]
    return [order(point, deed, nth=dice.randint(1, 2 if point in SELDOM else 4))]


def fates(deed: str, each: int, dice: random.Random) -> list[list[Order]]:
    """So many at every point, in any order."""
    found = [at(point, deed, dice) for point in EVERYWHERE for _ in range(each)]
    dice.shuffle(found)
    return found


async def die(stage: CrashStage, fates: Sequence[list[Order]], *, code: int) -> Counter[str]:
    """Every fate is met, wave after wave; answers how often each deed was done, as the daemons wrote it down."""
    done: Counter[str] = Counter()
    left = deque(fates)
    while left:
        await stage.wave()
        met = 0
        while left and met < DEATHS_A_WAVE:
            life = await stage.live(left[0])
            ended = await stage.dies(life)
            if ended is None:
                break
            wanted = f"{left[0][-1]['deed']} at {left[0][-1]['point']}"
            assert life.deeds[-1:] == [wanted], f"it ended otherwise: {life.deeds}, {stage.said()}"
            assert ended == code, stage.said()
            done[wanted] += 1
            met += 1
            left.popleft()
        assert met, f"never came to pass: {left[0]}\n{stage.said()}"
        await stage.finish()
    return done


async def die_everywhere(stage: CrashStage, *, each: int) -> int:
    """Deaths at every point; answers how many in all."""
    done = await die(stage, fates("kill", each, stage.dice), code=-signal.SIGKILL)
    assert done == {f"kill at {point}": each for point in EVERYWHERE}
    return sum(done.values())


@tiers
async def test_killed_at_every_fault_point_it_moves_traffic_once(
    tmp_path: Path, tier: Tier, counted: Counted
) -> None:
    async with staged(tmp_path, tier) as stage:
        deaths = await die_everywhere(stage, each=2)
        counted(deaths, f"kills at {len(EVERYWHERE)} fault points, tier {tier}")
        counted(stage.moves, f"rollbacks among kills, each moved once, tier {tier}")


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(4))
@tiers
async def test_killed_twenty_times_at_every_fault_point_it_moves_traffic_once(
    tmp_path: Path, tier: Tier, part: int, counted: Counted
) -> None:
    async with staged(tmp_path, tier, seed=SEED + 1 + part) as stage:
        deaths = await die_everywhere(stage, each=5)
        counted(deaths, f"kills at {len(EVERYWHERE)} fault points, tier {tier}")
        counted(stage.moves, f"rollbacks among kills, each moved once, tier {tier}")


async def die_at_random(stage: CrashStage, *, kills: int) -> None:
    """So many deaths, half of them by the clock, half of them a moment after any point was passed."""
    left, dice = kills, stage.dice
    while left:
        await stage.wave()
        met = 0
        while left and met < DEATHS_A_WAVE:
            if dice.random() < 0.5:
                life = await stage.live()
                asyncio.get_running_loop().call_later(dice.uniform(0.0, 0.7), life.send, signal.SIGKILL)
                async with asyncio.timeout(PATIENCE):
                    await asyncio.wait({life.ended})
            else:
                moment = order("*", "kill later", nth=dice.randint(1, 150), after=dice.uniform(0.0, 0.004))
                life = await stage.live([moment])
            ended = await stage.dies(life)
            if ended is not None:
                assert ended == -signal.SIGKILL, stage.said()
                met += 1
                left -= 1
            if stage.settled():
                break
        await stage.finish()


@tiers
async def test_killed_at_a_hundred_random_instants_it_moves_traffic_once(
    tmp_path: Path, tier: Tier, counted: Counted
) -> None:
    async with staged(tmp_path, tier) as stage:
        await die_at_random(stage, kills=100)
        counted(100, f"kills at random instants, tier {tier}")
        counted(stage.moves, f"rollbacks among kills, each moved once, tier {tier}")


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(4))
@tiers
async def test_killed_at_a_thousand_random_instants_it_moves_traffic_once(
    tmp_path: Path, tier: Tier, part: int, counted: Counted
) -> None:
    async with staged(tmp_path, tier, seed=SEED + 1 + part) as stage:
        await die_at_random(stage, kills=250)
        counted(250, f"kills at random instants, tier {tier}")
        counted(stage.moves, f"rollbacks among kills, each moved once, tier {tier}")


async def told_to_stop_everywhere(stage: CrashStage, *, each: int) -> int:
    """SIGTERM at every point: a clean end each time, whatever was under way."""
    done = await die(stage, fates("terminate", each, stage.dice), code=0)
    assert done == {f"terminate at {point}": each for point in EVERYWHERE}
    return sum(done.values())


@tiers
async def test_told_to_stop_at_every_fault_point_it_ends_cleanly_and_moves_traffic_once(
    tmp_path: Path, tier: Tier, counted: Counted
) -> None:
    async with staged(tmp_path, tier) as stage:
        counted(await told_to_stop_everywhere(stage, each=1), f"SIGTERMs at fault points, tier {tier}")


@pytest.mark.soak
@pytest.mark.timeout(3600)
@tiers
async def test_told_to_stop_five_times_at_every_fault_point_it_moves_traffic_once(
    tmp_path: Path, tier: Tier, counted: Counted
) -> None:
    async with staged(tmp_path, tier) as stage:
        counted(
            await told_to_stop_everywhere(stage, each=5),
            f"SIGTERMs at fault points, tier {tier}",
        )


async def ask_and_die(stage: CrashStage, points: Sequence[Point]) -> None:
    """A person asks for a rollback of each service; the daemon dies while it keeps the first request of its life."""
    await stage.wave(bad=False)
    for name, point in zip(stage.names, points, strict=True):
        life = await stage.live([order(point, "kill")])
        await stage.answers()
        before = len(stage.requests())
        assert await stage.ask_rollback(name) is None, "the answer came before the death"
        async with asyncio.timeout(PATIENCE):
            assert await asyncio.shield(life.ended) == -signal.SIGKILL, stage.said()
        assert life.deeds == [f"kill at {point}"]
        kept = len(stage.requests()) - before
        assert kept == (point is Point.REQUEST_COMMITTED)
    await stage.live()
    await stage.answers()
    # Whoever got no answer looks, and asks again where nothing happened.
    stored = [
        name for name, point in zip(stage.names, points, strict=True) if point is Point.REQUEST_COMMITTED
    ]
    await eventually(
        lambda: all(stage.recorded.live(name) == ("blue",) for name in stored),
        within=PATIENCE,
        what="what was kept to be carried out",
    )
    for name in stage.names:
        if stage.recorded.live(name) == ("green",):
            assert await stage.ask_rollback(name) is not None
    await stage.finish()


@tiers
async def test_killed_while_it_keeps_what_a_person_asks_for_it_moves_traffic_once(
    tmp_path: Path, tier: Tier, counted: Counted
) -> None:
    points = [*REQUEST, *REQUEST]
    async with staged(tmp_path, tier, services=len(points)) as stage:
        await ask_and_die(stage, points)
        counted(len(points), f"kills while a request is kept, tier {tier}")


@pytest.mark.soak
@pytest.mark.timeout(3600)
@tiers
async def test_killed_twenty_times_while_it_keeps_a_request_it_moves_traffic_once(
    tmp_path: Path, tier: Tier, counted: Counted
) -> None:
    points = [*REQUEST, *REQUEST, *REQUEST, *REQUEST]
    async with staged(tmp_path, tier, services=len(points)) as stage:
        for _ in range(5):
            await ask_and_die(stage, points)
            counted(len(points), f"kills while a request is kept, tier {tier}")


@tiers
async def test_with_every_error_at_every_point_it_moves_traffic_once(
    tmp_path: Path, tier: Tier, counted: Counted
) -> None:
    """The error of each call, before it and after it: also an answer that is lost after its effect."""
    nths: Counter[Point] = Counter()
    errors = []
    for point, error in ERRORS:
        nths[point] += 1
        errors.append(order(point, "raise", nth=nths[point], error=error))
    async with staged(tmp_path, tier) as stage:
        for _ in range(2):
            await stage.wave()
            life = await stage.live(errors)
            assert await stage.dies(life) is None, stage.said()
            assert sorted(life.deeds) == sorted(f"raise at {point}" for point, _ in ERRORS)
            counted(len(life.deeds), f"errors at fault points, tier {tier}")
            await stage.finish()


@tiers
async def test_a_write_or_an_answer_that_is_late_or_lost_moves_nothing_a_second_time(
    tmp_path: Path, tier: Tier
) -> None:
    async with staged(tmp_path, tier, services=3) as stage:
        # The write arrives after its writer's death, when the next daemon has done the work already.
        await stage.wave()
        stage.recorded.judge = lambda call: Deed.HOLD if call["kind"] == "write" else Deed.PASS
        life = await stage.live()
        await eventually(lambda: len(stage.recorded.held) == 3, within=PATIENCE, what="writes that are held")
        await life.end()
        stage.recorded.judge = lambda _: Deed.PASS
        await stage.live()
        await eventually(
            lambda: all(stage.recorded.live(name) == ("blue",) for name in stage.names),
            within=PATIENCE,
            what="what the next daemon did",
        )
        stage.recorded.release()
        await eventually(
            lambda: all(len(stage.recorded.writes(name)) == 2 for name in stage.names),
            within=PATIENCE,
            what="the late writes",
        )
        for name in stage.names:
            first, late = stage.recorded.writes(name)
            assert first.moved
            assert not late.moved
            assert late.verdict == "in place"
        await stage.finish()
        # The answer is lost after the effect: it is read what came of it, and not written again.
        await stage.wave()
        since = len(stage.recorded.log)
        stage.recorded.judge = lambda call: Deed.CUT if call["kind"] == "write" else Deed.PASS
        await stage.live()
        await stage.finish()
        for name in stage.names:
            (write,) = stage.recorded.writes(name, since=since)
            assert write.moved
