"""The store on a disk: what only a real file can do and suffer."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.store import samples
from tests.store.conftest import SmallDisk
from tests.store.samples import DAY
from watchdog.aio import faultpoint
from watchdog.aio.faultpoint import Point
from watchdog.core.audit import ChainHead, verify
from watchdog.core.errors import StoreAhead, StoreCorrupt, StoreError, StoreLocked
from watchdog.core.turn import Turn
from watchdog.store.interface import Saved
from watchdog.store.sqlite import SqliteReader, SqliteStore

Start = Callable[..., subprocess.Popen[str]]
Fails = Callable[..., None]


@pytest.fixture
def fails_at() -> Iterator[Fails]:
    """`fails_at(point)`: the driver raises there, once; before that something else may happen."""

    def arm(point: Point, first: Callable[[], object] = lambda: None) -> None:
        def hook(passed: Point) -> None:
            if passed is point:
                faultpoint.install(None)
                first()
                raise sqlite3.OperationalError("disk I/O error")

        faultpoint.install(hook)

    yield arm
    faultpoint.install(None)


async def opening(url: str) -> StoreError:
    """The error with which opening fails."""
    store = SqliteStore(url)
    with pytest.raises(StoreError) as caught:
        await store.open()
    await store.aclose()
    assert caught.value.advice
    return caught.value


def kill(process: subprocess.Popen[str]) -> list[int]:
    """Kill a committer; answers what it had acknowledged and nobody has read yet."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    rest = process.stdout.read()
    process.wait()
    return [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]


async def test_the_file_keeps_a_write_ahead_log_and_every_commit_reaches_the_disk(
    store: SqliteStore, database: Path
) -> None:
    await store.commit(Turn(audit=samples.links(ChainHead(), 1)))
    assert database.with_name("watchdog.db-wal").stat().st_size > 0
    pragmas = "SELECT journal_mode, synchronous FROM pragma_journal_mode, pragma_synchronous"
    settings = await store._writes.run(lambda connection: connection.exec_driver_sql(pragmas).one())  # noqa: SLF001
    assert tuple(settings) == ("wal", 2)


async def test_the_folder_is_made(tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path}/a/b/watchdog.db")
    await store.open()
    await store.claim(now=DAY)
    await store.aclose()
    assert (tmp_path / "a/b/watchdog.db").exists()


async def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = await opening(f"sqlite:///{tmp_path}/file/watchdog.db")
    assert f"{tmp_path}/file" in str(error)


async def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    error = await opening(f"sqlite:///{tmp_path}")
    assert "cannot be opened" in str(error)


async def test_reads_do_not_wait_for_a_writer(store: SqliteStore, database: Path) -> None:
    await store.commit(Turn(incidents=(samples.incident(1),)))
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(store.commit(Turn(incidents=(samples.incident(2),))))
    assert [i.id for i in (await store.incidents()).items] == ["i0001"]
    assert not writing.done()
    other.execute("ROLLBACK")
    other.close()
    await writing
    assert [i.id for i in (await store.incidents()).items] == ["i0002", "i0001"]


async def test_another_program_that_holds_the_database_is_named_as_the_cause(
    store: SqliteStore, database: Path
) -> None:
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another program holds it") as caught:
        await store.commit(Turn(incidents=(samples.incident(1),)))
    assert "fuser" in caught.value.advice
    other.execute("ROLLBACK")
    other.close()
    await store.commit(Turn(incidents=(samples.incident(2),)))
    assert [i.id for i in (await store.incidents()).items] == ["i0002"]


class TestDoubt:
    """A commit that reports an error, and is on the disk all the same."""

    async def test_a_turn_that_is_stored_though_its_commit_failed_counts_as_written(
        self, store: SqliteStore, fails_at: Fails
    ) -> None:
        heard: list[Turn] = []
        store.on_commit(heard.append)
        first, second = samples.links(ChainHead(), 2)
        turn = Turn(audit=(first,), incidents=(samples.incident(1),))
        fails_at(Point.TURN_COMMITTED)
        await store.commit(turn)
        await store.commit(Turn(audit=(second,)))
        assert heard[0] is turn
        assert [one.seq async for one in store.chain()] == [1, 2]

    async def test_a_turn_of_which_nothing_is_stored_is_an_error_and_can_be_written_again(
        self, store: SqliteStore, fails_at: Fails
    ) -> None:
        turn = Turn(audit=samples.links(ChainHead(), 1))
        fails_at(Point.TURN_WRITTEN)
        with pytest.raises(StoreError, match="disk I/O error"):
            await store.commit(turn)
        await store.commit(turn)
        assert [one.seq async for one in store.chain()] == [1]

    async def test_when_it_is_found_later_that_it_was_stored_the_process_must_start_afresh(
        self, store: SqliteStore, url: str, database: Path, fails_at: Fails
    ) -> None:
        first, second = samples.links(ChainHead(), 2)
        away = database.with_name("away")
        fails_at(Point.TURN_COMMITTED, lambda: database.rename(away))  # and nobody can look
        with pytest.raises(StoreError, match="disk I/O error"):
            await store.commit(Turn(audit=(first,)))
        with pytest.raises(StoreError, match="no such file"):
            await store.commit(Turn(audit=(first,)))
        away.rename(database)
        for turn in (Turn(audit=(first,)), Turn(incidents=(samples.incident(1),))):
            with pytest.raises(StoreAhead, match="afresh"):
                await store.commit(turn)
        await store.aclose()
        again = SqliteStore(url)
        await again.open()
        await again.claim(now=DAY)
        await again.commit(Turn(audit=(second,)))
        await again.aclose()


