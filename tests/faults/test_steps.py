"""Somebody is in the middle of a rollback while the executor is: the whole engine, stopped at each of its calls.

The switch itself stands still there: before the executor's read, between read and write, after the write took effect
and before anybody knows. Meanwhile somebody deploys, or acts. What was written is read from the switch's own log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from tests.engine.loop import Engine
from tests.engine.worlds import variants
from tests.eventually import eventually
from watchdog.core.deployment import DeploymentState
from watchdog.core.message import MessageKind
from watchdog.core.request import RequestKind
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.traffic import Change, Tier, TrafficState
from watchdog.testing.clock import LoopClock
from watchdog.testing.traffic import FakeSwitch

pytestmark = [pytest.mark.virtual_time, pytest.mark.timeout(60)]

#: What the variants carry, and how much they can bear: v1 alone bears what two of them do.
CARRIED = (("v1", 2), ("v2", 1), ("v0", 1))
WATCHED = (DeploymentState.WATCHING, DeploymentState.STABLE)
MOMENTS = ("before the read", "between read and write", "before the write", "after the write")


class Stopping(FakeSwitch):
    """Stops the executor's first call at one moment; everybody else is served as ever. Tells versions."""

    def __init__(self, moment: str, tier: Tier) -> None:
        told = {
            name: msgspec.structs.replace(spot, version=version, ready=units, total=units)
            for (name, spot), (version, units) in zip(variants("blue").items(), CARRIED, strict=True)
        }
        super().__init__(told, tier=tier, clock=LoopClock().now)
        self.moment = moment
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def read(self) -> TrafficState:
        await self._stop("before the read")
        state = await super().read()
        await self._stop("between read and write")
        return state

    async def apply(self, change: Change) -> TrafficState:
        await self._stop("before the write")
        state = await super().apply(change)
        await self._stop("after the write")
        return state

    async def _stop(self, moment: str) -> None:
        task = asyncio.current_task()
        if task is not None and task.get_name().startswith("executor:") and moment == self.moment:
            self.reached.set()
            await self.go_on.wait()

    @property
    def written(self) -> list[str]:
        """What took effect of the watchdog's writes."""
        return [
            f"{','.join(one.change.away)}>{one.change.target}"
            for one in self.calls
            if one.kind == "apply" and one.change is not None and one.before != one.after
        ]

    def told(self, variant: str) -> str | None:
        return self.state.told(variant)

    def carries(self, variant: str, version: str, *, weight: int | None = None) -> None:
        """Somebody puts another version there."""
        spot = self.state.variants[variant]
        live = spot.weight if weight is None else weight
        self.put(variant, msgspec.structs.replace(spot, version=version, weight=live))


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[Engine]]]:
    engines: list[Engine] = []

    async def begin(switch: Stopping) -> Engine:
        engine = Engine(switch=switch)
        engine.shop.shares |= {"v3": 0.0, "v0": 0.0}
        engines.append(engine)
        await engine.start()
        await engine.stable()
        await engine.deploy()
        await eventually(switch.reached.is_set, within=120, what=f"an executor {switch.moment}")
        return engine

    yield begin
    for engine in engines:
        assert engine.failed() is None
        await engine.crash()


async def elsewhere(engine: Engine, switch: Stopping) -> None:
    """v3 takes all traffic on the third variant."""
    switch.carries("red", "v3")
    switch.move({"red": 100})


async def beside(engine: Engine, switch: Stopping) -> None:
    """v3 takes a part of the traffic on the third variant, beside whatever is live."""
    switch.carries("red", "v3", weight=10)


async def in_place(engine: Engine, switch: Stopping) -> None:
    """v3 takes the place of v2, and all traffic."""
    switch.carries("green", "v3")
    switch.move({"green": 100})


async def on_target(engine: Engine, switch: Stopping) -> None:
    """v3 takes the place of v1, and all traffic."""
    switch.carries("blue", "v3")
    switch.move({"blue": 100})


async def announced(engine: Engine, switch: Stopping) -> None:
    """v3 is announced, and goes to the third variant."""
    reply = await engine.ask(RequestKind.DEPLOYMENT, version="v3", variant="red")
    assert reply.status == 201
    await elsewhere(engine, switch)


