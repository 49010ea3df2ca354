"""The schema on PostgreSQL: made or migrated, it is the same, and several processes may come to do it at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from tests.servers.postgres import Postgres
from tests.store import samples
from watchdog.core.errors import StoreError
from watchdog.core.turn import Turn
from watchdog.store.migrate import HEAD, REVISIONS, migrate
from watchdog.store.postgresql import PostgresReader, PostgresStore
from watchdog.store.tables import metadata

pytestmark = pytest.mark.timeout(60)

#: All that a schema is made of, but for the order of columns, which a migration cannot change.
_SCHEMA = """
SELECT 'column', table_name || '.' || column_name,
    data_type || ' ' || is_nullable || ' ' || coalesce(collation_name, '')
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype IN ('p', 'u') AND connamespace = 'public'::regnamespace
ORDER BY 1, 2, 3
"""


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    name = postgres.database()
    yield name
    postgres.drop(name)


@pytest.fixture
async def engine(postgres: Postgres, database: str) -> AsyncIterator[AsyncEngine]:
    url = postgres.url(database).replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, poolclass=NullPool)
    yield engine
    await engine.dispose()


async def on(engine: AsyncEngine, work: Callable[[Connection], None]) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(work)


def upgraded(to: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", "watchdog.store:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, to)

    return work


async def test_the_migrated_schema_is_the_one_that_is_made(
    postgres: Postgres, database: str, engine: AsyncEngine, postgres_store: str
) -> None:
    await on(engine, upgraded("head"))

    migrated = postgres.sql(_SCHEMA, database=database)

    assert migrated == postgres.sql(_SCHEMA, database=postgres_store)
    collated = {row[1].split(".")[1] for row in migrated if row[2].startswith("character varying NO C")}
    assert collated >= {"id", "key", "service", "version", "subject", "at"}
    assert postgres.sql("SELECT version_num FROM alembic_version", database=database) == [[HEAD]]


async def test_the_migrated_schema_is_the_one_of_the_tables(engine: AsyncEngine) -> None:
    def compare(connection: Connection) -> None:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []

    await on(engine, upgraded("head"))
    await on(engine, compare)


@pytest.mark.parametrize("release", REVISIONS[:-1])
async def test_a_store_of_an_older_schema_keeps_what_it_holds(
    postgres: Postgres, database: str, engine: AsyncEngine, release: str
) -> None:
    await on(engine, upgraded(release))
    postgres.sql("INSERT INTO services VALUES ('trips', '{\"name\": \"trips\"}')", database=database)

    stores = [PostgresStore(postgres.url(database)) for _ in range(3)]
    await asyncio.gather(*(store.open() for store in stores))

    store = stores[1]
    await store.claim(now=samples.DAY)
    assert (await store.load(now=samples.DAY)).services == (samples.service("trips"),)
    await store.commit(Turn(silences=(samples.silence(1),)))
    assert await stores[2].silence("s0001") == samples.silence(1)
    for store in stores:
        await store.aclose()


async def test_a_failed_migration_leaves_nothing_behind(
    postgres: Postgres, database: str, engine: AsyncEngine
) -> None:
    def fail(connection: Connection) -> None:
        migrate(connection, database)
        raise RuntimeError("the machine fails")

    with pytest.raises(RuntimeError, match="the machine fails"):
        await on(engine, fail)
    assert postgres.sql(_SCHEMA, database=database) == []


async def test_a_store_of_a_newer_release_is_refused_and_left_alone(
    postgres: Postgres, database: str
) -> None:
    url = postgres.url(database)
    store = PostgresStore(url)
    await store.open()
    await store.aclose()
    postgres.sql("UPDATE alembic_version SET version_num = '9999'", database=database)
    before = postgres.sql(_SCHEMA, database=database)
    reader = PostgresReader(url)
    for look in (PostgresStore(url).open, reader.incidents):
        with pytest.raises(StoreError, match="written by a newer release"):
            await look()
    await reader.aclose()
    assert postgres.sql(_SCHEMA, database=database) == before
