"""The store in a PostgreSQL database: any number of processes look and ask, the one that claimed it last writes.

This module must never believe that a transaction failed because nobody confirmed it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from watchdog.aio.faultpoint import OPENING, TAKING
from watchdog.core.audit import ChainHead
from watchdog.core.errors import ConfigError, StoreCorrupt, StoreError
from watchdog.core.message import Outgoing
from watchdog.postgres import faults
from watchdog.postgres.address import PostgresAddress, address_of
from watchdog.store.interface import Condition, Wanted
from watchdog.store.migrate import require_head
from watchdog.store.outbox import Hold, read_due, write_holds
from watchdog.store.reader import SqlReader
from watchdog.store.remote import RemoteLane
from watchdog.store.sql import SqlStore
from watchdog.store.statements import read_head_for_sure, require_writer
from watchdog.store.tables import metadata

R = TypeVar("R")
#: Seconds between two looks for what other processes stored.
LOOK_EVERY: Final = 0.5
_DAMAGED: Final = ("XX001", "XX002")
#: Ends transactions that hold the writer's row and have gone on for longer than any may. A process that stands still
#: between the two halves of a prepared statement holds it for ever: none of the server's own limits counts there.
_END_STANDING: Final = text(
    "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
    "WHERE l.relation = to_regclass('writer') AND l.pid <> pg_backend_pid() "
    "AND a.datname = current_database() AND a.usename = current_user "
    "AND a.xact_start < clock_timestamp() - make_interval(secs => :limit)"
)
#: The time of the one clock that all processes share.
_MILLISECONDS: Final = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
_RIGHTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
_MAY_WRITE: Final = "SELECT " + " AND ".join(f"has_table_privilege('{{0}}', '{right}')" for right in _RIGHTS)


class PostgresReader(SqlReader):
    """Looks at a database and can write nothing. Connects at the first read; raises `ConfigError` for a bad address."""

    def __init__(self, address: str | PostgresAddress) -> None:
        self.address = _address(address)
        self._known = False
        super().__init__(str(self.address), _lane(self.address, "reader", writing=False))

    async def condition(self) -> Condition:
        """How the database is, asked where the daemon would write. Raises `StoreError`."""
        lane = _lane(self.address, "doctor", writing=True)
        try:
            return await lane.run(_condition)
        finally:
            await lane.aclose()

    async def _read(self, work: Callable[[Connection], R]) -> R:
        def known(connection: Connection) -> R:
            if not self._known:
                require_head(connection, self.place)
                self._known = True
            return work(connection)

        return await super()._read(known)


class PostgresStore(SqlStore):
    """A store in a PostgreSQL database. Raises `ConfigError` for an address that names none."""

    def __init__(self, address: str | PostgresAddress) -> None:
        self.address = _address(address)
        super().__init__(
            str(self.address),
            # Where writes go, too: a standby may not know yet what was written.
            reads=_lane(self.address, "reads", writing=True),
            writes=_lane(self.address, "writes", writing=True, isolation="READ COMMITTED"),
            look_every=LOOK_EVERY,
        )

    async def claim(self, *, now: datetime) -> int:
        limit = self.address.timeout.total_seconds()
        await self._read(lambda connection: connection.execute(_END_STANDING, {"limit": limit}).all())
        return await super().claim(now=now)

    async def take(self, wanted: Wanted) -> tuple[Outgoing, ...]:
        if not wanted.lease:
            return await super().take(wanted)
        self._require_open()
        epoch = self._claimed()

        def work(connection: Connection) -> tuple[Outgoing, ...]:
            require_writer(connection, epoch)
            now = int(connection.execute(_MILLISECONDS).scalar_one())
            until = now + wanted.lease // timedelta(milliseconds=1)
            hold = Hold(epoch=epoch, now=now, until=until)
            rows = read_due(connection, wanted, hold)
            write_holds(connection, rows, wanted, hold)
            return rows

        return await self._write(work, during=TAKING)

    async def _head_for_sure(self) -> ChainHead:
        # The server may still be busy with a transaction whose connection was lost: its lock is waited for.
        return await self._write(read_head_for_sure, during=OPENING)

    def _at_one_moment(self, connection: Connection) -> None:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _condition(connection: Connection) -> Condition:
    def one(statement: str) -> Any:
        return connection.exec_driver_sql(statement).scalar_one()

    found = inspect(connection).get_table_names()
    refused = ""
    if not found and not one("SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"):
        refused = "make tables"
    elif missing := [name for name in metadata.tables if name in found and not one(_MAY_WRITE.format(name))]:
        refused = f"write {', '.join(missing)}"
    return Condition(
        server=one("SHOW server_version"),
        size=one("SELECT pg_database_size(current_database())"),
        free=one("SELECT current_setting('max_connections')::int - count(*) FROM pg_stat_activity"),
        empty=not found,
        refused=refused,
    )


def _address(address: str | PostgresAddress) -> PostgresAddress:
    if isinstance(address, PostgresAddress):
        return address
    try:
        return address_of(address)
    except ValueError as fault:
        raise ConfigError(f"the store's url: {fault}") from None


def _lane(
    address: PostgresAddress, name: str, *, writing: bool, isolation: str = "REPEATABLE READ"
) -> RemoteLane:
    def explained(error: Exception) -> StoreError:
        return explain(error, str(address))

    return RemoteLane(
        address, explained, name=f"rollback-watchdog {name}", writing=writing, isolation=isolation
    )


def explain(error: Exception, place: str) -> StoreError:
    """The `StoreError` for anything that the driver or the system raised. A `StoreError` stays what it is."""
    if isinstance(error, StoreError):
        return error
    cause: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = error.orig.__cause__ or error.orig
    what, advice = faults.explain(cause)
    kind = StoreCorrupt if faults.state_of(cause) in _DAMAGED else StoreError
    return kind(f"store {place}: {what}", advice=advice)
