"""The schema: made from nothing, equal to the tables in the code, and never of somebody else."""

from __future__ import annotations

import contextlib
import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from msgspec.structs import replace
from sqlalchemy import Connection, inspect

from tests.store import samples
from watchdog.core.errors import StoreError
from watchdog.core.message import OutgoingState
from watchdog.core.turn import Turn
from watchdog.store.codec import encode, stamp
from watchdog.store.interface import Wanted
from watchdog.store.migrate import HEAD, REVISIONS, migrate
from watchdog.store.sqlite import SqliteReader, SqliteStore
from watchdog.store.sqlite_file import connect_writer
from watchdog.store.tables import metadata


@pytest.fixture
def connection(database: Path) -> Iterator[Connection]:
    connection = connect_writer(database)
    yield connection
    connection.close()


@pytest.fixture
def scripts() -> Config:
    config = Config()
    config.set_main_option("script_location", "watchdog.store:migrations")
    return config


def test_the_migrated_schema_is_the_one_of_the_tables(connection: Connection, scripts: Config) -> None:
    with connection.begin():
        scripts.attributes["connection"] = connection
        command.upgrade(scripts, "head")
    with connection.begin():
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        for name, table in metadata.tables.items():
            assert inspect(connection).get_pk_constraint(name)["constrained_columns"] == [
                column.name for column in table.primary_key
            ]


def test_the_tables_and_the_migrations_name_the_same_constraints(
    connection: Connection, database: Path, scripts: Config
) -> None:
    def schema(of: sqlite3.Connection) -> set[tuple[str, str]]:
        found = of.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        return set(found) - {("table", "alembic_version")}

    with connection.begin():
        scripts.attributes["connection"] = connection
        command.upgrade(scripts, "head")
    made = connect_writer(database.with_name("made.db"))
    with made.begin():
        metadata.create_all(made)
    made.close()
    with sqlite3.connect(database) as one, sqlite3.connect(database.with_name("made.db")) as other:
        assert schema(one) == schema(other)
    one.close()
    other.close()


def test_a_failed_migration_leaves_nothing_behind(connection: Connection, database: Path) -> None:
    transaction = connection.begin()
    migrate(connection, str(database))
    transaction.rollback()
    with connection.begin():
        assert inspect(connection).get_table_names() == []


def test_the_known_revisions_are_those_on_the_disk(scripts: Config) -> None:
    script = ScriptDirectory.from_config(scripts)
    assert script.get_heads() == [HEAD]
    assert tuple(revision.revision for revision in script.walk_revisions())[::-1] == REVISIONS


def test_the_migrations_can_be_printed_as_sql(scripts: Config) -> None:
    scripts.output_buffer = io.StringIO()
    command.upgrade(scripts, "head", sql=True)
    assert "CREATE TABLE rollbacks" in scripts.output_buffer.getvalue()


def test_the_migrations_run_on_an_address_too(scripts: Config, database: Path) -> None:
    scripts.set_main_option("sqlalchemy.url", f"sqlite:///{database}")
    command.upgrade(scripts, "head")
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
    connection.close()


def test_a_new_store_is_made_as_the_migrations_would_make_it(scripts: Config, tmp_path: Path) -> None:
    migrated, made = tmp_path / "migrated.db", tmp_path / "made.db"
    scripts.set_main_option("sqlalchemy.url", f"sqlite:///{migrated}")
    command.upgrade(scripts, "head")
    with connect_writer(made) as connection, connection.begin():
        migrate(connection, str(made))
    assert schema(made) == schema(migrated)


def schema(path: Path) -> list[tuple[str, ...]]:
    """Everything that a database is made of, and its revision, whatever the order of columns and the layout."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        parts = connection.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master")
        found = [
            (kind, name, table, *sorted("".join(sql.split()).partition("(")[2].split(",")))
            if kind == "table"
            else (kind, name, table, "".join(sql.split()))
            for kind, name, table, sql in parts
        ]
        found += connection.execute("SELECT 'revision', version_num, '', '' FROM alembic_version").fetchall()
    return sorted(found)


@pytest.mark.parametrize("release", REVISIONS[:-1])
async def test_a_store_of_an_older_release_keeps_what_it_holds(
    scripts: Config, url: str, database: Path, release: str
) -> None:
    scripts.set_main_option("sqlalchemy.url", f"sqlite:///{database}")
    command.upgrade(scripts, release)
    with sqlite3.connect(database) as connection:
        connection.execute("INSERT INTO services VALUES ('trips', '{\"name\": \"trips\"}')")
    connection.close()

    store = SqliteStore(url)
    await store.open()
    await store.claim(now=samples.DAY)

    assert (await store.load(now=samples.at(0))).services == (samples.service("trips"),)
    await store.commit(Turn(silences=(samples.silence(1),)))
    assert await store.silence("s0001") == samples.silence(1)
    await store.aclose()


async def test_what_waited_in_an_older_store_goes_in_the_order_of_this_release(
    scripts: Config, url: str, database: Path
) -> None:
    scripts.set_main_option("sqlalchemy.url", f"sqlite:///{database}")
    command.upgrade(scripts, "0003")
    notice, said, page, sent = (samples.outgoing(number, due=0) for number in range(4))
    said = replace(said, message=replace(said.message, incident="i1"))
    page = replace(page, message=replace(page.message, incident="i1", needs_human=True))
    sent = replace(sent, state=OutgoingState.SENT)
    with sqlite3.connect(database) as connection:
        connection.executemany(
            "INSERT INTO outbox (key, number, channel, state, due_at, doc) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (row.key, number, row.channel, row.state.value, stamp(row.due_at), encode(row))
                for number, row in enumerate((notice, said, page, sent), start=1)
            ],
        )
    connection.close()

    store = SqliteStore(url)
    await store.open()
    await store.claim(now=samples.DAY)

    assert await store.take(Wanted(now=samples.at(1))) == (notice, said), "the page waits for what was said"
    await store.settle(said.key, state=OutgoingState.SENT, due_at=samples.at(1))
    assert await store.take(Wanted(now=samples.at(1))) == (page, notice)
    assert [row.key for row in (await store.outbox()).items] == [
        row.key for row in (sent, page, said, notice)
    ]
    await store.aclose()


async def test_an_up_to_date_store_is_not_migrated_again(url: str) -> None:
    for number in range(2):
        store = SqliteStore(url)
        await store.open()
        await store.claim(now=samples.DAY)
        await store.commit(Turn(incidents=(samples.incident(number),)))
        await store.aclose()
    reader = SqliteReader(url)
    assert len((await reader.incidents()).items) == 2
    await reader.aclose()


async def test_a_store_of_a_newer_release_is_refused_and_left_alone(url: str, database: Path) -> None:
    store = SqliteStore(url)
    await store.open()
    await store.claim(now=samples.DAY)
    await store.aclose()
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreError, match="written by a newer release") as caught:
        await SqliteStore(url).open()
    assert "install that release" in caught.value.advice
    reader = SqliteReader(url)
    with pytest.raises(StoreError, match="written by a newer release"):
        await reader.incidents()
    await reader.aclose()


async def test_the_database_of_another_program_is_refused_and_left_alone(url: str, database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    with pytest.raises(StoreError, match=r"another program .*'songs'"):
        await SqliteStore(url).open()
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]
    connection.close()
