"""How a command reaches the daemon: the same four options on every one of them, handed over as one value.

This module must stay light: every start of the command imports it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from watchdog.cli.options import Json, MaybeConfigFile, Token, Url

if TYPE_CHECKING:
    from watchdog.cli.address import Address

_OPTIONS = {"url": Url, "token": Token, "config": MaybeConfigFile, "json": Json}
_CONTEXT = "ctx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The options of one call. Those before a subcommand hold for it, too."""

    url: str | None = None
    token: str | None = None
    config: Path | None = None
    json: bool = False

    @property
    def where(self) -> Address:
        """The daemon that is meant. Raises `Failure`, or `ConfigError` for a file that cannot be read."""
        from watchdog.cli.address import address

        return address(self.url, self.token, self.config)

    def post(self, *path: str, body: dict[str, Any]) -> Any:
        """Ask for something and wait for the answer. Raises `Failure`."""
        from watchdog.cli.daemon import Daemon, talk

        async def ask() -> Any:
            async with Daemon(self.where) as daemon:
                return await daemon.post(*path, body=body)

        return talk(ask())

    def get(self, *path: str, **query: str) -> Any:
        """Look at something. Raises `Failure`."""
        from watchdog.cli.daemon import Daemon, talk

        async def look() -> Any:
            async with Daemon(self.where) as daemon:
                return await daemon.get(*path, **query)

        return talk(look())

    def every(self, *path: str, **query: str) -> list[Any]:
        """All items of a list. Raises `Failure`."""
        from watchdog.cli.daemon import Daemon, talk

        async def look() -> list[Any]:
            async with Daemon(self.where) as daemon:
                return await daemon.every(*path, **query)

        return talk(look())


def linked(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command with a parameter `link` the options `--url`, `--token`, `--config` and `--json` in its place.

    A command that has a parameter `ctx` gets the context as well.
    """
    own = inspect.signature(command, eval_str=True)
    kept = [one for name, one in own.parameters.items() if name != "link"]
    wants_context = _CONTEXT in own.parameters

    @functools.wraps(command)
    def call(**given: Any) -> None:
        context = given[_CONTEXT] if wants_context else given.pop(_CONTEXT)
        before = context.obj if isinstance(context.obj, Link) else Link()
        here = {name: given.pop(name) or getattr(before, name) for name in _OPTIONS}
        command(**given, link=Link(**here))

    plain = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in kept]
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=False if name == "json" else None
        )
        for name, kind in _OPTIONS.items()
    ]
    context = inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    every = [*([] if wants_context else [context]), *plain, *added]
    vars(call).pop("__wrapped__")  # what is asked for is this signature, not that of the command
    vars(call)["__signature__"] = own.replace(parameters=every)
    call.__annotations__ = {one.name: one.annotation for one in every}
    return call
