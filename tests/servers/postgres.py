"""A real PostgreSQL server of Debian's package, on a free port and a Unix socket, with its data in a folder of its own.

The server refuses to run as root: then it runs as the package's user, in a folder that user can reach. It knows a user
`watchdog` without a password, and `guarded` (over TCP only) with the password `PASSWORD`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.certificates import Certificate
from tests.servers.ports import free_port
from tests.servers.process import Process
from tests.servers.require import do_without
from watchdog.store.tables import metadata

PASSWORD = "correct-horse-battery"
_ACCESS = """local all all trust
host all guarded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
"""
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "40",
    "shared_buffers": "16MB",
    "autovacuum": "off",
    "log_min_messages": "warning",
    "max_wal_senders": "2",
}
_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
#: Losing the disk's cache is no test of ours where the server's machine goes on; a test of durability asks for more.
_HASTY = {"fsync": "off", "full_page_writes": "off"}


def programs() -> Path:
    """The folder of the newest server's programs. Without any the test is skipped, loudly."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if (on_path := shutil.which("postgres")) is not None:
        found.append(Path(on_path).resolve().parent)
    if not found:
        do_without("postgres (apt install postgresql)")
    return max(found, key=lambda path: float(path.parent.name) if path.parent.name.isdecimal() else 0.0)


class Postgres:
    """A context manager around one server. `durable`: what was committed outlives the loss of the machine's cache."""

    def __init__(self, *, durable: bool = False, certificate: Certificate | None = None) -> None:
        """`certificate`: it speaks TLS, too."""
        self.port = free_port()
        self.folder = Path()
        self._programs = programs()
        self._settings = {**_SETTINGS, **({} if durable else _HASTY)}
        self._certificate = certificate
        self._as_user: list[str] = []
        self._process: Process | None = None
        self._numbers = iter(range(1, 1_000_000))

    def url(self, database: str, *, user: str = "watchdog") -> str:
        """The address of a database, over TCP."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str) -> str:
        """The same, over the Unix socket."""
        return f"postgresql://watchdog@{str(self.folder).replace('/', '%2F')}:{self.port}/{database}"

    def database(self, *, template: str = "template0", owner: str = "watchdog", more: str = "") -> str:
        """Make a database, and answer its name."""
        name = f"test{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} OWNER {owner} TEMPLATE {template} {more}")
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever uses it."""
        self.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def empty(self, database: str) -> None:
        """Remove every row of a store, and whoever uses it."""
        self.sql(f"{_END_OTHERS}; TRUNCATE {', '.join(metadata.tables)}", database=database)

    def sql(self, statement: str, *, database: str = "postgres", user: str = "postgres") -> list[list[str]]:
        """What a statement answers, as an administrator sees it. Raises `CalledProcessError`."""
        words = [
            "psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1",
            "-h", str(self.folder), "-p", str(self.port), "-U", user, "-d", database, "-c", statement,
        ]  # fmt: skip
        lines = self._run(*words).splitlines()
        return [line.split("\t") for line in lines]

    @property
    def process(self) -> Process:
        """The server's first process."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process

    def start(self) -> None:
        """Start it again, after a stop or a kill."""
        self.process.start()

    def stop(self) -> None:
        """End every session, and the server."""
        self.thaw()
        with contextlib.suppress(subprocess.TimeoutExpired, RuntimeError):
            if self.process.exit_code is None:
                self.process.send(signal.SIGINT)
                self.process.wait(5)
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL for all of its processes, as when the machine's power fails (but for what its kernel holds)."""
        children = self._children()
        self.process.kill()
        for pid in children:
            _signal(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.01)

    def freeze(self) -> None:
        """SIGSTOP for all of its processes: connections are taken by the kernel, and nobody answers."""
        self.process.freeze()
        for pid in self._children():
            _signal(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        if self.process.exit_code is None:
            for pid in self._children():
                _signal(pid, signal.SIGCONT)
            self.process.thaw()

    def _children(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            return [int(pid) for pid in children.read_text().split()]
        except OSError:
            return []

    def _run(self, program: str, *words: str) -> str:
        argv = [*self._as_user, str(self._programs / program), *words]
        environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd="/", env=environ)
        if done.returncode:
            raise RuntimeError(f"{program} answered {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _initialise(self) -> Path:
        self.folder = Path(tempfile.mkdtemp(prefix="watchdog-pg-"))
        if os.geteuid() == 0:
            user = _somebody()
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            words = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
            self._as_user = [*words, "--pdeathsig", "KILL"]
        data = self.folder / "data"
        self._run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
                  "--locale=C.UTF-8")  # fmt: skip
        (data / "pg_hba.conf").write_text(_ACCESS)
        if self._certificate is not None:
            self._settings["ssl"] = "on"
            for name, source in {
                "server.crt": self._certificate.file,
                "server.key": self._certificate.key,
            }.items():
                (data / name).write_bytes(source.read_bytes())
                (data / name).chmod(0o600)
                if os.geteuid() == 0:
                    os.chown(data / name, _somebody().pw_uid, -1)
        return data

    def __enter__(self) -> Self:
        try:
            data = self._initialise()
            settings: Sequence[str] = [f"--{name}={value}" for name, value in self._settings.items()]
            self._process = Process(
                [
                    *self._as_user,
                    str(self._programs / "postgres"),
                    "-D",
                    str(data),
                    "-p",
                    str(self.port),
                    "-k",
                    str(self.folder),
                    *settings,
                ],
                log=self.folder / "log",
                ready=lambda: self._is_ready(data / "postmaster.pid"),
                within=60,
                cwd=Path("/"),
            )
            self.start()
            self.sql("CREATE ROLE watchdog LOGIN")
            self.sql(f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _is_ready(self, file: Path) -> bool:
        """As the server says in its file; one that was killed leaves an old one behind."""
        try:
            lines = file.read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready"

    def _remove(self) -> None:
        if self._process is not None:
            self.stop()
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)


def _somebody() -> pwd.struct_passwd:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
