from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.engine.loop import Engine
from tests.engine.worlds import ERRORS, variants
from tests.eventually import eventually
from watchdog.channels.interface import Delivered, Refused
from watchdog.core.check import CheckId
from watchdog.core.deployment import DeploymentState
from watchdog.core.errors import StoreError
from watchdog.core.events import Observed, OutcomeKind
from watchdog.core.message import MessageKind, OutgoingState
from watchdog.core.observation import Value
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.routing import Route
from watchdog.core.rule import Holds, Ratio, Samples
from watchdog.core.service import Mode
from watchdog.core.traffic import Tier, TrafficState
from watchdog.testing.clock import LoopClock
from watchdog.testing.traffic import FakeSwitch, Moment

pytestmark = pytest.mark.virtual_time

Make = Callable[..., Awaitable[Engine]]

#: A rule on the service, beyond its threshold at once.
LATE = replace(
    ERRORS,
    name="late",
    form=Ratio(bad='late_total{service="$service"}', total='requests_total{service="$service"}'),
    hold=Holds(warning=Samples(1), critical=Samples(1), rollback=Samples(1)),
)


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
async def start() -> AsyncIterator[Make]:
    engines: list[Engine] = []

    async def make(**words: Any) -> Engine:
        engines.append(Engine(**words))
        await engines[-1].start()
        return engines[-1]

    yield make
    for engine in engines:
        assert engine.failed() is None
        await engine.crash()


async def until(engine: Engine, state: RollbackState, *, within: float = 120.0) -> None:
    await eventually(
        lambda: [one.state for one in engine.rollbacks] == [state],
        within=within,
        every=0.05,
        what=f"a rollback that is {state}, not {[one.state for one in engine.rollbacks]}",
    )


async def test_a_bad_deployment_is_rolled_back_proved_and_told(start: Make) -> None:
    engine = await start()
    await engine.stable()
    await engine.deploy()
    await until(engine, RollbackState.COMPLETED)
    assert engine.switch.writes == 1
    assert engine.switch.state.live == ("blue",)
    assert engine.switch.mark == engine.rollbacks[0].id
    states = {one.version: one.state for one in engine.deployments if one.variant == "green"}
    assert states == {"v2": DeploymentState.ROLLED_BACK}
    kinds = [attempt.message.kind for attempt in engine.channels["ops"].attempts]
    assert MessageKind.ROLLBACK_SWITCHED in kinds
    assert MessageKind.ROLLBACK_COMPLETED in kinds
    assert engine.chain_holds()


async def test_an_intent_is_on_the_disk_before_the_switch_is_written(start: Make) -> None:
    engine = await start()
    await engine.stable()
    gate = asyncio.Event()
    engine.switch.hold_apply(gate)
    await engine.deploy()
    await until(engine, RollbackState.INTENDED)
    assert [one.state for one in engine.stored_rollbacks] == [RollbackState.INTENDED]
    assert engine.switch.writes == 0
    gate.set()
    await until(engine, RollbackState.COMPLETED)


async def test_each_transition_is_counted_once(start: Make) -> None:
    engine = await start()
    await engine.stable()
    await engine.deploy()
    await until(engine, RollbackState.COMPLETED)
    await asyncio.sleep(120)
    assert engine.metric('watchdog_rollbacks_total{outcome="completed",service="trips"}') == 1
    assert engine.metric("watchdog_decision_seconds_count") == 1
    assert engine.metric('watchdog_switch_seconds_count{service="trips"}') == 1
    assert "watchdog_guard_vetoes_total{" not in engine.metrics.render().decode()


async def test_a_veto_is_counted_once_however_often_the_guard_is_asked(start: Make) -> None:
    engine = await start(mode=Mode.OBSERVE)
    await engine.stable()
    await engine.deploy()
    await until(engine, RollbackState.BLOCKED)
    await asyncio.sleep(100)
    assert engine.metric('watchdog_guard_vetoes_total{guard="mode"}') == 1
    engine.switch.move({"blue": 100})
    await until(engine, RollbackState.SUPERSEDED)
    assert engine.metric('watchdog_guard_vetoes_total{guard="mode"}') == 1
    assert engine.metric('watchdog_rollbacks_total{outcome="superseded",service="trips"}') == 1


