"""A front door that obeys a state file: what an operator's own load balancer is to the `command` switch."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.servers.ports import free_port
from tests.servers.process import ROOT

SCRIPT = ROOT / "tests" / "traffic" / "state_file_switch.py"


class Door:
    """Sends every visitor to the variant that the file `state` names; blue at first."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.ports: Mapping[str, int] = {}
        self._write({"variants": {"blue": _facts(100), "green": _facts(0)}, "revision": 1})

    @property
    def switch(self) -> dict[str, Any]:
        """The configuration of the `command` switch."""
        script = [sys.executable, str(SCRIPT), str(self.state)]
        return {
            "kind": "command",
            "read": [*script, "read"],
            "apply": [*script, "apply", "{variant}", "{expect}", "{mark}"],
            "verify": [*script, "verify", "{variant}"],
            "timeout": "5s",
        }

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.state.read_text())
        return found

    def live(self) -> set[str]:
        return {name for name, facts in self.read()["variants"].items() if facts["weight"] > 0}

    def move(self, variant: str) -> None:
        """What a deploy job does."""
        state = self.read()
        for name, facts in state["variants"].items():
            facts["weight"] = 100 if name == variant else 0
        state["revision"] += 1
        self._write(state)

    def _write(self, state: dict[str, Any]) -> None:
        draft = self.state.with_suffix(".draft")
        draft.write_text(json.dumps(state))
        draft.replace(self.state)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:

            async def forward(_: web.Request) -> web.Response:
                (variant,) = self.live()
                async with session.get(f"http://127.0.0.1:{self.ports[variant]}/") as answer:
                    return web.Response(status=answer.status, body=await answer.read())

            app = web.Application()
            app.router.add_get("/", forward)
            runner = web.AppRunner(app)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", self.port).start()
                yield
            finally:
                await runner.cleanup()


def _facts(weight: int) -> dict[str, int]:
    return {"weight": weight, "ready": 1, "total": 1}
