"""The traffic switch of HAProxy: servers of one backend, moved through the Runtime API.

A standby is parked in `drain` or at weight 0, which keeps its health checks going. A change makes the target
`ready` and weighted, looks whether HAProxy took that, and only then puts the others into `maint`: the backend
is never without a server, also when a command fails in between. HAProxy cannot refuse a stale write, so this
is tier B. What is set here is lost when HAProxy reloads; `read` then shows it.

This module must never write what it has not just read.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from watchdog.aio.clock import Clock, SystemClock
from watchdog.core.errors import SwitchConflict, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.traffic import Change, Tier, TrafficState, VariantState
from watchdog.settings.model import PositiveDuration, ProviderSettings
from watchdog.settings.registry import nearest
from watchdog.traffic.haproxy_cli import (
    LONGEST_LINE,
    CliError,
    ServerRow,
    answers,
    converse,
    parse_servers,
    short,
    uncounted,
)

#: What a name may look like. Nothing that the Runtime API reads as more than a name gets through.
_NAME: Final = r"^[A-Za-z0-9_.:-]+$"
_UNTOUCHED: Final = "nothing was changed"
#: A unix socket's path has at most this many bytes (`sun_path` of Linux, with its closing zero).
_LONGEST_PATH: Final = 107
_TCP: Final = re.compile(r"tcp://(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")


def _endpoint(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        return value
    if value.startswith("/") and len(os.fsencode(value)) > _LONGEST_PATH:
        raise ValueError(f"the path of a unix socket has at most {_LONGEST_PATH} bytes")
    if not (value.startswith("/") and value.isprintable()) and not _is_tcp(value):
        raise ValueError(f"{value!r} is neither an absolute path nor tcp://HOST:PORT")
    return value


def _is_tcp(value: str) -> bool:
    found = _TCP.fullmatch(value)
    return found is not None and 0 < int(found.group(1)) < 65536


def _servers(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Name = Annotated[str, Field(pattern=_NAME)]
_OneOrMore = Name | Annotated[list[Name], Field(min_length=1)]
Servers = Annotated[
    tuple[Name, ...], BeforeValidator(_servers, json_schema_input_type=_OneOrMore), Field(min_length=1)
]


class HAProxySettings(ProviderSettings):
    """`traffic: {kind: haproxy, …}` of a service."""

    socket: Annotated[str, BeforeValidator(_endpoint)]
    """Where the Runtime API listens, with `level admin`: the absolute path of the socket or `tcp://HOST:PORT`."""
    backend: Name
    """The `backend` that holds the servers of all variants."""
    variants: Annotated[dict[Annotated[str, Field(min_length=1)], Servers], Field(min_length=2)]
    """Variant to its server or list of servers. A server belongs to one variant."""
    timeout: PositiveDuration = timedelta(seconds=2)
    """Longest time for one conversation; a change takes at most twice as long."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        owner: dict[str, str] = {}
        for variant, servers in self.variants.items():
            for server in servers:
                if server in owner:
                    where = "twice in" if owner[server] == variant else f"in {owner[server]!r} and in"
                    raise ValueError(f"server {server!r} is {where} variant {variant!r}; it belongs to one")
                owner[server] = variant
        line = ";".join(_bring_in(self.backend, server, 256) for server in owner)
        if len(line) + 200 > LONGEST_LINE:
            raise ValueError(f"{len(owner)} servers are too many for one command line of HAProxy's")
        return self


class _Snapshot:
    """All servers of the backend at one moment, and what that means for the variants."""

    def __init__(
        self, rows: dict[str, ServerRow], variants: dict[str, tuple[str, ...]], read_at: datetime
    ) -> None:
        self.rows = rows
        self._variants = variants
        # A backup server takes traffic only when no other one may.
        self._backups_wait = any(row.enabled and not row.backup for row in rows.values())
        self.state = TrafficState(
            variants={name: self._variant(self.of(name)) for name in variants},
            revision=self._revision(),
            read_at=read_at,
        )

    def of(self, *variants: str) -> list[ServerRow]:
        return [self.rows[server] for variant in variants for server in self._variants[variant]]

    def reached(self, change: Change) -> bool:
        gone = all(not self.state.variants[name].live for name in change.away)
        return (
            gone
            and self.state.variants[change.target].live
            and all(row.enabled for row in self.of(change.target))
        )

    def _weight(self, row: ServerRow) -> int:
        return row.weight if row.enabled and not (row.backup and self._backups_wait) else 0

    def _variant(self, rows: Sequence[ServerRow]) -> VariantState:
        doubts = [(row.unknown_because, row.name) for row in rows if row.unknown_because]
        counted = [row.requests for row in rows if row.requests is not None]
        return VariantState(
            weight=sum(self._weight(row) for row in rows),
            ready=None if doubts else sum(row.running for row in rows),
            total=len(rows),
            requests=sum(counted) if len(counted) == len(rows) else None,
            addresses=tuple(row.address for row in rows if row.address),
            note=f"{doubts[0][1]}: {doubts[0][0]}" if doubts else "",
        )

    def _revision(self) -> str:
        """What a change depends on; health and counters move by themselves and are no part of it."""
        facts = sorted((row.name, row.admin, row.weight, row.address) for row in self.of(*self._variants))
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