async def test_a_new_guards_no_on_a_blocked_rollback_is_counted_too(start: Make) -> None:
    engine = await start(mode=Mode.OBSERVE)
    await engine.stable()
    await engine.deploy()
    await until(engine, RollbackState.BLOCKED)
    engine.pause = "the pause file exists"
    await asyncio.sleep(20)
    assert engine.metric('watchdog_guard_vetoes_total{guard="mode"}') == 1
    assert engine.metric('watchdog_guard_vetoes_total{guard="paused"}') == 1


async def test_a_version_that_takes_traffic_is_polled_from_then_on_and_the_old_one_no_more(
    start: Make,
) -> None:
    engine = await start()
    await engine.stable()
    engine.shop.shares["v2"] = 0.0
    assert {version for _, version in engine.shop.asked} <= {"v1", ""}
    await engine.deploy()
    moved = now()
    await asyncio.sleep(60)
    later = [(when, version) for when, version in engine.shop.asked if when > moved + 6]
    assert {version for _, version in later} == {"v2"}
    assert later[0][0] - moved < 12


async def test_what_is_pending_and_what_is_verified_is_polled_at_the_recheck_interval(start: Make) -> None:
    engine = await start(rules=(replace(ERRORS, interval=timedelta(seconds=60)),))
    await engine.ask(RequestKind.DEPLOYMENT, version="v1", variant="blue")
    await asyncio.sleep(180)
    calm = [when for when, _ in engine.shop.asked if when > 70]
    assert len(calm) <= 3
    await engine.deploy()
    await until(engine, RollbackState.COMPLETED)
    applied = engine.rollbacks[0].applied_at
    recovered = engine.rollbacks[0].recovered_at
    assert applied is not None
    assert recovered is not None
    assert (recovered - applied).total_seconds() < 40, "a proof does not wait for the next regular poll"
    hot = [when for when, version in engine.shop.asked if version == "v1" and when > 180]
    assert min(after - before for before, after in itertools.pairwise(hot)) < 10


async def test_a_switch_that_was_just_written_is_watched_closely_until_the_end(start: Make) -> None:
    engine = await start()
    await engine.stable()
    await engine.deploy()
    await eventually(lambda: engine.switch.writes == 1, within=60, every=0.01)
    before = sum(call.kind == "read" for call in engine.switch.calls)
    began = now()
    await until(engine, RollbackState.COMPLETED)
    reads = sum(call.kind == "read" for call in engine.switch.calls) - before
    assert reads >= 0.8 * (now() - began), "once a second"
    await asyncio.sleep(10)
    calm = sum(call.kind == "read" for call in engine.switch.calls)
    await asyncio.sleep(100)
    assert sum(call.kind == "read" for call in engine.switch.calls) - calm <= 22


class Slow(FakeSwitch):
    """Says what it saw first when it is done, as a script does."""

    async def read(self) -> TrafficState:
        state = await super().read()
        await asyncio.sleep(2)
        return replace(state, read_at=LoopClock().now())


@pytest.mark.parametrize("lag", [0.0, 0.7, 1.6, 3.1])
async def test_a_slow_look_that_began_before_the_switch_is_nobody_s_undoing(start: Make, lag: float) -> None:
    engine = await start(switch=Slow(variants("blue"), clock=LoopClock().now, tier=Tier.B))
    await engine.stable()
    await asyncio.sleep(lag)
    await engine.deploy()
    await eventually(lambda: [one.over for one in engine.rollbacks] == [True], within=200, every=0.5)
    assert [one.state for one in engine.rollbacks] == [RollbackState.COMPLETED]


@pytest.mark.parametrize("tier", list(Tier))
async def test_a_rollback_that_was_intended_when_the_process_died_goes_on_after_the_start(
    start: Make, tier: Tier
) -> None:
    engine = await start(switch=FakeSwitch(variants("blue"), tier=tier, clock=LoopClock().now))
    await engine.stable()
    engine.switch.hold_apply(asyncio.Event(), at=Moment.AFTER)
    await engine.deploy()
    await eventually(lambda: engine.switch.writes == 1, within=60, every=0.01)
    data = await engine.crash()
    with capture_logs() as logs:
        again = await start(data=data, switch=engine.switch)
        await until(again, RollbackState.COMPLETED)
    assert "intent_resumed" in [log["event"] for log in logs]
    assert again.outcomes[0].kind is OutcomeKind.FOUND_DONE
    assert again.switch.writes == 1
    assert again.chain_holds()


