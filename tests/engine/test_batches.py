"""Turns of several events: what was only seen is written together, and nothing of the reactor's promises changes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.engine.test_reactor import DISK_FULL, Rig, asks, observed
from tests.engine.worlds import ALIVE, BAD, GOOD, service, traffic, world
from watchdog.core.audit import verify
from watchdog.core.check import CheckId, CheckState, KnownLog, KnownRun
from watchdog.core.deployment import Deployment
from watchdog.core.events import Asked, Event, Observed, Ticked, TrafficSeen
from watchdog.core.observation import Pulse
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Level
from watchdog.core.turn import CheckRecord, Turn, together
from watchdog.core.world import World
from watchdog.engine.reactor import BATCH, FLUSH_AT_ONCE, FLUSH_INTERVAL, FLUSH_TICKS
from watchdog.testing.clock import BASE

pytestmark = pytest.mark.virtual_time


def names(count: int) -> list[str]:
    return [f"service-{number}" for number in range(count)]


def many(count: int) -> World:
    return world(*(service(name=name) for name in names(count)))


def seen(name: str, at: float = 0.0, *, share: float = 0.001) -> Observed:
    event = observed(share, at)
    return replace(event, check=replace(event.check, service=name))


def moved(name: str) -> TrafficSeen:
    return TrafficSeen(service=name, state=traffic("blue", revision="r2"))


async def take(rig: Rig, *events: Event) -> None:
    for event in events:
        rig.reactor.deliver(event)
    run = asyncio.create_task(rig.reactor.run())
    await asyncio.sleep(1)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def test_what_was_only_seen_is_written_in_one_transaction() -> None:
    rig = await Rig(many(20)).open()
    await take(rig, *(moved(name) for name in names(20)))

    assert len(rig.store.commits) == 1
    assert [len(batch) for batch in rig.effects.batches] == [20]
    assert len(rig.store.commits[0].services) == 20
    assert verify(rig.audit)[1] is None
    assert all(
        one.traffic is not None and one.traffic.live == ("blue",)
        for one in rig.reactor.world.services.values()
    )


async def test_a_transaction_has_at_most_so_many_events() -> None:
    rig = await Rig(many(3)).open()
    await take(rig, *(seen(names(3)[number % 3], number) for number in range(2 * BATCH + 50)))

    assert [len(batch) for batch in rig.effects.batches] == [BATCH, BATCH, 50]


async def test_what_people_asked_and_what_the_clock_said_keep_their_place_between_what_was_seen() -> None:
    rig = await Rig(many(3)).open()
    pause = replace(asks(RequestKind.PAUSE).request, target="service-1")
    await take(
        rig,
        seen("service-0"),
        Asked(request=pause),
        seen("service-1"),
        Ticked(),
        seen("service-2"),
        moved("service-0"),
    )

    kinds = [[type(event).__name__ for event in batch] for batch in rig.effects.batches]
    assert kinds == [["Observed"], ["Asked"], ["Observed"], ["Ticked"], ["Observed", "TrafficSeen"]]


async def test_a_decision_is_written_before_what_waits_behind_it() -> None:
    well = KnownRun(level=Level.OK, version="v1", first_at=GOOD.started_at, last_at=BAD.started_at)
    armed = service(name="service-3", known={"errors": KnownLog(runs=(well,))})
    fleet = many(10)
    rig = await Rig(replace(fleet, services={**fleet.services, "service-3": armed})).open()
    bad = [seen("service-3", second, share=0.5) for second in (0, 1, 2)]
    rest = [seen(name, 3) for name in names(10)]
    await take(rig, *bad, *rest, *rest)

    found = next(turn for turn in rig.store.commits if turn.rollbacks)
    (batch,) = [
        events for events, turn in zip(rig.effects.batches, _turns(rig), strict=True) if turn is found
    ]
    assert batch[-1].check.service == "service-3" if isinstance(batch[-1], Observed) else False
    assert len(batch) <= len(bad)
    assert found.rollbacks[0].service == "service-3"
    assert found.rollbacks[0].state is RollbackState.INTENDED


async def test_rollbacks_that_guards_stop_are_written_together() -> None:
    rig = await Rig(many(10)).open()
    await take(rig, *(seen(name, second, share=0.5) for second in (0, 1, 2) for name in names(10)))

    stopped = [turn for turn in rig.store.commits if turn.rollbacks]
    assert [len(turn.rollbacks) for turn in stopped] == [10]
    assert {one.state for one in stopped[0].rollbacks} == {RollbackState.BLOCKED}


def _turns(rig: Rig) -> list[Turn]:
    turns: list[Turn] = []
    for batch in rig.effects.batches:
        turns.append(rig.effects.released[sum(len(one) for one in rig.effects.batches[: len(turns)])][1])
        assert batch
    return turns


async def test_when_a_batch_cannot_be_written_nothing_of_it_leaves_and_what_needs_no_writing_is_kept() -> (
    None
):
    rig = await Rig(many(3)).open()
    before, head = rig.reactor.world, rig.reactor.view().audit_head
    rig.store.fail_next(DISK_FULL)
    await take(rig, seen("service-0"), moved("service-1"), seen("service-2"))

    after = rig.reactor.world
    assert rig.store.commits == []
    assert rig.reactor.view().audit_head == head
    assert after.services["service-1"] is before.services["service-1"]
    assert after.services["service-0"].checks
    assert after.services["service-2"].checks
    assert [type(event) for event, _ in rig.effects.released] == [Observed, Observed]
    assert rig.effects.looks == []

    await take(rig, moved("service-1"))
    assert rig.reactor.world.services["service-1"].traffic == traffic("blue", revision="r2")
    assert verify(rig.audit)[1] is None


async def test_an_event_that_cannot_be_written_alone_changes_nothing() -> None:
    rig = await Rig(many(1)).open()
    before = rig.reactor.world
    rig.store.fail_next(DISK_FULL)
    await take(rig, moved("service-0"))
    assert rig.reactor.world is before
    assert rig.effects.released == []


async def test_together_or_one_by_one_the_same_world_comes_out() -> None:
    events = [
        event
        for second in range(4)
        for number, name in enumerate(names(6))
        for event in (seen(name, second, share=0.5 if number == 2 else 0.001), moved(name))
        if isinstance(event, Observed) or number == 5
    ]
    batched, single = await Rig(many(6)).open(), await Rig(many(6)).open()
    for event in events:  # no time passes in between
        await single.reactor.turn(event)
    await take(batched, *events)

    assert batched.reactor.world == single.reactor.world
    assert batched.kinds == single.kinds
    assert batched.reactor.view().audit_head == single.reactor.view().audit_head
    assert {key: row["doc"] for key, row in batched.store.data.incidents.items()} == {
        key: row["doc"] for key, row in single.store.data.incidents.items()
    }
    assert len(batched.store.commits) < len(single.store.commits)


async def test_many_services_are_flushed_over_several_ticks_and_each_once() -> None:
    count = 3 * FLUSH_AT_ONCE - 10
    rig = await Rig(many(count)).open()
    await take(rig, *(seen(name) for name in names(count)))
    await asyncio.sleep(FLUSH_INTERVAL.total_seconds())
    for _ in range(5):
        await rig.reactor.turn(Ticked())

    sizes = [len(turn.services) for turn in rig.store.commits]
    assert sizes == [FLUSH_AT_ONCE, FLUSH_AT_ONCE, FLUSH_AT_ONCE - 10]
    assert len({one.name for turn in rig.store.commits for one in turn.services}) == count
    assert FLUSH_INTERVAL.total_seconds() > FLUSH_TICKS


async def test_a_clean_stop_flushes_all_of_them_at_once() -> None:
    count = 2 * FLUSH_AT_ONCE + 1
    rig = await Rig(many(count)).open()
    await take(rig, *(seen(name) for name in names(count)))
    await rig.reactor.drain()
    assert len(rig.store.data.services) == count


CHECKS = [CheckId(service="trips", rule=rule) for rule in "abc"]
TURNS = st.lists(
    st.builds(
        lambda kept, gone, failures: Turn(
            checks=tuple(
                CheckRecord(id=one, state=CheckState(failures=failures)) for one in kept if one not in gone
            ),
            forgotten=tuple(gone),
            deployments=(replace(GOOD, reason=str(failures)),),
        ),
        st.lists(st.sampled_from(CHECKS), unique=True),
        st.lists(st.sampled_from(CHECKS), unique=True),
        st.integers(0, 9),
    )
)


@given(TURNS)
def test_turns_together_leave_the_same_on_the_disk(turns: list[Turn]) -> None:
    assert _stored([together(turns)]) == _stored(turns)


def _stored(turns: list[Turn]) -> tuple[dict[CheckId, CheckState], dict[str, Deployment]]:
    checks = dict.fromkeys(CHECKS, CheckState(failures=99))
    deployments: dict[str, Deployment] = {}
    for turn in turns:
        for check in turn.forgotten:
            checks.pop(check, None)
        checks |= {record.id: record.state for record in turn.checks}
        deployments |= {one.id: one for one in turn.deployments}
    return checks, deployments


async def test_a_dead_probe_and_a_read_of_the_switch_go_together() -> None:
    check = CheckId(service="trips", rule="alive", version="v2", variant="green")
    pulse = Observed(
        check=check, observation=Pulse(passed=False, at=BASE), arrived_at=BASE + timedelta(seconds=1)
    )
    rig = await Rig(world(service(ALIVE))).open()
    await take(rig, pulse, TrafficSeen(service="trips", state=traffic()))
    assert [len(batch) for batch in rig.effects.batches] == [2]
    assert [one.state for one in rig.reactor.world.rollbacks()] != [RollbackState.INTENDED]
