"""The real daemon as its own process, its configuration, and the command `watchdog` beside it.

The configuration is a plain dictionary that a test may change before the start (and before a restart).
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp

from tests.eventually import eventually
from tests.servers.ports import free_port
from tests.servers.process import ROOT, Process, http_get

TOKEN = "e2e-operator-token-0f3b"
_WATCHDOG = [sys.executable, "-m", "watchdog"]
_TAG = re.compile(r'"(!(?:file|env) [^"]+)"')


class Said:
    """What a command answered."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}{self.err}"


class Daemon(Process):
    """`settings` and `rules` are written at every start; `folder` holds them, the store and the pause file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "watchdog.yaml"
        self.store = folder / "watchdog.db"
        self.pause_file = folder / "pause"
        self.rules: list[dict[str, Any]] = []
        self.settings: dict[str, Any] = {
            "version": 1,
            "rules": ["rules.yaml"],
            "intervals": {"critical": "300ms", "recheck": "300ms"},
            "store": {"url": f"sqlite:///{self.store}"},
            "pause_file": str(self.pause_file),
            "server": {
                "listen": f"127.0.0.1:{self.port}",
                "tokens": [{"name": "ci", "role": "operator", "token": "!file token"}],
            },
            "sources": {},
            "services": [],
            # Tests of one service have few services; those of limits set their own.
            "limits": {"max_rollbacks": "100 per 10m", "max_breaching": {"share": "100%", "at_least": 100}},
            "channels": {"log": {"kind": "log"}},
            "routes": [{"to": ["log"]}],
        }
        argv = [*_WATCHDOG, "run", "-c", str(self.config)]
        super().__init__(argv, log=folder / "watchdog.log", within=10.0, grace=15.0)

    def write(self) -> None:
        """Write the configuration as it is now."""
        token = self.folder / "token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        # JSON is YAML, but for the tags that secrets need.
        self._put(self.config, _TAG.sub(r"\1", json.dumps(self.settings, indent=1)))
        self._put(self.folder / "rules.yaml", json.dumps({"version": 1, "rules": self.rules}, indent=1))

    def _put(self, path: Path, text: str) -> None:
        """Replaced in one step, as editors do: half a file, when the machine is slow, is a mistake to the daemon."""
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").replace(path)

    async def begin(self, *, within: float = 30.0) -> None:
        """Start and wait until it is ready, without stopping the test's own servers meanwhile."""
        self.write()
        self.start()

        async def ready() -> bool:
            assert self.exit_code is None, f"the daemon ended with {self.exit_code}:\n{self.output()[-3000:]}"
            return await asyncio.to_thread(self.answers, "/readyz") == 200

        await eventually(ready, within=within, what="a daemon that is ready")

    async def ends(self, *, within: float = 10.0) -> int:
        """Its exit code, when it has ended by itself."""
        await eventually(lambda: self.exit_code is not None, within=within, what="the daemon's end")
        assert self.exit_code is not None
        return self.exit_code

    def answers(self, path: str) -> int:
        """The status of a page; 0 when nobody answers."""
        try:
            return http_get(self.port, path)[0]
        except (OSError, http.client.HTTPException):
            return 0

    async def get(self, path: str) -> Any:
        """What the API answers to a read, e.g. `get("deployments")`; a list comes as its items."""
        async with self._session() as session, session.get(f"/api/v1/{path}") as answer:
            body = await answer.json()
            assert answer.status == 200, body
            return body.get("items", body)

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """Status and body of a write."""
        async with self._session() as session, session.post(f"/api/v1/{path}", json=body) as answer:
            return answer.status, await answer.json()

    async def page(self, path: str) -> tuple[int, str]:
        """Status and text of a page outside of `/api/v1`."""
        async with self._session() as session, session.get(path) as answer:
            return answer.status, await answer.text()

    async def says(self, *words: str, config: bool = False) -> Said:
        """Run `watchdog WORDS…`, with the daemon's address and token in the environment, or with `-c FILE`."""
        argv = [*_WATCHDOG, *words, *(["-c", str(self.config)] if config else [])]
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "WATCHDOG_URL": self.url, "WATCHDOG_TOKEN": TOKEN},
        )
        try:
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Said(process.returncode, out.decode(), err.decode())

    def stored(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Rows straight from the database, beside the daemon or after its death."""
        with closing(sqlite3.connect(f"{self.store.as_uri()}?mode=ro", uri=True, timeout=2.0)) as database:
            return database.execute(query, values).fetchall()

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            self.url,
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=aiohttp.ClientTimeout(total=10),
        )
