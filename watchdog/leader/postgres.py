"""Who holds an advisory lock in the store's database leads: a lock of the session, on a connection of its own.

The server gives the lock back when the session ends, and ends the session of a client that says nothing for `lease`
(`idle_session_timeout`, PostgreSQL 14 and newer), so that a leader that stands still loses it without saying anything.
A leader asks over that session every `retry`, and stops believing in its lead `renew` after the last question that was
answered; with the session the lead is gone at once. A server that is a standby gives no lead: it shares its locks with
nobody. What must not happen when this fails is up to the store's claim and to the switched objects. This module must
never hold the lock on a connection that something else uses.

https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import asyncpg
import structlog

from watchdog.aio.clock import SteadyClock
from watchdog.aio.crew import Crew
from watchdog.core.errors import ConfigError
from watchdog.leader.hold import Hold, SharedSettings, identity_of
from watchdog.postgres.address import PostgresAddress
from watchdog.postgres.connecting import connect
from watchdog.postgres.faults import DRIVER, Unfit, explain

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Locks are of one database; this part of the key tells ours from other programs'.
_NAMESPACE: Final = "rollback-watchdog leader"
#: What `pg_stat_activity` shows of a session of ours; the rest is the identity. PostgreSQL keeps 63 bytes.
_NAME: Final = "watchdog leader "
#: The first release whose server ends sessions that are idle.
_ENDS_IDLE: Final = 14
#: Followers do not ask in step.
_JITTER: Final = 0.2
#: Giving up the lead is a courtesy; a stop does not wait longer for it (seconds).
_RELEASE_WITHIN: Final = 3.0

_SCHEMA: Final = "SELECT coalesce(current_schema(), '')"
#: A lock with one key of 64 bits shows its halves as `classid` and `objid`, and `objsubid` 1.
_OURS: Final = (
    "l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND ((l.classid::bigint << 32) | l.objid::bigint) = {key}"
)
#: Both are asked as simple queries, whose answer is the number of rows: between the parts of a prepared one the server
#: would wait for a client that stands still for ever, whatever its limits.
_TRY: Final = "SELECT WHERE pg_try_advisory_lock({key})"
_STILL: Final = (
    "SELECT WHERE NOT pg_is_in_recovery() AND EXISTS "  # noqa: S608 - nothing but constants
    f"(SELECT FROM pg_locks l WHERE {_OURS} AND l.pid = pg_backend_pid())"
)
_YES: Final = "SELECT 1"
_WHO: Final = (
    "SELECT a.application_name FROM pg_locks l "  # noqa: S608 - nothing but constants
    f"JOIN pg_stat_activity a USING (pid) WHERE {_OURS}"
)

#: What the driver and the system raise for a server that is not there, or not any more.
_FAULTS: Final = (OSError, TimeoutError, Unfit, *DRIVER)


class PostgresSettings(SharedSettings):
    """`leader: {kind: postgres}`. The database is the store's."""


class _Gone(Exception):
    """The session holds the lock no longer."""


