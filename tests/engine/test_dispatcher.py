from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from watchdog.channels.interface import Channel, Chart, Delivered, Delivery, Later, Refused, Unclear
from watchdog.core.errors import StoreError
from watchdog.core.message import Attempted, Message, MessageKind, Outgoing, OutgoingState, Thread
from watchdog.core.patience import GIVE_UP_AFTER
from watchdog.core.rule import Severity
from watchdog.core.turn import Turn
from watchdog.engine.dispatcher import Dispatcher
from watchdog.engine.lane import IN_HAND
from watchdog.store.codec import decode
from watchdog.store.interface import Wanted
from watchdog.testing.channels import FakeChannel
from watchdog.testing.clock import BASE, LoopClock
from watchdog.testing.store import MemoryData, MemoryStore

pytestmark = pytest.mark.virtual_time

DISK_FULL = StoreError("the disk is full", advice="make room")


def outgoing(key: str, channel: str = "ops", *, at: datetime = BASE) -> Outgoing:
    message = Message(
        key=key,
        kind=MessageKind.INCIDENT_OPENED,
        severity=Severity.HIGH,
        headline=f"headline of {key}",
        created_at=at,
    )
    return Outgoing(key=f"{key}@{channel}", channel=channel, message=message, due_at=at)


class SlowStore(MemoryStore):
    """Answers after a while, as a disk does, and fails reads on command. Counts what it is asked."""

    def __init__(self, data: MemoryData | None = None, *, shared: bool = False) -> None:
        super().__init__(data, shared=shared)
        self.pace = 0.0
        self.pace_reads: float | None = None
        """Where it is another one."""
        self.most_taken = 0
        """The most that was answered at once."""
        self.read_fault: StoreError | None = None
        self.looks: list[float] = []
        self.settle_tries = 0

    async def take(self, wanted: Wanted) -> tuple[Outgoing, ...]:
        self.looks.append(asyncio.get_running_loop().time())
        if self.read_fault is not None:
            raise self.read_fault
        rows = await super().take(wanted)
        self.most_taken = max(self.most_taken, len(rows))
        await asyncio.sleep(self.pace if self.pace_reads is None else self.pace_reads)
        return rows

    async def settle_many(self, attempts: Sequence[Attempted]) -> frozenset[str]:
        self.settle_tries += 1
        await asyncio.sleep(self.pace)
        return await super().settle_many(attempts)


class Rig:
    """A dispatcher over a store in memory, with fake channels, and everything it said."""

    def __init__(
        self,
        *names: str,
        data: MemoryData | None = None,
        shared: bool = False,
        store: MemoryStore | None = None,
    ) -> None:
        self.store: Any = store or SlowStore(data, shared=shared)
        self.clock, self.rng = LoopClock(), random.Random(7)
        self.late: list[tuple[str, str, datetime]] = []
        self.channels: dict[str, FakeChannel] = {name: FakeChannel() for name in names or ("ops",)}
        self.dead: list[tuple[str, str]] = []
        self.outcomes: list[tuple[str, str]] = []
        self.dispatcher = self.make(dict(self.channels))
        self._task: asyncio.Task[None] | None = None

    def make(self, channels: dict[str, Channel]) -> Dispatcher:
        self.dispatcher = Dispatcher(
            self.store,
            channels,
            clock=self.clock,
            rng=self.rng,
            on_late=lambda row, reason, since: self.late.append((row.key, reason, since)),
            on_dead=lambda row, reason: self.dead.append((row.key, reason)),
            on_outcome=lambda channel, outcome: self.outcomes.append((channel, outcome)),
        )
        return self.dispatcher

    async def start(self) -> None:
        await self.store.open()
        await self.store.claim(now=BASE)
        self._task = asyncio.create_task(self.dispatcher.run())

    async def stop(self) -> None:
        if self._task is None:
            return
        task, self._task = self._task, None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def kill(self) -> None:
        """It does nothing more, and nobody waits for its end."""
        assert self._task is not None
        self.store.fail_always(DISK_FULL)
        self._task.cancel()

    async def put(self, *rows: Outgoing) -> None:
        await self.store.commit(Turn(outbox=rows))
        self.dispatcher.wake()

    def row(self, key: str) -> Outgoing:
        return decode(self.store.data.outbox[key]["doc"], Outgoing)

    def times(self, channel: str = "ops") -> list[float]:
        return [attempt.at for attempt in self.channels[channel].attempts]

    def pauses(self, channel: str = "ops") -> list[float]:
        times = self.times(channel)
        return [after - before for before, after in itertools.pairwise(times)]


