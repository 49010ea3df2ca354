"""What leaves first, together, in order, once, and never: the dispatcher over lanes, parcels and the ledger."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.engine.test_dispatcher import DISK_FULL, Make, Rig, outgoing, passing, start
from watchdog.channels.interface import Chart, Delivered, Delivery, Later, Refused, Unclear
from watchdog.core.check import CheckId
from watchdog.core.message import Attempted, Evidence, Message, MessageKind, Outgoing, OutgoingState, Thread
from watchdog.core.patience import LATE_AFTER
from watchdog.core.rule import Direction, Level, Severity, Unit
from watchdog.core.turn import Resend, Turn
from watchdog.engine.dispatcher import Dispatcher
from watchdog.engine.lane import DOWN_AFTER, IN_HAND
from watchdog.engine.ledger import UNDER_WAY
from watchdog.engine.sending import CHART_WITHIN
from watchdog.testing.channels import FakeChannel
from watchdog.testing.clock import BASE
from watchdog.testing.store import MemoryData, MemoryStore

pytestmark = pytest.mark.virtual_time

__all__ = ["start"]  # the fixture


def page(key: str, channel: str = "ops", *, at: datetime = BASE) -> Outgoing:
    """One that needs somebody."""
    row = outgoing(key, channel, at=at)
    return replace(row, message=replace(row.message, needs_human=True))


def about(row: Outgoing, incident: str) -> Outgoing:
    return replace(row, message=replace(row.message, incident=incident))


# What goes first


async def test_a_page_waits_behind_no_number_of_notices(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].hang()
    await rig.put(*(outgoing(f"n{number}") for number in range(1000)))
    await passing(0.1)
    await rig.put(page("page"))
    await passing(0.1)
    assert rig.channels["ops"].keys == ["n0@ops", "page@ops"], "it does not even wait for what is being sent"
    rig.channels["ops"].release()
    await passing(0.1)
    await rig.put(page("another"))
    await passing(0.001)
    assert rig.row("another@ops").state is OutgoingState.SENT
    await passing(60)
    assert len(set(rig.channels["ops"].keys)) == len(rig.channels["ops"].keys) == 1002


async def test_what_was_said_before_in_a_conversation_goes_before_the_page_and_ahead_of_notices(
    start: Make,
) -> None:
    rig = await start()
    rig.channels["ops"].hang()
    await rig.put(*(outgoing(f"n{number}") for number in range(200)))
    await passing(0.1)
    await rig.put(about(outgoing("opened"), "i1"))
    await rig.put(about(page("worse"), "i1"))
    rig.channels["ops"].release()
    await passing(0.1)
    keys = rig.channels["ops"].keys
    assert keys.index("opened@ops") < keys.index("worse@ops") < 120


async def test_messages_of_one_conversation_leave_in_order_though_one_fails_for_a_while(
    start: Make,
) -> None:
    rig = await start()
    rig.channels["ops"].plan(Later(reason="busy"), Later(reason="busy"))
    await rig.put(about(outgoing("opened"), "i1"))
    await rig.put(about(page("worse"), "i1"), about(outgoing("over"), "i1"))
    await passing(5)
    await rig.put(outgoing("else"))
    await passing(30)
    keys = rig.channels["ops"].keys
    assert [key for key in keys if key != "else@ops"] == [*["opened@ops"] * 3, "worse@ops", "over@ops"]


async def test_a_message_that_never_gets_through_holds_the_others_of_its_conversation_for_a_minute(
    start: Make,
) -> None:
    rig = await start()
    channel = rig.channels["ops"]
    poison = about(outgoing("poison"), "i1")
    await rig.put(poison, about(page("worse"), "i1"))
    sending = channel.send

    async def send(
        message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        delivery = await sending(message, key=key)
        return Later(reason="HTTP 500") if key == "poison@ops" else delivery

    channel.send = send  # type: ignore[method-assign]
    await passing(50)
    assert rig.row("worse@ops").attempts == 0
    await passing(30)
    assert rig.row("worse@ops").state is OutgoingState.SENT
    assert rig.row("poison@ops").state is OutgoingState.PENDING


# Threads and charts


class Shown(FakeChannel):
    """Notes what it was given beside the message, and names what it took."""

    PICTURES = True

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str | None] = []
        self.charts: list[Chart | None] = []

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        self.threads.append(thread.reference if thread is not None else None)
        self.charts.append(chart)
        delivery = await super().send(message, key=key)
        return Delivered(reference=f"ref of {key}") if isinstance(delivery, Delivered) else delivery


async def shown_by(rig: Rig, charts: object = None) -> Shown:
    channel = Shown()
    rig.make({"ops": channel})
    if charts is not None:
        rig.dispatcher = Dispatcher(
            rig.store,
            {"ops": channel},
            clock=rig.clock,
            rng=rig.rng,
            charts=charts,  # type: ignore[arg-type]
        )
    await rig.start()
    return channel


async def test_a_message_is_told_how_its_conversation_began_on_its_channel() -> None:
    rig = Rig()
    channel = await shown_by(rig)
    for key in ("opened", "worse", "over"):
        await rig.put(about(outgoing(key), "i1"))
        await passing(1)
    await rig.put(about(outgoing("other"), "i2"), outgoing("alone"))
    await passing(1)
    first = "ref of opened@ops"
    assert channel.threads == [None, first, first, None, None]
    assert rig.row("opened@ops").reference == first
    await rig.stop()


async def test_how_it_began_is_known_though_the_store_takes_no_record_of_it() -> None:
    rig = Rig()
    channel = await shown_by(rig)
    await rig.put(about(outgoing("opened"), "i1"), about(page("worse"), "i1"))
    rig.store.fail_always(DISK_FULL)
    await passing(100)
    assert channel.keys == ["opened@ops", "worse@ops"], "no page waits for a store for ever"
    assert channel.threads == [None, "ref of opened@ops"]
    await rig.stop()


SHOWS = Evidence(
    check=CheckId(service="trips", rule="error-rate"),
    unit=Unit.RATIO,
    direction=Direction.ABOVE,
    level=Level.ROLLBACK,
    since=BASE,
)
PICTURE = Chart(png=b"png", alt="errors rise")


def evident(key: str) -> Outgoing:
    row = outgoing(key)
    return replace(row, message=replace(row.message, evidence=SHOWS))


async def test_the_first_attempt_takes_a_chart_along_and_none_waits_long_for_it() -> None:
    async def charts(message: Message) -> Chart | None:
        if message.key == "late":
            await asyncio.sleep(3600)
        if message.key == "broken":
            raise ValueError("no font")
        return PICTURE

    rig = Rig()
    channel = await shown_by(rig, charts)
    channel.plan(Later(reason="busy"))
    await rig.put(evident("drawn"))
    await passing(10)
    await rig.put(evident("late"))
    await passing(10)
    assert rig.row("late@ops").sent_at == BASE + timedelta(seconds=10) + CHART_WITHIN
    await rig.put(evident("broken"), outgoing("without"))
    await passing(1)
    assert channel.keys == ["drawn@ops"] * 2 + ["late@ops", "broken@ops", "without@ops"]
    assert channel.charts == [PICTURE, None, None, None, None]
    await rig.stop()


# What leaves together


async def test_what_is_gathered_leaves_as_one_message_and_shares_its_outcome(start: Make) -> None:
    rig = await start("ops", "mail")
    await passing(0.001)  # what waits at a start is tried at once
    due = BASE + timedelta(seconds=30)
    rows = [replace(outgoing(f"m{n}"), group="g", due_at=due) for n in range(3)]
    elsewhere = replace(outgoing("m0", "mail"), group="g", due_at=due)
    rig.channels["ops"].plan(Unclear(reason="answer lost"))
    await rig.put(*rows, elsewhere)
    await passing(20)
    assert rig.channels["ops"].keys == [], "it waits for company"
    await passing(10.01)
    assert rig.channels["mail"].keys == ["m0@mail"]
    assert len(rig.channels["ops"].keys) == 1
    await rig.put(replace(outgoing("m3", at=BASE + timedelta(seconds=30)), group="g"))
    await passing(60)
    first, joined, again = rig.channels["ops"].attempts
    assert first.key == again.key != joined.key == "m3@ops", "nothing is added to what was tried"
    assert first.message == again.message
    assert first.message.kind is MessageKind.GROUPED
    assert {row.state for row in map(rig.row, ("m0@ops", "m1@ops", "m2@ops"))} == {OutgoingState.SENT}
    assert {rig.row(f"m{n}@ops").attempts for n in range(3)} == {2}


async def test_a_group_that_is_given_up_is_told_of_once(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].plan(Refused(reason="answered 400"))
    await rig.put(*(replace(outgoing(f"m{n}"), group="g") for n in range(5)))
    await passing(1)
    assert len(rig.dead) == 1
    assert {rig.row(f"m{n}@ops").state for n in range(5)} == {OutgoingState.DEAD}


async def test_a_thousand_pieces_of_news_that_are_gathered_are_one_message(start: Make) -> None:
    rig = await start()
    await rig.put(*(replace(about(outgoing(f"m{n}"), f"i{n}"), group="g") for n in range(1000)))
    await passing(1)
    assert len(rig.channels["ops"].attempts) == 1
    assert await rig.store.outbox_pending() == 0


# A channel that is late, or down


async def test_a_channel_that_takes_nothing_for_a_minute_while_a_page_waits_is_late_once(
    start: Make,
) -> None:
    rig = await start("ops", "mail")
    rig.channels["ops"].always(Later(reason="busy"))
    rig.channels["mail"].always(Later(reason="busy"))
    await rig.put(outgoing("notice", "mail"), page("page"), page("other"))
    await passing(LATE_AFTER.total_seconds() - 1)
    assert rig.late == []
    with capture_logs() as told:
        await passing(2)
    assert rig.late == [("page@ops", "busy", BASE), ("other@ops", "busy", BASE)]
    assert [entry["event"] for entry in told] == ["channel_late"]
    await passing(3600)
    assert len(rig.late) == 2, "a notice that waits is nobody's trouble, and an outage is one outage"
    rig.channels["ops"].always(None)
    await passing(600)
    rig.channels["ops"].always(Later(reason="gone again"))
    await rig.put(page("new", at=BASE + timedelta(hours=1)))
    await passing(120)
    assert [late[:2] for late in rig.late[2:]] == [("new@ops", "gone again")]


async def test_others_hear_of_each_incident_that_waits_for_a_late_channel_once(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].always(Later(reason="busy"))
    await rig.put(about(page("first"), "i1"))
    await passing(600)
    await rig.put(about(page("second"), "i2"), about(page("first, again"), "i1"))
    await passing(600)
    assert rig.late == [("first@ops", "busy", BASE), ("second@ops", "busy", BASE)], "of one outage"


async def test_a_page_that_comes_while_a_channel_is_left_alone_for_an_hour_is_told_elsewhere_too(
    start: Make,
) -> None:
    rig = await start("ops", "mail")
    rig.channels["ops"].plan(Later(reason="answered 429", after=timedelta(hours=1)))
    await rig.put(about(page("first"), "i1"))
    await passing(120)
    await rig.put(*(outgoing(f"n{number}") for number in range(300)))
    await rig.put(*(about(page(f"p{number}"), f"p{number}") for number in range(150)), outgoing("m", "mail"))
    looks = len(rig.store.looks)
    await passing(120)
    assert len(rig.store.looks) - looks < 150, "a look for each of them at most"
    assert [late[0] for late in rig.late[:3]] == ["first@ops", "p0@ops", "p1@ops"]
    assert rig.row("m@mail").state is OutgoingState.SENT
    assert rig.channels["ops"].keys == ["first@ops"]
    await passing(3600)
    assert len(rig.channels["ops"].keys) == 1 + 1 + 300 + 150, "everything once, the first twice"


async def test_what_was_gathered_anew_keeps_no_channel_late(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].plan(Later(reason="answered 429", after=timedelta(seconds=20)))
    await rig.put(page("page"), *(replace(page(f"m{n}"), group="g") for n in range(2)))
    await passing(10)
    await rig.put(replace(page("m2"), group="g"))
    await passing(120)
    assert await rig.store.outbox_pending() == 0
    rig.channels["ops"].plan(Later(reason="once"))
    await rig.put(outgoing("later", at=BASE + timedelta(seconds=130)))
    await passing(60)
    assert rig.late == [], "nothing waits"


async def test_a_channel_that_takes_other_messages_is_not_late(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].plan(*[Later(reason="busy")] * 3)
    await rig.put(page("page"))
    for number in range(10):
        await rig.put(outgoing(f"m{number}"))
        await passing(20)
    assert rig.late == []


async def test_a_channel_that_hangs_or_asks_for_an_hour_is_late_too(start: Make) -> None:
    rig = await start("ops", "mail")
    rig.channels["ops"].hang()
    rig.channels["mail"].plan(Later(reason="answered 429", after=timedelta(hours=1)))
    await rig.put(page("a", "ops"), page("b", "mail"))
    await passing(62)
    assert sorted(late[:2] for late in rig.late) == [
        ("a@ops", "the fake channel was told to hang"),
        ("b@mail", "answered 429"),
    ]


async def test_a_channel_that_is_down_is_asked_now_and_then_and_then_takes_everything_once(
    start: Make,
) -> None:
    rig = await start()
    rig.channels["ops"].always(Later(reason="no connection"))
    rows = [outgoing(f"m{number}") for number in range(500)]
    await rig.put(*rows)
    await passing(3600)
    tries = len(rig.channels["ops"].attempts)
    assert DOWN_AFTER < tries < DOWN_AFTER + 3600 / 25, "one probe every half minute"
    failed = Counter(rig.channels["ops"].keys)
    rig.channels["ops"].always(None)
    await passing(360)
    taken = Counter(rig.channels["ops"].keys) - failed
    assert taken == Counter(row.key for row in rows), "each message exactly once"
    assert await rig.store.outbox_pending() == 0


async def test_a_long_backlog_of_a_channel_that_hangs_hold_up_nobody(start: Make) -> None:
    rig = await start("ops", "mail")
    rig.channels["ops"].hang()
    await rig.put(*(outgoing(f"m{number}") for number in range(1000)))
    await passing(0.1)
    before = len(rig.store.looks)
    await rig.put(outgoing("news", "mail"))
    await passing(0.1)
    assert rig.channels["mail"].keys == ["news@mail"]
    assert len(rig.store.looks) - before <= 3
    assert rig.store.most_taken <= 2 * IN_HAND, "the others never come into memory"


# Once


async def test_a_message_that_is_tried_again_by_request_is_sent(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].plan(Refused(reason="answered 401"))
    await rig.put(outgoing("m1"))
    await passing(5)
    await rig.store.commit(Turn(resent=(Resend(key="m1@ops", at=BASE + timedelta(seconds=5)),)))
    rig.dispatcher.wake()
    await passing(1)
    assert rig.channels["ops"].keys == ["m1@ops"] * 2
    assert rig.row("m1@ops").state is OutgoingState.SENT


async def test_no_more_messages_are_repeated_after_a_crash_than_were_under_way() -> None:
    data = MemoryData()
    rig = Rig(data=data)
    await rig.start()
    rig.store.pace = 1e6  # what is sent is never written down
    rig.store.pace_reads = 0.0
    await rig.put(*(outgoing(f"m{number}") for number in range(200)))
    await passing(5)
    sent = len(rig.channels["ops"].keys)
    assert 1 < sent <= 2 * UNDER_WAY + 2
    rig.kill()
    second = Rig(data=data)
    await second.start()
    await passing(10)
    assert Counter(second.channels["ops"].keys) == Counter(f"m{number}@ops" for number in range(200))
    await second.stop()


async def test_of_two_processes_the_new_one_leaves_alone_what_the_old_one_may_be_sending() -> None:
    data = MemoryData()
    old = Rig(data=data, shared=True)
    await old.start()
    old.channels["ops"].hang()
    await old.put(*(outgoing(f"m{number}") for number in range(3)))
    await passing(20)  # and it has renewed what it has in hand
    new = Rig(data=data, shared=True)
    await new.start()
    await new.put(outgoing("fresh", at=BASE + timedelta(seconds=20)))
    await passing(10)
    assert new.channels["ops"].keys == ["fresh@ops"]
    old.kill()
    await passing(30)
    assert sorted(new.channels["ops"].keys) == ["fresh@ops", "m0@ops", "m1@ops", "m2@ops"]
    await new.stop()


async def test_one_verdict_that_the_store_can_never_take_keeps_no_other_out() -> None:
    class Picky(MemoryStore):
        async def settle_many(self, attempts: Sequence[Attempted]) -> frozenset[str]:
            if any(one.key == "bad@ops" for one in attempts):
                raise DISK_FULL
            return await super().settle_many(attempts)

    rig = Rig(store=Picky())
    await rig.start()
    await rig.put(outgoing("bad"), *(outgoing(f"m{number}") for number in range(20)))
    await passing(60)
    assert {rig.row(f"m{number}@ops").state for number in range(20)} == {OutgoingState.SENT}
    assert rig.row("bad@ops").state is OutgoingState.PENDING
    assert Counter(rig.channels["ops"].keys)["bad@ops"] == 1
    await rig.stop()


async def test_a_message_that_is_gone_from_the_store_is_told_and_forgotten(start: Make) -> None:
    rig = await start()
    rig.channels["ops"].hang()
    await rig.put(outgoing("m1"))
    await passing(0.1)
    del rig.store.data.outbox["m1@ops"]
    rig.channels["ops"].release()
    with capture_logs() as told:
        await passing(60)
    assert [entry["event"] for entry in told] == ["messages_gone"]


async def test_while_the_store_takes_no_record_only_so_much_is_sent(start: Make) -> None:
    rig = await start()
    await rig.put(*(outgoing(f"m{number}") for number in range(1500)))
    rig.store.fail_always(DISK_FULL)
    await passing(400)
    sent = len(rig.channels["ops"].keys)
    assert 1000 <= sent < 1200
    rig.store.heal()
    await passing(60)
    assert len(rig.channels["ops"].keys) == 1500


def test_what_is_urgent_is_what_is_critical_or_needs_somebody() -> None:
    quiet = outgoing("m").message
    assert not quiet.urgent
    assert replace(quiet, needs_human=True).urgent
    assert replace(quiet, severity=Severity.CRITICAL).urgent
