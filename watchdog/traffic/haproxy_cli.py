"""The Runtime API of HAProxy as text: one line of commands out, one answer back, rows out of it.

The format is that of HAProxy's management guide, section 9.3 (`show servers state`, `show stat`). Columns are
found by name, so newer versions may add some. This module must never decide, nor send a line twice.
"""

from __future__ import annotations

import asyncio
import csv
import errno
import io
import socket
from collections.abc import Sequence
from typing import Final

import msgspec

from watchdog.aio.clock import Clock

#: Longest line of commands we send, in bytes. HAProxy refuses one above `tune.bufsize` (16384 by default).
LONGEST_LINE: Final = 15_000
#: Longest answer we read, in bytes: some 10,000 servers.
LONGEST_ANSWER: Final = 8 * 1024 * 1024
#: Pauses (seconds) between attempts while the socket's queue is full: the first, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.1

# Bits of srv_admin_state. 0x04 (disabled in the configuration) and 0x40 (name set at run time) only say where
# a state came from: HAProxy's own mask for maintenance leaves them out, and 0x04 stays after `state ready`.
_FORCED_MAINT = 0x01
_INHERITED_MAINT = 0x02
_FORCED_DRAIN = 0x08
_INHERITED_DRAIN = 0x10
_UNRESOLVED = 0x20
_MAINT = _FORCED_MAINT | _INHERITED_MAINT | _UNRESOLVED
_DRAIN = _FORCED_DRAIN | _INHERITED_DRAIN
# Bits of srv_check_state.
_CHECK_CONFIGURED = 0x02
_CHECK_ENABLED = 0x04
_RUNNING = 2
#: What `show stat` says of a check that has not finished once (`UNK`, `INI`).
_NOT_CHECKED_YET = frozenset({"UNK", "INI"})


class CliError(Exception):
    """A conversation that failed. `sent`: whether HAProxy may have seen (and obeyed) the line."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class ServerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One server of the backend, as HAProxy shows it. `requests` is `None` where `show stat` did not tell."""

    name: str
    address: str
    operational: int
    admin: int
    weight: int
    initial_weight: int
    check_state: int
    check_status: str = ""
    requests: int | None = None
    backup: bool = False
    tracked: str = ""

    @property
    def in_maintenance(self) -> bool:
        """Whether any maintenance flag is set: no traffic and no health checks."""
        return bool(self.admin & _MAINT)

    @property
    def enabled(self) -> bool:
        """Administratively ready (neither maintenance nor drain) and weighted; says nothing about health."""
        return not self.admin & (_MAINT | _DRAIN) and self.weight > 0

    @property
    def stuck(self) -> str:
        """Why `set server … state ready` cannot bring it back; empty when it can."""
        if self.admin & (_INHERITED_MAINT | _INHERITED_DRAIN):
            return f"inherits its state from {self.tracked or 'the server it tracks'}"
        return "has no address (its name does not resolve)" if self.admin & _UNRESOLVED else ""

    @property
    def running(self) -> bool:
        """Fully up; a server that warms up (`slowstart`) or shuts down softly is not."""
        return self.operational == _RUNNING

    @property
    def unknown_because(self) -> str:
        """Why `running` proves nothing about its health; empty when it is the result of a check."""
        if not self.check_state & _CHECK_CONFIGURED:
            return "no health check"
        if self.in_maintenance:
            return "in maintenance: not ready without a passing probe"
        if not self.check_state & _CHECK_ENABLED:
            return "health checks switched off"
        # HAProxy takes a server for up until its first check has failed.
        return "no health check has finished yet" if self.check_status in _NOT_CHECKED_YET else ""


async def converse(
    endpoint: str, commands: Sequence[str], *, timeout: float, within: float, clock: Clock
) -> str:
    """Send all commands as one line over one connection and read the answer to its end.

    `endpoint` is a path or `tcp://HOST:PORT`. `timeout` is the time left for everything, `within` what was
    configured (for the message), both in seconds. A full queue of a socket is tried again until then. Raises
    `CliError`. Safe to cancel; whether commands that change something were obeyed is then unknown.
    """
    line = ";".join(commands).encode("ascii") + b"\n"
    if len(line) > LONGEST_LINE:
        raise CliError(f"{len(line)} bytes of commands do not fit one line of HAProxy's", sent=False)
    sent = False
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await _connect(endpoint, clock)
            sent = True
            writer.write(line)
            await writer.drain()
            return await _read_all(reader)
    except TimeoutError:
        doing = "no complete answer" if sent else "no connection"
        raise CliError(f"{doing} within {within:g} s; is HAProxy frozen or overloaded?", sent=sent) from None
    except OSError as error:
        raise CliError(explain(error, endpoint), sent=sent) from error
    finally:
        if writer is not None:
            writer.transport.abort()


def answers(text: str, count: int) -> tuple[list[str], str]:
    """What each of the first `count` commands printed, and the rest.

    A command that changed something prints an empty line, one that failed its complaint and an empty line.
    Raises `ValueError` when fewer than `count` answers are there.
    """
    out: list[str] = []
    for _ in range(count):
        if text.startswith("\n"):
            answer, text = "", text[1:]
        else:
            answer, found, text = text.partition("\n\n")
            if not found:
                raise ValueError(f"the answer ends after {len(out)} of {count} commands")
        out.append(short(answer))
    return out, text


