"""Opening a connection to PostgreSQL: the host that takes writes, TLS, and limits that hold on the server, too.

The limits are set for the connection itself, so that the server gives up what a client that stands still had begun:
its locks are what another process waits for. This module must never hold a statement about our tables.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Final

import asyncpg

from watchdog.postgres.address import Host, PostgresAddress, Tls
from watchdog.postgres.faults import DRIVER, OLDEST, NotUtf8, NotWritable, TooOld, Unfit

#: The share of the whole time after which the server gives up by itself: a statement, and a transaction in which
#: nobody says anything. Both end before the client does, who then has a connection and an answer.
_STATEMENT: Final = 0.75
_STANDSTILL: Final = 0.5
#: TLS says why a server cannot be trusted; nobody else says more.
_TELLING: Final = (ssl.SSLError, asyncpg.PostgresError, TooOld, NotUtf8)


async def connect(
    address: PostgresAddress, *, name: str, writing: bool, limits: bool = True
) -> asyncpg.Connection:
    """A connection within `address.timeout` in all, whichever of the hosts it is to.

    `writing`: to a server that takes writes. `name` is shown in `pg_stat_activity`. Without `limits` statements may
    last. Raises what `explain` has words for: the driver's errors, `OSError`, `NotWritable`, `TooOld`, `NotUtf8`. Safe
    to cancel.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + address.timeout.total_seconds()
    context = _tls(address)
    faults: list[Exception] = []
    for place, host in enumerate(address.hosts):
        left = max(0.05, until - clock()) / (len(address.hosts) - place)
        try:
            async with asyncio.timeout(left):
                return await _connect(address, host, context, name=name, writing=writing, limits=limits)
        except (OSError, Unfit, *DRIVER) as error:
            faults.append(error)
    raise next((one for one in faults if isinstance(one, _TELLING)), faults[-1])


async def _connect(
    address: PostgresAddress,
    host: Host,
    context: ssl.SSLContext | str,
    *,
    name: str,
    writing: bool,
    limits: bool,
) -> asyncpg.Connection:
    connection = await asyncpg.connect(
        host=host.name,
        port=host.port,
        user=address.user,
        database=address.database,
        password=address.password.get_secret_value() if address.password is not None else None,
        ssl=context,
        timeout=address.timeout.total_seconds(),
        target_session_attrs="any",
        server_settings=_settings(address.timeout, name, writing=writing, limits=limits),
    )
    try:
        _require(connection)
        if writing:
            await _require_writable(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _settings(timeout: timedelta, name: str, *, writing: bool, limits: bool) -> dict[str, str]:
    def milliseconds(share: float) -> str:
        return str(max(1, int(timeout.total_seconds() * share * 1000)))

    settings = {"application_name": name, "timezone": "UTC", "synchronous_commit": "on"}
    if limits:
        settings |= {
            "statement_timeout": milliseconds(_STATEMENT),
            "idle_in_transaction_session_timeout": milliseconds(_STANDSTILL),
            "tcp_user_timeout": milliseconds(1.0),
        }
    if not writing:
        settings["default_transaction_read_only"] = "on"
    return settings


def _require(connection: asyncpg.Connection) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST:
        raise TooOld(f"PostgreSQL {version.major}")
    encoding = connection.get_settings().server_encoding
    if encoding != "UTF8":
        raise NotUtf8(f"its encoding is {encoding} instead of UTF8")


async def _require_writable(connection: asyncpg.Connection) -> None:
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        raise NotWritable("a standby, which has not taken over")
    if await connection.fetchval("SHOW transaction_read_only") == "on":
        raise NotWritable("default_transaction_read_only is on")


def _tls(address: PostgresAddress) -> ssl.SSLContext | str:
    """What asyncpg is to do. An own context, because the driver would look for certificates in the home folder."""
    if address.tls is Tls.VERIFY_FULL or (address.ca_file is not None and address.tls is Tls.REQUIRE):
        return _trusting(address.ca_file)
    return address.tls.value


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
