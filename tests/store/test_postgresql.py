"""The store on a server: what several processes do to each other, and what a server and the way to it can suffer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError

from tests.eventually import eventually
from tests.servers.certificates import Certificate
from tests.servers.ports import free_port
from tests.servers.postgres import PASSWORD, Postgres
from tests.store import samples
from tests.store.samples import DAY, at
from watchdog.aio import faultpoint
from watchdog.aio.faultpoint import Point
from watchdog.core.audit import ChainHead, verify
from watchdog.core.errors import ConfigError, StoreAhead, StoreError
from watchdog.core.message import OutgoingState
from watchdog.core.request import Reply, Request
from watchdog.core.turn import Turn
from watchdog.postgres.address import Host, PostgresAddress, Tls, address_of
from watchdog.postgres.connecting import connect
from watchdog.store.postgresql import PostgresReader, PostgresStore

pytestmark = pytest.mark.timeout(120)

#: Short enough for a test that waits it out, long enough for a busy machine that does not.
PATIENCE = timedelta(seconds=2)
Open = Callable[..., Awaitable[PostgresStore]]


@pytest.fixture
def address(postgres_url: str) -> PostgresAddress:
    return address_of(postgres_url)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def start(stack: AsyncExitStack, address: PostgresAddress) -> Open:
    """`await start()`: another process's store, open, and claimed and loaded unless told otherwise."""

    async def start(to: PostgresAddress = address, *, claiming: bool = True) -> PostgresStore:
        store = PostgresStore(to)
        stack.push_async_callback(store.aclose)
        await store.open()
        if claiming:
            await store.claim(now=DAY)
            await store.load(now=DAY)
        return store

    return start


@pytest.fixture
def at_point() -> Iterator[Callable[[Point, Callable[[], object]], None]]:
    """`at_point(point, deed)`: once, there."""

    def arm(point: Point, deed: Callable[[], object]) -> None:
        def hook(passed: Point) -> None:
            if passed is point:
                faultpoint.install(None)
                deed()

        faultpoint.install(hook)

    yield arm
    faultpoint.install(None)


At = Callable[[Point, Callable[[], object]], None]


def end_sessions(postgres: Postgres, address: PostgresAddress) -> None:
    """As an administrator, or a restart of the server, does."""
    postgres.sql(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{address.database}'"  # noqa: S608
    )


async def seqs(store: PostgresStore) -> list[int]:
    records = [record async for record in store.chain()]
    assert verify(records)[1] is None
    return [record.seq for record in records]


