from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime

import aiohttp
import pytest
from structlog.testing import capture_logs

from tests.app.conftest import Home
from tests.eventually import Eventually
from watchdog.aio.clock import SystemClock
from watchdog.api.listener import CannotListen
from watchdog.app.build import build_switches
from watchdog.app.daemon import Daemon
from watchdog.app.run import run, serve
from watchdog.app.shared import Shared
from watchdog.config.load import load
from watchdog.core.deployment import Deployment, DeploymentState, Origin
from watchdog.core.errors import ConfigError, StoreCorrupt, StoreError, StoreLocked
from watchdog.core.events import Asked
from watchdog.core.incident import Incident, IncidentKind, IncidentState
from watchdog.core.request import Request, RequestKind
from watchdog.core.rule import Level, Severity
from watchdog.core.turn import Turn
from watchdog.store.registry import make_store
from watchdog.traffic.lock import HostLock

Start = Callable[[Home], Awaitable[Daemon]]


def daemon_of(home: Home) -> Daemon:
    return Daemon(home.load(), clock=SystemClock(), seed=1)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    daemons: list[Daemon] = []

    async def make(home: Home) -> Daemon:
        daemon = daemon_of(home)
        await daemon.start()
        daemons.append(daemon)
        return daemon

    yield make
    for daemon in daemons:
        await daemon.stop()


def others() -> set[str]:
    """Names of the tasks beside the test's own."""
    return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def lock_of(home: Home, service: str) -> HostLock:
    """The host lock of a service's switch, as any other process would take it."""
    clock = SystemClock()
    switches = build_switches(home.load(), {}, shared=Shared(clock=clock), clock=clock)
    return HostLock(switches[service].identity)


async def everything_is_free(home: Home) -> None:
    """Store and switches can be had by somebody else, and nothing runs any more."""
    for service in home.load().services:
        with lock_of(home, service):
            pass
    await asyncio.sleep(0)
    assert others() == set()
    daemon = daemon_of(home)
    await daemon.start()
    await daemon.stop()