def parse_servers(text: str, backend: str, *, counted: bool = False) -> dict[str, ServerRow]:
    """The rows of `show servers state BACKEND`; with `counted` those of `show stat BACKEND 4 -1` must follow.

    Raises `ValueError` for anything else, and for an answer that was cut off.
    """
    if not text.endswith("\n\n"):
        raise ValueError(f"no complete answer: {short(text) or 'nothing'}")
    state, _, stat = text.partition("# pxname")
    lines = state.splitlines()
    header = next((number for number, line in enumerate(lines) if line.startswith("# be_id ")), None)
    if header is None:
        raise ValueError(short(text) or "an empty answer")
    columns = lines[header][1:].split()
    counters = _parse_stat("pxname" + stat, backend) if stat else {}
    rows: dict[str, ServerRow] = {}
    for line in lines[header + 1 :]:
        fields = dict(zip(columns, line.split(" "), strict=False))
        if fields.get("be_name") == backend:
            row = _server_row(fields, counters.get(fields.get("srv_name", ""), {}))
            if counted and row.name not in counters:
                raise ValueError(f"`show stat` does not list the server {row.name}")
            rows[row.name] = row
    return rows


def uncounted(text: str, backend: str) -> str:
    """The backend's id where `show stat` lists none of its servers, else nothing.

    A frontend may have the backend's name, and HAProxy then takes that name for the frontend's.
    """
    state, _, stat = text.partition("# pxname")
    if any(line.startswith(f"{backend},") for line in stat.splitlines()):
        return ""
    of = (line.split(" ") for line in state.splitlines())
    return next((fields[0] for fields in of if fields[1:2] == [backend]), "")


def short(text: str) -> str:
    """The text on one line, without control characters, at most 200 characters."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= 200 else line[:199] + "…"


def explain(error: OSError, endpoint: str) -> str:
    """What a failed connection means and what to look at."""
    match error.errno:
        case errno.ENOENT:
            return "there is no such socket; is HAProxy running, with this path in its `stats socket` line?"
        case errno.ECONNREFUSED:
            return f"nobody listens at {endpoint}; is HAProxy running?"
        case errno.EACCES | errno.EPERM:
            return "no right to open the socket; the `stats socket` line must let the watchdog's user in"
        case _:
            return error.strerror or type(error).__name__


def _parse_stat(text: str, backend: str) -> dict[str, dict[str, str]]:
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise ValueError(f"`show stat` is not CSV ({error})") from None
    return {row["svname"]: row for row in rows if row.get("pxname") == backend and row.get("svname")}


def _server_row(fields: dict[str, str], counters: dict[str, str]) -> ServerRow:
    try:
        # `stot` counts when a request is sent to the server, `req_tot` when its answer comes: what was under way at a
        # switch, and of a slow version that is much, would look like requests that came after it.
        requests = counters.get("stot")
        return ServerRow(
            name=fields["srv_name"],
            address=_address(fields["srv_addr"], fields.get("srv_port", "0")),
            operational=int(fields["srv_op_state"]),
            admin=int(fields["srv_admin_state"]),
            weight=int(fields["srv_uweight"]),
            initial_weight=int(fields["srv_iweight"]),
            check_state=int(fields["srv_check_state"]),
            check_status=(counters.get("check_status") or "").removeprefix("* "),
            requests=int(requests) if requests else None,
            backup=counters.get("bck") == "1",
            tracked=counters.get("tracked") or "",
        )
    except KeyError as error:
        raise ValueError(f"`show servers state` has no column {error}") from None
    except ValueError as error:
        name = fields.get("srv_name", "?")
        raise ValueError(f"the row of server {name} cannot be read ({short(str(error))})") from None


def _address(host: str, port: str) -> str:
    """`host:port`, or nothing for a unix socket, an unresolved name or a mapped port."""
    if host in {"-", ""} or "/" in host or port in {"0", "-"}:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _connect(endpoint: str, clock: Clock) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if endpoint.startswith("tcp://"):
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port))
    pause = FIRST_PAUSE
    while True:
        connection = _connected(endpoint)
        if connection is not None:
            return await asyncio.open_unix_connection(sock=connection)
        await clock.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _connected(path: str) -> socket.socket | None:
    """A connection to a unix socket, or `None` while the queue of those that wait there is full.

    Such a connection is made at once or not at all, and the kernel says EAGAIN for the latter. asyncio takes that for
    "under way" and would hand over a socket that nobody is connected to, so it is not asked to connect.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(0)  # never block
        connection.connect(path)
    except BaseException as error:
        connection.close()
        if isinstance(error, BlockingIOError):
            return None
        raise
    return connection


async def _read_all(reader: asyncio.StreamReader) -> str:
    parts: list[bytes] = []
    size = 0
    while chunk := await reader.read(65536):
        parts.append(chunk)
        size += len(chunk)
        if size > LONGEST_ANSWER:
            raise CliError(f"the answer is longer than {LONGEST_ANSWER} bytes; is this HAProxy?", sent=True)
    return b"".join(parts).decode("utf-8", errors="replace")
