"""How a command ends badly: one clear sentence on standard error and an exit code, never a traceback.

This module must stay light: every start of the command imports it.
"""

from __future__ import annotations

import errno
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup


class Failure(Exception):
    """Ends the command: `str()` is what the user is told, `code` the exit code."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class PoliteGroup(TyperGroup):
    """A group of commands that turns what our code raises on purpose into a message."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Failure as failure:
            give_up(str(failure), failure.code)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # A reader that went away (`| head`); typer ends quietly.
            give_up(str(error), 1)
        except Exception as error:
            # Imported late: this is the root of everything that is heavy.
            from watchdog.core.errors import StoreError, WatchdogError

            if not isinstance(error, WatchdogError):
                raise
            advice = f"\n{error.advice}" if isinstance(error, StoreError) and error.advice else ""
            give_up(f"{error}{advice}", 1)


def give_up(message: str, code: int) -> NoReturn:
    """Say it on standard error and exit."""
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(code)
