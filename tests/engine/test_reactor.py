from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.channels.messages import message
from tests.engine.worlds import intent, service, traffic, world
from watchdog.aio.clock import SteadyClock
from watchdog.core.audit import AuditRecord, ChainHead, verify
from watchdog.core.check import CheckId
from watchdog.core.errors import StoreError
from watchdog.core.events import (
    Asked,
    ChannelDead,
    Event,
    Observed,
    Outcome,
    OutcomeKind,
    Ticked,
    TrafficSeen,
)
from watchdog.core.message import MessageKind
from watchdog.core.observation import Value
from watchdog.core.reconfigure import Change
from watchdog.core.request import Request, RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.turn import Turn
from watchdog.core.world import World
from watchdog.engine.effects import Effects
from watchdog.engine.reactor import FLUSH_INTERVAL, JOURNAL_INTERVAL, Reactor
from watchdog.store.codec import decode
from watchdog.testing.clock import BASE, LoopClock
from watchdog.testing.store import MemoryData, MemoryStore

pytestmark = pytest.mark.virtual_time

DISK_FULL = StoreError("the disk is full", advice="make room")
CHECK = CheckId(service="trips", rule="errors", version="v2", variant="green")


class Recording(Effects):
    """Effects that only write down what was let go, and what the world and the store were at that moment."""

    def __init__(self) -> None:
        self.begun: list[World] = []
        self.released: list[tuple[Event | Change, Turn]] = []
        self.batches: list[tuple[Event | Change, ...]] = []
        self.looks: list[str] = []
        self.failures: list[str] = []
        self.worked = 0
        self.committed_before_release: list[bool] = []
        self.store: MemoryStore | None = None

    def begin(self, world: World) -> None:
        self.begun.append(world)

    def release(
        self,
        before: World,
        after: World,
        turn: Turn,
        *,
        events: Sequence[Event | Change],
        looks: Iterable[str],
    ) -> None:
        self.batches.append(tuple(events))
        self.looks.extend(looks)
        self.released.extend((event, turn) for event in events)
        if self.store is not None and not turn.empty:
            self.committed_before_release.append(self.store.commits[-1] is turn)

    def store_failed(self, error: StoreError, *, now: datetime) -> None:
        self.failures.append(str(error))

    def store_works(self) -> None:
        self.worked += 1


class SlowStore(MemoryStore):
    """Takes a while to commit, as a disk does."""

    pace = 0.0

    async def commit(self, turn: Turn) -> None:
        await asyncio.sleep(self.pace)
        await super().commit(turn)


class Setback(LoopClock):
    back = timedelta()

    def now(self) -> datetime:
        return super().now() - self.back


class Rig:
    def __init__(
        self, start: World | None = None, *, data: MemoryData | None = None, clock: SteadyClock | None = None
    ) -> None:
        self.store = SlowStore(data)
        self.effects = Recording()
        self.effects.store = self.store
        self.clock = clock or LoopClock()
        self._start = start or world()
        self.reactor: Reactor

    async def open(self) -> Rig:
        await self.store.open()
        await self.store.claim(now=self.clock.now())
        saved = await self.store.load(now=self.clock.now())
        self.reactor = Reactor(
            store=self.store, world=self._start, head=saved.head, effects=self.effects, clock=self.clock
        )
        return self

    @property
    def audit(self) -> list[AuditRecord]:
        return [decode(row["doc"], AuditRecord) for row in self.store.data.audit]

    @property
    def kinds(self) -> list[str]:
        return [record.kind for record in self.audit]

    @property
    def paused(self) -> bool:
        return self.reactor.world.services["trips"].paused is not None


def asks(kind: RequestKind, number: int = 1, **body: Any) -> Asked:
    return Asked(
        request=Request(id=f"req-{number}", kind=kind, target="trips", by="olga", at=BASE, body=body)
    )


def observed(share: float, at: float) -> Observed:
    moment = BASE + timedelta(seconds=at)
    return Observed(
        check=CHECK,
        observation=Value(value=share, at=moment, events=1000, bad=1000 * share),
        arrived_at=moment,
    )


def applied() -> Outcome:
    return Outcome(
        rollback="rb-1",
        service="trips",
        kind=OutcomeKind.APPLIED,
        at=BASE,
        state=traffic("blue", revision="r2"),
        before=traffic(),
        attempts=1,
    )


def with_intent() -> World:
    return world(service(rollbacks={"rb-1": intent()}))