class TestTwoProcesses:
    async def test_after_a_claim_the_writer_before_writes_nothing_more(self, start: Open) -> None:
        first, second = samples.links(ChainHead(), 2)
        one = await start()
        await one.commit(Turn(audit=(first,), outbox=(samples.outgoing(1),)))
        other = await start()

        for write in (
            one.commit(Turn(audit=(second,))),
            one.commit(Turn(services=(samples.service(),))),
            one.settle("m0001:ops", state=OutgoingState.SENT, due_at=at(1)),
        ):
            with pytest.raises(StoreAhead, match="another watchdog became the writer"):
                await write

        assert await seqs(other) == [1]
        assert [row.attempts for row in await other.due(now=at(9))] == [0]
        assert (await other.load(now=DAY)).services == ()
        await other.commit(Turn(audit=(second,)))
        assert await seqs(one) == [1, 2], "it may look on"

    async def test_a_claim_waits_for_the_commit_under_way_and_goes_on_from_it(
        self, start: Open, at_point: At
    ) -> None:
        (first,) = samples.links(ChainHead(), 1)
        one, other = await start(), await start(claiming=False)
        await one.claim(now=DAY)
        claims: list[asyncio.Task[int]] = []
        at_point(Point.TURN_WRITTEN, lambda: claims.append(asyncio.create_task(other.claim(now=DAY))))

        await one.commit(Turn(audit=(first,)))
        epoch = await claims[0]

        assert epoch > int(DAY.timestamp())
        (second,) = samples.links(samples.head_of((first,)), 1)
        await other.commit(Turn(audit=(second,)))
        assert await seqs(other) == [1, 2]

    async def test_a_writer_that_stands_still_within_a_commit_holds_a_claim_up_only_for_a_while(
        self, start: Open, address: PostgresAddress
    ) -> None:
        patient = replace(address, timeout=PATIENCE)
        frozen = await connect(patient, name="frozen", writing=True)
        await start()
        transaction = frozen.transaction()
        await transaction.start()
        await frozen.fetch("SELECT epoch FROM writer FOR SHARE")

        other = await start(patient)  # and nothing more is heard of the first

        await other.commit(Turn(incidents=(samples.incident(1),)))
        assert frozen.is_closed()

    async def test_any_number_of_claims_at_once_give_each_an_epoch_of_its_own(self, start: Open) -> None:
        stores = [await start(claiming=False) for _ in range(5)]
        epochs = await asyncio.gather(*(store.claim(now=DAY) for store in stores))
        first = int(DAY.timestamp())
        assert sorted(epochs) == [first + n for n in range(5)]
        last = stores[epochs.index(max(epochs))]
        await last.commit(Turn(incidents=(samples.incident(1),)))

    async def test_an_empty_database_may_be_opened_by_several_at_once(
        self, postgres: Postgres, start: Open
    ) -> None:
        to = address_of(postgres.url(postgres.database()))
        stores = await asyncio.gather(*(start(to, claiming=False) for _ in range(4)))
        await stores[0].claim(now=DAY)
        await stores[0].commit(Turn(incidents=(samples.incident(1),)))
        for store in stores:
            assert (await store.incidents()).items == (samples.incident(1),)


class TestRequests:
    async def test_the_writer_hears_what_others_store_once_and_they_get_the_answer(self, start: Open) -> None:
        leader, follower = await start(), await start(claiming=False)
        heard: dict[str, list[Request]] = {"leader": [], "follower": []}
        leader.on_request(heard["leader"].append)
        follower.on_request(heard["follower"].append)

        await follower.submit(samples.request(1))
        await leader.submit(samples.request(2))
        waiting = asyncio.create_task(follower.reply("q0001"))
        await eventually(lambda: len(heard["leader"]) == 2, within=30)
        answer = Reply(request="q0001", status=200, body={"by": "leader"})
        await leader.commit(Turn(replies=(answer,)))

        async with asyncio.timeout(30):
            assert await waiting == answer
        await follower.submit(samples.request(3))
        await eventually(lambda: len(heard["leader"]) == 3, within=30)
        assert sorted(request.id for request in heard["leader"]) == ["q0001", "q0002", "q0003"]
        assert heard["follower"] == []
        assert [one.id for one in (await leader.load(now=DAY)).requests] == ["q0002", "q0003"]

    async def test_what_was_asked_before_is_loaded_and_not_announced_too(self, start: Open) -> None:
        follower = await start(claiming=False)
        await follower.submit(samples.request(1))
        leader = await start(claiming=False)
        heard: list[Request] = []
        leader.on_request(heard.append)
        await leader.claim(now=DAY)
        saved = await leader.load(now=DAY)
        await follower.submit(samples.request(2))
        await eventually(lambda: heard, within=30)
        assert (saved.requests, heard) == ((samples.request(1),), [samples.request(2)])

    async def test_nothing_is_lost_or_heard_twice_over_lost_connections(
        self, start: Open, postgres: Postgres, address: PostgresAddress
    ) -> None:
        leader, follower = await start(), await start(claiming=False)
        heard: list[str] = []
        leader.on_request(lambda request: heard.append(request.id))
        waiting = asyncio.create_task(follower.reply("q0000"))
        for number in range(5):
            end_sessions(postgres, address)
            await eventually(partial(_submitted, follower, number), within=30)
        await eventually(lambda: len(heard) >= 5, within=30, what=f"five of {heard}")
        end_sessions(postgres, address)
        answer = Reply(request="q0000", status=200)
        await eventually(lambda: _committed(leader, Turn(replies=(answer,))), within=30)
        async with asyncio.timeout(30):
            assert await waiting == answer
        assert sorted(heard) == [f"q{number:04}" for number in range(5)]

    async def test_requests_of_several_processes_come_in_the_order_in_which_they_were_stored(
        self, start: Open
    ) -> None:
        one, other = await start(claiming=False), await start(claiming=False)
        for number in (5, 1, 4, 2, 3):
            await (one if number % 2 else other).submit(samples.request(number))
        found = (await one.load(now=DAY)).requests
        assert [request.id for request in found] == ["q0005", "q0001", "q0004", "q0002", "q0003"]