class PostgresLeadership:
    """Leads while its session holds the lock."""

    Settings = PostgresSettings
    WANTS = ("postgres",)

    def __init__(
        self,
        settings: PostgresSettings,
        *,
        postgres: PostgresAddress | None,
        clock: SteadyClock,
        rng: random.Random | None = None,
        connect: Callable[..., Awaitable[asyncpg.Connection]] = connect,
    ) -> None:
        if postgres is None:
            raise ConfigError("leader: kind postgres needs a PostgreSQL store")
        self._settings = settings
        self._address = replace(postgres, timeout=settings.timeout)
        self._clock = clock
        self._rng = rng or random.Random()
        self._connect = connect
        self._identity = identity_of(settings)[: 63 - len(_NAME)]
        self._hold = Hold(settings, clock=clock)
        self._crew = Crew("leader")
        self._connection: asyncpg.Connection | None = None
        self._key = 0
        self._others = ""
        """The leader as the last look showed it."""
        self._trouble = ""

    @property
    def is_leader(self) -> bool:
        return self._hold.sure and self._connection is not None and not self._connection.is_closed()

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def holder(self) -> str:
        return self._identity if self.is_leader else self._others

    async def acquire(self) -> None:
        await self._crew.stop()
        self._hold.end()
        self._drop()
        while True:
            try:
                async with asyncio.timeout(self._settings.renew.total_seconds()):
                    if await self._take():
                        break
                self._well()
            except Exception as error:  # noqa: BLE001 - the border to the driver
                self._others = ""
                self._tell(error)
                self._drop()
            except BaseException:
                self._drop()
                raise
            await self._wait()
        self._well()
        self._crew.start("ask", self._keep())

    async def lost(self) -> None:
        await self._hold.ended()

    async def release(self) -> None:
        await self._crew.stop()
        self._hold.end()
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            async with asyncio.timeout(_RELEASE_WITHIN):
                await connection.close()
        except _FAULTS:
            connection.terminate()
        except BaseException:
            connection.terminate()
            raise

    async def aclose(self) -> None:
        await self.release()

    async def _wait(self) -> None:
        """Until the next try; a session that waits is dropped when the caller is cancelled."""
        try:
            await self._clock.sleep(
                self._settings.retry.total_seconds() * (1.0 + self._rng.random() * _JITTER)
            )
        except BaseException:
            self._drop()
            raise

    async def _take(self) -> bool:
        """One try to get the lock; false when another session has it."""
        connection = await self._session()
        asked_at = self._clock.boottime()
        if await connection.execute(_TRY.format(key=self._key)) == _YES:
            self._others = ""
            return self._hold.begin(asked_at)
        found = await connection.fetchval(_WHO.format(key=self._key))
        self._others = str(found or "").removeprefix(_NAME)
        return False

    async def _session(self) -> asyncpg.Connection:
        """The session that has the lock, or waits for it. On a server that takes writes."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        self._drop()
        connection = await self._connect(
            self._address, name=f"{_NAME}{self._identity}", writing=True, limits=False
        )
        try:
            await self._prepare(connection)
        except BaseException:
            connection.terminate()
            raise
        connection.add_termination_listener(self._terminated)
        self._connection = connection
        return connection

    async def _prepare(self, connection: asyncpg.Connection) -> None:
        """What the server is to do when this process falls silent, or its machine is gone."""
        lease = self._settings.lease.total_seconds()
        limits = {
            "statement_timeout": lease,
            "idle_session_timeout": lease,
            "tcp_user_timeout": lease,
        }
        version = connection.get_server_version().major
        if version < _ENDS_IDLE:
            del limits["idle_session_timeout"]
            _log.warning("frozen_leader_keeps_the_lock", postgresql=version, needed=_ENDS_IDLE)
        for name, seconds in limits.items():
            await connection.execute(f"SET {name} = {max(1, int(seconds * 1000))}")
        beat = max(1, int(lease / 3))
        await connection.execute(f"SET tcp_keepalives_idle = {beat}")
        await connection.execute(f"SET tcp_keepalives_interval = {beat}")
        await connection.execute("SET tcp_keepalives_count = 3")
        self._key = key_of(str(await connection.fetchval(_SCHEMA)))

    async def _keep(self) -> None:
        """Ask until there is no answer for too long, or the session is not what it was."""
        try:
            while (left := self._hold.left()) > 0.0:
                await self._clock.sleep(min(self._settings.retry.total_seconds(), left))
                left = self._hold.left()
                if left <= 0.0:
                    break
                await self._ask(left)
            self._drop()
        except (_Gone, *_FAULTS) as error:
            _log.warning("lead_not_held", error=self._words(error))
            self._drop()
        finally:
            self._hold.end()

    async def _ask(self, left: float) -> None:
        """Whether the session still holds the lock. Raises when it does not, or does not answer as long as it may."""
        asked_at = self._clock.boottime()
        connection = self._connection
        if connection is None or connection.is_closed():
            raise _Gone("the session has ended")
        async with asyncio.timeout(left):
            if await connection.execute(_STILL.format(key=self._key)) != _YES:
                raise _Gone("the server is a standby now, or the session does not hold the lock")
        self._hold.renewed(asked_at)

    def _terminated(self, connection: object) -> None:
        """The driver's word that a session is over: with it goes the lock."""
        if self._connection is None or self._connection is connection:
            self._hold.end()

    def _drop(self) -> None:
        """Cut the session off, without a word to a server that may not answer."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def _tell(self, error: BaseException) -> None:
        """Said when it changes, not at every try."""
        words = self._words(error)
        if words != self._trouble:
            _log.warning("lock_not_reached", database=str(self._address), error=words)
        self._trouble = words

    def _well(self) -> None:
        if self._trouble:
            _log.info("lock_reached_again", database=str(self._address))
        self._trouble = ""

    @staticmethod
    def _words(error: BaseException) -> str:
        return str(error) if isinstance(error, _Gone) else explain(error).what


def key_of(schema: str) -> int:
    """The key of the lock, signed as PostgreSQL has it: of this schema, in whatever database the session is."""
    found = hashlib.sha256(f"{_NAMESPACE}\0{schema}".encode()).digest()
    return int.from_bytes(found[:8], "big", signed=True)
