"""The probe `command`: the operator's own program, which is alive when it ends with exit code 0.

An argument list, never a shell: the value of a variable stays inside the argument in which it stands. The program sees
none of the daemon's environment but PATH, HOME and LANG, and is killed with all its children when its time is over.
This module must never start what cannot be bounded, nor take "it could not be started" for a dead target.
"""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError

from watchdog.aio.child import Finished, NotStarted, Overrun, run
from watchdog.core.observation import Failed, FailReason, Pulse
from watchdog.probes.expectations import unusable
from watchdog.settings.model import PositiveDuration, ProviderSettings

#: How much of what a failing program said is told, in characters.
_TOLD = 200
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _argv(argv: list[str]) -> list[str]:
    if not argv or not argv[0] or any("\0" in word for word in argv):
        raise ValueError("a command starts with the program to run and holds no zero byte")
    if "$" in argv[0] or "{address}" in argv[0]:
        raise ValueError("the program itself is written out; variables stand in its arguments")
    return argv


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name for a variable of the environment")
    return text


def _text(value: SecretStr | str) -> SecretStr | str:
    if "\0" in _plain(value):
        raise ValueError("a variable of the environment holds no zero byte")
    return value


def _plain(text: SecretStr | str) -> str:
    return text.get_secret_value() if isinstance(text, SecretStr) else text


_Name = Annotated[str, AfterValidator(_name)]
_Value = Annotated[str | SecretStr, AfterValidator(_text)]


class CommandProbeSettings(ProviderSettings):
    """Settings of the probe `command`; arguments and the environment may hold variables."""

    timeout: PositiveDuration = timedelta(seconds=10)
    """Longest time for the program; what takes longer is killed with its children and is a failure."""
    argv: Annotated[list[str], AfterValidator(_argv)]
    """Runs without a shell. Exit code 0 is alive, any other is a failure."""
    cwd: Path | None = None
    """Folder to run in; the daemon's own when left out."""
    environment: dict[_Name, _Value] = Field(default_factory=dict)
    """Variables for the program, besides PATH, HOME and LANG; in `ready` a value may be a secret."""


class CommandProbe:
    """Runs any number of programs (see the module)."""

    Settings: ClassVar = CommandProbeSettings

    def __init__(self) -> None:
        """Starts nothing."""
        self._closed = False

    async def check(self, settings: dict[str, Any], *, now: datetime) -> Pulse | Failed:
        try:
            wanted = CommandProbeSettings.model_validate(settings)
        except ValidationError as error:
            return Failed(reason=FailReason.UNABLE, detail=unusable(error))
        asked = " ".join(repr(word) if _needs_quotes(word) else word for word in wanted.argv)
        if self._closed:
            return Failed(reason=FailReason.UNABLE, detail="the probe was closed", asked=asked)
        timeout = wanted.timeout.total_seconds()
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            done = await run(
                wanted.argv,
                cwd=wanted.cwd,
                environment={name: _plain(text) for name, text in wanted.environment.items()},
                timeout=timeout,
                within=timeout,
                stop_when_full=False,
            )
        except NotStarted as fault:
            return Failed(reason=FailReason.UNABLE, detail=f"the command {fault}", asked=asked)
        except Overrun as fault:
            return Pulse(passed=False, at=now, detail=f"the command {fault}", asked=asked)
        detail = f"{_ended(done)} after {(clock() - began) * 1000:.0f} ms"
        if done.code != 0:
            detail += _said(done, wanted)
        return Pulse(passed=done.code == 0, at=now, detail=detail, asked=asked)

    async def aclose(self) -> None:
        self._closed = True


def _needs_quotes(word: str) -> bool:
    return not word or not word.isprintable() or any(letter in " '\"" for letter in word)


def _ended(done: Finished) -> str:
    return f"exit code {done.code}" if done.code >= 0 else f"ended by signal {-done.code}"


def _said(done: Finished, wanted: CommandProbeSettings) -> str:
    """The first line of what it printed, cut and without our secrets."""
    text = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
    for secret in wanted.environment.values():
        if isinstance(secret, SecretStr) and (plain := secret.get_secret_value()):
            text = text.replace(plain, "***")
    line = "".join(letter if letter.isprintable() else " " for letter in text.partition("\n")[0]).strip()
    if not line:
        return ", saying nothing"
    return f": {line if len(line) <= _TOLD else line[: _TOLD - 1] + '…'}"