async def to_target(engine: Engine, switch: Stopping) -> None:
    switch.move({"blue": 100})


async def to_third(engine: Engine, switch: Stopping) -> None:
    switch.move({"red": 100})


async def in_part(engine: Engine, switch: Stopping) -> None:
    switch.move({"blue": 50, "green": 50})


async def back(engine: Engine, switch: Stopping) -> None:
    switch.move({"green": 100})


async def paused(engine: Engine, switch: Stopping) -> None:
    assert (await engine.ask(RequestKind.PAUSE, reason="we are looking")).status == 200


async def pause_file(engine: Engine, switch: Stopping) -> None:
    engine.pause = "the pause file exists"


async def tainted(engine: Engine, switch: Stopping) -> None:
    assert (await engine.ask(RequestKind.TAINT, version="v1", reason="it leaks")).status == 200


async def acknowledged(engine: Engine, switch: Stopping) -> None:
    (incident,) = engine.world.services["trips"].incidents
    assert (await engine.ask(RequestKind.ACKNOWLEDGE, incident)).status == 200


Doing = Callable[[Engine, Stopping], Awaitable[None]]
C, S, X, B = (
    RollbackState.COMPLETED,
    RollbackState.SUPERSEDED,
    RollbackState.CONTESTED,
    RollbackState.BLOCKED,
)
#: How it ends at each of `MOMENTS`, where the target refuses a stale write.
TABLE: dict[Doing, tuple[RollbackState, ...]] = {
    elsewhere: (S, S, S, S),
    beside: (S, S, S, S),
    in_place: (S, S, S, S),
    on_target: (S, S, S, S),
    announced: (S, S, S, S),
    to_target: (S, C, C, C),  # the write finds the same move in place, and changes nothing
    to_third: (S, S, S, S),
    in_part: (S, S, S, X),
    back: (C, C, C, X),  # to the version that is bad: as if nothing had been done
    paused: (B, B, C, C),
    pause_file: (B, B, C, C),
    tainted: (B, B, C, C),
    acknowledged: (C, C, C, C),
}
CASES = [
    pytest.param(doing, moment, end, id=f"{doing.__name__} {moment}")
    for doing, ends in TABLE.items()
    for moment, end in zip(MOMENTS, ends, strict=True)
]


@pytest.mark.parametrize(("doing", "moment", "end"), CASES)
async def test_whoever_comes_while_the_executor_works_is_not_overrun(
    start: Callable[..., Awaitable[Engine]], doing: Doing, moment: str, end: RollbackState
) -> None:
    switch = Stopping(moment, Tier.A)
    engine = await start(switch)
    await doing(engine, switch)
    written, newer = list(switch.written), [name for name in switch.state.live if switch.told(name) == "v3"]
    switch.go_on.set()
    rollback = await ended(engine)
    assert rollback.state is end, [passage.why for passage in rollback.history]
    # One move at most, the right one, and none that takes anything from the newer version.
    assert switch.written in ([], ["green>blue"])
    assert written == (["green>blue"] if moment == "after the write" else [])
    assert set(newer) <= set(switch.state.live)
    if end is not C and doing is not beside:
        assert switch.written == written, "written after somebody's word"
    if newer:
        (deployed,) = [one for one in engine.deployments if one.version == "v3"]
        assert (deployed.armed, deployed.state in WATCHED) == (True, True)
    told = [row.message for row in engine.outbox if row.message.rollback == rollback.id]
    ends = [one for one in told if one.kind in (MessageKind.ROLLBACK_ENDED, MessageKind.ROLLBACK_COMPLETED)]
    assert len(ends) == rollback.over
    assert [one.needs_human for one in ends] == ([end is X] if rollback.over else [])
    assert engine.chain_holds()


async def ended(engine: Engine) -> Rollback:
    """The rollback when it is over, or has waited for long."""
    await asyncio.sleep(120)
    (rollback,) = [one for one in engine.stored_rollbacks if one.from_version == "v2"]
    return rollback