Make = Callable[..., Awaitable[Rig]]


@pytest.fixture
async def start() -> AsyncIterator[Make]:
    rigs: list[Rig] = []

    async def make(*names: str, data: MemoryData | None = None) -> Rig:
        rigs.append(Rig(*names, data=data))
        await rigs[-1].start()
        return rigs[-1]

    yield make
    for rig in rigs:
        await rig.stop()


async def passing(seconds: float) -> None:
    """Let virtual time pass."""
    await asyncio.sleep(seconds)


async def test_a_committed_message_is_sent_at_once_and_recorded(start: Make) -> None:
    rig = await start()
    await passing(5)
    await rig.put(outgoing("m1"))
    await passing(0.001)
    assert rig.channels["ops"].keys == ["m1@ops"]
    assert rig.times() == [5.0]
    row = rig.row("m1@ops")
    assert row.state is OutgoingState.SENT
    assert row.attempts == 1
    assert row.sent_at == BASE + timedelta(seconds=5)
    assert rig.outcomes == [("ops", "ok")]
    assert await rig.store.outbox_pending() == 0


async def test_what_was_pending_before_a_restart_is_sent(start: Make) -> None:
    data = MemoryData()
    first = Rig(data=data)
    await first.store.open()
    await first.store.claim(now=BASE)
    await first.put(outgoing("m1"), outgoing("m2"))
    second = await start(data=data)
    await passing(1)
    assert second.channels["ops"].keys == ["m1@ops", "m2@ops"]


async def test_what_was_pending_before_a_restart_is_sent_though_the_clock_was_set_back_since(
    start: Make,
) -> None:
    data = MemoryData()
    first = Rig(data=data)
    await first.store.open()
    await first.store.claim(now=BASE)
    pending = [
        msgspec.structs.replace(outgoing(f"m{n}"), due_at=BASE + timedelta(days=n)) for n in range(120)
    ]
    await first.put(*pending)
    second = await start(data=data)
    await passing(1)
    assert second.channels["ops"].keys == [row.key for row in pending]


async def test_messages_of_one_channel_go_in_order_one_at_a_time(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].hang()
    await rig.put(*(outgoing(f"m{number}") for number in range(5)))
    await passing(1)
    assert rig.channels["ops"].keys == ["m0@ops"]
    rig.channels["ops"].release()
    await passing(1)
    assert rig.channels["ops"].keys == [f"m{number}@ops" for number in range(5)]


async def test_a_channel_that_hangs_holds_up_nobody_else(start: Make) -> None:
    rig = await start("ops", "mail")
    rig.channels["ops"].hang()
    await rig.put(outgoing("m1", "ops"), outgoing("m1", "mail"))
    await passing(0.1)
    await rig.put(outgoing("m2", "mail"))
    await passing(0.1)
    assert rig.channels["mail"].keys == ["m1@mail", "m2@mail"]
    assert max(rig.times("mail")) < 0.2


async def test_a_hanging_channel_with_a_long_backlog_holds_up_nobody_else(start: Make) -> None:
    rig = await start("ops", "mail")
    rig.channels["ops"].hang()
    await rig.put(*(outgoing(f"m{number}", "ops") for number in range(450)))
    await passing(0.1)
    await rig.put(outgoing("news", "mail"))
    await passing(0.1)
    assert rig.channels["mail"].keys == ["news@mail"]


async def test_a_backlog_longer_than_memory_holds_is_sent_whole_and_in_order(start: Make) -> None:
    rig = await start()
    many = 4 * IN_HAND + 3
    rig.store.pace = 0.01
    await rig.put(*(outgoing(f"m{number}") for number in range(many)))
    await passing(20)
    assert rig.channels["ops"].keys == [f"m{number}@ops" for number in range(many)]
    assert len(rig.store.looks) < many