class TestLock:
    async def test_a_second_daemon_refuses_to_start_and_names_the_first(
        self, url: str, database: Path, start_committer: Start
    ) -> None:
        first = start_committer(url, 1)
        error = await opening(url)
        assert isinstance(error, StoreLocked)
        assert f"process {first.pid}" in str(error)
        assert f"{database}.lock" in str(error)

        kill(first)
        store = SqliteStore(url)
        await store.open()
        await store.claim(now=DAY)
        assert (database.parent / "watchdog.db.lock").read_text() == f"{os.getpid()}\n"
        await store.aclose()
        assert (database.parent / "watchdog.db.lock").exists()

    async def test_the_same_file_under_another_name_is_locked_too(
        self, store: SqliteStore, database: Path, tmp_path: Path
    ) -> None:
        link = tmp_path / "link.db"
        link.symlink_to(database)
        assert isinstance(await opening(f"sqlite:///{link}"), StoreLocked)

    async def test_a_store_that_could_not_be_opened_leaves_no_lock(self, url: str, database: Path) -> None:
        database.write_bytes(b"garbage" * 1000)
        await opening(url)
        database.unlink()
        store = SqliteStore(url)
        await store.open()
        await store.claim(now=DAY)
        await store.aclose()


class TestDamage:
    @pytest.mark.parametrize(
        "content", [b"not a database at all, " * 100, random.Random(1).randbytes(8192), b"\0" * 4096]
    )
    async def test_a_file_that_is_no_database_is_corrupt_and_left_alone(
        self, url: str, database: Path, content: bytes
    ) -> None:
        database.write_bytes(content)
        error = await opening(url)
        assert isinstance(error, StoreCorrupt)
        assert str(database) in str(error)
        for hint in ("aside", "backup", "adopted", "nothing is rolled back"):
            assert hint in error.advice
        assert database.read_bytes() == content

    async def test_overwritten_pages_are_found_when_the_store_opens(self, url: str, database: Path) -> None:
        store = SqliteStore(url)
        await store.open()
        await store.claim(now=DAY)
        await store.commit(Turn(incidents=tuple(samples.incident(n) for n in range(200))))
        await store.aclose()
        with database.open("r+b") as file:
            file.seek(database.stat().st_size // 2)
            file.write(random.Random(2).randbytes(40_000))
        error = await opening(url)
        assert isinstance(error, StoreCorrupt)
        assert "damaged" in str(error)

    async def test_a_cut_file_is_found_when_the_store_opens(self, url: str, database: Path) -> None:
        store = SqliteStore(url)
        await store.open()
        await store.claim(now=DAY)
        await store.commit(Turn(incidents=tuple(samples.incident(n) for n in range(200))))
        await store.aclose()
        os.truncate(database, database.stat().st_size // 2)
        assert isinstance(await opening(url), StoreCorrupt)

    async def test_a_row_that_is_no_record_is_corrupt_and_named(self, url: str, database: Path) -> None:
        store = SqliteStore(url)
        await store.open()
        await store.claim(now=DAY)
        await store.commit(Turn(incidents=(samples.incident(1),)))
        await store.aclose()
        tamper(database, "UPDATE incidents SET doc = '{\"id\": 5}'")
        store = SqliteStore(url)
        await store.open()
        await store.claim(now=DAY)
        with pytest.raises(StoreCorrupt, match="Incident"):
            await store.load(now=DAY)
        with pytest.raises(StoreCorrupt, match="Incident"):
            await store.incident("i0001")
        await store.aclose()

    async def test_a_file_removed_under_the_daemon_stops_every_write(
        self, store: SqliteStore, database: Path
    ) -> None:
        await store.commit(Turn(incidents=(samples.incident(1),)))
        database.rename(database.with_name("gone.db"))
        with pytest.raises(StoreError, match="removed or replaced") as caught:
            await store.commit(Turn(incidents=(samples.incident(2),)))
        assert "restart" in caught.value.advice
        database.with_name("gone.db").rename(database)
        await store.commit(Turn(incidents=(samples.incident(2),)))

    async def test_a_second_writer_is_noticed_by_the_chain(self, store: SqliteStore, database: Path) -> None:
        first = samples.links(ChainHead(), 2)
        await store.commit(Turn(audit=first))
        tamper(database, "DELETE FROM audit WHERE seq = 2")
        for turn in (
            Turn(audit=samples.links(samples.head_of(first), 1)),
            Turn(services=(samples.service(),)),  # what checks and services remember is as old as the rest
        ):
            with pytest.raises(StoreError, match="ends at 1"):
                await store.commit(turn)


def tamper(database: Path, *statements: str) -> None:
    with sqlite3.connect(database) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0
    connection.close()


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("UPDATE audit SET doc = replace(doc, '0.25', '0.75') WHERE seq = 700", 700),
        ("UPDATE audit SET doc = replace(doc, 'trips', 'maps') WHERE seq = 3", 3),
        ("UPDATE audit SET doc = 'nonsense' WHERE seq = 4", 4),
        ("UPDATE audit SET doc = (SELECT doc FROM audit WHERE seq = 9) WHERE seq = 8", 8),
        ("UPDATE audit SET subject = 'maps' WHERE seq = 5", 5),
        ("UPDATE audit SET kind = 'other' WHERE seq = 5", 5),
        ("UPDATE audit SET at = '2001-01-01T00:00:00.000000Z' WHERE seq = 5", 5),
        ("UPDATE audit SET hash = 'f' WHERE seq = 6", 6),
        ("UPDATE audit SET previous = 'f' WHERE seq = 6", 6),
        ("DELETE FROM audit WHERE seq = 500", 501),
        ("UPDATE audit SET seq = 5000 WHERE seq = 500", 501),
    ],
)
async def test_a_tampered_audit_row_is_found_with_its_number(
    url: str, database: Path, statement: str, seq: int
) -> None:
    store = SqliteStore(url)
    await store.open()
    await store.claim(now=DAY)
    await store.commit(Turn(audit=samples.links(ChainHead(), 1000)))
    await store.aclose()
    tamper(database, statement)

    reader = SqliteReader(url)
    _, fault = verify([record async for record in reader.chain()])
    listed = await reader.audit(limit=2000)
    await reader.aclose()
    assert fault is not None
    assert fault.seq == seq
    assert len(listed.items) >= 999