async def test_a_blocked_rollback_is_tried_again_on_fresh_data_only(start: Make) -> None:
    engine = await start()
    await engine.stable()
    engine.pause = "the pause file exists"
    await engine.deploy()
    await until(engine, RollbackState.BLOCKED)
    data = await engine.crash()
    again = Engine(data=data, switch=engine.switch)
    again.shop.failed = engine.shop.failed
    again.shop.shares["v2"] = 0.0  # meanwhile it is well
    await again.start()
    await asyncio.sleep(60)
    assert [one.state for one in again.rollbacks] != [RollbackState.INTENDED]
    assert again.switch.writes == 0
    await again.crash()


async def test_a_blocked_rollback_goes_on_when_the_guard_says_yes_and_it_is_still_bad(start: Make) -> None:
    engine = await start()
    await engine.stable()
    engine.pause = "the pause file exists"
    await engine.deploy()
    await until(engine, RollbackState.BLOCKED)
    data = await engine.crash()
    again = await start(data=data, switch=engine.switch)
    await until(again, RollbackState.COMPLETED)
    assert again.switch.writes == 1


@pytest.mark.parametrize("tier", list(Tier))
async def test_the_moment_of_a_crash_makes_no_difference_to_the_number_of_switches(
    start: Make, tier: Tier
) -> None:
    """Crash every so often through decision, write and proof: one switch, one chain, one end."""
    first = await start(switch=FakeSwitch(variants("blue"), tier=tier, clock=LoopClock().now))
    await first.stable()
    await first.deploy()
    engine, data = first, first.store.data
    for number in range(60):
        await asyncio.sleep(0.31 + 0.07 * (number % 5))
        data = await engine.crash()
        engine = Engine(data=data, switch=first.switch)
        await engine.start()
        assert first.switch.writes <= 1
    await asyncio.sleep(120)
    assert engine.failed() is None
    assert first.switch.writes == 1
    assert [one.state for one in engine.stored_rollbacks] == [RollbackState.COMPLETED]
    assert engine.chain_holds()
    await engine.crash()


# Messages


async def test_messages_are_addressed_and_tied_to_the_chain(start: Make) -> None:
    engine = await start()
    await engine.stable()
    await engine.deploy()
    await until(engine, RollbackState.COMPLETED)
    hashes = {record.hash for record in engine.audit}
    assert engine.outbox
    for row in engine.outbox:
        assert row.channel == "ops"
        assert row.key == f"{row.message.key}@ops"
        assert row.message.audit_head in hashes


async def test_a_dead_channel_is_told_on_the_others(start: Make) -> None:
    engine = Engine()
    engine.routes = (Route(match={"kind": "paused"}, to=("ops",)), Route(to=("ops", "oncall")))
    await engine.start()
    engine.channels["ops"].always(Refused(reason="channel_is_archived"))
    await engine.ask(RequestKind.PAUSE, reason="lunch")
    await eventually(lambda: engine.channels["oncall"].attempts, within=30)
    told = engine.channels["oncall"].attempts[0].message
    assert told.kind is MessageKind.CHANNEL_FAILED
    assert "channel_is_archived" in told.headline
    await asyncio.sleep(600)
    assert len(engine.channels["oncall"].attempts) == 1
    assert engine.failed() is None
    await engine.crash()


async def test_two_dead_channels_do_not_tell_each_other_for_ever(start: Make) -> None:
    engine = Engine()
    engine.routes = (Route(to=("ops", "oncall")),)
    await engine.start()
    for channel in engine.channels.values():
        channel.always(Refused(reason="gone"))
    await engine.ask(RequestKind.PAUSE, reason="lunch")
    await asyncio.sleep(3600)
    attempts = [attempt.message.kind for one in engine.channels.values() for attempt in one.attempts]
    assert sorted(attempts) == [MessageKind.CHANNEL_FAILED] * 2 + [MessageKind.PAUSED] * 2
    assert {row.state for row in engine.outbox} == {OutgoingState.DEAD}
    await engine.crash()