async def test_a_turn_is_on_the_disk_before_its_effects_leave() -> None:
    rig = await Rig().open()
    for event in (
        asks(RequestKind.PAUSE),
        TrafficSeen(service="trips", state=traffic("blue", revision="r2")),
    ):
        await rig.reactor.turn(event)
    assert rig.effects.committed_before_release == [True, True]


async def test_an_event_that_changes_nothing_writes_nothing_and_is_known() -> None:
    rig = await Rig().open()
    await rig.reactor.turn(TrafficSeen(service="trips", state=traffic()))
    await rig.reactor.turn(Ticked())
    assert rig.store.commits == []
    assert len(rig.effects.released) == 2


async def test_when_the_store_fails_the_world_stays_and_no_effect_leaves() -> None:
    rig = await Rig(with_intent()).open()
    before = rig.reactor.world
    head = rig.reactor.view().audit_head
    rig.store.fail_always(DISK_FULL)
    for event in (
        asks(RequestKind.PAUSE),
        applied(),
        ChannelDead(channel="other", key="k", message=message(headline="h"), reason="gone"),
    ):
        await rig.reactor.turn(event)
    assert rig.reactor.world is before
    assert rig.effects.released == []
    assert rig.reactor.view().audit_head == head
    assert rig.reactor.view().store_error == "the disk is full"
    assert rig.store.data.audit == []


async def test_a_failing_store_is_logged_once_and_its_recovery_once() -> None:
    rig = await Rig().open()
    rig.store.fail_always(DISK_FULL)
    with capture_logs() as logs:
        for _ in range(5):
            await rig.reactor.turn(asks(RequestKind.PAUSE))
        rig.store.heal()
        await rig.reactor.turn(Ticked())
    assert [log["event"] for log in logs if log["event"].startswith("store")] == [
        "store_failed",
        "store_recovered",
    ]
    assert rig.effects.worked == 1
    assert rig.reactor.view().store_error == ""


async def test_what_was_done_and_what_was_asked_is_taken_in_when_the_store_works_again() -> None:
    rig = await Rig(with_intent()).open()
    await rig.store.submit(asks(RequestKind.PAUSE).request)
    rig.store.fail_always(DISK_FULL)
    await rig.reactor.turn(applied())
    await rig.reactor.turn(asks(RequestKind.PAUSE))
    await rig.reactor.turn(Ticked())
    assert rig.effects.released == [] or all(isinstance(e, Ticked) for e, _ in rig.effects.released)
    rig.store.heal()
    await rig.reactor.turn(Ticked())
    rollback = rig.reactor.world.services["trips"].rollbacks["rb-1"]
    assert rollback.state is RollbackState.APPLIED
    assert rig.paused
    assert (await rig.store.reply("req-1")).status == 200
    await rig.reactor.turn(Ticked())
    assert rig.kinds.count("paused") == rig.kinds.count("rollback_applied") == 1


async def test_observations_are_not_kept_over_a_failing_store() -> None:
    """They come again by themselves; an old one is worth nothing."""
    rig = await Rig().open()
    rig.store.fail_always(DISK_FULL)
    await rig.reactor.turn(observed(0.2, 0))
    await rig.reactor.turn(observed(0.2, 5))
    rig.store.heal()
    await rig.reactor.turn(Ticked())
    taken = [event for event, _ in rig.effects.released if isinstance(event, Observed)]
    assert len(taken) <= 1


async def test_requests_keep_their_order_over_a_failing_store() -> None:
    rig = await Rig().open()
    rig.store.fail_next(DISK_FULL)
    await rig.reactor.turn(asks(RequestKind.PAUSE, 1))
    await rig.reactor.turn(asks(RequestKind.RESUME, 2))
    await rig.reactor.turn(Ticked())
    await rig.reactor.turn(Ticked())
    assert not rig.paused, "what a person said last counts"
    assert [kind for kind in rig.kinds if kind in {"paused", "resumed"}] == ["paused", "resumed"]


async def test_requests_keep_their_order_when_the_store_works_now_and_then() -> None:
    rig = await Rig().open()
    rig.store.fail_next(DISK_FULL, times=3)
    for number, kind in enumerate([RequestKind.PAUSE, RequestKind.RESUME] * 3):
        await rig.reactor.turn(asks(kind, number))
    for _ in range(3):
        await rig.reactor.turn(Ticked())
    assert [kind for kind in rig.kinds if kind in {"paused", "resumed"}] == ["paused", "resumed"] * 3