@pytest.mark.timeout(120)
async def test_whatever_was_acknowledged_survives_kill_9_and_no_turn_is_half(
    url: str, database: Path, start_committer: Start
) -> None:
    chance = random.Random(20260301)
    before = 0
    for _ in range(20):
        process = start_committer(url)
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 60)):
            before = int(process.stdout.readline())
        acknowledged = max([before, *kill(process)])

        # A reader first: it must cope with whatever log the dead process left.
        reader = SqliteReader(url)
        head, fault = verify([record async for record in reader.chain()])
        assert fault is None
        assert head.seq in {acknowledged, acknowledged + 1}
        await reader.aclose()
        before = head.seq
    with sqlite3.connect(database) as connection:
        counts = {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608
            for name in ("incidents", "rollbacks", "outbox", "audit")
        }
    connection.close()
    assert counts == {"incidents": before, "rollbacks": before, "outbox": 2 * before, "audit": before}
    store = SqliteStore(url)
    await store.open()
    await store.claim(now=DAY)
    await store.commit(samples.whole_turn(before + 1, (await store.load(now=DAY)).head))
    await store.aclose()


class TestSmallDisk:
    async def test_a_full_disk_stops_writing_and_freed_space_lets_it_go_on(
        self, small_disk: SmallDisk
    ) -> None:
        store = SqliteStore(f"sqlite:///{small_disk.folder}/watchdog.db")
        await store.open()
        await store.claim(now=DAY)
        first = samples.whole_turn(1, ChainHead())
        await store.commit(first)
        head = samples.head_of(first.audit)
        big = Turn(
            incidents=tuple(samples.incident(n, summary="x" * 1000) for n in range(2, 1000)),
            audit=samples.links(head, 1),
        )
        small_disk.fill()
        for _ in range(3):
            with pytest.raises(StoreError, match="disk is full") as caught:
                await store.commit(big)
            assert "free space" in caught.value.advice
            assert str(small_disk.folder) in caught.value.advice
            assert [i.id for i in (await store.incidents()).items] == ["i0001"]
        small_disk.free()

        second = samples.whole_turn(2, head)
        await store.commit(second)
        assert (await store.load(now=DAY)).head == samples.head_of(second.audit)
        small_disk.fill()
        await store.aclose()
        small_disk.free()
        again = SqliteStore(f"sqlite:///{small_disk.folder}/watchdog.db")
        await again.open()
        await again.claim(now=DAY)
        assert verify([record async for record in again.chain()]) == (samples.head_of(second.audit), None)
        assert [i.id for i in (await again.incidents()).items] == ["i0002", "i0001"]
        await again.aclose()

    async def test_a_store_on_a_full_disk_does_not_open(self, small_disk: SmallDisk) -> None:
        small_disk.fill()
        error = await opening(f"sqlite:///{small_disk.folder}/watchdog.db")
        assert "disk is full" in str(error)
        assert "free space" in error.advice

    async def test_a_store_on_a_read_only_disk_does_not_open_but_can_be_read(
        self, small_disk: SmallDisk
    ) -> None:
        url = f"sqlite:///{small_disk.folder}/watchdog.db"
        store = SqliteStore(url)
        await store.open()
        await store.claim(now=DAY)
        await store.commit(Turn(incidents=(samples.incident(1),)))
        await store.aclose()
        small_disk.make_read_only()

        error = await opening(url)
        assert "read-only" in str(error)
        assert "writable" in error.advice
        reader = SqliteReader(url)
        assert [i.id for i in (await reader.incidents()).items] == ["i0001"]
        await reader.aclose()

    async def test_a_folder_on_a_read_only_disk_cannot_be_made(self, small_disk: SmallDisk) -> None:
        small_disk.make_read_only()
        error = await opening(f"sqlite:///{small_disk.folder}/new/watchdog.db")
        assert "read-only" in str(error)


