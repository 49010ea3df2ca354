"""What went wrong with PostgreSQL, in words, and what a person should do about it.

What changes from one attempt to the next stands in parentheses: the rest is the same for one trouble, so that people
are told of it once. This module must never repeat what stands behind a server's message (`DETAIL` holds whole rows),
nor a password.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final, NamedTuple

import asyncpg

#: The oldest server that is still kept up by its makers and that is tried here.
OLDEST: Final = 13
_LONGEST = 300


class Fault(NamedTuple):
    """What happened, and the advice."""

    what: str
    advice: str


_ITSELF = "the watchdog goes on by itself as soon as the database answers again"
_GONE = "the server cannot be reached"
_AWAY = f"see whether PostgreSQL runs there, answers and can be reached; {_ITSELF}"
_LOGIN = "see the user, `password` and the server's pg_hba.conf; its log says why, the client is told little"
_READ_ONLY = "it takes no writes"
_STANDBY = (
    "name all servers in the URL (postgresql://USER@one,two/DATABASE): the one that takes writes is used; "
    f"{_ITSELF}"
)
_RIGHTS = "let the watchdog's user own the database: ALTER DATABASE … OWNER TO …, or give it the rights on its tables"
_MISSING = "create it (createdb --owner=USER DATABASE), or see `store: url`"
_FREE = f"free space on the server's disk; {_ITSELF}"
_FULL = f"raise max_connections or end connections that nobody needs; a watchdog uses three; {_ITSELF}"
_SLOW = f"see what the server is busy with or who holds a lock (pg_stat_activity); {_ITSELF}"
_DAMAGE = "stop everything that uses the database, and follow PostgreSQL's advice on restoring a backup"
_TLS = "see `tls` and `ca_file` beside `store: url`"
_LOG = "see the server's log"


#: Whatever the driver raises, also when a connection ends at a moment for which it has no better word.
DRIVER: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Unfit(Exception):
    """Found by ourselves: a server that cannot be used, or is not used any longer."""

    what = _GONE
    advice = _LOG


class NotWritable(Unfit):
    """Every server that answered is a standby, or takes no writes."""

    what = _READ_ONLY
    advice = _STANDBY


class TooOld(Unfit):
    """The server is of a release that is not supported."""

    what = "the server is too old"
    advice = f"use PostgreSQL {OLDEST} or newer"


class NotUtf8(Unfit):
    """The database cannot hold every character."""

    what = "the database holds not every character"
    advice = "create it anew: createdb --encoding=UTF8 --template=template0 DATABASE"


class Deadline(Unfit):
    """The server did not answer in time; the connection was given up."""

    advice = _AWAY


#: By SQLSTATE, the longest beginning counts: https://www.postgresql.org/docs/current/errcodes-appendix.html
_STATES: Final[dict[str, tuple[str, str]]] = {
    "08": (_GONE, _AWAY),
    "25006": (_READ_ONLY, _STANDBY),
    "25P03": ("the server ended a transaction that stood still", _ITSELF),
    "28": ("the server does not let this user in", _LOGIN),
    "28P01": ("the password is wrong", _LOGIN),
    "3D000": ("the database does not exist", _MISSING),
    "3F000": ("there is no schema to create tables in", _RIGHTS),
    "42501": ("a right is missing", _RIGHTS),
    "42P01": ("a table is missing", "restore a backup: somebody removed it"),
    "53": ("the server has run out of something", _LOG),
    "53100": ("the server's disk is full", _FREE),
    "53200": ("the server is out of memory", _LOG),
    "53300": ("the server has no connection left", _FULL),
    "55P03": ("a lock was not to be had in time", _SLOW),
    "57": (_GONE, _AWAY),
    "57014": ("a statement took too long", _SLOW),
    "58030": ("the server's disk failed", _DAMAGE),
    "XX001": ("the database is damaged", _DAMAGE),
    "XX002": ("the database is damaged", _DAMAGE),
}
_OS: Final[dict[int, str]] = {
    errno.ECONNREFUSED: "it refused the connection",
    errno.ENOENT: "there is no such socket",
    errno.ECONNRESET: "the connection was lost",
    errno.EPIPE: "the connection was lost",
    errno.EHOSTUNREACH: "no way leads there",
    errno.ENETUNREACH: "no way leads there",
    errno.EACCES: "access to the socket is denied",
}


def state_of(error: BaseException) -> str:
    """The SQLSTATE of what the driver raised; empty when the server said nothing."""
    return str(getattr(error, "sqlstate", None) or "")


def explain(error: BaseException) -> Fault:
    """The words for anything that the driver, the system or this package raised."""
    state = state_of(error)
    for length in (5, 2):
        if state[:length] in _STATES:
            what, advice = _STATES[state[:length]]
            return Fault(f"{what} ({said(error)})", advice)
    if isinstance(error, Unfit):
        return Fault(f"{error.what} ({error})", error.advice)
    if isinstance(error, ssl.SSLError):
        return Fault(_untrusted(error), _TLS)
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return Fault(f"{_GONE} ({said(error)})", _AWAY)
    return Fault(said(error), _LOG)


def _untrusted(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted ({error.verify_message})"
    return f"TLS failed ({getattr(error, 'reason', None) or type(error).__name__})"


def _of_system(error: OSError) -> Fault:
    if isinstance(error, socket.gaierror):
        return Fault(f"{_GONE} (its name cannot be resolved: {error.strerror})", _AWAY)
    if isinstance(error, TimeoutError):
        return Fault(f"{_GONE} (it did not answer in time)", _AWAY)
    if "SSL" in str(error):
        return Fault("the server speaks no TLS", _TLS)
    why = _OS.get(error.errno or 0, error.strerror or "the connection was lost")
    return Fault(f"{_GONE} ({why})", _AWAY)


def said(error: BaseException) -> str:
    """The first line of what was said, without `DETAIL`, `HINT` and the rest behind it."""
    text = str(error.args[0]) if error.args else ""
    return (text.splitlines() or [type(error).__name__])[0][:_LONGEST]