async def _submitted(store: PostgresStore, number: int) -> bool:
    try:
        await store.submit(samples.request(number))
    except StoreError:
        return False
    return True


async def _committed(store: PostgresStore, turn: Turn) -> bool:
    try:
        await store.commit(turn)
    except StoreError:
        return False
    return True


class TestLostConnections:
    async def test_one_that_stood_idle_is_opened_anew_and_nobody_notices(
        self, start: Open, postgres: Postgres, address: PostgresAddress
    ) -> None:
        store = await start()
        await store.commit(Turn(incidents=(samples.incident(1),)))
        end_sessions(postgres, address)
        # The end of the session arrives whenever the loop looks next.
        await eventually(lambda: _committed(store, Turn(incidents=(samples.incident(2),))), within=30)
        await eventually(lambda: _seen(store, 2), within=30)

    @pytest.mark.parametrize("point", [Point.TURN_BEGUN, Point.TURN_WRITTEN])
    async def test_one_that_is_lost_before_the_end_of_a_commit_means_that_nothing_is_written(
        self, start: Open, postgres: Postgres, address: PostgresAddress, at_point: At, point: Point
    ) -> None:
        store = await start()
        turn = Turn(audit=samples.links(ChainHead(), 1), incidents=(samples.incident(1),))
        at_point(point, lambda: end_sessions(postgres, address))
        with pytest.raises(StoreError, match="the server cannot be reached") as caught:
            await store.commit(turn)
        assert "goes on by itself" in caught.value.advice
        assert str(address) in str(caught.value)
        await store.commit(turn)
        assert await seqs(store) == [1]

    async def test_a_commit_whose_confirmation_is_lost_counts_as_written(
        self, start: Open, at_point: At
    ) -> None:
        store = await start()
        heard: list[Turn] = []
        store.on_commit(heard.append)
        first, second = samples.links(ChainHead(), 2)
        turn = Turn(audit=(first,))
        at_point(Point.TURN_COMMITTED, _fail)
        await store.commit(turn)
        await store.commit(Turn(audit=(second,)))
        assert await seqs(store) == [1, 2]
        assert heard[0] is turn

    async def test_a_transaction_that_the_server_is_still_busy_with_is_waited_for_before_anything_is_believed(
        self, start: Open, postgres: Postgres, address: PostgresAddress
    ) -> None:
        store = await start()
        lost = await connect(address, name="lost", writing=True)
        transaction = lost.transaction()
        await transaction.start()
        await lost.fetch("SELECT epoch FROM writer FOR SHARE")
        await lost.execute("INSERT INTO audit VALUES (1, '', '', '', '', 'f', '')")
        asking = asyncio.create_task(store._head_for_sure())  # noqa: SLF001

        def waits() -> bool:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = '{}'"
            return postgres.sql(query.format(address.database)) == [["1"]]

        await eventually(waits, within=30, what="a question that waits")
        await transaction.commit()
        assert await asking == ChainHead(seq=1, hash="f")
        await lost.close()

    async def test_whatever_the_driver_says_of_a_lost_connection_comes_as_an_error_of_the_store(
        self, start: Open, address: PostgresAddress
    ) -> None:
        store = await start()
        admin = await connect(replace(address, user="postgres"), name="admin", writing=True)
        dice = random.Random(7)

        async def end() -> None:
            for _ in range(100):
                await asyncio.sleep(dice.random() * 0.02)
                await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

        ending = asyncio.create_task(end())
        said = set()
        while not ending.done():
            try:
                await store.load(now=DAY)
                await store.incidents()
            except StoreError as error:
                said.add(str(error))
            await asyncio.sleep(0)
        await ending
        await admin.close()
        assert said
        await eventually(lambda: _committed(store, Turn(incidents=(samples.incident(1),))), within=30)

    async def test_a_commit_cancelled_and_lost_at_any_moment_is_whole_or_absent(
        self, start: Open, postgres: Postgres, address: PostgresAddress
    ) -> None:
        head = ChainHead()
        for number in range(12):
            store = await start()
            turn = samples.whole_turn(number, head)
            task = asyncio.create_task(store.commit(turn))
            for _ in range(number):
                await asyncio.sleep(0)
            if number % 2:
                task.cancel()
            end_sessions(postgres, address)
            await asyncio.wait([task])
            task.cancelled() or task.exception()
            await store.aclose()
            other = await start()
            now = (await other.load(now=at(number))).head
            seen = await other.incident(f"i{number:04}") is not None
            assert (seen, now) in {(True, samples.head_of(turn.audit)), (False, head)}
            if task.done() and not task.cancelled() and task.exception() is None:
                assert seen, "it was told that it is written"
            head = now
            await other.aclose()


