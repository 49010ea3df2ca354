"""TAB in a real shell, against a real socket."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.daemon import Daemon
from tests.cli.conftest import Served

#: Sources the script that `watchdog` prints for bash, then completes the words as readline would.
BASH = """\
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
complete -p watchdog >/dev/null || exit 9
_watchdog_completion watchdog
printf '%s\\n' "${COMPREPLY[@]}"
"""


class Shell:
    """A bash in which `watchdog` is on the path and its completion is loaded."""

    def __init__(self, folder: Path, url: str, token: str) -> None:
        self.environment = {
            "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(folder),
            "WATCHDOG_URL": url,
            "WATCHDOG_TOKEN": token,
            "LANG": "C.UTF-8",
        }
        command = folder / "watchdog"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m watchdog "$@"\n')
        command.chmod(0o755)
        self.script = folder / "completion.bash"
        made = self.run(["watchdog"], _WATCHDOG_COMPLETE="source_bash")
        self.script.write_text(made.stdout)

    def run(self, argv: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            env={**self.environment, **environment},
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )

    def completes(self, line: str, **environment: str) -> list[str]:
        """What TAB offers at the end of the line; nothing may be said on standard error."""
        words = line.split(" ")
        bash = shutil.which("bash") or "/bin/bash"
        done = self.run([bash, "--norc", "-c", BASH, "bash", str(self.script), *words], **environment)
        assert done.stderr == ""
        return done.stdout.split()


@pytest.fixture
def shell(tmp_path: Path, served: Served) -> Shell:
    return Shell(tmp_path, served.url, "viewer-token")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("watchdog si", ["silence", "silences"]),
        ("watchdog pause ", ["hotels", "trips"]),
        ("watchdog gitops resume tr", ["trips"]),
        ("watchdog status tr", ["trips"]),
        ("watchdog ack ", ["i1"]),
        ("watchdog incidents show ", ["i1"]),
        ("watchdog taint trips ", ["v2", "v1"]),
        ("watchdog taint trips v1", ["v1"]),
        ("watchdog rollback trips --to ", ["v2", "v1"]),
        ("watchdog deploy trips --version x --variant ", ["blue", "green"]),
        ("watchdog silence --rule ", ["error-rate"]),
        ("watchdog silences expire ", ["s1"]),
        ("watchdog outbox retry ", ["incident_opened:i1@chat"]),
        ("watchdog explain ", ["r1", "i1", "i0"]),
    ],
)
def test_names_and_ids_come_from_the_running_daemon(shell: Shell, line: str, offered: list[str]) -> None:
    assert shell.completes(line) == offered


def test_the_address_on_the_line_is_the_one_that_is_asked(shell: Shell) -> None:
    url = shell.environment["WATCHDOG_URL"]
    assert shell.completes(f"watchdog pause --url {url} tr", WATCHDOG_URL="http://127.0.0.1:1") == ["trips"]


@pytest.mark.parametrize("wrong", ["nobody", "no-token", "not-an-address", "broken-store"])
def test_what_cannot_be_asked_offers_nothing_and_says_nothing(
    shell: Shell, daemon: Daemon, wrong: str
) -> None:
    daemon.fault = OSError("broken") if wrong == "broken-store" else None
    environment = {
        "nobody": {"WATCHDOG_URL": "http://127.0.0.1:1"},
        "no-token": {"WATCHDOG_TOKEN": "canary-another-token"},
        "not-an-address": {"WATCHDOG_URL": "gopher:"},
        "broken-store": {},
    }[wrong]
    assert shell.completes("watchdog ack ", **environment) == []


def test_a_daemon_that_hangs_offers_nothing(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert shell.completes("watchdog ack ", WATCHDOG_URL=url) == []


def test_another_program_on_the_port_offers_nothing(shell: Shell, tmp_path: Path) -> None:
    script = "import http.server as h; s = h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler); "
    program = subprocess.Popen(
        [sys.executable, "-c", script + "print(s.server_port, flush=True); s.serve_forever()"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
    )
    try:
        assert program.stdout is not None
        port = program.stdout.readline().strip()
        assert shell.completes("watchdog pause ", WATCHDOG_URL=f"http://127.0.0.1:{port}") == []
    finally:
        program.kill()
        program.communicate(timeout=5)


@pytest.mark.parametrize("kind", ["zsh", "fish"])
def test_the_other_shells_have_a_script_too(shell: Shell, kind: str) -> None:
    made = shell.run(["watchdog"], _WATCHDOG_COMPLETE=f"source_{kind}").stdout
    assert f"complete_{kind}" in made
    assert "watchdog" in made
