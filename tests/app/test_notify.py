"""What the service manager hears, on a socket of the test's own."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.app.conftest import Home
from tests.eventually import Eventually
from watchdog.aio.clock import SystemClock
from watchdog.app.notify import LONGEST_START, Notifier, Pulse, status_of
from watchdog.app.run import serve
from watchdog.core.service import Mode
from watchdog.core.turn import Pause
from watchdog.core.view import ServiceView, SourceView, View
from watchdog.testing.clock import LoopClock

NOW = datetime(2026, 1, 31, tzinfo=UTC)


class Manager:
    """The other end: messages as they come, each a list of its lines."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def heard(self) -> list[list[str]]:
        """What came since the last look."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(65536).decode().split("\n"))
            except BlockingIOError:
                return found


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name is short enough for a socket."""
    folder = tmp_path_factory.mktemp("n")
    assert len(str(folder)) < 90
    return folder


@pytest.fixture
def manager(short: Path) -> Iterator[Manager]:
    manager = Manager(str(short / "notify"))
    yield manager
    manager.socket.close()


def notifier(address: str | None, *, watchdog: timedelta | None = None) -> Notifier:
    return Notifier(address, watchdog=watchdog, clock=SystemClock())


def view(**other: object) -> View:
    return View(**({"at": NOW, "turn_at": NOW, "leader": True} | other))  # type: ignore[arg-type]


def test_every_state_is_one_message_with_what_the_manager_wants(manager: Manager) -> None:
    to = notifier(manager.address)
    to.ready("watching 2 services")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    to.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    to.ready()
    to.status("one\nREADY=1")
    to.alive()
    to.extend(timedelta(seconds=30))
    to.stopping()
    ready, (reloading, stamp), *rest = manager.heard()
    assert ready == ["READY=1", "STATUS=watching 2 services"]
    assert reloading == "RELOADING=1"
    assert before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= after
    assert rest == [
        ["READY=1"],
        ["STATUS=one READY=1"],
        ["WATCHDOG=1"],
        ["EXTEND_TIMEOUT_USEC=30000000"],
        ["STOPPING=1", "STATUS=stopping"],
    ]


def test_a_name_in_the_abstract_namespace_is_understood() -> None:
    manager = Manager(f"@watchdog-test-{secrets.token_hex(8)}")
    try:
        notifier(manager.address).ready()
        assert manager.heard() == [["READY=1"]]
    finally:
        manager.socket.close()


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "relative"])
def test_without_a_socket_nothing_is_said(address: str | None) -> None:
    to = notifier(address, watchdog=timedelta(seconds=30))
    with capture_logs() as logs:
        to.ready("here")
        to.stopping()
    assert not to.listened_to
    assert to.watchdog is None
    assert logs == []


def test_a_manager_that_is_gone_is_told_of_once_and_hurts_nobody(short: Path) -> None:
    to = notifier(str(short / "nobody"))
    with capture_logs() as logs:
        to.ready()
        to.alive()
    assert [(one["event"], one["error"]) for one in logs] == [
        ("service_manager_not_reached", "No such file or directory")
    ]


def test_what_the_manager_had_no_room_for_is_said_again_but_never_that_it_gets_on(manager: Manager) -> None:
    to = notifier(manager.address)
    with capture_logs() as logs:
        for _ in range(5000):  # more than fits into its queue
            to.alive()
        to.ready("watching")
        to.alive()
    assert [one["error"] for one in logs] == ["Resource temporarily unavailable"]
    assert ["READY=1", "STATUS=watching"] not in manager.heard()
    to.status("still watching")
    assert manager.heard() == [["READY=1", "STATUS=still watching"]]


def test_what_the_manager_said_is_taken_out_of_the_environment(manager: Manager) -> None:
    environ = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
        "PATH": "/bin",
    }
    to = Notifier.of(environ, clock=SystemClock())
    assert environ == {"PATH": "/bin"}
    assert to.listened_to
    assert to.watchdog == timedelta(seconds=30)


@pytest.mark.parametrize(
    ("usec", "pid"), [("", ""), ("0", ""), ("-5", ""), ("soon", ""), ("30000000", "1"), ("30000000", "x")]
)
def test_a_watchdog_that_is_not_for_this_process_is_none(manager: Manager, usec: str, pid: str) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    assert Notifier.of(environ, clock=SystemClock()).watchdog is None


class Rig:
    """A pulse in virtual time, with a reactor that turns when the test says so."""

    def __init__(self, manager: Manager, watchdog: timedelta | None) -> None:
        self.manager = manager
        self.turns = 0
        self.view: View | None = None
        clock = LoopClock()
        self.pulse = Pulse(
            Notifier(manager.address, watchdog=watchdog, clock=clock),
            progress=lambda: self.turns,
            view=lambda: self.view,
            clock=clock,
        )
        self.task = asyncio.create_task(self.pulse.run())

    async def during(self, seconds: float, *, turning: bool) -> list[str]:
        """All lines of so many seconds, in which the reactor turns once a second, or not at all."""
        said = []
        for _ in range(int(seconds)):
            await asyncio.sleep(1)
            self.turns += turning
            said += [line for message in self.manager.heard() for line in message]
        return said