# A store that fails


DISK_FULL = StoreError("the disk is full", advice="make room")


async def test_without_a_store_nothing_is_switched_and_people_hear_of_it_once(start: Make) -> None:
    engine = await start()
    await engine.stable()
    engine.store.fail_always(DISK_FULL)
    engine.shop.shares["green"] = 0.2  # nobody can announce it: it is known by its variant's name
    engine.switch.move({"green": 100})
    await asyncio.sleep(100)
    assert engine.switch.writes == 0
    assert engine.rollbacks == []
    for channel in engine.channels.values():
        kinds = [attempt.message.kind for attempt in channel.attempts]
        assert kinds.count(MessageKind.STORE_FAILED) == 1
    engine.store.heal()
    await until(engine, RollbackState.COMPLETED)
    assert engine.switch.writes == 1
    assert engine.chain_holds()


async def test_what_was_done_is_recorded_when_the_store_is_back(start: Make) -> None:
    engine = await start()
    await engine.stable()
    gate = asyncio.Event()
    engine.switch.hold_apply(gate, at=Moment.AFTER)
    await engine.deploy()
    await eventually(lambda: engine.switch.writes == 1, within=60, every=0.01)
    engine.store.fail_always(DISK_FULL)
    gate.set()
    await asyncio.sleep(30)
    assert [one.state for one in engine.rollbacks] == [RollbackState.INTENDED]
    engine.store.heal()
    await until(engine, RollbackState.COMPLETED)
    assert engine.switch.writes == 1
    assert engine.metric("watchdog_decision_seconds_count") == 1


async def test_an_intent_that_was_carried_out_is_not_begun_again_because_it_could_not_be_recorded(
    start: Make,
) -> None:
    """Another rule joins the intent before its outcome is written; meanwhile a person has moved traffic back."""
    switch = FakeSwitch(variants("blue"), clock=LoopClock().now, tier=Tier.B)
    engine = await start(rules=(ERRORS, LATE), switch=switch)
    await engine.stable()
    gate = asyncio.Event()
    switch.hold_apply(gate, at=Moment.AFTER)
    await engine.deploy()
    await eventually(lambda: switch.writes == 1, within=60, every=0.01)
    engine.store.fail_always(DISK_FULL)
    gate.set()
    await eventually(lambda: bool(engine.outcomes), within=60, every=0.01)
    switch.move({"green": 100})
    engine.store.heal()
    at = engine.clock.now()
    bad = Value(value=0.5, at=at, events=1000, bad=500)
    check = CheckId(service="trips", rule=LATE.name)
    engine.reactor.deliver(
        Observed(check=check, observation=bad, arrived_at=at, edition=engine.world.edition)
    )
    await eventually(lambda: len(engine.rollbacks[0].rules) == 2, within=1, every=0.001)
    assert [one.state for one in engine.rollbacks] == [RollbackState.INTENDED], "the second rule was first"
    await asyncio.sleep(60)
    assert switch.writes == 1
    assert switch.state.live == ("green",)
    assert [one.state for one in engine.rollbacks] == [RollbackState.CONTESTED]


async def test_messages_wait_for_a_store_that_is_back(start: Make) -> None:
    engine = await start()
    engine.store.fail_always(DISK_FULL)
    await asyncio.sleep(20)
    engine.store.heal()
    engine.channels["ops"].always(Delivered())
    await engine.ask(RequestKind.PAUSE, reason="lunch")
    await eventually(
        lambda: MessageKind.PAUSED in [a.message.kind for a in engine.channels["ops"].attempts], within=60
    )


async def test_a_guards_no_to_a_person_is_counted_too(start: Make) -> None:
    engine = await start()
    await engine.stable()
    engine.pause = "the pause file exists"
    await asyncio.sleep(5)
    for number in (1, 2):
        reply = await engine.ask(RequestKind.ROLLBACK, reason="trying")
        assert reply.status == 409
        await asyncio.sleep(1)
        assert engine.metric('watchdog_guard_vetoes_total{guard="paused"}') == number
    assert engine.metric('watchdog_guard_vetoes_total{guard="known_good_target"}') == 2