async def test_the_chain_never_forks_after_a_failed_commit() -> None:
    rig = await Rig().open()
    for number in range(30):
        if number % 3 == 0:
            rig.store.fail_next(DISK_FULL, times=1 + number % 2)
        kind = RequestKind.RESUME if number % 2 else RequestKind.PAUSE
        await rig.reactor.turn(asks(kind, number))
        await rig.reactor.turn(Ticked())
    assert len(rig.audit) == 30
    assert len({record.previous for record in rig.audit}) == 30
    assert verify(rig.audit)[1] is None


async def test_the_chain_goes_on_over_restarts() -> None:
    data = MemoryData()
    head = ChainHead()
    for number in range(4):
        rig = await Rig(data=data).open()
        assert rig.reactor.view().audit_head == head.hash
        await rig.reactor.turn(asks(RequestKind.PAUSE, number))
        head, fault = verify(rig.audit)
        assert fault is None
        assert rig.reactor.view().audit_head == head.hash
    assert head.seq == 4


async def test_replies_go_with_the_turn() -> None:
    rig = await Rig().open()
    request = asks(RequestKind.PAUSE, reason="lunch")
    await rig.store.submit(request.request)
    await rig.reactor.turn(request)
    reply = await rig.store.reply("req-1")
    assert reply.status == 200
    assert reply.body["paused"]["reason"] == "lunch"


async def test_messages_are_addressed_and_tied_to_the_head_of_their_own_turn() -> None:
    rig = await Rig().open()
    await rig.reactor.turn(asks(RequestKind.PAUSE))
    turn = rig.store.commits[0]
    assert [row.channel for row in turn.outbox] == ["ops"]
    assert turn.outbox[0].message.kind is MessageKind.PAUSED
    assert turn.outbox[0].message.audit_head == turn.audit[-1].hash


async def test_a_turn_that_has_begun_is_finished_when_the_reactor_is_cancelled() -> None:
    rig = await Rig().open()
    rig.store.pace = 5.0
    run = asyncio.create_task(rig.reactor.run())
    rig.reactor.deliver(asks(RequestKind.PAUSE))
    await asyncio.sleep(1)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert asyncio.get_running_loop().time() == pytest.approx(5.0)
    assert rig.paused
    assert len(rig.effects.released) == len(rig.store.commits) == 1


async def test_it_begins_with_the_world_that_was_restored() -> None:
    rig = await Rig(with_intent()).open()
    run = asyncio.create_task(rig.reactor.run())
    await asyncio.sleep(1)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert rig.effects.begun == [rig.reactor.world]


async def test_a_clean_stop_takes_in_what_waits_and_writes_what_checks_remember() -> None:
    rig = await Rig().open()
    rig.reactor.deliver(observed(0.001, 0))
    rig.reactor.deliver(asks(RequestKind.PAUSE))
    await rig.reactor.drain()
    assert rig.paused
    assert [record["rule"] for record in rig.store.data.checks.values()] == ["errors"]
    commits = len(rig.store.commits)
    await rig.reactor.drain()
    assert len(rig.store.commits) == commits, "nothing is written twice"


async def test_a_clean_stop_takes_in_what_was_kept_first() -> None:
    rig = await Rig(with_intent()).open()
    rig.store.fail_next(DISK_FULL)
    await rig.reactor.turn(applied())
    await rig.reactor.drain()
    assert rig.reactor.world.services["trips"].rollbacks["rb-1"].state is RollbackState.APPLIED


async def test_a_clean_stop_with_a_broken_store_ends_all_the_same() -> None:
    rig = await Rig(with_intent()).open()
    rig.store.fail_always(DISK_FULL)
    rig.reactor.deliver(applied())
    rig.reactor.deliver(observed(0.001, 0))
    await rig.reactor.drain()
    assert rig.store.commits == []


async def test_what_checks_and_deployments_remember_is_written_now_and_then() -> None:
    rig = await Rig().open()
    for second in range(0, int(FLUSH_INTERVAL.total_seconds()), 5):
        await rig.reactor.turn(observed(0.001, second))
        await rig.reactor.turn(Ticked())
        await asyncio.sleep(5)
    assert rig.store.commits == []
    await rig.reactor.turn(Ticked())
    assert len(rig.store.commits) == 1
    turn = rig.store.commits[0]
    assert [record.id for record in turn.checks] == [CHECK]
    assert [one.version for one in turn.deployments] == ["v2"]
    assert [record.name for record in turn.services] == ["trips"]
    assert turn.audit == ()


