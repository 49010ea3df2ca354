"""A real HAProxy on loopback with an admin socket, as the traffic switch sees it in production."""

from __future__ import annotations

import csv
import io
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import Process
from tests.servers.require import require


@dataclass(frozen=True, kw_only=True)
class Server:
    """One `server` line. `extra` is appended as it stands (`disabled`, `backup` …)."""

    name: str
    port: int
    weight: int = 100
    check: bool = True
    extra: str = ""

    def line(self) -> str:
        check = "check inter 100ms fall 2 rise 1" if self.check else ""
        return (
            f"    server {self.name} 127.0.0.1:{self.port} weight {self.weight} {check} {self.extra}".rstrip()
        )


class HAProxy(Process):
    """Backends, each behind a frontend of its own on a free port: `front[BACKEND]`."""

    def __init__(self, folder: Path, backends: Mapping[str, Sequence[Server]]) -> None:
        self.binary = require("haproxy")
        # A unix socket's path may have about 107 bytes, which pytest's folders exceed.
        self._short = Path(tempfile.mkdtemp(prefix="wd-", dir="/tmp"))
        self.socket = self._short / "admin.sock"
        self.config = folder / "haproxy.cfg"
        self.front = {name: free_port() for name in backends}
        super().__init__(
            [self.binary, "-db", "-f", str(self.config)], log=folder / "haproxy.log", ready=self._ready_now
        )
        self.configure(backends)

    def configure(self, backends: Mapping[str, Sequence[Server]]) -> None:
        """Write the configuration; in force from the next start or reload. The backends' names must stay."""
        parts = [
            "global",
            f"    stats socket {self.socket} mode 600 level admin",
            "    maxconn 2000",
            "    nbthread 1",
            "defaults",
            "    mode http",
            "    timeout connect 1s",
            "    timeout client 10s",
            "    timeout server 10s",
        ]
        for name, servers in backends.items():
            parts += [
                f"frontend front_{name}",
                f"    bind 127.0.0.1:{self.front[name]}",
                f"    default_backend {name}",
                f"backend {name}",
                "    option httpchk GET /healthz",
                *(server.line() for server in servers),
            ]
        self.config.write_text("\n".join(parts) + "\n")

    def command(self, line: str) -> str:
        """What the admin socket answers to one command, e.g. `show servers state`. Raises OSError."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(2.0)
            admin.connect(str(self.socket))
            admin.sendall(line.encode() + b"\n")
            answer = b""
            while chunk := admin.recv(65536):
                answer += chunk
        return answer.decode()

    def servers(self, backend: str) -> dict[str, dict[str, str]]:
        """Server name to its row of `show stat` (`status`, `weight`, `stot`, `hrsp_5xx` …)."""
        text = self.command("show stat").removeprefix("# ")
        rows = csv.DictReader(io.StringIO(text))
        return {row["svname"]: row for row in rows if row["pxname"] == backend and row["svname"] != "BACKEND"}

    def reload(self) -> None:
        """What `systemctl reload haproxy` does: a new process listens, run-time changes are lost."""
        old = self._started()
        self.argv = [self.binary, "-db", "-f", str(self.config), "-sf", str(old.pid)]
        self._child = None
        try:
            self.start()
            old.wait(10.0)
        finally:
            self.argv = self.argv[:4]
            if old.poll() is None:
                old.kill()
                old.wait()

    def discard(self) -> None:
        """Stop and remove the folder of the socket."""
        self.stop()
        shutil.rmtree(self._short, ignore_errors=True)

    def check_config(self) -> str:
        """HAProxy's own opinion of the configuration; empty when it has none."""
        done = subprocess.run(
            [self.binary, "-c", "-q", "-f", str(self.config)],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        return done.stdout + done.stderr

    def _ready_now(self) -> bool:
        try:
            return f"Pid: {self.pid}\n" in self.command("show info")
        except OSError:
            return False