class TestReader:
    async def test_it_reads_beside_a_running_daemon_and_sees_every_commit(
        self, store: SqliteStore, url: str
    ) -> None:
        reader = SqliteReader(url)
        head = ChainHead()
        for number in range(5):
            turn = samples.whole_turn(number, head)
            await store.commit(turn)
            head = samples.head_of(turn.audit)
            assert verify([record async for record in reader.chain()]) == (head, None)
            assert await reader.rollback(f"r{number:04}") == turn.rollbacks[0]
        assert await reader.outbox_pending() == 10
        await reader.aclose()
        await store.commit(samples.whole_turn(9, head))

    async def test_it_cannot_write(self, store: SqliteStore, url: str) -> None:
        reader = SqliteReader(url)
        await reader.outbox_pending()
        with pytest.raises(StoreError, match="read-only"):
            await reader._reads.run(lambda c: c.exec_driver_sql("DELETE FROM audit"))  # noqa: SLF001
        await reader.aclose()

    async def test_a_missing_file_is_an_error_and_is_not_made(self, url: str, database: Path) -> None:
        reader = SqliteReader(url)
        with pytest.raises(StoreError, match="no such file") as caught:
            await reader.incidents()
        assert "store: url" in caught.value.advice
        await reader.aclose()
        assert not database.exists()

    async def test_a_file_that_is_no_database_is_corrupt(self, url: str, database: Path) -> None:
        database.write_bytes(b"garbage" * 1000)
        reader = SqliteReader(url)
        with pytest.raises(StoreCorrupt):
            await reader.incidents()
        await reader.aclose()

    async def test_an_empty_file_is_not_a_store(self, url: str, database: Path) -> None:
        database.touch()
        reader = SqliteReader(url)
        with pytest.raises(StoreError, match="schema is not of this release"):
            await reader.incidents()
        await reader.aclose()

    async def test_closing_it_unopened_is_no_error(self, url: str) -> None:
        reader = SqliteReader(url)
        await reader.aclose()
        with pytest.raises(StoreError, match="closed"):
            await reader.incidents()


async def test_an_empty_file_becomes_a_store(url: str, database: Path) -> None:
    database.touch()
    store = SqliteStore(url)
    await store.open()
    await store.claim(now=DAY)
    assert await store.load(now=DAY) == Saved()
    await store.aclose()


async def test_names_with_odd_characters_are_paths_like_others(tmp_path: Path) -> None:
    path = tmp_path / "a b?mode=ro#é%41.db"
    url = f"sqlite:///{tmp_path}/a b%3Fmode=ro%23é%2541.db"
    store = SqliteStore(url)
    await store.open()
    await store.claim(now=DAY)
    await store.commit(Turn(incidents=(samples.incident(1),)))
    assert (await store.incidents()).items == (samples.incident(1),)
    await store.aclose()
    assert path.exists()