def _fail() -> None:
    raise OperationalError("COMMIT", {}, ConnectionResetError(104, "Connection reset by peer"))


async def _seen(store: PostgresStore, number: int) -> bool:
    try:
        return await store.incident(f"i{number:04}") is not None
    except StoreError:
        return False


class TestServer:
    """A server of its own for each: it is killed, stopped, frozen."""

    @pytest.fixture
    def server(self) -> Iterator[Postgres]:
        with Postgres(durable=True) as server:
            yield server

    @pytest.fixture
    def address(self, server: Postgres) -> PostgresAddress:
        return address_of(server.url(server.database()))

    async def test_what_was_committed_before_it_was_killed_is_there_and_the_doubtful_is_found_out(
        self, server: Postgres, start: Open, at_point: At
    ) -> None:
        store = await start()
        first, second = samples.links(ChainHead(), 2)
        third, *_ = samples.links(samples.head_of((first, second)), 1)
        await store.commit(Turn(audit=(first,)))

        def killed() -> None:
            server.kill()
            _fail()

        at_point(Point.TURN_COMMITTED, killed)
        for words in ("the connection was lost", "refused the connection"):
            with pytest.raises(StoreError, match=words):
                await store.commit(Turn(audit=(second,)))
        server.start()
        for turn in (Turn(audit=(second,)), Turn(incidents=(samples.incident(1),))):
            with pytest.raises(StoreAhead, match="afresh"):
                await store.commit(turn)

        again = await start()
        await again.commit(Turn(audit=(third,)))
        assert await seqs(again) == [1, 2, 3]

    async def test_a_server_that_was_away_is_used_again_once_it_is_back(
        self, server: Postgres, start: Open
    ) -> None:
        store, follower = await start(), await start(claiming=False)
        heard: list[Request] = []
        store.on_request(heard.append)
        server.stop()
        for _ in range(3):
            with pytest.raises(StoreError, match="cannot be reached") as caught:
                await store.commit(Turn(incidents=(samples.incident(1),)))
            assert caught.value.advice
        with pytest.raises(StoreError):
            await store.incidents()
        server.start()
        await store.commit(Turn(incidents=(samples.incident(1),)))
        assert (await store.incidents()).items == (samples.incident(1),)
        await follower.submit(samples.request(1))
        await eventually(lambda: heard, within=30)

    async def test_a_server_that_answers_nobody_holds_no_call_for_ever(
        self, server: Postgres, start: Open, address: PostgresAddress
    ) -> None:
        await start()
        store = await start(replace(address, timeout=PATIENCE))
        (first,) = samples.links(ChainHead(), 1)
        server.freeze()
        async with asyncio.timeout(40):
            for _ in range(2):  # on the connection there is, and on a new one
                with pytest.raises(StoreError, match="cannot be reached"):
                    await store.commit(Turn(audit=(first,)))
        server.thaw()
        assert await _settled(store, Turn(audit=(first,)))
        again = await start()
        assert await seqs(again) == [1]

    async def test_a_store_that_is_closed_beside_a_server_that_answers_nobody_is_closed(
        self, server: Postgres, start: Open, address: PostgresAddress
    ) -> None:
        await start()
        store = await start(replace(address, timeout=PATIENCE))
        server.freeze()
        async with asyncio.timeout(40):
            await store.aclose()
        server.thaw()


