from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.conftest import Served
from watchdog.cli.output import ago

ESCAPE = "\x1b["


def on_a_terminal(*command: str, **environ: str) -> str:
    """What a command prints when its standard output is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "watchdog", *command],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", **environ},
    )
    os.close(theirs)
    seen = b""
    # Linux answers EIO instead of an end when the other side is closed.
    with contextlib.suppress(OSError):
        while read := os.read(ours, 65536):
            seen += read
    os.close(ours)
    _, complaints = process.communicate(timeout=10)
    assert (process.returncode, complaints) == (0, b"")
    return seen.decode()


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=str)
def test_colours_are_for_terminals_that_want_them(
    served: Served, environ: dict[str, str], coloured: bool
) -> None:
    text = on_a_terminal("status", WATCHDOG_URL=served.url, WATCHDOG_TOKEN="viewer-token", **environ)
    assert "trips" in text
    assert "critical" in text
    assert (ESCAPE in text) is coloured


@pytest.mark.parametrize(
    ("passed", "told"),
    [
        (timedelta(seconds=5), "5s ago"),
        (timedelta(minutes=3, seconds=12), "3m12s ago"),
        (timedelta(minutes=42, seconds=12), "42m ago"),
        (timedelta(hours=3, minutes=12), "3h12m ago"),
        (timedelta(days=2, hours=3, minutes=12), "2d3h ago"),
        (timedelta(days=40, hours=3), "40d ago"),
        (timedelta(seconds=-5), "0s ago"),
    ],
    ids=str,
)
def test_how_long_ago_is_told_in_two_units(passed: timedelta, told: str) -> None:
    assert ago((datetime.now(UTC) - passed - timedelta(milliseconds=100)).isoformat()) == told


def test_never_was_not_long_ago() -> None:
    assert ago(None) == ""