@pytest.fixture
async def rig(manager: Manager) -> AsyncIterator[Rig]:
    rig = Rig(manager, timedelta(seconds=20))
    await asyncio.sleep(0)
    assert manager.heard() == [["EXTEND_TIMEOUT_USEC=30000000"]]
    yield rig
    rig.task.cancel()
    await asyncio.gather(rig.task, return_exceptions=True)


@pytest.mark.virtual_time
async def test_the_watchdog_is_fed_while_the_reactor_turns_and_only_then(rig: Rig) -> None:
    rig.view = view()
    rig.pulse.started()
    fed = await rig.during(60, turning=True)
    assert fed.count("WATCHDOG=1") >= 11
    await rig.during(5, turning=False)
    assert await rig.during(600, turning=False) == [], "the loop lives, the reactor does not"
    assert "WATCHDOG=1" in await rig.during(6, turning=True)


@pytest.mark.virtual_time
async def test_a_start_that_takes_long_is_given_more_time_but_not_for_ever(rig: Rig) -> None:
    during = await rig.during(LONGEST_START.total_seconds() - 10, turning=True)
    assert set(during) == {"EXTEND_TIMEOUT_USEC=30000000"}
    assert len(during) > LONGEST_START / timedelta(seconds=30) * 2
    await rig.during(20, turning=True)
    assert await rig.during(300, turning=True) == []


@pytest.mark.virtual_time
async def test_the_status_is_said_when_it_changed(rig: Rig) -> None:
    rig.view = view(services={"trips": service("trips")})
    rig.pulse.started()
    assert await rig.during(30, turning=False) == ["READY=1", "STATUS=watching 1 service, no incident"]
    rig.view = view(services={"trips": service("trips", incidents=("inc-1",))})
    assert await rig.during(30, turning=False) == ["STATUS=watching 1 service, 1 incident open"]


@pytest.mark.virtual_time
async def test_a_manager_without_a_watchdog_still_sees_the_status(manager: Manager) -> None:
    rig = Rig(manager, None)
    rig.pulse.started()
    rig.view = view()
    said = await rig.during(30, turning=True)
    rig.task.cancel()
    assert [line for line in said if line != "WATCHDOG=1"] == [
        "READY=1",
        "STATUS=starting",
        "STATUS=watching 0 services, no incident",
    ]


def service(name: str, **other: object) -> ServiceView:
    return ServiceView(**({"name": name, "environment": "production", "mode": Mode.ENFORCE} | other))  # type: ignore[arg-type]


def test_the_status_says_the_worst_first() -> None:
    paused = Pause(by="alice", at=NOW, reason="holiday")
    services = {
        "a": service("a", incidents=("inc-1", "inc-2")),
        "b": service("b", incidents=("inc-2",), paused=paused),
    }
    shown = status_of(
        view(
            services=services,
            sources={"app": SourceView(name="app", up=False), "new": SourceView(name="new")},
            paused_by_file=True,
            store_error="store /x: the disk is full",
            leader=False,
            breaker="4 services are bad",
            cut_off_at=NOW,
        )
    )
    assert shown == (
        "STORE FAILED: store /x: the disk is full, PAUSED by file, automatic rollbacks stopped: 4 services are bad, "
        "nothing answers, standing by, watching 2 services, 2 incidents open, 1 service paused, 1 source down"
    )


async def test_the_daemon_says_that_it_is_ready_gets_on_and_stops(
    home: Home, manager: Manager, eventually: Eventually
) -> None:
    os.environ["NOTIFY_SOCKET"] = manager.address
    os.environ["WATCHDOG_USEC"] = "400000"
    serving = asyncio.create_task(serve(home.load()))
    lines: list[str] = []

    def fed() -> bool:
        lines.extend(line for message in manager.heard() for line in message)
        return "WATCHDOG=1" in lines

    await eventually(fed, within=10, what="a watchdog that is fed")
    assert {"NOTIFY_SOCKET", "WATCHDOG_USEC"}.isdisjoint(os.environ), "children must not speak for the daemon"
    assert lines.index("EXTEND_TIMEOUT_USEC=30000000") < lines.index("READY=1") < lines.index("WATCHDOG=1")
    os.kill(os.getpid(), 15)
    assert await serving == 0
    lines += [line for message in manager.heard() for line in message]
    assert "STOPPING=1" in lines


async def test_a_start_that_fails_is_never_ready(
    home: Home, manager: Manager, capsys: pytest.CaptureFixture[str]
) -> None:
    os.environ["NOTIFY_SOCKET"] = manager.address
    home.store.write_text("no database")
    assert await serve(home.load()) == 1
    assert all(line.startswith("EXTEND_TIMEOUT_USEC=") for message in manager.heard() for line in message)
    assert str(home.store) in capsys.readouterr().err