async def test_what_waits_behind_a_busy_channel_waits_in_the_store_not_in_memory(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].hang()
    await rig.put(*(outgoing(f"m{number}") for number in range(IN_HAND + 1)))
    await passing(1)
    last = f"m{IN_HAND}@ops"
    await rig.store.settle(last, state=OutgoingState.DEAD, due_at=BASE, last_error="withdrawn")
    rig.channels["ops"].release()
    await passing(60)
    assert len(rig.channels["ops"].keys) == IN_HAND
    assert last not in rig.channels["ops"].keys


async def test_no_message_is_sent_twice_because_the_store_is_slow(start: Make) -> None:
    rig = await start("ops", "mail")
    rig.store.pace = 0.05
    for number in range(20):
        await rig.put(outgoing(f"m{number}", "ops"), outgoing(f"m{number}", "mail"))
        await passing(0.03)
    await passing(60)
    for channel in rig.channels.values():
        assert len(channel.keys) == len(set(channel.keys)) == 20


@pytest.mark.parametrize(
    "failure", [Later(reason="busy"), Unclear(reason="answer lost")], ids=["later", "unclear"]
)
async def test_a_failed_message_is_tried_again_with_growing_pauses_under_the_same_key(
    start: Make, failure: Delivery
) -> None:
    rig = await start()
    rig.channels["ops"].always(failure)
    await rig.put(outgoing("m1"))
    await passing(3600)
    full = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert len(rig.pauses()) > len(full)
    for pause, most in zip(rig.pauses(), full, strict=False):
        assert most / 2 <= pause <= most + 0.01
    assert set(rig.channels["ops"].keys) == {"m1@ops"}
    row = rig.row("m1@ops")
    assert row.state is OutgoingState.PENDING
    assert row.last_error == failure.reason  # type: ignore[union-attr]
    assert row.attempts == len(rig.times())
    rig.channels["ops"].always(None)
    await passing(300)
    assert rig.row("m1@ops").state is OutgoingState.SENT


async def test_pauses_are_jittered(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].always(Later(reason="busy"))
    await rig.put(*(outgoing(f"m{number}") for number in range(10)))
    await passing(1.5)
    retries = rig.times()[10:]
    assert len({round(at, 3) for at in retries}) >= 8


async def test_a_retry_does_not_wait_for_the_next_look(start: Make) -> None:
    rig = await start()
    await passing(1)
    rig.channels["ops"].plan(Later(reason="busy"))
    await rig.put(outgoing("m1"))
    await passing(1.1)
    assert rig.row("m1@ops").state is OutgoingState.SENT


async def test_a_receivers_wish_for_time_is_honoured_for_the_whole_channel(start: Make) -> None:
    rig = await start("ops", "mail")
    rig.channels["ops"].plan(Later(reason="slow down", after=timedelta(seconds=90)))
    await rig.put(outgoing("m1"), outgoing("m2"))
    await passing(1)
    await rig.put(outgoing("m3"), outgoing("m3", "mail"))
    await passing(300)
    assert rig.times()[0] == 0
    assert rig.times()[1] == pytest.approx(90)
    assert sorted(rig.channels["ops"].keys[1:]) == ["m1@ops", "m2@ops", "m3@ops"]
    assert rig.times("mail") == [1.0]


async def test_a_wish_for_days_is_cut_to_an_hour(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].plan(Later(reason="go away", after=timedelta(days=30)))
    await rig.put(outgoing("m1"))
    await passing(3700)
    assert rig.pauses() == [pytest.approx(3600, abs=1)]


async def test_a_refused_message_is_dead_at_once_and_told(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].plan(Refused(reason="answered 401"))
    await rig.put(outgoing("m1"))
    await passing(4000)
    assert rig.times() == [0.0]
    row = rig.row("m1@ops")
    assert (row.state, row.last_error, row.attempts) == (OutgoingState.DEAD, "answered 401", 1)
    assert rig.dead == [("m1@ops", "answered 401")]
    assert rig.outcomes == [("ops", "permanent")]


