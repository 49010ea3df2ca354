"""What commands print: tables, lines, JSON. Colours only on a terminal; plain, aligned text everywhere else.

What came from elsewhere may hold escape sequences; this module must never hand one to a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import typer

from watchdog.telemetry.redact import one_line

#: How words are coloured, wherever they stand alone in a cell.
_STYLES = {
    "ok": "green",
    "stable": "green",
    "completed": "green",
    "warning": "yellow",
    "warn": "yellow",
    "medium": "yellow",
    "unknown": "magenta",
    "critical": "bold red",
    "rollback": "bold red",
    "bad": "bold red",
    "high": "red",
    "rolled_back": "red",
}


def say(text: str) -> None:
    """One line, or several, on standard output."""
    typer.echo("\n".join(one_line(line) for line in text.split("\n")))


def note(text: str) -> None:
    """One line, or several, on standard error: progress and warnings that are not the answer."""
    typer.echo("\n".join(one_line(line) for line in text.split("\n")), err=True)


def say_json(value: Any) -> None:
    """The answer for a program."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table. Cells are shown whole on a pipe; on a terminal long ones are wrapped."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        _pretty(columns, cells)
    else:
        say("\n".join(_aligned([list(columns), *cells])))


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _pretty(columns: Sequence[str], rows: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console().print(drawn)


def ago(moment: str | None) -> str:
    """How long ago an RFC 3339 time was, in two units at most; nothing for no time."""
    if not moment:
        return ""
    from watchdog.core.units import format_duration

    passed = datetime.now(UTC) - datetime.fromisoformat(moment)
    seconds = max(int(passed.total_seconds()), 0)
    for size in (86400, 3600, 60):
        if seconds >= size * 10:
            seconds -= seconds % size
            break
    return f"{format_duration(timedelta(seconds=seconds))} ago"
