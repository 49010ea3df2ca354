"""`watchdog status --watch`, as its own process, on a terminal of 80 columns and on a pipe."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from tests.api.daemon import HOTELS, NOW, TRIPS, Daemon, view
from tests.cli.conftest import Run, Served
from watchdog.cli.picture import Picture, drawn, written

pytestmark = pytest.mark.timeout(60)

WATCH = [sys.executable, "-m", "watchdog", "status", "--watch", "--interval", "200ms"]
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Watched:
    """A process and what it shows. `until` waits for words; what was shown before does not count again."""

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self.process = process
        self._output = output
        self._shown = b""

    def until(self, *words: str, within: float = 15.0) -> str:
        """Everything from now on until all words came in one piece of it."""
        deadline, seen = time.monotonic() + within, ""
        while not all(word in seen for word in words):
            left = deadline - time.monotonic()
            assert left > 0, f"not seen: {[word for word in words if word not in seen]}\n{seen[-3000:]}"
            if not select.select([self._output], [], [], left)[0]:
                continue
            try:
                piece = os.read(self._output, 65536)
            except OSError:  # a terminal whose last process is gone
                piece = b""
            assert piece, f"it ended before {words}\n{seen[-3000:]}"
            self._shown += piece
            seen += _ESCAPE.sub("", piece.decode(errors="replace")).replace("\r", "")
        return seen

    @property
    def raw(self) -> str:
        return self._shown.decode(errors="replace")


@contextmanager
def watched(served: Served, *more: str, token: str = "viewer-token", tty: bool = True) -> Iterator[Watched]:
    environment = {
        **os.environ,
        "WATCHDOG_URL": served.url,
        "WATCHDOG_TOKEN": token,
        "TERM": "xterm",
        "LANG": "C.UTF-8",
    }
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    if tty:
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    else:
        ours, theirs = os.pipe()
    process = subprocess.Popen(
        [*WATCH, *more],
        env=environment,
        stdin=theirs if tty else subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield Watched(process, ours)
    finally:
        process.kill()
        process.wait(10)
        os.close(ours)


def test_a_terminal_shows_everything_that_matters_in_80_columns(served: Served) -> None:
    with watched(served) as one:
        shown = one.until("i1 critical", "rollback r1", "CAN ROLL BACK")
        rows = {line.split()[0]: line for line in shown.split("\n") if line.strip()}
        assert rows["trips"].split() == ["trips", "critical", "v2", "blue", "0,", "green", "100", "yes"]
        assert rows["hotels"].split() == ["hotels", "unknown", "-", "-", "no"]
        assert "trips: paused by ana: load test" in shown
        assert "trips: rollback r1 v2 → v1 applied" in shown
        assert "trips: error-rate 20% beyond 1.5%" in shown.replace("\n", " ")
        assert max(len(line.rstrip()) for line in shown.split("\n")) <= 80
        assert "\x1b[?1049h" in one.raw, "a screen of its own, so that the shell's stays as it was"


def test_ctrl_c_is_a_clean_end_that_gives_the_terminal_back(served: Served) -> None:
    with watched(served) as one:
        one.until("CAN ROLL BACK")
        one.process.send_signal(signal.SIGINT)
        assert one.process.wait(10) == 0
        with pytest.raises(AssertionError, match="it ended before"):
            one.until("never said")
        assert "\x1b[?1049l" in one.raw
        assert "Traceback" not in one.raw


def test_it_follows_what_changes(served: Served, daemon: Daemon) -> None:
    with watched(served) as one:
        one.until("critical", "paused by ana")
        daemon.shown = replace(
            view(),
            services={"hotels": HOTELS, "trips": replace(TRIPS, paused=None, rollback=None)},
            breaker="3 rollbacks within 10m",
            paused_by_file=True,
            sources={
                "prometheus": replace(view().sources["prometheus"], up=False, error="connection refused")
            },
        )
        shown = one.until(
            "BREAKER open", "PAUSED by the pause file", "source prometheus is down", "i1 critical"
        )
        assert "rollback r1" not in shown[shown.index("BREAKER open") :]


def test_a_daemon_that_goes_away_is_said_to_be_and_asked_again(served: Served, daemon: Daemon) -> None:
    with watched(served) as one:
        one.until("CAN ROLL BACK")
        daemon.shown = None
        one.until("no answer since", "trying again", "the daemon is starting", "trips")
        daemon.shown = view()
        one.until("i1 critical")
        shown = one.until("Ctrl-C ends")
        assert "no answer" not in shown.rpartition("watchdog http")[2]


def test_a_daemon_that_is_gone_is_waited_for(daemon: Daemon) -> None:
    with Served(daemon) as served:
        context = watched(served)
        one = context.__enter__()
        one.until("CAN ROLL BACK")
    try:
        one.until("no answer since", "connection refused")
        assert one.process.poll() is None
        one.process.send_signal(signal.SIGINT)
        assert one.process.wait(10) == 0
    finally:
        context.__exit__(None, None, None)


def test_a_pipe_gets_a_picture_for_every_change_and_no_other(served: Served, daemon: Daemon) -> None:
    with watched(served, tty=False) as one:
        shown = one.until("i1 critical: trips")
        assert "\x1b" not in one.raw
        assert re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ http://127", shown, re.MULTILINE)
        daemon.shown = replace(view(), breaker="3 rollbacks within 10m")
        one.until("BREAKER open")
        assert one.raw.count("SERVICE ") == 2, "one for each change, whatever the interval"
        daemon.shown = None
        one.until("Z the daemon is starting")
        daemon.shown = view()
        one.until("SERVICE ")
        assert one.raw.count("the daemon is starting") == 1
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(10) == 0


def test_one_service_can_be_watched_alone(served: Served) -> None:
    with watched(served, "hotels", tty=False) as one:
        shown = one.until("no open incidents")
        assert "hotels" in shown
        assert "trips" not in shown


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["--interval", "1ms"], 2, "--interval: at least 200ms"),
        (["--interval", "often"], 2, "--interval: "),
        (["--json"], 2, "--watch shows a picture"),
        (["nobody"], 1, "there is no service 'nobody'"),
        (["--token", "canary-another-token"], 1, "token"),
    ],
    ids=str,
)
def test_what_asking_again_cannot_help_ends_it(watchdog: Run, args: list[str], code: int, told: str) -> None:
    result = watchdog("status", "--watch", *args)
    assert result.exit_code == code
    assert told in result.stderr


def service(name: str, level: str = "ok", **changes: Any) -> dict[str, Any]:
    shown = {
        "name": name,
        "level": level,
        "deployment": {"version": "v1"},
        "traffic": {"variants": {"blue": {"weight": 100}}},
        "rollback_ready": True,
        "paused": None,
        "rollback": None,
        "traffic_error": "",
    }
    return {**shown, **changes}


def picture(services: list[dict[str, Any]], **changes: Any) -> Picture:
    daemon = {
        "paused_by_file": False,
        "breaker": "",
        "store_error": "",
        "leader": True,
        "sources": [],
        "silences": 0,
    }
    seen = {"daemon": daemon, "services": services, "incidents": changes.pop("incidents", [])}
    return Picture(where="http://here", at=NOW, seen=seen, **changes)


def rendered(one: Picture, *, width: int = 80, height: int = 24) -> list[str]:
    console = Console(width=width, height=height, force_terminal=False)
    with console.capture() as capture:
        console.print(drawn(one, width=width, height=height))
    return capture.get().splitlines()


def test_what_does_not_fit_is_cut_and_said_with_the_worst_on_top() -> None:
    services = [service(f"s{number:03}") for number in range(200)] + [service("zz", "critical")]
    lines = rendered(picture(services))
    assert len(lines) <= 24
    assert lines[3].split()[:2] == ["zz", "critical"]
    assert any(re.match(r"… and 18\d more, none worse than ok", line) for line in lines)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_long_names_stay_in_their_columns(width: int) -> None:
    long = service("a" * 60, deployment={"version": "sha256:" + "b" * 64})
    for line in rendered(picture([long, service("trips")]), width=width):
        assert len(line.rstrip()) <= width


def test_escape_sequences_from_elsewhere_are_shown_and_not_obeyed() -> None:
    evil = service("trips", traffic_error="\x1b[2Jgone", deployment={"version": "v\x1b[31m"})
    incident: dict[str, Any] = {
        "id": "i1",
        "severity": "high",
        "subject": "trips",
        "services": ["trips"],
        "summary": "\x1b]0;title\x07",
        "opened_at": NOW.isoformat(),
        "acknowledged_by": "ana",
        "silenced_by": ["s1"],
    }
    one = picture([evil], incidents=[incident])
    assert not [line for line in (*rendered(one), *written(one)) if "\x1b" in line or "\x07" in line]
    assert any("ana has it, silenced" in line for line in written(one))


def test_lines_for_a_pipe_do_not_change_with_the_clock() -> None:
    one = picture([service("trips")])
    assert written(one) == written(Picture(where=one.where, at=NOW.replace(year=2030), seen=one.seen))


@pytest.mark.parametrize(
    ("seconds", "shown"), [(5, "5 s"), (65, "1 min 5 s"), (3700, "1 h 1 min"), (200_000, "2 d")]
)
def test_how_long_something_lasts_is_told_in_two_units(seconds: int, shown: str) -> None:
    opened = (NOW - timedelta(seconds=seconds)).isoformat()
    incident: dict[str, Any] = {
        "id": "i1",
        "severity": "low",
        "subject": "trips",
        "services": [],
        "summary": "x",
        "opened_at": opened,
        "acknowledged_by": None,
        "silenced_by": [],
    }
    assert f"i1 low for {shown}: trips: x" in "\n".join(rendered(picture([], incidents=[incident])))
