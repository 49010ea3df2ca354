"""What every test may use: virtual time, `eventually`, free ports, real servers that always stop."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import Eventually
from tests.eventually import eventually as poll
from tests.loops import VirtualTimeLoop
from tests.named import watch
from tests.servers.alertmanager import Alertmanager
from tests.servers.haproxy import HAProxy, Server
from tests.servers.kubernetes import Kubernetes
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port as next_free_port
from tests.servers.postgres import Postgres
from tests.servers.prometheus import Prometheus, Target
from tests.servers.require import MISSING, REQUIRE_REAL
from tests.servers.versioned import VersionedApp
from tests.soak import counted, show_counts
from watchdog.cluster.client import Cluster
from watchdog.cluster.settings import ClusterSettings
from watchdog.store.registry import make_store
from watchdog.telemetry import redact

__all__ = ["counted"]  # a fixture for everybody

# What the caller's shell says to his own watchdog must not reach the one under test.
for _name in [name for name in os.environ if name.startswith("WATCHDOG_") and name != REQUIRE_REAL]:
    del os.environ[_name]

# A run in the background of a shell ignores Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _stay_on_loopback(event: str, words: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(words[1], tuple):
        host = str(words[1][0])
        if not host.startswith("127.") and host not in {"::1", "localhost"}:
            raise AssertionError(f"a test tried to reach {host}; tests stay on loopback")


sys.addaudithook(_stay_on_loopback)


@pytest.fixture(autouse=True)
def forgotten_secrets() -> Iterator[None]:
    """Secrets are masked in the whole process: those of one test must not blacken the words of another."""
    kept = redact._process  # noqa: SLF001 - nothing but tests may forget a secret
    redact._process = copy.copy(kept)  # noqa: SLF001
    redact._process._forms = set(kept._forms)  # noqa: SLF001
    yield
    redact._process = kept  # noqa: SLF001


def pytest_configure(config: pytest.Config) -> None:
    watch(config)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_time") is not None:
        return {"virtual": VirtualTimeLoop}
    return {"real": asyncio.SelectorEventLoop}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    show_counts(terminalreporter)
    reasons = [
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and MISSING in report.longrepr[2]
    ]
    if not reasons:
        return
    terminalreporter.section("NOT TESTED ON REAL SERVERS", sep="!", red=True, bold=True)
    for reason in sorted(set(reasons)):
        terminalreporter.line(f"{reasons.count(reason)} tests skipped: {reason}", red=True)


@pytest.fixture
def eventually() -> Eventually:
    """`await eventually(lambda: condition, within=5.0, what="...")`: polls, with a deadline and a message."""
    return poll


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Each call gives another free port on 127.0.0.1."""
    return next_free_port


@pytest.fixture
def start_app(tmp_path: Path) -> Iterator[Callable[..., VersionedApp]]:
    """`start_app(version="v1", fail_every=0)`: the small service as a process, stopped at the end."""
    with contextlib.ExitStack() as stack:

        def start(*, version: str, service: str = "trips", fail_every: int = 0) -> VersionedApp:
            app = VersionedApp(tmp_path, version=version, service=service, fail_every=fail_every)
            return stack.enter_context(app)

        yield start


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """A real API server with its controllers, one for all tests of a worker: take a `namespace()` of your own."""
    with Kubernetes(tmp_path_factory.mktemp("kubernetes")) as server:
        yield server


@pytest.fixture
async def cluster(kubernetes: Kubernetes) -> AsyncIterator[Cluster]:
    """An administrator's connection to it."""
    made = Cluster(ClusterSettings(kubeconfig=kubernetes.kubeconfig))
    yield made
    await made.aclose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server, one for all tests of a worker: take a `database()` of your own, and let it run."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_store(postgres: Postgres) -> str:
    """A database that holds a store of this release, for one test after the other."""
    name = postgres.database()

    async def make() -> None:
        store = make_store(postgres.url(name))
        await store.open()
        await store.aclose()

    with asyncio.Runner() as runner:
        runner.run(make())
    return name


@pytest.fixture
def postgres_url(postgres: Postgres, postgres_store: str) -> str:
    """The address of a store in which nothing was stored."""
    postgres.empty(postgres_store)
    return postgres.url(postgres_store)


@pytest.fixture
def start_haproxy(tmp_path: Path) -> Iterator[Callable[[Mapping[str, Sequence[Server]]], HAProxy]]:
    """`start_haproxy({"trips": [Server(name="blue", port=8081)]})`: a real one, stopped at the end."""
    with contextlib.ExitStack() as stack:

        def start(backends: Mapping[str, Sequence[Server]]) -> HAProxy:
            folder = tmp_path / f"haproxy-{next_free_port()}"
            folder.mkdir()
            haproxy = HAProxy(folder, backends)
            stack.callback(haproxy.discard)
            return haproxy.start()

        yield start


@pytest.fixture
def start_nginx(tmp_path: Path) -> Iterator[Callable[..., Nginx]]:
    """`start_nginx({8081: "", 8082: "down"})`: a real one with these in `upstream trips`, stopped at the end."""
    with contextlib.ExitStack() as stack:

        def start(servers: Mapping[int, str], *, workers: int = 2) -> Nginx:
            folder = tmp_path / f"nginx-{next_free_port()}"
            folder.mkdir()
            return stack.enter_context(Nginx(folder, servers, workers=workers))

        yield start


@pytest.fixture
def start_prometheus(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """`start_prometheus([Target(job="trips", port=8081)])`: a real one, stopped at the end."""
    with contextlib.ExitStack() as stack:

        def start(targets: Sequence[Target] = (), **options: Any) -> Prometheus:
            folder = tmp_path / f"prometheus-{next_free_port()}"
            folder.mkdir()
            return stack.enter_context(Prometheus(folder, targets, **options))

        yield start


@pytest.fixture
def start_alertmanager(tmp_path: Path) -> Iterator[Callable[[str], Alertmanager]]:
    """`start_alertmanager(webhook_url)`: a real one, stopped at the end."""
    with contextlib.ExitStack() as stack:

        def start(webhook: str) -> Alertmanager:
            folder = tmp_path / f"alertmanager-{next_free_port()}"
            folder.mkdir()
            return stack.enter_context(Alertmanager(folder, webhook=webhook))

        yield start
