"""The fixtures and guards that hold for every test."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.process import ROOT
from tests.servers.require import MISSING, REQUIRE_REAL

ABSENT = """
from tests.servers.require import require

def test_wants_it():
    require("no-such-server", package="no-such-package")
"""


def run_pytest(folder: Path, *, real: str) -> subprocess.CompletedProcess[str]:
    """A test run of its own, with this conftest, over one test that wants a server nobody has."""
    (folder / "test_absent.py").write_text(ABSENT)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(
        [*argv, f"--rootdir={folder}", str(folder)],
        env={**os.environ, REQUIRE_REAL: real, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )


def test_a_missing_server_skips_loudly(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, real="")
    assert done.returncode == 0
    assert "NOT TESTED ON REAL SERVERS" in done.stdout
    assert f"1 tests skipped: {MISSING}: no-such-server (apt install no-such-package)" in done.stdout


def test_a_missing_server_fails_where_real_ones_are_required(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, real="1")
    assert done.returncode == 1
    assert f"{MISSING}: no-such-server" in done.stdout


def test_free_ports_differ_and_can_be_bound(free_port: Callable[[], int]) -> None:
    ports = {free_port() for _ in range(20)}
    assert len(ports) == 20
    for port in ports:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))


def test_the_environment_holds_nothing_of_the_callers_watchdog() -> None:
    assert {name for name in os.environ if name.startswith("WATCHDOG_")} <= {REQUIRE_REAL}


def test_nothing_leaves_loopback() -> None:
    with socket.socket() as outside, pytest.raises(AssertionError, match="tests stay on loopback"):
        outside.connect(("192.0.2.1", 80))
