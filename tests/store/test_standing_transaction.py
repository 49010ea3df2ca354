"""A process that stands still in the middle of a statement: the server waits for it, and the next writer must not."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from tests.eventually import eventually
from tests.store.samples import DAY
from watchdog.core.errors import StoreError
from watchdog.postgres.address import PostgresAddress, address_of
from watchdog.postgres.connecting import connect
from watchdog.store.postgresql import PostgresStore

pytestmark = pytest.mark.timeout(60)


def short(url: str, *, seconds: int = 1) -> PostgresAddress:
    found = address_of(url)
    return PostgresAddress(
        hosts=found.hosts, database=found.database, user=found.user, timeout=timedelta(seconds=seconds)
    )


async def standing(address: PostgresAddress) -> asyncpg.Connection:
    """The writer's row is held by a transaction whose client has sent half of its next statement, and says no more."""
    connection = await connect(address, name="rollback-watchdog writes", writing=True)
    await connection.execute("BEGIN")
    await connection.execute("SELECT epoch FROM writer WHERE id = 1 FOR SHARE")
    await connection.prepare("SELECT count(*) FROM services")
    return connection


async def test_whoever_stands_still_in_a_transaction_keeps_nobody_from_claiming(postgres_url: str) -> None:
    address = short(postgres_url)
    store = PostgresStore(address)
    await store.open()
    first = await store.claim(now=DAY)
    connection = await standing(address)
    try:

        async def claimed() -> int:
            try:
                return await store.claim(now=DAY)
            except StoreError:
                return 0

        assert await eventually(claimed, within=30, every=0.1, what="a claim") > first
        await eventually(connection.is_closed, what="the end of the connection that stood still")
    finally:
        connection.terminate()
        await store.aclose()


async def test_a_transaction_that_is_under_way_is_waited_for(postgres_url: str) -> None:
    address = short(postgres_url, seconds=3)
    store = PostgresStore(address)
    await store.open()
    await store.claim(now=DAY)
    connection = await connect(address, name="rollback-watchdog writes", writing=True, limits=False)
    try:
        await connection.execute("BEGIN")
        await connection.execute("SELECT epoch FROM writer WHERE id = 1 FOR SHARE")
        with pytest.raises(StoreError):  # the statement's own limit: it waited
            await store.claim(now=DAY)
        assert not connection.is_closed()
    finally:
        connection.terminate()
        await store.aclose()