async def test_a_message_nobody_takes_is_given_up_after_a_day(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].always(Later(reason="busy"))
    await rig.put(outgoing("m1"))
    await passing(GIVE_UP_AFTER.total_seconds() - 1)
    assert rig.row("m1@ops").state is OutgoingState.PENDING
    await passing(600)
    row = rig.row("m1@ops")
    assert row.state is OutgoingState.DEAD
    assert row.last_error == f"given up after {row.attempts} attempts; last: busy"
    assert rig.dead == [("m1@ops", row.last_error)]
    tried = len(rig.times())
    await passing(3600)
    assert len(rig.times()) == tried


async def test_a_message_that_waited_for_days_is_still_tried_once(start: Make) -> None:
    rig = await start()
    old = outgoing("old", at=BASE - timedelta(days=3))
    await rig.put(old, outgoing("older", at=BASE - timedelta(days=4)))
    rig.channels["ops"].plan(Later(reason="busy"))
    await passing(1)
    assert rig.channels["ops"].keys == ["older@ops", "old@ops"]
    assert rig.row("older@ops").state is OutgoingState.DEAD
    assert rig.row("old@ops").state is OutgoingState.SENT


async def test_a_message_for_a_channel_that_is_no_longer_configured_is_dead_with_the_reason(
    start: Make,
) -> None:
    rig = await start("ops")
    await rig.put(outgoing("m1", "gone"), outgoing("m2", "ops"))
    await passing(1)
    row = rig.row("m1@gone")
    assert row.state is OutgoingState.DEAD
    assert row.last_error == "there is no channel gone in the configuration any more"
    assert rig.dead == [("m1@gone", row.last_error)]
    assert ("gone", "permanent") in rig.outcomes
    assert rig.channels["ops"].keys == ["m2@ops"]


async def test_with_nothing_to_do_the_store_is_asked_twice_a_minute(start: Make) -> None:
    rig = await start()
    await passing(600)
    assert 20 <= len(rig.store.looks) <= 22


async def test_a_failing_channel_does_not_make_it_busy(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].always(Later(reason="busy"))
    await rig.put(*(outgoing(f"m{number}") for number in range(10)))
    await passing(3600)
    attempts = len(rig.times())
    assert len(rig.store.looks) < 2 * attempts + 130


async def test_a_message_that_appears_without_a_wake_up_is_found(start: Make) -> None:
    rig = await start()
    await passing(1)
    await rig.store.commit(Turn(outbox=(outgoing("m1"),)))
    await passing(30)
    assert rig.row("m1@ops").state is OutgoingState.SENT


async def test_a_message_that_was_sent_is_not_sent_again_while_the_store_takes_no_record(
    start: Make,
) -> None:
    rig = await start()
    await rig.put(outgoing("m1"))
    rig.store.fail_always(DISK_FULL)
    with capture_logs() as told:
        await passing(600)
    assert rig.channels["ops"].keys == ["m1@ops"]
    assert rig.row("m1@ops").state is OutgoingState.PENDING
    assert [entry["event"] for entry in told] == ["outbox_store_failed"]
    assert rig.store.settle_tries < 100
    rig.store.heal()
    with capture_logs() as told:
        await passing(15)
    assert rig.row("m1@ops").state is OutgoingState.SENT
    assert rig.row("m1@ops").attempts == 1
    assert [entry["event"] for entry in told] == ["outbox_store_recovered"]
    await passing(600)
    assert rig.channels["ops"].keys == ["m1@ops"]


async def test_what_is_pending_is_still_sent_while_the_store_takes_no_record(start: Make) -> None:
    rig = await start("ops", "mail")
    rig.channels["ops"].hang()
    await rig.put(outgoing("m1"), outgoing("m2"), outgoing("m1", "mail"))
    await passing(0.1)
    rig.store.fail_always(DISK_FULL)
    rig.channels["ops"].release()
    await passing(60)
    assert rig.channels["ops"].keys == ["m1@ops", "m2@ops"]


