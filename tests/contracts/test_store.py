"""What every store promises, asked of the one in memory, the one on a disk, and the one on a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from tests.eventually import Eventually
from tests.store import samples
from tests.store.samples import at
from watchdog.core.audit import AuditRecord, ChainHead, verify
from watchdog.core.check import CheckId
from watchdog.core.deployment import DeploymentState
from watchdog.core.errors import StoreAhead, StoreError
from watchdog.core.incident import IncidentKind, IncidentState
from watchdog.core.message import Attempted, Message, MessageKind, Outgoing, OutgoingState, Thread
from watchdog.core.request import Reply, Request
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Severity
from watchdog.core.turn import Resend, Turn
from watchdog.store.interface import Page, Saved, Standing, Store, Wanted
from watchdog.store.registry import make_store
from watchdog.testing.store import MemoryData, MemoryStore

T = TypeVar("T")
#: Later than every sample.
LATER = at(100_000)


class Disk:
    """Something that outlives a store: `restart` closes the store and opens another one on the same records."""

    def __init__(self, make: Callable[[], Store]) -> None:
        self._make = make
        self.store = make()

    async def restart(self, *, claiming: bool = True) -> Store:
        await self.store.aclose()
        self.store = self._make()
        return await self.begin(claiming=claiming)

    async def begin(self, *, claiming: bool = True) -> Store:
        await self.store.open()
        if not claiming:
            return self.store
        await self.store.claim(now=samples.DAY)
        await self.store.load(now=samples.DAY)
        return self.store


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Another store on the same records, each time."""
    if request.param == "memory":
        data = MemoryData()
        return lambda: MemoryStore(data)
    url = (
        f"sqlite:///{tmp_path}/watchdog.db"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    return lambda: make_store(url)


@pytest.fixture
async def disk(make: Callable[[], Store]) -> AsyncIterator[Disk]:
    disk = Disk(make)
    await disk.begin()
    yield disk
    await disk.store.aclose()


@pytest.fixture
def store(disk: Disk) -> Store:
    return disk.store


async def everything(store: Store) -> tuple[object, ...]:
    """All that can be seen of a store."""
    return (
        await store.load(now=LATER),
        await store.deployments(limit=1000),
        await store.incidents(limit=1000),
        await store.rollbacks(limit=1000),
        await store.silences(limit=1000),
        await store.audit(limit=1000),
        await store.due(now=LATER, limit=1000),
        await store.outbox_pending(),
    )


async def every_page(ask: Callable[[str | None], Awaitable[Page[T]]]) -> list[T]:
    items: list[T] = []
    cursor: str | None = None
    while True:
        page = await ask(cursor)
        items += page.items
        cursor = page.next
        if cursor is None:
            return items


async def test_a_new_store_is_empty(store: Store) -> None:
    assert await store.load(now=LATER) == Saved()
    assert await store.incidents() == Page(items=())
    assert await store.incident("nobody") is None
    assert [record async for record in store.chain()] == []
    assert await store.outbox_pending() == 0


async def test_everything_committed_is_loaded_after_a_restart(disk: Disk) -> None:
    turn = Turn(
        services=(samples.service("trips"), samples.switched_service("maps")),
        deployments=(samples.deployment(1), samples.deployment(2)),
        incidents=(samples.incident(1),),
        silences=(samples.silence(1), samples.silence(2)),
        rollbacks=(samples.rollback(1),),
        checks=(samples.check(), samples.check(variant="blue"), samples.check(version="", variant="")),
        outbox=(samples.outgoing(1),),
        audit=samples.links(ChainHead(), 3),
    )
    await disk.store.commit(turn)
    await disk.store.submit(samples.request(1))

    store = await disk.restart()

    saved = await store.load(now=at(60))
    assert saved.services == (samples.switched_service("maps"), samples.service("trips"))
    assert saved.deployments == turn.deployments
    assert saved.incidents == turn.incidents
    assert saved.silences == turn.silences
    assert saved.rollbacks == turn.rollbacks
    assert sorted(saved.checks, key=lambda record: record.id) == sorted(
        turn.checks, key=lambda record: record.id
    )
    assert saved.requests == (samples.request(1),)
    assert saved.head == samples.head_of(turn.audit)
    assert await store.due(now=LATER) == turn.outbox
    assert [record async for record in store.chain()] == list(turn.audit)


async def test_a_silence_that_was_ended_is_kept_and_loaded_no_more(disk: Disk) -> None:
    await disk.store.commit(Turn(silences=(samples.silence(1), samples.silence(2), samples.silence(3))))
    ended = samples.silence(2, ended_at=at(9), ended_by="ana")
    await disk.store.commit(Turn(silences=(ended,)))

    store = await disk.restart()

    assert [one.id for one in (await store.load(now=LATER)).silences] == ["s0001", "s0003"]
    assert [one.id for one in (await store.silences()).items] == ["s0003", "s0002", "s0001"]
    assert [one.id for one in (await store.silences(active_only=True)).items] == ["s0003", "s0001"]
    pages = await every_page(lambda cursor: store.silences(cursor=cursor, limit=2))
    assert [one.id for one in pages] == ["s0003", "s0002", "s0001"]
    assert await store.silence("s0002") == ended
    assert await store.silence("nobody") is None


async def test_a_record_committed_again_replaces_the_one_before(store: Store) -> None:
    await store.commit(Turn(deployments=(samples.deployment(1),), incidents=(samples.incident(1),)))
    stable = samples.deployment(1, state=DeploymentState.STABLE)
    closed = samples.incident(1, state=IncidentState.CLOSED, closed_at=at(9))
    await store.commit(Turn(deployments=(stable,), incidents=(closed,)))

    assert await store.deployment("d0001") == stable
    assert (await store.deployments()).items == (stable,)
    assert await store.incident("i0001") == closed
    assert (await store.incidents(open_only=True)).items == ()


async def test_the_last_of_two_versions_of_a_record_in_one_turn_counts(store: Store) -> None:
    last = samples.rollback(1, state=RollbackState.APPLIED)
    await store.commit(Turn(rollbacks=(samples.rollback(1), last)))
    assert await store.rollback("r0001") == last


async def test_a_forgotten_check_is_not_loaded_and_its_neighbour_is(store: Store) -> None:
    green, blue = samples.check(variant="green"), samples.check(variant="blue")
    await store.commit(Turn(checks=(green, blue)))
    await store.commit(Turn(forgotten=(green.id, CheckId(service="nobody", rule="none"))))
    assert (await store.load(now=LATER)).checks == (blue,)


async def test_an_empty_turn_changes_nothing_and_is_announced_to_nobody(store: Store) -> None:
    heard: list[Turn] = []
    store.on_commit(heard.append)
    await store.commit(Turn())
    assert heard == []
    assert await store.load(now=LATER) == Saved()


class TestClaim:
    async def test_the_epoch_is_the_time_so_that_a_new_store_outranks_one_that_was_lost(
        self, disk: Disk
    ) -> None:
        seconds = int(samples.at(5).timestamp())
        assert await disk.store.claim(now=samples.at(5.9)) == seconds
        store = await disk.restart(claiming=False)
        assert await store.claim(now=samples.at(90)) == seconds + 85

    async def test_the_epoch_grows_though_the_clock_was_set_back(self, disk: Disk) -> None:
        first = await disk.store.claim(now=samples.at(5))
        assert await disk.store.claim(now=samples.at(5)) == first + 1
        store = await disk.restart(claiming=False)
        assert await store.claim(now=samples.at(-50_000)) == first + 2
        assert await store.claim(now=samples.at(0)) == first + 3

    async def test_who_claimed_nothing_writes_nothing_but_what_is_asked(self, disk: Disk) -> None:
        await disk.store.commit(Turn(outbox=(samples.outgoing(1),)))
        store = await disk.restart(claiming=False)
        for write in (
            store.commit(Turn(incidents=(samples.incident(1),))),
            store.settle("m0001:ops", state=OutgoingState.SENT, due_at=at(1)),
            store.prune(before=LATER),
        ):
            with pytest.raises(StoreError, match="not claimed"):
                await write
        await store.submit(samples.request(1))
        assert (await store.load(now=LATER)).requests == (samples.request(1),)
        assert [message.attempts for message in await store.due(now=LATER)] == [0]
        assert (await store.incidents()).items == ()

    async def test_after_another_claim_a_process_goes_on_where_the_chain_ends(self, disk: Disk) -> None:
        first, second = samples.links(ChainHead(), 2)
        await disk.store.commit(Turn(audit=(first,), outbox=(samples.outgoing(1, due=0),)))
        await disk.store.claim(now=samples.at(1))
        await disk.store.commit(Turn(audit=(second,), outbox=(samples.outgoing(0, due=0),)))
        assert [message.message.key for message in await disk.store.due(now=LATER)] == ["m0001", "m0000"]


class TestAllOrNothing:
    async def test_a_rollback_key_of_another_rollback_is_refused_and_nothing_is_written(
        self, disk: Disk
    ) -> None:
        first = samples.whole_turn(1, ChainHead())
        await disk.store.commit(first)
        before = await everything(disk.store)
        heard: list[Turn] = []
        disk.store.on_commit(heard.append)
        head = samples.head_of(first.audit)
        thief = samples.rollback(2, key=samples.rollback(1).key)
        good = samples.whole_turn(2, head)
        bad = Turn(
            services=(samples.service(),),
            deployments=(samples.deployment(2),),
            incidents=good.incidents,
            rollbacks=(*good.rollbacks, samples.rollback(3), thief),
            checks=(samples.check(),),
            outbox=good.outbox,
            audit=good.audit,
        )

        with pytest.raises(StoreError, match="auto:trips:d0001"):
            await disk.store.commit(bad)

        assert await everything(disk.store) == before
        assert heard == []
        assert await everything(await disk.restart()) == before
        await disk.store.commit(good)
        assert await disk.store.rollback("r0002") == good.rollbacks[0]

    async def test_two_new_rollbacks_of_one_turn_cannot_share_a_key(self, store: Store) -> None:
        with pytest.raises(StoreError):
            await store.commit(
                Turn(rollbacks=(samples.rollback(1), samples.rollback(2, key=samples.rollback(1).key)))
            )
        assert (await store.rollbacks()).items == ()

    @pytest.mark.parametrize("flaw", ["repeated", "gap", "other history", "changed"])
    async def test_an_audit_record_that_does_not_follow_is_refused_and_nothing_is_written(
        self, disk: Disk, flaw: str
    ) -> None:
        first = samples.links(ChainHead(), 2)
        await disk.store.commit(Turn(audit=first))
        before = await everything(disk.store)
        good = samples.links(samples.head_of(first), 3)
        bad = {
            "repeated": first[-1:],
            "gap": (good[0], good[2]),
            "other history": samples.links(ChainHead(seq=2, hash="f" * 64), 1),
            "changed": (good[0], *samples.links(samples.head_of(good[:1]), 1, subject="maps"), good[2]),
        }[flaw]

        with pytest.raises(StoreError, match="does not follow"):
            await disk.store.commit(
                Turn(incidents=(samples.incident(1),), outbox=(samples.outgoing(1),), audit=bad)
            )

        assert await everything(disk.store) == before
        assert await everything(await disk.restart()) == before
        await disk.store.commit(Turn(audit=good))
        assert verify([record async for record in disk.store.chain()]) == (samples.head_of(good), None)

    async def test_a_record_that_cannot_be_written_as_json_stops_the_whole_turn(self, store: Store) -> None:
        unwritable = samples.incident(2, summary="half a character: \ud83d")
        with pytest.raises(StoreError, match="Incident"):
            await store.commit(Turn(incidents=(samples.incident(1), unwritable)))
        assert (await store.incidents()).items == ()

    async def test_a_time_without_a_zone_is_refused(self, store: Store) -> None:
        naive = at(1).replace(tzinfo=None)
        with pytest.raises(StoreError, match="zone"):
            await store.commit(Turn(deployments=(samples.deployment(1, recorded_at=naive),)))

    async def test_a_commit_cancelled_at_any_moment_is_whole_or_absent_and_the_store_goes_on(
        self, store: Store
    ) -> None:
        head = ChainHead()
        for number in range(40):
            turn = samples.whole_turn(number, head)
            task = asyncio.create_task(store.commit(turn))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            now = (await store.load(now=at(number))).head
            seen = [
                await store.incident(f"i{number:04}") is not None,
                await store.rollback(f"r{number:04}") is not None,
                now == samples.head_of(turn.audit),
            ]
            assert seen in ([True] * 3, [False] * 3)
            assert now in (head, samples.head_of(turn.audit))
            head = now
        last = samples.whole_turn(99, head)
        await store.commit(last)
        assert verify([record async for record in store.chain()]) == (samples.head_of(last.audit), None)

    async def test_what_is_stored_does_not_change_with_the_value_it_was_made_from(self, store: Store) -> None:
        labels = {"team": "booking"}
        await store.commit(Turn(deployments=(samples.deployment(1, labels=labels),)))
        labels["team"] = "other"
        found = await store.deployment("d0001")
        assert found is not None
        assert found.labels == {"team": "booking"}


class TestLoading:
    async def test_old_deployments_stay_behind_but_running_and_stable_ones_come(self, store: Store) -> None:
        gone = [samples.deployment(n, state=DeploymentState.SUPERSEDED) for n in range(2, 62)]
        others = [
            samples.deployment(0, state=DeploymentState.STABLE),
            samples.deployment(1, state=DeploymentState.PENDING),
            samples.deployment(70, service="maps", state=DeploymentState.FAILED),
        ]
        await store.commit(Turn(deployments=(*others, *gone)))
        loaded = (await store.load(now=LATER)).deployments
        assert [d.id for d in loaded] == ["d0000", "d0001", *(d.id for d in gone[-50:]), "d0070"]

    async def test_closed_incidents_and_rollbacks_ended_a_day_ago_stay_behind(self, store: Store) -> None:
        day = timedelta(hours=24)
        ended = samples.rollback(0, state=RollbackState.COMPLETED)
        running = samples.rollback(1)
        late = samples.rollback(2, state=RollbackState.FAILED)
        acknowledged = samples.incident(1, state=IncidentState.ACKNOWLEDGED)
        await store.commit(
            Turn(
                rollbacks=(ended, running, late),
                incidents=(samples.incident(0, state=IncidentState.CLOSED), acknowledged),
            )
        )
        saved = await store.load(now=at(2) + day)
        assert saved.rollbacks == (running, late)
        assert saved.incidents == (acknowledged,)

    async def test_the_rollback_that_a_living_deployment_had_comes_however_old_it_is(
        self, store: Store
    ) -> None:
        living, over = samples.deployment(0, state=DeploymentState.STABLE), samples.deployment(1)
        over = replace(over, state=DeploymentState.ROLLED_BACK)
        expired = [
            replace(
                samples.rollback(number, state=RollbackState.EXPIRED),
                key=f"auto:{one.service}:{one.id}",
                deployment=one.id,
            )
            for number, one in enumerate((living, over))
        ]
        await store.commit(Turn(deployments=(living, over), rollbacks=tuple(expired)))
        saved = await store.load(now=at(2) + timedelta(hours=48))
        assert saved.rollbacks == (expired[0],)

    async def test_requests_come_in_the_order_in_which_they_were_made_until_they_are_answered(
        self, disk: Disk
    ) -> None:
        for number in (3, 1, 2):
            await disk.store.submit(samples.request(number))
        await disk.store.commit(Turn(replies=(Reply(request="q0001", status=200),)))
        store = await disk.restart()
        assert [r.id for r in (await store.load(now=LATER)).requests] == ["q0003", "q0002"]
        await store.submit(samples.request(0))
        assert [r.id for r in (await store.load(now=LATER)).requests] == ["q0003", "q0002", "q0000"]


class TestOutbox:
    async def test_a_message_whose_key_exists_is_left_as_it_is(self, store: Store) -> None:
        await store.commit(Turn(outbox=(samples.outgoing(1),)))
        await store.settle("m0001:ops", state=OutgoingState.SENT, due_at=at(1), sent_at=at(2))
        await store.commit(Turn(outbox=(samples.outgoing(1), samples.outgoing(2))))
        assert [message.key for message in await store.due(now=LATER)] == ["m0002:ops"]
        assert await store.outbox_pending() == 1

    async def test_due_messages_come_oldest_first_and_equal_ones_in_the_order_they_were_stored(
        self, disk: Disk
    ) -> None:
        await disk.store.commit(
            Turn(
                outbox=(
                    samples.outgoing(5, due=10),
                    samples.outgoing(4, due=10),
                    samples.outgoing(3, due=9.000001),
                    samples.outgoing(2, due=9),
                    samples.outgoing(1, due=10.5),
                )
            )
        )
        store = await disk.restart()
        await store.commit(Turn(outbox=(samples.outgoing(0, due=10),)))
        keys = [message.message.key for message in await store.due(now=at(10))]
        assert keys == ["m0002", "m0003", "m0005", "m0004", "m0000"]
        assert [m.message.key for m in await store.due(now=at(10), limit=2)] == ["m0002", "m0003"]
        assert await store.due(now=at(8.999999)) == ()

    async def test_settling_counts_attempts_and_keeps_what_was_said(self, disk: Disk) -> None:
        await disk.store.commit(Turn(outbox=(samples.outgoing(1),)))
        await disk.store.settle("m0001:ops", state=OutgoingState.PENDING, due_at=at(30), last_error="503")
        assert await disk.store.due(now=at(29)) == ()
        store = await disk.restart()
        (again,) = await store.due(now=at(30))
        assert (again.attempts, again.last_error, again.due_at) == (1, "503", at(30))
        await store.settle("m0001:ops", state=OutgoingState.DEAD, due_at=at(30), last_error="gone")
        assert await store.due(now=LATER) == ()
        assert await store.outbox_pending() == 0

    async def test_settling_an_unknown_message_is_an_error(self, store: Store) -> None:
        with pytest.raises(StoreError, match="nobody:ops"):
            await store.settle("nobody:ops", state=OutgoingState.SENT, due_at=at(1))

    async def test_many_are_settled_at_once_and_those_that_are_gone_are_named(self, disk: Disk) -> None:
        await disk.store.commit(Turn(outbox=tuple(samples.outgoing(n) for n in range(3))))
        verdicts = [
            Attempted(key="m0000:ops", state=OutgoingState.SENT, due_at=at(5), sent_at=at(5), reference="r7"),
            Attempted(key="gone:ops", state=OutgoingState.SENT, due_at=at(5)),
            Attempted(key="m0002:ops", state=OutgoingState.PENDING, due_at=at(9), last_error="503"),
        ]
        assert await disk.store.settle_many(verdicts) == {"gone:ops"}
        store = await disk.restart()
        found = {row.key: row for row in (await store.outbox()).items}
        assert [(row.state, row.attempts, row.reference, row.last_error) for row in found.values()] == [
            (OutgoingState.PENDING, 1, "", "503"),
            (OutgoingState.PENDING, 0, "", ""),
            (OutgoingState.SENT, 1, "r7", ""),
        ]
        assert await store.settle_many(()) == frozenset()

    async def test_what_is_urgent_comes_first_and_takes_what_was_said_before_along(
        self, store: Store
    ) -> None:
        notices = [samples.outgoing(n, due=0) for n in range(20)]
        said = about(samples.outgoing(20, due=0), "i1")
        await store.commit(Turn(outbox=(*notices, said)))
        page = about(samples.outgoing(21, due=1), "i1", needs_human=True)
        other = replace(samples.outgoing(22, due=2), message=critical(22))
        await store.commit(Turn(outbox=(page, other)))
        rows = await store.take(Wanted(now=at(3), limit=4))
        assert [(row.message.key, row.hastened) for row in rows] == [
            ("m0020", True),
            ("m0022", False),
            ("m0000", False),
            ("m0001", False),
        ]
        await store.settle(said.key, state=OutgoingState.SENT, due_at=at(3))
        assert (await store.take(Wanted(now=at(3))))[0].message.key == "m0021"

    async def test_an_end_never_comes_before_its_beginning(self, store: Store) -> None:
        kind, severity = MessageKind.INCIDENT_CLOSED, Severity.CRITICAL
        opened = about(samples.outgoing(1, due=1), "i1", needs_human=True)
        closed = about(samples.outgoing(2, due=2), "i1", kind=kind, severity=severity)
        await store.commit(Turn(outbox=(opened, closed)))
        await store.settle(opened.key, state=OutgoingState.PENDING, due_at=at(500), last_error="503")
        assert await keys_at(store, 499) == []
        await store.settle(opened.key, state=OutgoingState.DEAD, due_at=at(499), last_error="404")
        assert await keys_at(store, 499) == ["m0002:ops"]

    async def test_a_page_waits_for_what_was_said_before_in_its_conversation_for_a_minute(
        self, store: Store
    ) -> None:
        first, second = (about(samples.outgoing(n, due=n), "i1", needs_human=True) for n in (1, 2))
        elsewhere = about(samples.outgoing(3, channel="mail", due=3), "i1")
        await store.commit(Turn(outbox=(first, second, elsewhere)))
        assert await keys_at(store, 10) == ["m0001:ops", "m0003:mail"]
        await store.settle(first.key, state=OutgoingState.PENDING, due_at=at(500), last_error="503")
        assert await keys_at(store, 61) == ["m0003:mail"]
        assert await keys_at(store, 62) == ["m0002:ops", "m0003:mail"]
        await store.settle(first.key, state=OutgoingState.DEAD, due_at=at(20), last_error="no")
        assert await keys_at(store, 20) == ["m0002:ops", "m0003:mail"]

    async def test_a_row_comes_with_the_beginning_of_its_conversation_on_its_channel(
        self, disk: Disk
    ) -> None:
        store = disk.store
        quiet, first, second, third = (about(samples.outgoing(n, due=n), "i1") for n in range(4))
        mail = about(samples.outgoing(4, channel="mail", due=4), "i1")
        alone = samples.outgoing(5)
        await store.commit(Turn(outbox=(quiet, first, second, third, mail, alone)))
        for row, reference in ((quiet, ""), (first, "ts-1"), (second, "ts-2")):
            await store.settle(row.key, state=OutgoingState.SENT, due_at=at(5), reference=reference)
        store = await disk.restart()
        found = {row.key: row.thread for row in await store.take(Wanted(now=LATER))}
        assert found == {
            third.key: Thread(reference="ts-1", message=first.message),
            mail.key: None,
            alone.key: None,
        }
        assert [row.thread for row in (await store.outbox(state=OutgoingState.PENDING)).items] == [None] * 3

    async def test_rows_of_full_channels_and_rows_in_hand_are_left_out(self, store: Store) -> None:
        rows = [samples.outgoing(n, channel=("ops", "mail")[n % 2], due=0) for n in range(6)]
        page = replace(samples.outgoing(6, due=0), message=critical(6))
        await store.commit(Turn(outbox=(*rows, page)))
        taken = await store.take(
            Wanted(now=LATER, full=frozenset({"ops"}), in_hand=frozenset({"m0001:mail"}))
        )
        assert [row.key for row in taken] == ["m0006:ops", "m0003:mail", "m0005:mail"]
        full = frozenset({"ops"})
        taken = await store.take(Wanted(now=LATER, full=full, full_for_urgent=full, limit=2))
        assert [row.key for row in taken] == ["m0001:mail", "m0003:mail"]
        assert await store.take(Wanted(now=at(-1))) == ()
        assert len(await store.take(Wanted(now=at(-1), whatever=True))) == 7

    async def test_a_group_comes_whole_whatever_the_limit_and_its_own_do_not_wait_for_each_other(
        self, store: Store
    ) -> None:
        rows = [
            replace(about(samples.outgoing(n, due=0), "i1" if n < 2 else f"i{n}"), group="g")
            for n in range(9)
        ]
        others = [
            replace(samples.outgoing(20, due=0), group="h"),
            samples.outgoing(21, channel="mail", due=0),
        ]
        late = replace(samples.outgoing(9, due=50), group="g")
        await store.commit(Turn(outbox=(*rows, *others, late)))
        taken = await store.take(Wanted(now=at(1), limit=2))
        assert [row.key for row in taken] == [row.key for row in rows]

    async def test_what_waits_for_company_waits_no_longer_than_what_is_urgent_in_its_conversation(
        self, store: Store
    ) -> None:
        opened = replace(about(samples.outgoing(1, due=300), "i1", needs_human=True), group="g")
        other = replace(about(samples.outgoing(2, due=300), "i2"), group="g")
        await store.commit(Turn(outbox=(opened, other)))
        await store.commit(Turn(outbox=(about(samples.outgoing(3, due=5), "i1", needs_human=True),)))
        assert await keys_at(store, 5) == ["m0001:ops"], "the page goes right behind it, not a minute later"
        await store.settle(opened.key, state=OutgoingState.SENT, due_at=at(5))
        assert await keys_at(store, 5) == ["m0003:ops"]
        await store.settle("m0003:ops", state=OutgoingState.SENT, due_at=at(5))
        assert await keys_at(store, 299) == []
        assert await keys_at(store, 300) == ["m0002:ops"]

    async def test_a_message_that_was_given_up_can_be_tried_again_and_no_other(self, disk: Disk) -> None:
        store = disk.store
        await store.commit(Turn(outbox=tuple(samples.outgoing(n) for n in range(3))))
        await store.settle("m0000:ops", state=OutgoingState.DEAD, due_at=at(5), last_error="answered 401")
        await store.settle("m0001:ops", state=OutgoingState.SENT, due_at=at(5), sent_at=at(5))
        wishes = [Resend(key=key, at=at(70)) for key in ("m0000:ops", "m0001:ops", "m0002:ops", "nobody")]
        await store.commit(Turn(resent=tuple(wishes)))
        store = await disk.restart()
        assert await keys_at(store, 69) == ["m0002:ops"]
        assert await keys_at(store, 70) == ["m0002:ops", "m0000:ops"]
        again = await store.outgoing("m0000:ops")
        assert again is not None
        assert (again.state, again.attempts, again.last_error) == (
            OutgoingState.PENDING,
            0,
            "answered 401",
        )

    async def test_the_list_is_newest_first_by_state_and_channel(self, store: Store) -> None:
        rows = [samples.outgoing(n, channel=("ops", "mail")[n % 2]) for n in range(6)]
        await store.commit(Turn(outbox=tuple(rows)))
        await store.settle("m0002:ops", state=OutgoingState.DEAD, due_at=at(9), last_error="no")
        listed = await every_page(lambda cursor: store.outbox(cursor=cursor, limit=2))
        assert [row.key for row in listed] == [row.key for row in rows[::-1]]
        of_mail = await every_page(
            lambda cursor: store.outbox(state=OutgoingState.PENDING, channel="mail", cursor=cursor, limit=2)
        )
        assert [row.key for row in of_mail] == ["m0005:mail", "m0003:mail", "m0001:mail"]
        assert [row.key for row in (await store.outbox(state=OutgoingState.DEAD)).items] == ["m0002:ops"]
        assert await store.outgoing("nobody") is None

    async def test_how_things_stand_is_counted_and_what_has_waited_for_longest_is_named(
        self, store: Store
    ) -> None:
        assert await store.outbox_standing() == Standing()
        page = replace(samples.outgoing(3, due=30), message=critical(3))
        rows = (samples.outgoing(1, due=90), samples.outgoing(2, channel="mail", due=40), page)
        await store.commit(Turn(outbox=(*rows, samples.outgoing(4), samples.outgoing(5))))
        await store.settle("m0004:ops", state=OutgoingState.DEAD, due_at=at(9), last_error="no")
        await store.settle("m0005:ops", state=OutgoingState.SENT, due_at=at(9))
        standing = await store.outbox_standing()
        assert (standing.pending, standing.dead) == ({"ops": 2, "mail": 1}, {"ops": 1})
        named = (standing.oldest, standing.needed, standing.overdue)
        assert [row and row.key for row in named] == ["m0001:ops", page.key, page.key]

    async def test_what_is_old_is_forgotten_a_little_at_a_time_and_nothing_that_is_open(
        self, disk: Disk
    ) -> None:
        store = disk.store
        old = [samples.outgoing(n) for n in range(3)]
        waits = samples.outgoing(3)
        lasting = [about(samples.outgoing(n), "i0001") for n in (4, 5)]
        over = [about(samples.outgoing(n), "i0002") for n in (6, 7)]
        goes_on = [about(samples.outgoing(n), "tidy") for n in (8, 9)]
        await store.commit(
            Turn(
                outbox=(*old, waits, *lasting, *over, *goes_on),
                incidents=(samples.incident(1), samples.incident(2, state=IncidentState.CLOSED)),
            )
        )
        for row in (*old[:2], *lasting, *over, goes_on[0]):
            await store.settle(row.key, state=OutgoingState.SENT, due_at=at(100))
        await store.settle(old[2].key, state=OutgoingState.DEAD, due_at=at(100))
        await store.settle(goes_on[1].key, state=OutgoingState.SENT, due_at=at(300))
        for number in (1, 2, 400):
            await store.submit(samples.request(number))
        await store.commit(Turn(replies=tuple(Reply(request=f"q{n:04}", status=200) for n in (1, 400))))
        counts = []
        while forgotten := await store.prune(before=at(200), limit=2):
            counts.append(forgotten)
        assert sum(counts) == 6
        assert max(counts) == 2
        store = await disk.restart()
        left = [row.key for row in (await store.outbox()).items]
        assert left == [row.key for row in (*goes_on[::-1], *lasting[::-1], waits)]
        assert [one.id for one in (await store.load(now=LATER)).requests] == ["q0002"]
        assert (await store.reply("q0400")).status == 200
        # What was said under a key that is forgotten may be said again.
        await store.commit(Turn(outbox=(old[0],)))
        assert await store.outbox_pending() == 2


class TestLease:
    @pytest.fixture(params=["memory", "postgresql"])
    def shared(self, request: pytest.FixtureRequest) -> Callable[[], Store]:
        """Another process on the same records, each time."""
        if request.param == "memory":
            data = MemoryData()
            return lambda: MemoryStore(data, shared=True)
        url = request.getfixturevalue("postgres_url")
        return lambda: make_store(url)

    async def test_what_one_process_has_in_hand_another_one_gets_when_the_lease_has_ended(
        self, shared: Callable[[], Store], eventually: Eventually
    ) -> None:
        first, second = Disk(shared), Disk(shared)
        await first.begin()
        await first.store.commit(Turn(outbox=tuple(samples.outgoing(n, due=0) for n in range(3))))
        short, long = (
            Wanted(now=LATER, limit=1, lease=timedelta(seconds=seconds)) for seconds in (1.5, 3600)
        )
        (held,) = await first.store.take(long)
        (brief,) = await first.store.take(replace(short, in_hand=frozenset({held.key})))
        assert [held.key, brief.key] == ["m0000:ops", "m0001:ops"]
        mine = await first.store.take(replace(long, limit=9, lease=timedelta()))
        assert len(mine) == 3, "what is its own it may ask for again"

        await second.begin()
        others = Wanted(now=LATER, lease=timedelta(seconds=30))

        async def got() -> list[str]:
            return [row.key for row in await second.store.take(others)]

        assert "m0000:ops" not in await got()

        async def ended() -> bool:
            return await got() == ["m0001:ops", "m0002:ops"]

        await eventually(ended, what="the end of the lease")
        for late in (
            first.store.take(long),
            first.store.settle_many((Attempted(key=held.key, state=OutgoingState.SENT, due_at=at(1)),)),
        ):
            with pytest.raises(StoreAhead):
                await late
        await second.store.settle("m0001:ops", state=OutgoingState.PENDING, due_at=at(0))
        third = Disk(shared)
        await third.begin()
        assert [row.key for row in await third.store.take(others)] == ["m0001:ops"], "settled is not leased"
        for one in (first, second, third):
            await one.store.aclose()

    async def test_a_lease_is_renewed_for_what_is_in_hand(self, shared: Callable[[], Store]) -> None:
        first, second = Disk(shared), Disk(shared)
        await first.begin()
        await first.store.commit(Turn(outbox=(samples.outgoing(0, due=0),)))
        brief = Wanted(now=LATER, lease=timedelta(milliseconds=1))
        (held,) = await first.store.take(brief)
        in_hand = frozenset({held.key})
        assert await first.store.take(Wanted(now=LATER, in_hand=in_hand, lease=timedelta(hours=1))) == ()
        await second.begin()
        assert await second.store.take(brief) == ()
        for one in (first, second):
            await one.store.aclose()

    async def test_where_one_process_has_the_store_what_a_dead_one_had_is_there_at_once(
        self, tmp_path: Path
    ) -> None:
        disk = Disk(lambda: make_store(f"sqlite:///{tmp_path}/alone.db"))
        await disk.begin()
        await disk.store.commit(Turn(outbox=(samples.outgoing(0, due=0),)))
        wanted = Wanted(now=LATER, lease=timedelta(hours=1))
        taken = await disk.store.take(wanted)
        store = await disk.restart()
        assert await store.take(wanted) == taken
        await store.aclose()


def about(row: Outgoing, conversation: str, **changes: Any) -> Outgoing:
    """The row as one of a conversation."""
    return replace(row, message=replace(row.message, incident=conversation, **changes))


def critical(number: int) -> Message:
    return replace(samples.outgoing(number).message, severity=Severity.CRITICAL)


async def keys_at(store: Store, seconds: float) -> list[str]:
    return [row.key for row in await store.take(Wanted(now=at(seconds)))]


class TestLists:
    async def test_pages_are_complete_and_without_duplicates_while_records_are_added(
        self, store: Store
    ) -> None:
        # Several share one moment, so that the id decides.
        old = [samples.incident(number, opened_at=at(number // 7)) for number in range(100)]
        await store.commit(Turn(incidents=tuple(old)))
        added = iter(range(100, 200))

        async def ask(cursor: str | None) -> Page[object]:
            page = await store.incidents(cursor=cursor, limit=9)
            await store.commit(Turn(incidents=(samples.incident(next(added)),)))
            return Page(items=tuple(page.items), next=page.next)

        seen = await every_page(ask)
        assert seen == old[::-1]

    async def test_a_page_that_ends_with_the_list_has_no_next(self, store: Store) -> None:
        await store.commit(Turn(deployments=tuple(samples.deployment(n) for n in range(4))))
        first = await store.deployments(limit=2)
        assert first.next is not None
        second = await store.deployments(limit=2, cursor=first.next)
        assert [d.id for d in (*first.items, *second.items)] == ["d0003", "d0002", "d0001", "d0000"]
        assert second.next is None

    async def test_lists_can_be_of_one_service(self, store: Store) -> None:
        await store.commit(
            Turn(
                deployments=(samples.deployment(1), samples.deployment(2, service="maps")),
                incidents=(
                    samples.incident(1),
                    samples.incident(2, subject="maps"),
                    samples.incident(3, subject="maps", kind=IncidentKind.SOURCE),
                ),
                rollbacks=(samples.rollback(1), samples.rollback(2, service="maps")),
            )
        )
        assert [d.id for d in (await store.deployments(service="maps")).items] == ["d0002"]
        assert [i.id for i in (await store.incidents(service="maps")).items] == ["i0002"]
        assert [r.id for r in (await store.rollbacks(service="maps")).items] == ["r0002"]
        assert (await store.rollbacks(service="nobody")).items == ()

    async def test_the_audit_is_listed_newest_first_and_by_subject(self, store: Store) -> None:
        trips = samples.links(ChainHead(), 5)
        maps = samples.links(samples.head_of(trips), 4, subject="maps")
        await store.commit(Turn(audit=(*trips, *maps)))
        listed = await every_page(lambda cursor: store.audit(cursor=cursor, limit=2))
        assert listed == [*trips, *maps][::-1]
        of_maps = await every_page(lambda cursor: store.audit(subject="maps", cursor=cursor, limit=3))
        assert of_maps == list(maps[::-1])

    @pytest.mark.parametrize(
        "cursor",
        ["", "!", "é", "bm9uc2Vuc2U", "WzEsMl0", "WyJpbmNpZGVudHMiLCJ5ZXN0ZXJkYXkiLCJpMDAwMSJd", "W" * 5000],
    )
    async def test_a_malformed_cursor_is_a_value_error(self, store: Store, cursor: str) -> None:
        for ask in (store.deployments, store.incidents, store.rollbacks, store.audit, store.outbox):
            with pytest.raises(ValueError, match="cursor"):
                await ask(cursor=cursor)

    async def test_a_cursor_of_another_list_is_a_value_error(self, store: Store) -> None:
        await store.commit(
            Turn(incidents=(samples.incident(1), samples.incident(2)), audit=samples.links(ChainHead(), 2))
        )
        of_incidents = (await store.incidents(limit=1)).next
        of_audit = (await store.audit(limit=1)).next
        assert of_incidents is not None
        assert of_audit is not None
        with pytest.raises(ValueError, match="cursor"):
            await store.rollbacks(cursor=of_incidents)
        with pytest.raises(ValueError, match="cursor"):
            await store.audit(cursor=of_incidents)
        with pytest.raises(ValueError, match="cursor"):
            await store.incidents(cursor=of_audit)

    async def test_a_page_of_nothing_is_a_value_error(self, store: Store) -> None:
        for ask in (store.deployments, store.incidents, store.rollbacks, store.audit, store.outbox):
            with pytest.raises(ValueError, match="at least 1"):
                await ask(limit=0)

    async def test_the_chain_is_streamed_whole_while_it_grows(self, store: Store) -> None:
        first = samples.links(ChainHead(), 1201)
        await store.commit(Turn(audit=first))
        more = samples.links(samples.head_of(first), 1)
        seen: list[AuditRecord] = []
        async for record in store.chain():
            if not seen:
                await store.commit(Turn(audit=more))
            seen.append(record)
        assert seen[:1201] == list(first)
        assert verify(seen)[1] is None


class TestRequests:
    async def test_listeners_hear_a_request_once_after_it_is_stored(self, store: Store) -> None:
        heard: list[tuple[str, Request]] = []
        store.on_request(lambda request: heard.append(("first", request)))
        store.on_request(lambda request: heard.append(("second", request)))
        await store.submit(samples.request(1))
        await store.submit(samples.request(1, body={"reason": "again"}))
        assert heard == [("first", samples.request(1)), ("second", samples.request(1))]
        assert (await store.load(now=LATER)).requests == (samples.request(1),)

    async def test_an_answered_request_is_not_asked_again(self, store: Store) -> None:
        heard: list[Request] = []
        await store.submit(samples.request(1))
        await store.commit(Turn(replies=(Reply(request="q0001", status=200),)))
        store.on_request(heard.append)
        await store.submit(samples.request(1))
        assert heard == []
        assert (await store.load(now=LATER)).requests == ()

    async def test_everybody_who_waits_for_a_reply_gets_it_when_it_is_committed(self, store: Store) -> None:
        await store.submit(samples.request(1))
        waiting = [asyncio.create_task(store.reply("q0001")) for _ in range(3)]
        other = asyncio.create_task(store.reply("q0002"))
        await asyncio.sleep(0)
        answer = Reply(request="q0001", status=409, detail="paused", body={"by": "oncall"})
        await store.commit(Turn(replies=(answer,)))
        assert await asyncio.gather(*waiting) == [answer] * 3
        assert not other.done()
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other

    async def test_a_reply_given_before_is_found_also_after_a_restart(self, disk: Disk) -> None:
        answer = Reply(request="q0001", status=200)
        await disk.store.submit(samples.request(1))
        await disk.store.commit(Turn(replies=(answer,)))
        assert await disk.store.reply("q0001") == answer
        store = await disk.restart()
        assert await store.reply("q0001") == answer

    async def test_closing_the_store_ends_the_waiting(self, store: Store) -> None:
        await store.submit(samples.request(1))
        waiting = asyncio.create_task(store.reply("q0001"))
        # Far enough that it waits for the answer, not for the disk.
        await store.commit(Turn(incidents=(samples.incident(1),)))
        await store.outbox_pending()
        await store.aclose()
        with pytest.raises(StoreError, match="closed"):
            await waiting


class TestListeners:
    async def test_listeners_hear_every_commit_in_order_before_it_returns(self, store: Store) -> None:
        heard: list[tuple[str, str]] = []
        store.on_commit(lambda turn: heard.append(("first", turn.incidents[0].id)))
        store.on_commit(lambda turn: heard.append(("second", turn.incidents[0].id)))
        await store.commit(Turn(incidents=(samples.incident(0),)))
        assert heard == [("first", "i0000"), ("second", "i0000")]
        heard.clear()
        await asyncio.gather(*(store.commit(Turn(incidents=(samples.incident(n),))) for n in range(1, 20)))
        assert heard == [(who, f"i{n:04}") for n in range(1, 20) for who in ("first", "second")]

    async def test_a_listener_that_fails_disturbs_neither_the_commit_nor_the_next_listener(
        self, store: Store
    ) -> None:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context["exception"])
        )
        failure = RuntimeError("broken listener")

        def broken(turn: Turn) -> None:
            raise failure

        heard: list[Turn] = []
        store.on_commit(broken)
        store.on_commit(heard.append)
        turn = Turn(incidents=(samples.incident(1),))
        await store.commit(turn)
        assert heard == [turn]
        assert complaints == [failure]


class TestOpenAndClosed:
    async def test_a_store_that_is_not_open_refuses_everything(self, disk: Disk) -> None:
        store = disk.store
        await store.aclose()
        await store.aclose()
        for call in (
            store.commit(Turn(incidents=(samples.incident(1),))),
            store.submit(samples.request(1)),
            store.load(now=LATER),
            store.due(now=LATER),
            store.incidents(),
            store.incident("i0001"),
            store.audit(),
            store.outbox_pending(),
            store.settle("m", state=OutgoingState.SENT, due_at=LATER),
            store.settle_many(()),
            store.take(Wanted(now=LATER)),
            store.outbox(),
            store.outgoing("m"),
            store.outbox_standing(),
            store.prune(before=LATER),
            store.reply("q0001"),
        ):
            with pytest.raises(StoreError, match="not open"):
                await call
        with pytest.raises(StoreError, match="not open"):
            assert [record async for record in store.chain()]