async def test_services_of_which_nothing_was_heard_are_not_written_again() -> None:
    quiet = service(name="quiet")
    rig = await Rig(world(service(), quiet)).open()
    await rig.reactor.turn(observed(0.001, 0))
    await asyncio.sleep(FLUSH_INTERVAL.total_seconds())
    await rig.reactor.turn(Ticked())
    assert [record.name for record in rig.store.commits[0].services] == ["trips"]


async def test_a_clock_that_is_set_back_stops_no_flush() -> None:
    clock = Setback()
    rig = await Rig(clock=clock).open()
    await asyncio.sleep(100)
    clock.back = timedelta(hours=2)
    await rig.reactor.turn(observed(0.001, 0))
    await rig.reactor.turn(Ticked())
    assert len(rig.store.commits) == 1


async def test_a_flush_that_fails_is_tried_again_at_the_next_tick() -> None:
    rig = await Rig().open()
    await rig.reactor.turn(observed(0.001, 0))
    await asyncio.sleep(FLUSH_INTERVAL.total_seconds())
    rig.store.fail_next(DISK_FULL)
    await rig.reactor.turn(Ticked())
    assert (rig.store.commits, rig.effects.failures) == ([], ["the disk is full"])
    await rig.reactor.turn(Ticked())
    assert len(rig.store.commits) == 1
    assert rig.effects.worked == 1


async def test_the_head_of_the_chain_goes_into_the_journal_every_hour() -> None:
    rig = await Rig().open()
    await rig.reactor.turn(asks(RequestKind.PAUSE))
    with capture_logs() as logs:
        for _ in range(5):
            await asyncio.sleep(JOURNAL_INTERVAL.total_seconds() / 2)
            await rig.reactor.turn(Ticked())
    heads = [log for log in logs if log["event"] == "audit_head"]
    assert [log["hash"] for log in heads] == [rig.audit[-1].hash] * 2


async def test_ticks_are_counted_and_progress_is_told_though_the_store_fails() -> None:
    """A broken store is no reason for a restart: what waits in memory would be lost by it."""
    rig = await Rig().open()
    await rig.reactor.turn(Ticked(paused_by_file="file", leader=True, epoch=2))
    assert rig.reactor.world.paused_by_file == "file"
    assert rig.reactor.world.epoch == 2
    rig.store.fail_always(DISK_FULL)
    await asyncio.sleep(60)
    await rig.reactor.turn(asks(RequestKind.RESUME))
    await rig.reactor.turn(Ticked())
    assert rig.reactor.ticks == 2
    assert rig.reactor.turn_at == BASE + timedelta(seconds=60)


async def test_news_of_a_broken_channel_is_only_a_message() -> None:
    rig = await Rig(replace(world(), routes=world().routes)).open()
    await rig.reactor.turn(
        ChannelDead(channel="other", key="k", message=message(headline="h"), reason="gone")
    )
    assert [row.channel for row in rig.store.commits[0].outbox] == ["ops"]
    await rig.reactor.turn(ChannelDead(channel="ops", key="k", message=message(headline="h"), reason="gone"))
    assert len(rig.store.commits) == 1


async def test_news_of_a_broken_channel_are_told_when_the_store_works_again() -> None:
    """The dispatcher says it once; what was to be heard there would be heard nowhere."""
    rig = await Rig().open()
    rig.store.fail_next(DISK_FULL)
    await rig.reactor.turn(
        ChannelDead(channel="other", key="k", message=message(headline="h"), reason="gone")
    )
    assert rig.store.commits == []
    await rig.reactor.turn(Ticked())
    assert [row.channel for turn in rig.store.commits for row in turn.outbox] == ["ops"]


async def test_an_event_of_an_unknown_service_is_left_alone() -> None:
    rig = await Rig().open()
    for event in (
        TrafficSeen(service="nobody", state=traffic()),
        Observed(
            check=CheckId(service="nobody", rule="r"), observation=observed(0, 0).observation, arrived_at=BASE
        ),
        replace(applied(), service="nobody"),
    ):
        await rig.reactor.turn(event)
    await rig.reactor.drain()
    assert rig.store.commits == []


async def test_the_view_shows_the_newest_world() -> None:
    rig = await Rig().open()
    assert rig.reactor.view().services["trips"].paused is None
    await rig.reactor.turn(asks(RequestKind.PAUSE))
    view = rig.reactor.view()
    assert view.services["trips"].paused is not None
    assert view.audit_head == rig.audit[-1].hash
    assert view.at == view.turn_at == BASE
