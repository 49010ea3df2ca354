"""Commands in this process, against the real API on a loopback socket in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, Self

import pytest
import uvloop
from typer.testing import CliRunner, Result

from tests.api.conftest import WITH_TOKENS
from tests.api.daemon import ERROR_RATE, Daemon
from watchdog.api.app import make_app
from watchdog.api.listener import listen
from watchdog.cli.main import app
from watchdog.config.loaded import Server
from watchdog.telemetry.metrics import Metrics


class Run(Protocol):
    """Runs `watchdog ARGS…`; `url` and `token` are those of the served daemon unless said otherwise."""

    def __call__(self, *args: str, env: dict[str, str] | None = None) -> Result: ...


class Served:
    """The API in a thread, because a command brings an event loop of its own."""

    def __init__(self, daemon: Daemon, server: Server = WITH_TOKENS, *, patience: float = 5.0) -> None:
        self._daemon = daemon
        self._server = server
        self._patience = timedelta(seconds=patience)
        self._ready = threading.Event()
        # The product's own loop; asyncio's leaks a connection that was taken right before the end (Server._attach).
        self._loop = uvloop.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="served api")
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._main())

    async def _main(self) -> None:
        listener = await listen(
            make_app(
                reader=self._daemon,
                desk=self._daemon,
                live=self._daemon,
                server=self._server,
                rules=lambda: {ERROR_RATE.name: ERROR_RATE},
                metrics=Metrics(self._daemon.view).render,
                clock=self._daemon,
                patience=self._patience,
            ),
            host="127.0.0.1",
            port=0,
        )
        self.url = listener.url
        self._ready.set()
        await self._stop.wait()
        await listener.aclose()


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def served(daemon: Daemon) -> Iterator[Served]:
    with Served(daemon) as running:
        yield running


@pytest.fixture
def watchdog(served: Served) -> Run:
    """`watchdog("status", "--json")` as the operator of the served daemon."""

    def run(*args: str, env: dict[str, str] | None = None) -> Result:
        environ = {"WATCHDOG_URL": served.url, "WATCHDOG_TOKEN": "operator-token"}
        return invoke(*args, env=environ if env is None else env)

    return run


def invoke(*args: str, env: dict[str, str] | None = None) -> Result:
    """Run a command in this process; anything but an exit is a fault of ours."""
    result = CliRunner().invoke(app, list(args), env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


RULES = """\
version: 1
rules:
  - name: error-rate
    ratio:
      bad: errors{service="$service",version="$version"}
      total: requests{service="$service",version="$version"}
    unit: ratio
    threshold: {warning: 0.5%, critical: 1%, rollback: 150%}
"""

MAIN = """\
version: 1
rules: [rules.yaml]
store: {{url: "sqlite:///{store}"}}
pause_file: pause
server: {{listen: "127.0.0.1:{port}"{tokens}}}
sources:
  prometheus: {{kind: prometheus, url: "http://127.0.0.1:{prometheus}", timeout: 1s}}
services:
  - name: trips
    rules: [error-rate]
    traffic: {{kind: command, read: [cat, {state}], apply: [cat, "{{variant}}"], timeout: 2s}}
channels: {{log: {{kind: log}}}}
routes: [{{to: [log]}}]
"""

STATE = """\
{"revision": "1", "variants": {
  "blue": {"weight": 0, "version": "v1", "ready": 1, "total": 1},
  "green": {"weight": 100, "version": "v2", "ready": 1, "total": 1}}}
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[..., Path]:
    """`configuration(port=9911)`: a valid file with one service behind a command that prints STATE."""

    def write(**values: Any) -> Path:
        (tmp_path / "rules.yaml").write_text(RULES)
        state = tmp_path / "state.json"
        state.write_text(values.pop("traffic", STATE))
        path = tmp_path / "watchdog.yaml"
        known = {
            "port": 9911,
            "prometheus": 1,
            "store": tmp_path / "watchdog.db",
            "state": state,
            "tokens": "",
        }
        path.write_text(MAIN.format(**{**known, **values}))
        return path

    return write