class HAProxySwitch:
    """Moves the servers of one HAProxy backend. One connection a conversation, none kept open."""

    Settings = HAProxySettings
    TIER = Tier.B

    def __init__(self, settings: HAProxySettings, *, name: str, clock: Clock | None = None) -> None:
        """`name` is the service's, for messages; `clock` gives the time of a read, default the machine's."""
        self._name = name
        self._settings = settings
        self._clock = clock or SystemClock()
        self._timeout = settings.timeout.total_seconds()
        tcp = settings.socket.startswith("tcp://")
        where = settings.socket if tcp else os.path.realpath(settings.socket)
        #: What `show stat` knows the backend by: its name, or its number where a frontend has that name, too.
        self._counted_as = settings.backend
        self._identity = f"haproxy:{where}:{settings.backend}"

    @staticmethod
    def knows_readiness(_: HAProxySettings) -> bool:
        """Whether it can tell that a variant is ready: yes, of servers with `check` in haproxy.cfg."""
        return True

    @property
    def tier(self) -> Tier:
        return self.TIER

    @property
    def identity(self) -> str:
        return self._identity

    async def read(self) -> TrafficState:
        return (await self._read(self._deadline())).state

    async def apply(self, change: Change) -> TrafficState:
        self._know(change)
        before = await self._read(self._deadline())
        if before.reached(change):
            return before.state
        if before.state.revision != change.expect:
            raise SwitchConflict(
                f"{self._where} is at revision {before.state.revision}, not {change.expect}; {_UNTOUCHED}"
            )
        self._possible(before, change)
        until = self._deadline()
        entry = self._entry(before, change)
        await self._enter(before, change, entry, until)
        await self._leave(change, entry, until)
        try:
            return (await self._read(until)).state
        except SwitchUnreachable as error:
            raise SwitchUnknown(f"the change was written, but not read back: {error}") from error

    async def level(self) -> str:
        """The right this socket gives: `admin` is needed for a change, `operator` and `user` only look.

        Raises `SwitchUnreachable`. Idempotent, safe to cancel, within the timeout.
        """
        try:
            return short(await self._converse(["show cli level"], self._deadline()))
        except CliError as error:
            raise SwitchUnreachable(f"{self._where}: {error}") from error

    async def inspect(self) -> str | None:
        try:
            level = await self.level()
        except SwitchUnreachable as error:
            return str(error)
        if level == "admin":
            return None
        listening = self._settings.socket.removeprefix("tcp://")
        return (
            f"{self._where}: this socket has the level {level!r}, which may look but change nothing; in haproxy.cfg, "
            f"under `global`, write: stats socket {listening} level admin"
        )

    async def aclose(self) -> None:
        """Nothing to close: no connection outlives its conversation."""

    @property
    def _where(self) -> str:
        return f"HAProxy backend {self._settings.backend} at {self._settings.socket} (service {self._name})"

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout

    async def _converse(self, commands: Sequence[str], until: float) -> str:
        left = until - asyncio.get_running_loop().time()
        return await converse(
            self._settings.socket, commands, timeout=left, within=self._timeout, clock=self._clock
        )

    async def _read(self, until: float) -> _Snapshot:
        backend = self._settings.backend
        try:
            text = await self._show(self._counted_as, until)
            if number := uncounted(text, backend):
                self._counted_as = number
                text = await self._show(number, until)
            if text.startswith("Can't find backend"):
                raise SwitchUnreachable(await self._no_backend(until))
            rows = parse_servers(text, backend, counted=True)
        except CliError as error:
            raise SwitchUnreachable(f"{self._where}: {error}") from error
        except ValueError as error:
            said = str(error)
            raise SwitchUnreachable(
                f"{self._where}: not an answer of HAProxy's Runtime API: {said}{_advice(said)}"
            ) from error
        for server in (server for servers in self._settings.variants.values() for server in servers):
            if server not in rows:
                raise SwitchUnreachable(f"{self._where} has no server {server!r}{_hint(server, rows)}")
        return _Snapshot(rows, self._settings.variants, self._clock.now())

    async def _show(self, counted_as: str, until: float) -> str:
        backend = self._settings.backend
        return await self._converse([f"show servers state {backend}", f"show stat {counted_as} 4 -1"], until)

    async def _no_backend(self, until: float) -> str:
        words = (await self._converse(["show backend"], until)).split()
        hint = _hint(self._settings.backend, [word for word in words if word not in {"#", "name"}])
        return f"HAProxy at {self._settings.socket} has no backend {self._settings.backend!r}{hint}"

    def _know(self, change: Change) -> None:
        known = self._settings.variants
        for variant in (change.target, *change.away):
            if variant not in known:
                hint = _hint(variant, known)
                raise SwitchRejected(f"{self._where} has no variant {variant!r}{hint}; {_UNTOUCHED}")
        if change.target in change.away:
            raise SwitchRejected(f"{self._where}: {change.target!r} is both target and away; {_UNTOUCHED}")

    def _possible(self, before: _Snapshot, change: Change) -> None:
        """Refuse what would end without a server: a target that `state ready` cannot bring back."""
        leaving = {f"{self._settings.backend}/{row.name}" for row in before.of(*change.away)}
        for row in before.of(change.target):
            why = row.stuck or (f"tracks {row.tracked}, which is to go" if row.tracked in leaving else "")
            if why:
                raise SwitchRejected(f"{self._where}: server {row.name} {why}; {_UNTOUCHED}")

    def _entry(self, before: _Snapshot, change: Change) -> list[str]:
        """What makes the target's servers ready and weighted: two commands in one each."""
        live = before.of(*before.state.live)
        fallback = max((row.weight for row in live if row.enabled), default=1)
        return [
            _bring_in(self._settings.backend, row.name, row.initial_weight or fallback)
            for row in before.of(change.target)
        ]

    async def _enter(self, before: _Snapshot, change: Change, commands: list[str], until: float) -> None:
        """Make the target's servers ready and weighted, and see in the same conversation that they are."""
        backend = self._settings.backend
        targets = before.of(change.target)
        try:
            text = await self._converse([*commands, f"show servers state {backend}"], until)
        except CliError as error:
            raise (SwitchUnknown if error.sent else SwitchUnreachable)(f"{self._where}: {error}") from error
        try:
            complaints, dump = answers(text, 2 * len(targets))
            rows = parse_servers(dump, backend)
            entered = all(rows[row.name].enabled for row in targets)
            untouched = all(_same(rows[row.name], row) for row in targets)
        except (ValueError, KeyError) as error:
            raise SwitchUnknown(f"{self._where} gave an unreadable answer: {short(str(error))}") from error
        said = "; ".join(dict.fromkeys(filter(None, complaints)))
        if said and untouched:
            raise SwitchRejected(f"{self._where} refused: {said}{_advice(said)}; {_UNTOUCHED}")
        if said or not entered:
            why = said or "not all of its servers are ready"
            raise SwitchUnknown(f"{self._where}: {change.target!r} is in only in part ({why}); no other left")

    async def _leave(self, change: Change, entry: list[str], until: float) -> None:
        """Put the others into maintenance; the target is in by now.

        It is brought in once more in the same line: a reload since then sent it back, and nobody would be left.
        """
        backend = self._settings.backend
        away = [server for variant in change.away for server in self._settings.variants[variant]]
        if not away:
            return
        commands = [*entry, *(f"set server {backend}/{server} state maint" for server in away)]
        count = 2 * len(entry) + len(away)
        try:
            complaints, _ = answers(await self._converse(commands, until), count)
        except (CliError, ValueError) as error:
            names = ", ".join(change.away)
            raise SwitchUnknown(
                f"{self._where}: {change.target!r} is in, whether {names} left is unknown: {error}"
            ) from error
        if said := "; ".join(dict.fromkeys(filter(None, complaints))):
            raise SwitchUnknown(f"{self._where}: {change.target!r} is in, then: {said}{_advice(said)}")


def _bring_in(backend: str, server: str, weight: int) -> str:
    # Weight first: a server that is made ready takes its share at once, and must know which.
    return f"set server {backend}/{server} weight {weight};set server {backend}/{server} state ready"


def _same(now: ServerRow, before: ServerRow) -> bool:
    return (now.admin, now.weight) == (before.admin, before.weight)


def _hint(name: str, known: Iterable[str]) -> str:
    names = list(known)
    if guess := nearest(name, names):
        return f"; did you mean {guess!r}?"
    return f" (it has: {', '.join(sorted(names)[:10])})" if names else ""


def _advice(said: str) -> str:
    return " (the `stats socket` line needs `level admin`)" if "ermission denied" in said else ""