async def page(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status


async def test_it_starts_looks_answers_and_stops(home: Home, start: Start, eventually: Eventually) -> None:
    daemon = daemon_of(home)
    assert daemon.view() is None
    assert daemon.url == ""
    await daemon.start()

    def adopted() -> bool:
        view = daemon.view()
        return view is not None and view.services["trips"].deployment is not None

    await eventually(adopted, what="the version that is live")
    assert await page(f"{daemon.url}/healthz") == 200
    assert await page(f"{daemon.url}/metrics") == 200
    await daemon.stop()
    with pytest.raises(aiohttp.ClientError):
        await page(f"{daemon.url}/healthz")
    await everything_is_free(home)


async def test_what_was_seen_survives_a_restart(home: Home, start: Start, eventually: Eventually) -> None:
    first = await start(home)

    def live(daemon: Daemon) -> str | None:
        view = daemon.view()
        deployment = view.services["trips"].deployment if view else None
        return deployment.id if deployment else None

    identity = await eventually(lambda: live(first))
    await first.stop()
    second = await start(home)
    assert live(second) == identity, "it is known before the switch was read again"


async def test_what_belongs_to_nothing_configured_is_closed_at_the_start(home: Home, start: Start) -> None:
    left = Incident(
        id="inc-left",
        kind=IncidentKind.SOURCE,
        state=IncidentState.OPEN,
        subject="graphite",
        opened_at=datetime.now(UTC),
        level=Level.UNKNOWN,
        severity=Severity.HIGH,
    )
    store = make_store(home.load().store_url)
    await store.open()
    await store.claim(now=datetime.now(UTC))
    await store.commit(Turn(incidents=(left,)))
    await store.aclose()

    await start(home)

    with closing(sqlite3.connect(home.store)) as database:
        states = database.execute("SELECT state FROM incidents").fetchall()
        kinds = database.execute("SELECT kind FROM audit").fetchall()
    assert (states, ("incident_closed",) in kinds) == ([("closed",)], True)


async def test_what_is_decided_while_stopping_is_left_for_the_next_start(
    home: Home, start: Start, eventually: Eventually
) -> None:
    earlier = datetime(2026, 1, 31, tzinfo=UTC)
    good = Deployment(
        id="dep-good",
        service="trips",
        version="v2",
        variant="green",
        state=DeploymentState.STABLE,
        origin=Origin.SEEN,
        started_at=earlier,
        recorded_at=earlier,
        live_at=earlier,
    )
    store = make_store(home.load().store_url)
    await store.open()
    await store.claim(now=datetime.now(UTC))
    await store.commit(Turn(deployments=(good,)))
    await store.aclose()
    home.settings["services"][0]["traffic"]["apply"] = ["touch", str(home.folder / "written-{variant}")]
    daemon = await start(home)

    def looked() -> bool:
        view = daemon.view()
        return view is not None and view.services["trips"].deployment is not None

    await eventually(looked)
    request = Request(
        id="req-1",
        kind=RequestKind.ROLLBACK,
        target="trips",
        by="alice",
        at=datetime.now(UTC),
        body={"reason": "bad"},
    )
    with capture_logs() as logs:
        daemon.term.deliver(Asked(request=request))  # at the very moment of the stop
        await daemon.stop()

    with closing(sqlite3.connect(home.store)) as database:
        states = database.execute("SELECT state FROM rollbacks").fetchall()
    assert states == [("intended",)]
    assert [one["event"] for one in logs].count("intent_left_for_the_next_start") == 1
    assert not list(home.folder.glob("written-*"))


async def leave_an_intent(home: Home, start: Start, eventually: Eventually) -> None:
    """A daemon saw its service, decided to roll it back, and was stopped before it wrote anything."""
    home.settings["services"][0]["traffic"]["apply"] = ["touch", str(home.folder / "written-here-{variant}")]
    store = make_store(home.load().store_url)
    await store.open()
    await store.claim(now=datetime.now(UTC))
    earlier = datetime(2026, 1, 31, tzinfo=UTC)
    good = Deployment(
        id="dep-good",
        service="trips",
        version="v2",
        variant="green",
        state=DeploymentState.STABLE,
        origin=Origin.SEEN,
        started_at=earlier,
        recorded_at=earlier,
        live_at=earlier,
    )
    await store.commit(Turn(deployments=(good,)))
    await store.aclose()
    daemon = await start(home)
    await eventually(lambda: live_in(daemon))
    request = Request(
        id="req-1",
        kind=RequestKind.ROLLBACK,
        target="trips",
        by="alice",
        at=datetime.now(UTC),
        body={"reason": "bad"},
    )
    daemon.term.deliver(Asked(request=request))  # at the very moment of the stop
    await daemon.stop()
    assert in_store(home, "SELECT state FROM rollbacks") == ["intended"]


def live_in(daemon: Daemon) -> str:
    """The deployment that takes traffic, once the switch was read."""
    view = daemon.view()
    service = view.services["trips"] if view else None
    return service.deployment.id if service and service.traffic and service.deployment else ""


def in_store(home: Home, query: str) -> list[str]:
    with closing(sqlite3.connect(home.store)) as database:
        return [row[0] for row in database.execute(query)]


def elsewhere(home: Home) -> None:
    """The configuration names another object now."""
    traffic = home.switch("elsewhere")
    traffic["apply"] = ["touch", str(home.folder / "written-there-{variant}")]
    home.settings["services"][0]["traffic"] = traffic


async def test_an_intent_that_was_left_is_carried_out_at_its_own_switch(
    home: Home, start: Start, eventually: Eventually
) -> None:
    await leave_an_intent(home, start, eventually)
    await start(home)
    await eventually((home.folder / "written-here-green").exists, within=15)
    assert "switch_changed" not in in_store(home, "SELECT kind FROM audit")


async def test_an_intent_is_never_carried_out_at_another_switch(
    home: Home, start: Start, eventually: Eventually
) -> None:
    await leave_an_intent(home, start, eventually)
    elsewhere(home)
    with capture_logs() as logs:
        daemon = await start(home)
        await eventually(lambda: live_in(daemon), within=15)
        await daemon.stop()
    assert in_store(home, "SELECT state FROM rollbacks") == ["superseded"]
    assert {"switch_changed", "rollback_superseded"} <= set(in_store(home, "SELECT kind FROM audit"))
    (told,) = in_store(home, "SELECT doc FROM outbox WHERE doc LIKE '%rollback_ended%'")
    assert "was changed while the watchdog was down" in told
    assert [one["services"] for one in logs if one["event"] == "switch_changed"] == [["trips"]]
    assert "intent_resumed" not in [one["event"] for one in logs]
    assert not list(home.folder.glob("written-*"))

    again = await start(home)
    await eventually(lambda: live_in(again), within=15)
    assert in_store(home, "SELECT kind FROM audit").count("switch_changed") == 1
    assert not list(home.folder.glob("written-*"))


async def test_another_switch_that_cannot_be_recorded_keeps_it_from_starting(
    home: Home, start: Start, eventually: Eventually
) -> None:
    await leave_an_intent(home, start, eventually)
    elsewhere(home)
    with closing(sqlite3.connect(home.store)) as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END")
        database.commit()
    with pytest.raises(StoreError, match="the changed traffic switch cannot be recorded"):
        await start(home)
    with closing(sqlite3.connect(home.store)) as database:
        database.execute("DROP TRIGGER full")
        database.commit()
    await start(home)
    assert in_store(home, "SELECT state FROM rollbacks") == ["superseded"]
    assert not list(home.folder.glob("written-*"))


async def test_a_clean_stop_can_be_asked_for_twice(home: Home, start: Start) -> None:
    daemon = await start(home)
    await daemon.stop()
    with capture_logs() as logs:
        await daemon.stop()
    assert logs == []


async def test_waiting_ends_with_the_stop(home: Home, start: Start) -> None:
    daemon = await start(home)
    waiting = asyncio.create_task(daemon.wait())
    await daemon.stop()
    await asyncio.wait_for(waiting, 1)


async def test_a_stop_without_a_start_is_nothing(home: Home) -> None:
    daemon = daemon_of(home)
    await daemon.stop()
    assert others() == set()


# What keeps it from starting: each time everything is closed again


async def test_a_second_daemon_on_the_same_store_is_told_who_holds_it(home: Home, start: Start) -> None:
    first = await start(home)
    home.settings["services"] = [home.service("other", "other")]
    second = daemon_of(home)
    with pytest.raises(StoreLocked, match=f"another watchdog \\(process {os.getpid()}\\)"):
        await second.start()
    with lock_of(home, "other"):
        pass
    assert await page(f"{first.url}/healthz") == 200, "the first one goes on"
    await first.stop()
    await everything_is_free(home)


async def test_a_second_daemon_on_the_same_switch_is_told_who_holds_it(home: Home, start: Start) -> None:
    await start(home)
    home.settings["store"]["url"] = f"sqlite:///{home.folder / 'second.db'}"
    second = daemon_of(home)
    with pytest.raises(
        StoreLocked, match=r"the traffic switch command:.* is already held by this very process"
    ):
        await second.start()


async def test_a_switch_that_is_held_lets_go_of_the_others_and_of_the_store(home: Home) -> None:
    home.settings["services"] = [home.service(name, name) for name in ("a", "b", "c")]
    with lock_of(home, "b"):
        with pytest.raises(StoreLocked, match="already held by this very process"):
            await daemon_of(home).start()
        with lock_of(home, "a"):
            pass
    await everything_is_free(home)


async def test_two_services_on_one_switch_are_a_clear_error(home: Home) -> None:
    """The configuration cannot know that two addresses lead to one target; the switches do."""
    home.settings["services"] = [
        home.service("trips", "trips"),
        home.service("hotels", "trips", timeout="7s"),
    ]
    with pytest.raises(ConfigError) as error:
        await daemon_of(home).start()
    assert "the services trips and hotels have the same traffic switch command:" in str(error.value)
    home.settings["services"] = [home.service("trips", "trips")]
    await everything_is_free(home)


async def test_an_address_that_is_taken_closes_everything(home: Home) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        home.settings["server"]["listen"] = f"127.0.0.1:{other.getsockname()[1]}"
        daemon = daemon_of(home)
        with pytest.raises(CannotListen, match="the address is in use"):
            await daemon.start()
        await daemon.stop()
    home.settings["server"]["listen"] = "127.0.0.1:0"
    await everything_is_free(home)


async def test_a_damaged_store_is_told_to_people_past_it(home: Home) -> None:
    home.store.write_bytes(b"this is no database, whatever its name says" * 100)
    with capture_logs() as logs, pytest.raises(StoreCorrupt) as error:
        await daemon_of(home).start()
    assert error.value.advice
    told = [log for log in logs if "cannot use its store" in str(log)]
    assert len(told) == 1
    home.store.unlink()
    await everything_is_free(home)


async def test_a_store_in_a_place_that_cannot_be_written_is_an_error_with_advice(home: Home) -> None:
    (home.folder / "file").touch()
    home.settings["store"]["url"] = f"sqlite:///{home.folder / 'file' / 'watchdog.db'}"
    with pytest.raises(StoreError) as error:
        await daemon_of(home).start()
    assert error.value.advice
    home.settings["store"]["url"] = f"sqlite:///{home.store}"
    await everything_is_free(home)


async def test_a_start_that_is_cancelled_anywhere_closes_everything(home: Home) -> None:
    for steps in (0, 1, 2, 3, 5, 8, 13, 40):
        starting = asyncio.create_task(daemon_of(home).start())
        for _ in range(steps):
            await asyncio.sleep(0)
        if starting.done():
            break
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await everything_is_free(home)


async def test_a_store_that_is_taken_away_does_not_keep_it_from_stopping(
    home: Home, start: Start, eventually: Eventually
) -> None:
    daemon = await start(home)
    for file in home.folder.glob("watchdog.db*"):
        if not file.name.endswith(".lock"):
            file.unlink()
    await daemon.stop()
    await everything_is_free(home)


# The wires


async def test_a_request_to_the_api_is_answered_by_the_reactor(
    home: Home, start: Start, eventually: Eventually
) -> None:
    (home.folder / "token").write_text("operator-token-4711")
    (home.folder / "token").chmod(0o600)
    text = json.dumps(home.settings)
    token = '"tokens": [{"name": "ci", "role": "operator", "token": !file token}]'
    text = text.replace('"listen": "127.0.0.1:0"', f'"listen": "127.0.0.1:0", {token}')
    (home.folder / "watchdog.yaml").write_text(text)
    daemon = Daemon(load(home.folder / "watchdog.yaml", environ={}), clock=SystemClock(), seed=1)
    await daemon.start()
    try:
        headers = {"Authorization": "Bearer operator-token-4711"}
        async with aiohttp.ClientSession(daemon.url, headers=headers) as session:
            body = {"reason": "lunch"}
            async with session.post("/api/v1/services/trips/pause", json=body) as answer:
                assert answer.status == 200, await answer.text()
        view = daemon.view()
        assert view is not None
        paused = view.services["trips"].paused
        assert paused is not None
        assert (paused.by, paused.reason) == ("ci", "lunch")
    finally:
        await daemon.stop()
    with closing(sqlite3.connect(home.store)) as database:
        assert database.execute("select count(*) from outbox where state = 'pending'").fetchone() == (0,)


async def test_the_pause_file_is_seen(home: Home, start: Start, eventually: Eventually) -> None:
    daemon = await start(home)
    (home.folder / "pause").touch()

    def paused() -> bool:
        view = daemon.view()
        return view is not None and view.paused_by_file

    await eventually(paused)


async def test_a_changed_switch_is_seen_and_recorded(
    home: Home, start: Start, eventually: Eventually
) -> None:
    daemon = await start(home)

    def live() -> str:
        view = daemon.view()
        deployment = view.services["trips"].deployment if view else None
        return deployment.version if deployment else ""

    await eventually(lambda: live() == "v1")
    state = json.loads((home.folder / "trips.json").read_text())
    state["variants"]["blue"]["weight"], state["variants"]["green"]["weight"] = 0, 100
    state["revision"] = "2"
    (home.folder / "new.json").write_text(json.dumps(state))
    (home.folder / "new.json").replace(home.folder / "trips.json")
    await eventually(lambda: live() == "v2", within=10)


async def test_a_switch_that_cannot_be_read_is_shown(
    home: Home, start: Start, eventually: Eventually
) -> None:
    (home.folder / "trips.json").unlink()
    daemon = await start(home)

    def shown() -> str:
        view = daemon.view()
        return view.services["trips"].traffic_error if view else ""

    await eventually(shown)


# The process


def test_a_mistake_in_the_configuration_is_said_without_a_traceback(
    home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    home.settings["services"][0]["mode"] = "enforced"
    assert run(home.path) == 1
    said = capfd.readouterr().err
    assert "watchdog.yaml:1:" in said
    assert "enforce" in said
    assert "Traceback" not in said


async def test_a_store_that_is_held_ends_the_process_with_advice(
    home: Home, start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    await start(home)
    assert await serve(home.load()) == 1
    said = capfd.readouterr().err
    assert "another watchdog" in said
    assert "give this watchdog a store of its own" in said


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_process_cleanly(
    home: Home, name: signal.Signals, eventually: Eventually
) -> None:
    serving = asyncio.create_task(serve(home.load()))
    try:
        await eventually(home.store.exists)
        os.kill(os.getpid(), signal.SIGHUP)  # a reload is asked for
        os.kill(os.getpid(), name)
        assert await asyncio.wait_for(serving, 15) == 0
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        for one in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(one)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    await everything_is_free(home)
