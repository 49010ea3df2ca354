"""`python -m benchmarks.starting`: how long `watchdog --help` takes, and `watchdog run` until its first poll.

Real processes, timed from outside; nothing is judged. The first poll is what reaches a page of metrics on loopback.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import row

_WATCHDOG = [sys.executable, "-m", "watchdog"]
_WITHIN = 30.0
_STATE = {"revision": "1", "variants": {"blue": {"weight": 100, "version": "v1", "ready": 1, "total": 1}}}
_RULES = """\
version: 1
rules:
  - name: error-rate
    ratio: {bad: 'e{version="$version"}', total: 't{version="$version"}'}
    threshold: {critical: 1%, rollback: 150%}
"""


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    given = parser.parse_args()
    table = Table("milliseconds", "n", "min", "p50", "p90", "p99", "max", title="starting")
    table.add_row(*row("watchdog --help", helps(given.times)))
    fresh, again = starts(given.times)
    table.add_row(*row("watchdog run → first poll, new store", fresh))
    table.add_row(*row("watchdog run → first poll, store of before", again))
    Console(highlight=False).print(table)


def helps(times: int) -> list[float]:
    """Seconds of `watchdog --help`, so often."""
    taken = []
    for _ in range(times):
        began = time.monotonic()
        subprocess.run([*_WATCHDOG, "--help"], check=True, stdout=subprocess.DEVNULL, timeout=_WITHIN)
        taken.append(time.monotonic() - began)
    return taken


class _Polls(BaseHTTPRequestHandler):
    """A page of metrics that remembers when it was first asked for."""

    asked = threading.Event()
    asked_at = 0.0

    def do_GET(self) -> None:
        """Answer with nothing in it."""
        if not _Polls.asked.is_set():
            _Polls.asked_at = time.monotonic()
            _Polls.asked.set()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Say nothing."""


def starts(times: int) -> tuple[list[float], list[float]]:
    """Seconds from the start of the process to the first poll: with a new store, and with the one it left."""
    fresh: list[float] = []
    again: list[float] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Polls)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for _ in range(times):
            with tempfile.TemporaryDirectory() as folder:
                config = _configure(Path(folder), server.server_port)
                fresh.append(_start(config))
                again.append(_start(config))
    finally:
        server.shutdown()
        server.server_close()
    return fresh, again


def _configure(folder: Path, port: int) -> Path:
    state = folder / "state.json"
    state.write_text(json.dumps(_STATE))
    (folder / "rules.yaml").write_text(_RULES)
    settings = {
        "version": 1,
        "rules": ["rules.yaml"],
        "store": {"url": f"sqlite:///{folder}/watchdog.db"},
        "server": {"listen": "127.0.0.1:0"},
        "sources": {
            "app": {"kind": "scrape", "urls": [f"http://127.0.0.1:{port}/metrics"], "interval": "30s"}
        },
        "services": [
            {
                "name": "trips",
                "rules": ["error-rate"],
                "traffic": {"kind": "command", "read": ["cat", str(state)], "apply": ["true", "{variant}"]},
            }
        ],
        "channels": {"log": {"kind": "log"}},
        "routes": [{"to": ["log"]}],
    }
    path = folder / "watchdog.yaml"
    path.write_text(json.dumps(settings))
    return path


def _start(config: Path) -> float:
    """Seconds to the first poll of one daemon, which is stopped then."""
    _Polls.asked.clear()
    began = time.monotonic()
    daemon = subprocess.Popen(
        [*_WATCHDOG, "run", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        if not _Polls.asked.wait(_WITHIN):
            raise TimeoutError(f"no poll within {_WITHIN:.0f} s")
        return _Polls.asked_at - began
    finally:
        daemon.terminate()
        daemon.communicate(timeout=_WITHIN)


if __name__ == "__main__":
    main()
