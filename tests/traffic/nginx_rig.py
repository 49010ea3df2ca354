"""A real nginx before two backends, and a switch on it whose `test` and `reload` a test may replace or hold up."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.servers.nginx import Nginx, upstream
from tests.servers.process import http_get
from tests.traffic.backend import Backend
from watchdog.core.traffic import Change, TrafficState
from watchdog.testing.clock import StillClock
from watchdog.traffic.nginx import NginxSwitch
from watchdog.traffic.nginx_settings import NginxSettings

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LEFTOVERS = ".trips_upstream.conf.rollback-watchdog"


class NginxRig:
    """`blue` is live, `green` is `down`."""

    def __init__(self, nginx: Nginx, backends: dict[str, Backend], folder: Path) -> None:
        self.nginx = nginx
        self.ports = {name: backend.port for name, backend in backends.items()}
        self.folder = folder
        self._made: list[NginxSwitch] = []

    @property
    def file(self) -> Path:
        return self.nginx.file

    def facts(self, **other: Any) -> dict[str, Any]:
        """Settings as a user writes them."""
        return {
            "upstream_file": str(self.file),
            "upstream": "trips",
            "variants": {name: f"127.0.0.1:{port}" for name, port in self.ports.items()},
            "reload": self.nginx.reload_argv,
            "timeout": timedelta(seconds=5),
            **other,
        }

    def switch(self, **other: Any) -> NginxSwitch:
        """A switch of a daemon that has just started: it remembers nothing."""
        settings = NginxSettings.model_validate(self.facts(**other))
        self._made.append(NginxSwitch(settings, name="trips", clock=StillClock(NOW)))
        return self._made[-1]

    def script(self, name: str, text: str) -> list[str]:
        """A command of these lines of shell."""
        file = self.folder / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
        return [str(file)]

    def held(
        self, name: str, *, turn: int, after: list[str] | None = None, before: list[str] | None = None
    ) -> list[str]:
        """A command that stands still at its `turn`-th start, having done `before`; else it is `after`."""
        count, pid = self.folder / f"{name}.count", self.folder / f"{name}.pid"
        first = f"{shlex.join(before)} || exit 1" if before else ":"
        return self.script(
            name,
            f"echo x >> {count}\n"
            f'if [ "$(wc -l < {count})" -eq {turn} ]; then\n'
            f"    {first}; echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 600\nfi\n"
            f"exec {shlex.join(after or ['true'])}",
        )

    def holding(self, name: str) -> int | None:
        """The process of a `held` command, once it stands still."""
        file = self.folder / f"{name}.pid"
        return int(file.read_text()) if file.exists() else None

    def release(self, name: str) -> None:
        """Let the held command and its kin die."""
        pid = self.holding(name)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(pid), signal.SIGKILL)

    async def answered_by(self) -> str:
        """Which backend answers a new visitor."""
        return (await asyncio.to_thread(http_get, self.nginx.port, "/"))[1]

    def leftovers(self) -> list[str]:
        """Files of ours beside the upstream's."""
        return sorted(path.name for path in self.file.parent.iterdir() if path.name.startswith("."))

    def says(self, **words: str) -> str:
        """The file with these words behind the servers."""
        return upstream({port: words.get(name, "") for name, port in self.ports.items()})

    async def aclose(self) -> None:
        for switch in self._made:
            await switch.aclose()


@asynccontextmanager
async def nginx_rig(
    start_nginx: Callable[..., Nginx], folder: Path, **options: Any
) -> AsyncIterator[NginxRig]:
    """Everything started, and stopped at the end."""
    async with AsyncExitStack() as stack:
        backends = {name: await stack.enter_async_context(Backend(name)) for name in ("blue", "green")}
        nginx = start_nginx({backends["blue"].port: "", backends["green"].port: "down"}, **options)
        rig = NginxRig(nginx, backends, folder)
        stack.push_async_callback(rig.aclose)
        yield rig


def to_green(state: TrafficState, **other: Any) -> Change:
    facts: dict[str, Any] = {"target": "green", "away": ("blue",), "expect": state.revision, "mark": "rb-1"}
    return Change(**(facts | other))