async def test_a_failed_message_backs_off_from_memory_while_the_store_takes_no_record(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].always(Later(reason="busy"))
    await rig.put(outgoing("m1"))
    rig.store.fail_always(DISK_FULL)
    await passing(3600)
    assert 8 < len(rig.times()) < 40
    for before, after in zip(rig.pauses()[1:8], rig.pauses()[2:9], strict=True):
        assert after > before * 0.8
    rig.channels["ops"].always(None)
    rig.store.heal()
    await passing(400)
    assert rig.row("m1@ops").state is OutgoingState.SENT


async def test_a_dead_message_is_told_once_even_when_it_cannot_be_recorded(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].plan(Refused(reason="answered 401"))
    await rig.put(outgoing("m1"), outgoing("m1", "gone"))
    rig.store.fail_always(DISK_FULL)
    await passing(120)
    rig.store.heal()
    await passing(120)
    assert sorted(key for key, _ in rig.dead) == ["m1@gone", "m1@ops"]
    assert rig.row("m1@ops").state is OutgoingState.DEAD
    assert rig.row("m1@gone").state is OutgoingState.DEAD


async def test_a_store_that_cannot_be_read_is_told_once_and_asked_gently(start: Make) -> None:
    rig = await start()
    rig.store.read_fault = DISK_FULL
    with capture_logs() as told:
        await passing(300)
        assert [entry["event"] for entry in told] == ["outbox_store_failed"]
        assert told[0]["operation"] == "due"
        assert 30 <= len(rig.store.looks) <= 50
        rig.store.read_fault = None
        await rig.put(outgoing("m1"))
        await passing(11)
    assert [entry["event"] for entry in told][1:] == ["outbox_store_recovered"]
    assert rig.channels["ops"].keys == ["m1@ops"]


async def test_a_store_that_never_answers_does_not_stop_it(start: Make) -> None:
    rig = await start()
    rig.store.pace = 1e6
    await rig.put(outgoing("m1"))
    with capture_logs() as told:
        await passing(100)
    assert told[0]["error"] == "no answer in time"
    rig.store.pace = 0
    await passing(30)
    assert rig.channels["ops"].keys == ["m1@ops"]


class Wild(FakeChannel):
    """Breaks the channel's promise."""

    def __init__(self, fault: BaseException | None) -> None:
        super().__init__()
        self.fault_raised = fault

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        await super().send(message, key=key)
        if self.fault_raised is None:
            await asyncio.Event().wait()
        elif not isinstance(self.fault_raised, StopAsyncIteration):
            raise self.fault_raised
        return Delivered()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (KeyError("token"), "the channel raised KeyError"),
        (TimeoutError(), "the channel did not answer in time"),
        (asyncio.CancelledError(), "the channel cancelled itself"),
        (None, "the channel did not answer in time"),
    ],
    ids=["raises", "times out", "cancels itself", "never returns"],
)
async def test_a_channel_that_breaks_its_promise_is_unclear_and_disturbs_nobody(
    fault: BaseException | None, reason: str
) -> None:
    rig = Rig("mail")
    wild = Wild(fault)
    rig.make({"wild": wild, **rig.channels})
    await rig.start()
    with capture_logs() as told:
        await rig.put(outgoing("m1", "wild"), outgoing("m1", "mail"))
        await passing(125)
        assert rig.row("m1@wild").last_error == reason
        assert ("wild", "unknown") in rig.outcomes
        assert rig.row("m1@mail").state is OutgoingState.SENT
        wild.fault_raised = StopAsyncIteration()
        await passing(600)
    assert [entry["event"] for entry in told] == ["channel_failed", "channel_recovered"]
    assert told[0]["exc_info"] is (fault if isinstance(fault, KeyError) else None)
    assert rig.row("m1@wild").state is OutgoingState.SENT
    await rig.stop()


async def test_a_channels_trouble_is_told_on_change_only(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].always(Later(reason="busy\nhere http://me:pw@host"))
    with capture_logs() as told:
        await rig.put(outgoing("m1"))
        await passing(3600)
        rig.channels["ops"].always(None)
        await passing(600)
    assert [(entry["event"], entry["channel"]) for entry in told] == [
        ("channel_failed", "ops"),
        ("channel_recovered", "ops"),
    ]
    assert told[0]["reason"] == "busy here http://***@host"