async def _settled(store: PostgresStore, turn: Turn) -> bool:
    """The turn is stored in the end, by this process or (it says that it must start afresh) by an earlier attempt."""

    async def tried() -> bool:
        try:
            await store.commit(turn)
        except StoreError:
            return False
        except StoreAhead:
            return True
        return True

    return bool(await eventually(tried, within=20))


class TestFailover:
    """Another database takes the place of the one in use: a copy that does not know the newest."""

    @pytest.fixture
    def older(self, postgres: Postgres, address: PostgresAddress) -> Callable[[], Callable[[], None]]:
        """`older()` makes a copy; what it answers puts that in place of the store."""

        def copy() -> Callable[[], None]:
            end_sessions(postgres, address)
            made = postgres.database(template=address.database)

            def take_over() -> None:
                end_sessions(postgres, address)
                gone = f"{made}_before"
                postgres.sql(f"ALTER DATABASE {address.database} RENAME TO {gone}")
                postgres.sql(f"ALTER DATABASE {made} RENAME TO {address.database}")

            return take_over

        return copy

    @pytest.fixture
    def address(self, postgres: Postgres, postgres_url: str) -> PostgresAddress:
        return address_of(postgres.url(postgres.database(template=address_of(postgres_url).database)))

    async def test_nothing_is_written_over_a_copy_that_lost_the_newest(
        self, start: Open, older: Callable[[], Callable[[], None]]
    ) -> None:
        first, second, third = samples.links(ChainHead(), 3)
        store = await start()
        await store.commit(Turn(audit=(first,)))
        take_over = older()
        await eventually(lambda: _committed(store, Turn(audit=(second,))), within=30)
        take_over()
        for turn in (Turn(audit=(third,)), Turn(services=(samples.service(),))):
            await eventually(partial(_refused, store, turn), within=30)
        again = await start(claiming=False)
        assert await seqs(again) == [1]
        assert (await again.load(now=DAY)).services == ()

    async def test_a_copy_that_does_not_know_the_claim_makes_the_writer_start_afresh(
        self, start: Open, older: Callable[[], Callable[[], None]]
    ) -> None:
        take_over = older()
        store = await start()
        take_over()
        with pytest.raises(StoreAhead, match="older than what this watchdog wrote"):
            await eventually(lambda: _committed(store, Turn(services=(samples.service(),))), within=30)
        again = await start()
        assert (await again.load(now=DAY)).services == ()


async def _refused(store: PostgresStore, turn: Turn) -> bool:
    """Refused for what is stored, and not for a lost connection."""
    try:
        await store.commit(turn)
    except StoreError as error:
        return "ends at 1" in str(error)
    raise AssertionError("it was written")


