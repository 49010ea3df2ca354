"""The traffic switch of last resort: the operator's own commands say what is live and change it.

Commands are argument lists, never a shell. `read` prints JSON, `apply` changes, `verify` (if there is one)
must agree. No command surely refuses a stale write, so this is tier B. This module must never run `apply`
without having read, nor twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from pydantic import AfterValidator, Field, SecretStr, field_validator

from watchdog.aio.child import Finished, NotStarted, Overrun, missing, run
from watchdog.aio.clock import Clock, SystemClock
from watchdog.core.errors import SwitchConflict, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.traffic import Change, Tier, TrafficState, VariantState, pause_reason
from watchdog.settings.model import PositiveDuration, ProviderSettings
from watchdog.settings.registry import nearest

#: Exit codes of `apply` that promise that nothing was changed. Any other but 0 promises nothing.
PRECONDITION_FAILED: Final = 3
REFUSED: Final = 4

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")
_KNOWN: Final = ("variant", "expect", "mark")
#: A variant becomes part of an argument list: it must not look like an option or hold control characters.
_VARIANT = re.compile(r"[A-Za-z0-9_][^\x00-\x1f\x7f]*")
_UNTOUCHED: Final = "nothing was changed"


def _known_placeholders(*allowed: str) -> AfterValidator:
    def check(argv: list[str]) -> list[str]:
        for name in (name for word in argv for name in _PLACEHOLDER.findall(word)):
            if name not in allowed:
                guess = nearest(name, allowed)
                hint = f"; did you mean {{{guess}}}?" if guess else ""
                known = ", ".join(f"{{{one}}}" for one in allowed) or "none"
                raise ValueError(f"unknown placeholder {{{name}}}{hint} (known here: {known})")
        return argv

    return AfterValidator(check)


def _goes_somewhere(argv: list[str]) -> list[str]:
    if not any("{variant}" in word for word in argv):
        raise ValueError("no argument holds {variant}, so it cannot be told where traffic shall go")
    return argv


def _argv(argv: list[str]) -> list[str]:
    if not argv[0] or any("\0" in word for word in argv):
        raise ValueError("a command starts with the program to run and holds no zero byte")
    return argv


VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Argv = Annotated[list[str], Field(min_length=1), AfterValidator(_argv)]


class CommandSettings(ProviderSettings):
    """`traffic: {kind: command, …}` of a service."""

    read: Annotated[Argv, _known_placeholders()]
    """Prints `{"variants": {NAME: {"weight": 100, …}}, "revision": "…"}`.

    Besides `weight` a variant may have `version`, `ready`, `total`, `requests`, `note` and `addresses` (or one
    `address`). Without `revision`, weights and versions are the revision. `"paused": "reason"` (or `true`) stops the
    automation of this service.
    """
    apply: Annotated[Argv, _known_placeholders(*_KNOWN), AfterValidator(_goes_somewhere)]
    """Makes `{variant}` live and all others not. Also known: `{expect}` (revision), `{mark}` (the rollback).

    Exit 0: done. 3: the state is not at `{expect}`, nothing was changed. 4: refused, nothing was changed. Any
    other code: unknown, the state is read again.
    """
    verify: Annotated[Argv, _known_placeholders(*_KNOWN)] | None = None
    """Runs after `apply`; an exit code other than 0 makes the outcome unknown. Same placeholders."""
    cwd: Path | None = None
    """Folder to run in; the daemon's own when left out."""
    environment: dict[VariableName, str | SecretStr] = Field(default_factory=dict)
    """Variables for the commands, besides PATH, HOME, LANG and WATCHDOG_VARIANT, _EXPECT, _ROLLBACK."""
    timeout: PositiveDuration = timedelta(seconds=10)
    """Longest time for a read; a change takes at most twice as long. What takes longer is killed."""

    @field_validator("environment")
    @classmethod
    def _free(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, text in value.items():
            if name.startswith("WATCHDOG_"):
                raise ValueError(f"{name} is set by the watchdog itself")
            if "\0" in _plain(text):
                raise ValueError(f"{name} holds a zero byte")
        return value


class _Variant(msgspec.Struct, frozen=True, kw_only=True):
    weight: Annotated[int, msgspec.Meta(ge=0)]
    version: str | int | None = None
    ready: Annotated[int, msgspec.Meta(ge=0)] | None = None
    total: Annotated[int, msgspec.Meta(ge=0)] | None = None
    requests: Annotated[int, msgspec.Meta(ge=0)] | None = None
    addresses: tuple[str, ...] = ()
    address: str | None = None
    note: str = ""


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    variants: Annotated[dict[str, _Variant], msgspec.Meta(min_length=1)]
    revision: str | int | None = None
    paused: str | bool | None = None


class CommandSwitch:
    """Runs the configured commands, one at a time, each in a process group of its own."""

    Settings = CommandSettings
    TIER = Tier.B

    def __init__(self, settings: CommandSettings, *, name: str, clock: Clock | None = None) -> None:
        """`name` is the service's, for messages; `clock` gives the time of a read, default the machine's."""
        self._name = name
        self._settings = settings
        self._clock = clock or SystemClock()
        self._timeout = settings.timeout.total_seconds()
        facts = [settings.read, settings.apply, str(settings.cwd)]
        self._identity = "command:" + hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    @staticmethod
    def knows_readiness(_: CommandSettings) -> bool:
        """Whether it surely can tell that a variant is ready: `ready` may be in the JSON, or not."""
        return False

    @property
    def tier(self) -> Tier:
        return self.TIER

    @property
    def identity(self) -> str:
        return self._identity

    async def read(self) -> TrafficState:
        return await self._read(self._deadline())

    async def apply(self, change: Change) -> TrafficState:
        before = await self._read(self._deadline())
        self._know(change, before)
        if _reached(before, change):
            return before
        if before.revision != change.expect:
            raise SwitchConflict(
                f"{self._where} is at revision {before.revision}, not {change.expect}; {_UNTOUCHED}"
            )
        if before.paused:
            raise SwitchConflict(f"{self._where} is paused ({before.paused}); {_UNTOUCHED}")
        until = self._deadline()
        await self._write(change, until)
        try:
            return await self._read(until)
        except SwitchUnreachable as error:
            raise SwitchUnknown(f"`apply` ended well, but its effect was not read back: {error}") from error

    async def inspect(self) -> str | None:
        """Whether the programs are there and may be run; what they do is known only when they do it."""
        settings = self._settings
        environment = {name: _plain(text) for name, text in settings.environment.items()}
        commands = {"read": settings.read, "apply": settings.apply, "verify": settings.verify or []}
        found = {
            name: missing(argv, cwd=settings.cwd, environment=environment)
            for name, argv in commands.items()
            if argv
        }
        told = "; ".join(f"`{name}` could not be started: {why}" for name, why in found.items() if why)
        return f"{self._where}: {told}" if told else None

    async def aclose(self) -> None:
        """Nothing to close: no command outlives its call."""

    @property
    def _where(self) -> str:
        return f"traffic command of service {self._name}"

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout

    async def _read(self, until: float) -> TrafficState:
        try:
            done = await self._run(self._settings.read, until, {})
        except (NotStarted, Overrun) as error:
            raise SwitchUnreachable(f"{self._where}: `read` {error}") from error
        if done.code != 0:
            raise SwitchUnreachable(f"{self._where}: `read` ended with {done.code}{self._said(done)}")
        try:
            return _decode(done.stdout, self._clock.now())
        except (msgspec.MsgspecError, ValueError) as error:
            raise SwitchUnreachable(f"{self._where}: what `read` printed is not usable: {error}") from error

    def _know(self, change: Change, before: TrafficState) -> None:
        for variant in (change.target, *change.away):
            if variant not in before.variants:
                guess = nearest(variant, before.variants)
                hint = f"; did you mean {guess!r}?" if guess else ""
                raise SwitchRejected(f"{self._where} knows no variant {variant!r}{hint}; {_UNTOUCHED}")
        if change.target in change.away:
            raise SwitchRejected(f"{self._where}: {change.target!r} is both target and away; {_UNTOUCHED}")

    async def _write(self, change: Change, until: float) -> None:
        values = {"variant": change.target, "expect": change.expect, "mark": change.mark}
        try:
            done = await self._run(self._settings.apply, until, values)
        except NotStarted as error:
            kind = SwitchUnreachable if error.passing else SwitchRejected
            raise kind(f"{self._where}: `apply` {error}; {_UNTOUCHED}") from error
        except Overrun as error:
            raise SwitchUnknown(f"{self._where}: `apply` {error}") from error
        if done.code == PRECONDITION_FAILED:
            raise SwitchConflict(
                f"{self._where}: `apply` says it is not at {change.expect}{self._said(done)}"
            )
        if done.code == REFUSED:
            raise SwitchRejected(f"{self._where}: `apply` refused{self._said(done)}")
        if done.code != 0:
            raise SwitchUnknown(f"{self._where}: `apply` ended with {done.code}{self._said(done)}")
        if self._settings.verify is None:
            return
        try:
            done = await self._run(self._settings.verify, until, values)
        except (NotStarted, Overrun) as error:
            raise SwitchUnknown(f"{self._where}: `apply` ended well, but `verify` {error}") from error
        if done.code != 0:
            raise SwitchUnknown(f"{self._where}: `verify` ended with {done.code}{self._said(done)}")

    async def _run(self, argv: list[str], until: float, values: Mapping[str, str]) -> Finished:
        environment = {name: _plain(text) for name, text in self._settings.environment.items()}
        if values:
            environment["WATCHDOG_VARIANT"] = values["variant"]
            environment["WATCHDOG_EXPECT"] = values["expect"]
            environment["WATCHDOG_ROLLBACK"] = values["mark"]
        return await run(
            [_PLACEHOLDER.sub(lambda found: values[found.group(1)], word) for word in argv],
            cwd=self._settings.cwd,
            environment=environment,
            timeout=until - asyncio.get_running_loop().time(),
            within=self._timeout,
            # A write is not killed for talking.
            stop_when_full=not values,
        )

    def _said(self, done: Finished) -> str:
        """What the command printed on stderr, cut and without our secrets."""
        text = done.stderr.decode("utf-8", errors="replace")
        for secret in self._settings.environment.values():
            if isinstance(secret, SecretStr) and (plain := secret.get_secret_value()):
                text = text.replace(plain, "***")
        line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        if not line:
            return ", saying nothing"
        return f": {line if len(line) <= 300 else line[:299] + '…'}"


def _plain(text: SecretStr | str) -> str:
    return text.get_secret_value() if isinstance(text, SecretStr) else text


def _reached(state: TrafficState, change: Change) -> bool:
    gone = all(not state.variants[name].live for name in change.away)
    return gone and state.variants[change.target].live


def _decode(stdout: bytes, read_at: datetime) -> TrafficState:
    answer = msgspec.json.decode(stdout, type=_Answer)
    for name, variant in answer.variants.items():
        if _VARIANT.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no name for a variant")
        if variant.ready is not None and variant.total is not None and variant.ready > variant.total:
            raise ValueError(f"variant {name} has {variant.ready} ready of {variant.total}")
    revision = _revision(answer) if answer.revision is None else str(answer.revision)
    if not revision.isprintable() or not 0 < len(revision) <= 1000:
        raise ValueError("`revision` is not one printable word of at most 1000 characters")
    return TrafficState(
        variants={name: _variant(variant) for name, variant in answer.variants.items()},
        revision=revision,
        read_at=read_at,
        paused=_paused(answer),
    )


def _paused(answer: _Answer) -> str:
    """Anything but `false`, `null` or nothing at all stops the automation, an empty reason, too."""
    mark = answer.paused
    if mark is None or mark is False:
        return ""
    return pause_reason("" if mark is True else mark)


def _variant(seen: _Variant) -> VariantState:
    return VariantState(
        weight=seen.weight,
        version=None if seen.version is None else str(seen.version),
        ready=seen.ready,
        total=seen.total,
        requests=seen.requests,
        addresses=seen.addresses or ((seen.address,) if seen.address else ()),
        note=seen.note or ("" if seen.ready is not None else "the command does not tell"),
    )


def _revision(answer: _Answer) -> str:
    facts = sorted((name, variant.weight, str(variant.version)) for name, variant in answer.variants.items())
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