async def test_a_message_whose_sending_is_cut_off_by_a_stop_stays_pending(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].hang()
    await rig.put(outgoing("m1"))
    await passing(0.1)
    await rig.stop()
    assert rig.row("m1@ops").state is OutgoingState.PENDING
    assert rig.row("m1@ops").attempts == 0


async def test_an_outcome_is_recorded_even_when_the_stop_comes_in_between(start: Make) -> None:
    rig = await start()
    rig.store.pace = 1.0
    await rig.put(outgoing("m1"))
    while not rig.channels["ops"].attempts:
        await passing(0.1)
    await passing(0.5)
    assert rig.row("m1@ops").state is OutgoingState.PENDING
    await rig.stop()
    assert rig.row("m1@ops").state is OutgoingState.SENT


async def test_flush_tries_everything_due_once_side_by_side(start: Make) -> None:
    rig = await start("ops", "mail")
    await rig.stop()
    rig.channels["ops"].plan(Later(reason="busy"))
    rows = [outgoing(f"m{number}", name) for number in range(130) for name in ("ops", "mail")]
    later = msgspec.structs.replace(outgoing("later"), due_at=BASE + timedelta(hours=1))
    await rig.put(*rows, outgoing("m1", "gone"), later)
    await rig.dispatcher.flush(timedelta(seconds=5))
    assert rig.channels["ops"].keys == [f"m{number}@ops" for number in range(130)]
    assert rig.channels["mail"].keys == [f"m{number}@mail" for number in range(130)]
    assert rig.row("m0@ops").state is OutgoingState.PENDING
    assert rig.row("m1@ops").state is OutgoingState.SENT
    assert rig.row("m1@gone").state is OutgoingState.DEAD


async def test_flush_ends_in_time_and_leaves_the_rest_pending(start: Make) -> None:
    rig = await start("ops", "mail")
    await rig.stop()
    rig.channels["ops"].hang()
    await rig.put(outgoing("m1", "ops"), outgoing("m1", "mail"))
    began = asyncio.get_running_loop().time()
    with capture_logs() as told:
        await rig.dispatcher.flush(timedelta(seconds=2))
    assert asyncio.get_running_loop().time() - began == pytest.approx(2)
    assert rig.row("m1@ops").state is OutgoingState.PENDING
    assert rig.row("m1@mail").state is OutgoingState.SENT
    assert [entry["event"] for entry in told] == ["flush_cut_short"]


async def test_flush_leaves_a_channel_alone_that_asked_for_time(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].plan(Later(reason="slow down", after=timedelta(minutes=10)))
    await rig.put(outgoing("m1"))
    await passing(1)
    await rig.stop()
    await rig.put(outgoing("m2"))
    await rig.dispatcher.flush(timedelta(seconds=5))
    assert rig.channels["ops"].keys == ["m1@ops"]


async def test_flush_with_a_broken_store_just_ends(start: Make) -> None:
    rig = await start()
    await rig.stop()
    rig.store.read_fault = DISK_FULL
    await rig.dispatcher.flush(timedelta(seconds=5))
    assert rig.channels["ops"].keys == []


async def test_it_can_run_again_after_a_stop(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].hang()
    await rig.put(outgoing("m1"), outgoing("m2"))
    await passing(0.1)
    await rig.stop()
    rig.channels["ops"].release()
    await rig.start()
    await passing(1)
    assert rig.channels["ops"].keys == ["m1@ops", "m1@ops", "m2@ops"]
    assert await rig.store.outbox_pending() == 0


async def test_an_emergency_goes_to_every_channel_past_the_store(start: Make) -> None:
    rig = await start("ops", "mail", "hook")
    rig.store.read_fault = DISK_FULL
    rig.store.fail_always(DISK_FULL)
    rig.channels["mail"].plan(Refused(reason="no"))
    news = outgoing("store").message
    answers = await rig.dispatcher.emergency(news)
    assert answers == {"ops": Delivered(), "mail": Refused(reason="no"), "hook": Delivered()}
    assert {name: channel.keys for name, channel in rig.channels.items()} == {
        name: [f"store@{name}"] for name in ("ops", "mail", "hook")
    }