class TestConnecting:
    async def opening(self, to: PostgresAddress) -> StoreError:
        """The error with which opening fails."""
        store = PostgresStore(to)
        with pytest.raises(StoreError) as caught:
            await store.open()
        await store.aclose()
        assert caught.value.advice
        assert PASSWORD not in str(caught.value)
        assert str(caught.value).startswith(f"store {to}: ")
        return caught.value

    async def test_a_port_on_which_nobody_listens(self, address: PostgresAddress) -> None:
        error = await self.opening(replace(address, hosts=(Host("127.0.0.1", free_port()),)))
        assert "refused the connection" in str(error)

    async def test_a_socket_that_is_not_there(self, address: PostgresAddress, tmp_path: Path) -> None:
        error = await self.opening(replace(address, hosts=(Host(str(tmp_path)),)))
        assert "there is no such socket" in str(error)

    async def test_a_name_that_nobody_knows(self, address: PostgresAddress) -> None:
        error = await self.opening(replace(address, hosts=(Host("nowhere.invalid"),)))
        assert "cannot be resolved" in str(error)

    @pytest.mark.parametrize("password", [None, SecretStr("canary-another-password")])
    async def test_a_password_that_is_wrong(
        self, address: PostgresAddress, password: SecretStr | None
    ) -> None:
        error = await self.opening(replace(address, user="guarded", password=password))
        assert "password" in str(error)
        assert "pg_hba.conf" in error.advice

    async def test_the_right_password_opens(
        self, postgres: Postgres, address: PostgresAddress, start: Open
    ) -> None:
        to = replace(
            address,
            user="guarded",
            password=SecretStr(PASSWORD),
            database=postgres.database(owner="guarded"),
        )
        assert PASSWORD not in repr(to)
        store = await start(to)
        await store.commit(Turn(incidents=(samples.incident(1),)))

    async def test_the_socket_opens(self, postgres: Postgres, address: PostgresAddress, start: Open) -> None:
        store = await start(address_of(postgres.socket_url(address.database)))
        await store.commit(Turn(incidents=(samples.incident(1),)))

    async def test_a_database_that_is_not_there(self, address: PostgresAddress) -> None:
        error = await self.opening(replace(address, database="nowhere"))
        assert "the database does not exist" in str(error)
        assert "createdb" in error.advice

    async def test_a_user_without_rights(self, postgres: Postgres, address: PostgresAddress) -> None:
        postgres.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database=(name := postgres.database()))
        postgres.sql(f"ALTER DATABASE {name} OWNER TO postgres")
        error = await self.opening(replace(address, database=name))
        assert "a right is missing" in str(error)
        assert "OWNER" in error.advice

    async def test_a_database_that_takes_no_writes(
        self, postgres: Postgres, address: PostgresAddress
    ) -> None:
        name = postgres.database()
        postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        error = await self.opening(replace(address, database=name))
        assert "takes no writes" in str(error)
        assert "name all servers" in error.advice

    async def test_a_database_that_holds_not_every_character(
        self, postgres: Postgres, address: PostgresAddress
    ) -> None:
        name = postgres.database(more="ENCODING 'LATIN1' LOCALE 'C'")
        error = await self.opening(replace(address, database=name))
        assert "LATIN1 instead of UTF8" in str(error)

    async def test_the_database_of_another_program(
        self, postgres: Postgres, address: PostgresAddress
    ) -> None:
        name = postgres.database()
        postgres.sql("CREATE TABLE songs (title TEXT)", database=name)
        error = await self.opening(replace(address, database=name))
        assert "another program (it has a table 'songs')" in str(error)

    async def test_a_server_that_speaks_no_tls(self, address: PostgresAddress) -> None:
        error = await self.opening(replace(address, tls=Tls.REQUIRE))
        assert "speaks no TLS" in str(error)

    async def test_of_several_hosts_the_one_that_takes_writes_is_used(
        self, address: PostgresAddress, start: Open
    ) -> None:
        store = await start(replace(address, hosts=(Host("127.0.0.1", free_port()), *address.hosts)))
        await store.commit(Turn(incidents=(samples.incident(1),)))

    async def test_an_address_that_is_none_is_a_users_mistake(self) -> None:
        for kind in (PostgresStore, PostgresReader):
            with pytest.raises(ConfigError, match="name the database user"):
                kind("postgresql://db/x")


