"""A real nginx on loopback, without rights: its own prefix, pid file and configuration, and an `upstream` in a file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import Process
from tests.servers.require import require

_MAIN = """\
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
worker_processes {workers};
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/conf.d/*.conf;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://trips;
            proxy_next_upstream off;
        }}
    }}
}}
"""


class Nginx(Process):
    """Serves `upstream trips` on `port`. `file` holds the upstream: one `server` line for each of `servers`."""

    def __init__(self, folder: Path, servers: Mapping[int, str], *, workers: int = 2) -> None:
        """`servers`: port to what stands behind the address, such as `down`."""
        self.binary = require("nginx")
        self.folder = folder
        self._workers = workers
        self.port = free_port()
        self.config = folder / "nginx.conf"
        self.pid_file = folder / "nginx.pid"
        self.file = folder / "conf.d/trips_upstream.conf"
        self.file.parent.mkdir()
        self.config.write_text(_MAIN.format(folder=folder, port=self.port, workers=workers))
        self.file.write_text(upstream(servers))
        own = [self.binary, "-p", str(folder), "-c", str(self.config), "-e", str(folder / "error.log")]
        self.reload_argv = [*own, "-s", "reload"]
        self.test_argv = [*own, "-t"]
        super().__init__([*own, "-g", "daemon off;"], log=folder / "nginx.log", ready=self._ready_now)

    def error_log(self) -> str:
        """What nginx wrote at level notice and above."""
        file = self.folder / "error.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def reloads(self) -> int:
        """How often it was told to load its configuration again."""
        return self.error_log().count(": reconfiguring\n")

    def workers(self) -> set[int]:
        """The processes that take new connections."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return {int(pid) for pid in children if _command(pid).startswith("nginx: worker process ")} - {
            int(pid) for pid in children if "shutting down" in _command(pid)
        }

    def reload(self) -> None:
        """Tell it to load its configuration, and wait until the old workers have left."""
        old = self.workers()
        self.send(signal.SIGHUP)
        until(lambda: self.are_others(old), "nginx has other workers")

    def are_others(self, old: set[int]) -> bool:
        """Whether all workers take new connections, and none of the old ones does."""
        now = self.workers()
        return len(now) == self._workers and not now & old

    def write(self, servers: Mapping[int, str]) -> None:
        """A person writes the upstream anew, and does not reload."""
        self.file.write_text(upstream(servers))

    def replace(self, text: str) -> None:
        """A person's editor puts this in the file's place in one step, and nobody reloads."""
        new = self.file.with_name("new.tmp")
        new.write_text(text)
        new.replace(self.file)

    def kill_all(self) -> None:
        """SIGKILL for the master and its workers, of which nobody cleans up."""
        os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def _ready_now(self) -> bool:
        try:
            return self.pid_file.read_text().strip() == str(self.pid) and len(self.workers()) == self._workers
        except OSError:
            return False


def until(condition: Callable[[], bool], what: str, *, within: float = 5.0) -> None:
    """Wait for it, blocking. Raises RuntimeError after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not in {within} s: {what}")
        signal.sigtimedwait([], 0.01)


def upstream(servers: Mapping[int, str]) -> str:
    """The text of an upstream file."""
    lines = "".join(
        f"    server 127.0.0.1:{port}{f' {words}' if words else ''};\n" for port, words in servers.items()
    )
    return f"# trips: blue and green\nupstream trips {{\n{lines}    keepalive 4;\n}}\n"


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""