async def test_the_same_emergency_is_told_every_ten_minutes_another_at_once(start: Make) -> None:
    rig = await start()
    news, other = outgoing("store").message, outgoing("other").message
    for _ in range(60):
        await rig.dispatcher.emergency(news)
        await passing(30)
    assert len(rig.times()) == 3
    assert await rig.dispatcher.emergency(other) == {"ops": Delivered()}


async def test_an_emergency_that_nobody_takes_is_in_the_log(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].always(Later(reason="busy"))
    with capture_logs() as told:
        await rig.dispatcher.emergency(outgoing("store").message)
    assert told[-1]["event"] == "emergency_not_delivered"
    assert told[-1]["headline"] == "headline of store"


async def test_an_emergency_does_not_wait_behind_messages_of_its_channel(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].plan(Later(reason="slow down", after=timedelta(minutes=10)))
    await rig.put(outgoing("m1"))
    await passing(1)
    assert await rig.dispatcher.emergency(outgoing("store").message) == {"ops": Delivered()}


# Channels that come, change and go while messages flow


async def test_a_channel_that_comes_while_running_is_sent_through(start: Make) -> None:
    rig = await start()
    await rig.put(outgoing("early", "hook"))
    hook = FakeChannel()
    rig.dispatcher.use("hook", hook)
    await passing(1)
    await rig.put(outgoing("late", "hook"))
    await passing(1)
    assert hook.keys == ["early@hook", "late@hook"]


async def test_a_changed_channel_ends_what_it_is_sending_and_sends_no_more(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].hang()
    await rig.put(outgoing("a"), outgoing("b"))
    await passing(1)
    other = FakeChannel()
    rig.dispatcher.use("ops", other)
    rig.channels["ops"].release()
    await passing(1)
    assert (rig.channels["ops"].keys, other.keys) == (["a@ops"], ["b@ops"])


async def test_a_changed_channel_need_not_wait_for_what_the_other_one_wished(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].plan(Later(reason="slow down", after=timedelta(hours=1)))
    await rig.put(outgoing("a"))
    await passing(1)
    other = FakeChannel()
    rig.dispatcher.use("ops", other)
    await rig.put(outgoing("b"))
    await passing(1)
    assert other.keys == ["b@ops"]


async def test_what_waits_for_a_channel_that_is_gone_is_given_up_and_what_it_sends_is_not(
    start: Make,
) -> None:
    rig = await start("ops", "hook")
    rig.channels["hook"].hang()
    await rig.put(outgoing("a", "hook"), outgoing("b", "hook"))
    await passing(1)
    rig.dispatcher.dismiss("hook")
    await passing(1)
    assert rig.dead == [("b@hook", "there is no channel hook in the configuration any more")]
    rig.channels["hook"].release()
    await passing(1)
    assert (rig.row("a@hook").state, rig.row("b@hook").state) == (OutgoingState.SENT, OutgoingState.DEAD)


async def test_channels_that_come_and_go_leave_no_task_behind(start: Make) -> None:
    rig = await start()
    await passing(1)
    before = len(asyncio.all_tasks())
    for number in range(50):
        rig.dispatcher.use("hook", FakeChannel())
        await rig.put(outgoing(str(number), "hook"))
        await passing(0.1)
        rig.dispatcher.dismiss("hook")
        rig.dispatcher.dismiss("hook")
    await passing(1)
    assert len(asyncio.all_tasks()) == before
    assert [outcome for _, outcome in rig.outcomes] == ["ok"] * 50


class Nonsense(FakeChannel):
    """A channel that breaks its promise."""

    async def send(self, message: Message, *, key: str, **_: Any) -> Any:
        await super().send(message, key=key)


async def test_a_channel_that_answers_nonsense_takes_nobody_else_down(start: Make) -> None:
    rig = await start("ops", "hook")
    rig.dispatcher.use("ops", Nonsense())
    await rig.put(outgoing("m1"))
    await passing(1)
    assert rig.row("m1@ops").last_error == "the channel answered NoneType, which is no outcome"
    await rig.put(outgoing("m2", "hook"))
    await passing(1)
    assert rig.row("m2@hook").state is OutgoingState.SENT
