"""Every fault of a server has words and advice, and nothing of what was stored."""

from __future__ import annotations

import errno
import socket
import ssl

import asyncpg
import pytest

from watchdog.postgres.faults import Deadline, NotUtf8, NotWritable, TooOld, Unfit, explain

ITSELF = "goes on by itself"


def said_by_server(state: str, message: str = "something") -> asyncpg.PostgresError:
    error = asyncpg.PostgresError(message)
    error.sqlstate = state
    return error


@pytest.mark.parametrize(
    ("state", "words", "advice"),
    [
        ("08006", "cannot be reached", ITSELF),
        ("25006", "takes no writes", "name all servers"),
        ("25P03", "stood still", ITSELF),
        ("28000", "does not let this user in", "pg_hba.conf"),
        ("28P01", "password is wrong", "pg_hba.conf"),
        ("3D000", "database does not exist", "createdb"),
        ("42501", "right is missing", "OWNER"),
        ("42P01", "table is missing", "backup"),
        ("53100", "disk is full", "free space"),
        ("53200", "out of memory", "log"),
        ("53300", "no connection left", "max_connections"),
        ("53400", "run out of something", "log"),
        ("55P03", "a lock was not to be had", "pg_stat_activity"),
        ("57014", "statement took too long", "pg_stat_activity"),
        ("57P01", "cannot be reached", ITSELF),
        ("57P03", "cannot be reached", ITSELF),
        ("58030", "disk failed", "backup"),
        ("XX001", "damaged", "backup"),
        ("0A000", "something", "log"),
    ],
)
def test_every_state_that_a_server_names_has_words_and_advice(state: str, words: str, advice: str) -> None:
    fault = explain(said_by_server(state))
    assert words in fault.what
    assert "something" in fault.what
    assert advice in fault.advice


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), "(it refused the connection)"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "(there is no such socket)"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "(the connection was lost)"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "(no way leads there)"),
        (OSError("several"), "(the connection was lost)"),
        (TimeoutError(), "(it did not answer in time)"),
        (Deadline("it did not answer within 5s"), "(it did not answer within 5s)"),
        (socket.gaierror(-2, "Name or service not known"), "(its name cannot be resolved: Name or service"),
        (asyncpg.InterfaceError("connection is closed"), "(connection is closed)"),
        (asyncpg.InternalClientError("cannot switch to state 12"), "(cannot switch to state 12)"),
    ],
)
def test_what_differs_between_two_attempts_stands_in_parentheses(error: Exception, words: str) -> None:
    fault = explain(error)
    assert fault.what.startswith("the server cannot be reached (")
    assert words in fault.what
    assert ITSELF in fault.advice


@pytest.mark.parametrize(
    ("error", "words", "advice"),
    [
        (NotWritable("a standby"), "it takes no writes (a standby)", "name all servers"),
        (TooOld("PostgreSQL 9"), "too old (PostgreSQL 9)", "13 or newer"),
        (NotUtf8("LATIN1"), "(LATIN1)", "createdb --encoding=UTF8"),
        (ConnectionError("PostgreSQL server rejected SSL upgrade"), "speaks no TLS", "`tls`"),
        (ssl.SSLError(1, "wrong version number"), "TLS failed", "`ca_file`"),
    ],
)
def test_a_server_that_cannot_be_used_has_words(error: Exception, words: str, advice: str) -> None:
    fault = explain(error)
    assert words in fault.what
    assert advice in fault.advice
    assert isinstance(error, Unfit | OSError)


def test_the_rows_that_a_server_quotes_are_not_repeated() -> None:
    error = asyncpg.UniqueViolationError("duplicate key value\nDETAIL:  Key (id)=(hunter2) already exists.")
    assert "hunter2" not in explain(error).what