class TestTls:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Certificate:
        return Certificate(tmp_path)

    async def test_a_certificate_is_trusted_only_if_its_authority_is(
        self, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory, start: Open
    ) -> None:
        stranger = Certificate(tmp_path_factory.mktemp("stranger"))
        with Postgres(certificate=certificate) as server:
            to = replace(address_of(server.url(server.database())), tls=Tls.VERIFY_FULL)
            store = await start(replace(to, ca_file=certificate.file))
            await store.commit(Turn(incidents=(samples.incident(1),)))
            shown = server.sql("SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                               "WHERE usename = 'watchdog'")  # fmt: skip
            assert shown == [["t"]]
            await store.aclose()
            for trusted in (stranger.file, None):
                with pytest.raises(StoreError, match="certificate cannot be trusted") as caught:
                    await start(replace(to, ca_file=trusted))
                assert "ca_file" in caught.value.advice
            encrypted = await start(replace(to, tls=Tls.REQUIRE))
            await encrypted.aclose()


class TestReader:
    async def test_it_sees_what_is_committed_and_can_write_nothing(
        self, start: Open, address: PostgresAddress
    ) -> None:
        store = await start()
        turn = Turn(audit=samples.links(ChainHead(), 3), incidents=(samples.incident(1),))
        await store.commit(turn)
        reader = PostgresReader(address)
        assert [record async for record in reader.chain()] == list(turn.audit)
        assert await reader.incident("i0001") == samples.incident(1)
        with pytest.raises(StoreError, match="takes no writes"):
            await reader._reads.run(lambda connection: connection.exec_driver_sql("DELETE FROM incidents"))  # noqa: SLF001
        await reader.aclose()
        with pytest.raises(StoreError, match="closed"):
            await reader.incidents()

    async def test_an_empty_database_is_no_store(self, postgres: Postgres) -> None:
        reader = PostgresReader(postgres.url(postgres.database()))
        with pytest.raises(StoreError, match="schema is not of this release"):
            await reader.incidents()
        await reader.aclose()


ODD = ["a\x00b", "\ud83d", "\ufdd0", "\ufdd00000", "x" * 10_000, "é☃ ", ""]


@pytest.mark.parametrize("name", ODD)
async def test_a_name_with_any_character_can_be_asked_for(start: Open, name: str) -> None:
    store = await start()
    assert await store.incident(name) is None
    assert (await store.rollbacks(service=name)).items == ()
    assert (await store.audit(subject=name)).items == ()


@pytest.mark.parametrize("name", [one for one in ODD if one != "\ud83d"])
async def test_a_version_with_any_character_is_kept_and_found_again(start: Open, name: str) -> None:
    store = await start()
    others = [samples.check(version=f"{name}{end}") for end in ("", "\x00", "0000", "y")]
    await store.commit(Turn(checks=tuple(others), incidents=(samples.incident(1, summary=name),)))
    saved = await store.load(now=DAY)
    assert {record.id.version for record in saved.checks} == {record.id.version for record in others}
    assert saved.incidents == (samples.incident(1, summary=name),)
    await store.commit(Turn(forgotten=(others[0].id,)))
    assert len((await store.load(now=DAY)).checks) == 3


async def test_an_audit_subject_with_any_character_still_verifies(start: Open) -> None:
    store = await start()
    await store.commit(Turn(audit=samples.links(ChainHead(), 2, subject="a\x00\ufdd0b")))
    assert await seqs(store) == [1, 2]
    assert len((await store.audit(subject="a\x00\ufdd0b")).items) == 2
